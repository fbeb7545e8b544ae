//! Finds copies of secrets in other parts of a request, also in another encoding.
//!
//! A proxy may copy a token into a header with other escapes, and a body may escape it as JSON
//! does. So both a secret and a text are decoded before they are compared.

use std::borrow::Cow;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::{memchr, memchr2};
use percent_encoding::percent_decode;

/// A shorter secret is not searched for: it would also be a part of other values.
const MIN_SEARCHED: usize = 8;
/// Maximum number of secrets that are searched for. A sender can repeat a header many times.
const MAX_SECRETS: usize = 64;
/// How many escapes around each other are decoded. A URL in a query has two.
const MAX_ESCAPES: usize = 3;
/// Base64 as schemes read it, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The secrets of a request.
#[derive(Default)]
pub(super) struct Secrets {
    /// The secrets in the forms that are searched for.
    forms: Vec<Vec<u8>>,
    count: usize,
}

/// Searches texts for secrets.
pub(in crate::inspector::capture) enum SecretSearch {
    Nothing,
    Secrets(AhoCorasick),
    /// There are too many secrets, so every text may contain one.
    Everything,
}

impl Secrets {
    /// Adds the text of a secret, such as `Bearer TOKEN`, as the request has it.
    pub(super) fn add(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        if secret.len() < MIN_SEARCHED || self.forms.iter().any(|known| known == secret) {
            return;
        }
        self.count += 1;
        if self.count > MAX_SECRETS {
            return;
        }
        self.add_forms(secret);
        // The first word may be the name of a scheme, or a part of a passphrase.
        if let Some(blank) = memchr(b' ', secret) {
            let credentials = secret[blank..].trim_ascii();
            self.add_forms(credentials);
            if secret[..blank].eq_ignore_ascii_case(b"basic")
                && let Ok(decoded) = BASE64.decode(credentials)
            {
                self.add_forms(&decoded);
                if let Some(colon) = memchr(b':', &decoded) {
                    self.add_forms(&decoded[colon + 1..]);
                }
            }
        }
    }

    fn add_forms(&mut self, secret: &[u8]) {
        let decoded = decode(secret);
        let forms = [
            Cow::Borrowed(secret),
            canonical(secret),
            STANDARD_NO_PAD.encode(secret).into_bytes().into(),
            URL_SAFE_NO_PAD.encode(secret).into_bytes().into(),
            STANDARD_NO_PAD.encode(&decoded).into_bytes().into(),
            URL_SAFE_NO_PAD.encode(&decoded).into_bytes().into(),
        ];
        for form in forms {
            // The texts are compared without `+`, so the forms are, too.
            for form in [form.trim_ascii(), &*with_blanks((*form).into())] {
                let form = form.trim_ascii();
                if form.len() >= MIN_SEARCHED && !self.forms.iter().any(|known| known == form) {
                    self.forms.push(form.to_vec());
                }
            }
        }
    }

    /// Returns the search for these secrets.
    pub(super) fn search(&self) -> SecretSearch {
        if self.forms.is_empty() {
            return SecretSearch::Nothing;
        }
        match AhoCorasick::new(&self.forms) {
            Ok(searcher) if self.count <= MAX_SECRETS => SecretSearch::Secrets(searcher),
            _ => SecretSearch::Everything,
        }
    }
}

impl SecretSearch {
    /// Whether `text` contains a secret.
    pub(in crate::inspector::capture) fn is_in(&self, text: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => !text.is_empty(),
            Self::Secrets(searcher) => {
                searcher.is_match(text)
                    || match canonical(text) {
                        Cow::Borrowed(_) => false,
                        Cow::Owned(text) => searcher.is_match(&text),
                    }
            }
        }
    }

    /// Returns the search for `secret`.
    #[cfg(test)]
    pub(in crate::inspector::capture) fn of(secret: &str) -> Self {
        let mut secrets = Secrets::default();
        secrets.add(secret.as_bytes());
        secrets.search()
    }

    /// Whether there is no secret to search for.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// Returns `text` in a form that does not depend on its escapes.
pub(super) fn canonical(text: &[u8]) -> Cow<'_, [u8]> {
    with_blanks(decode(text))
}

/// Replaces each `+`, which is a blank in a form and an ordinary character elsewhere.
fn with_blanks(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if memchr(b'+', &text).is_none() {
        return text;
    }
    let mut text = text.into_owned();
    text.iter_mut()
        .filter(|byte| **byte == b'+')
        .for_each(|byte| *byte = b' ');
    text.into()
}

/// Decodes the escapes of URLs and of JSON strings, also around each other.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_ESCAPES {
        if memchr2(b'%', b'\\', &text).is_none() {
            break;
        }
        let decoded = percent_decode(&text).collect::<Vec<u8>>();
        text = unescape(&decoded).into();
    }
    text
}

/// Decodes the escapes of JSON strings (RFC 8259 §7). Other backslashes stay.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest) {
        decoded.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if let Some((character, len)) = unicode_escape(rest) {
            let mut utf8 = [0; 4];
            decoded.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
            rest = &rest[len..];
            continue;
        }
        let byte = match rest.get(1) {
            Some(byte @ (b'"' | b'\\' | b'/')) => Some(*byte),
            Some(b'b') => Some(8),
            Some(b'f') => Some(12),
            Some(b'n') => Some(b'\n'),
            Some(b'r') => Some(b'\r'),
            Some(b't') => Some(b'\t'),
            _ => None,
        };
        decoded.push(byte.unwrap_or(b'\\'));
        rest = &rest[if byte.is_some() { 2 } else { 1 }..];
    }
    decoded.extend_from_slice(rest);
    decoded
}

/// Returns the character of `\uXXXX`, or of two of them (RFC 8259 §7), and their length.
fn unicode_escape(text: &[u8]) -> Option<(char, usize)> {
    const LEN: usize = "\\uXXXX".len();
    let unit = |at: usize| {
        let digits = text.get(at..at + LEN)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let units = [Some(unit(0)?), unit(LEN)].into_iter().flatten();
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character, LEN * character.len_utf16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_found(secret: &str, text: &str) -> bool {
        SecretSearch::of(secret).is_in(text.as_bytes())
    }

    #[test]
    fn a_copy_of_a_secret_is_found_in_each_encoding() {
        for (secret, text) in [
            ("abx%2Bcd%3D%3D", "/in?t=abx+cd=="),
            ("abx%2Bcd%3D%3D", "/in?t=abx%2bcd%3d%3d"),
            ("abx%2Bcd%3D%3D", "/go?to=%2Fin%3Ft%3Dabx%252Bcd%253D%253D"),
            ("ab/cd+ef==", "/in?t=ab%2Fcd+ef%3D%3D"),
            ("ab/cd+ef==", r#"{"t":"ab\/cd\u002bef=="}"#),
            ("gef\u{fc}hl\u{1f600}", r#"{"t":"gef\u00fchl\ud83d\uDE00"}"#),
            ("say \"secret\"", r#"{"t":"say \"secret\""}"#),
            ("a+blank+secret", "t=a%20blank%20secret"),
            ("Basic dXNlcjpwYXNzOndvcmQh", "p=pass:word!"),
            ("Basic dXNlcjpwYXNzOndvcmQh", "dXNlcjpwYXNzOndvcmQh"),
            ("Basic dXNlcjpwYXNzOndvcmQh", "cGFzczp3b3JkIQ=="),
            ("Bearer one-secret-token", "t=one-secret-token"),
            ("token one-secret-token ", "one-secret-token."),
            ("a secret with blanks ", "a+secret+with+blanks"),
            ("one-secret?>~", "b25lLXNlY3JldD8-fg"),
            ("one-secret?>~", "b25lLXNlY3JldD8+fg=="),
        ] {
            assert!(is_found(secret, text), "{secret}: {text}");
        }
        // The controls.
        for (secret, text) in [
            ("abx%2Bcd%3D%3D", "/in?t=abx-cd=="),
            ("a secret with blanks", "blanks"),
            ("Basic dXNlcjpwYXNzOndvcmQh", "Basic cGFzczp3b3JkIj8="),
            ("short", "short"),
            ("one-secret-token", r"one\u002"),
        ] {
            assert!(!is_found(secret, text), "{secret}: {text}");
        }
    }

    #[test]
    fn too_many_secrets_are_in_every_text() {
        let mut secrets = Secrets::default();
        for number in 0..MAX_SECRETS {
            secrets.add(format!("secret-{number:04}").as_bytes());
        }
        assert!(!secrets.search().is_in(b"text"));
        assert!(secrets.search().is_in(b"secret-0063"));
        secrets.add(b"secret-more");
        assert!(secrets.search().is_in(b"text"));
        assert!(!secrets.search().is_in(b""));
    }
}
