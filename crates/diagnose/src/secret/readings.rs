//! The right secret, read in the wrong way: prefixes, base64, hexadecimal digits, raw bytes.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hookgate_core::internal::Format;
use zeroize::Zeroizing;

use super::copies::Copy;
use crate::repair;
use crate::setup::SecretText;

/// Prefixes that providers put in front of secrets, beside those of the scheme.
const PREFIXES: [&str; 12] = [
    "whsec_",
    "v1,whsec_",
    "whpk_",
    "whsk_",
    "v1,",
    "sk_",
    "shpss_",
    "lin_wh_",
    "pdl_ntfset_",
    "base64:",
    "sha256=",
    "0x",
];

/// Most parts before `_` or `:` that are removed one after another.
const MAX_PREFIXES: usize = 4;

/// The key or the text of a secret. Erased on drop.
type Bytes = Zeroizing<Vec<u8>>;

/// Returns the other readings of `text`, the most likely ones first.
pub(super) fn each(text: &SecretText, formats: &[Format<'_>]) -> Vec<Copy> {
    let mut readings = Readings {
        formats,
        found: Vec::new(),
    };
    let text = text.expose().trim_ascii();
    readings.without_prefix(text);
    readings.decoded(text);
    readings.keys(text);
    readings.encoded(text);
    readings.with_prefix(text);
    readings.found
}

struct Readings<'f> {
    formats: &'f [Format<'f>],
    found: Vec<Copy>,
}

impl Readings<'_> {
    /// Adds the text without the prefixes that it has.
    fn without_prefix(&mut self, text: &[u8]) {
        for prefix in self.known_prefixes() {
            if let Some(rest) = text.strip_prefix(prefix.as_bytes()) {
                let summary = format!(
                    "the configured secret begins with `{prefix}`, which the provider does not use"
                );
                self.text(rest.to_vec(), summary, 2);
            }
        }
        let mut rest = text;
        for _ in 0..MAX_PREFIXES {
            let Some(at) = rest.iter().position(|byte| matches!(byte, b'_' | b':')) else {
                break;
            };
            rest = &rest[at + 1..];
            let summary = "the configured secret has a prefix that the provider does not use";
            self.text(rest.to_vec(), summary.to_owned(), 3);
        }
    }

    /// Adds the text with each known prefix that it lacks.
    fn with_prefix(&mut self, text: &[u8]) {
        for prefix in self.known_prefixes() {
            if !text.starts_with(prefix.as_bytes()) {
                let is_usual = prefix == "whsec_" || self.is_own_prefix(&prefix);
                let summary = format!("the prefix `{prefix}` is missing from the secret");
                let cost = if is_usual { 2 } else { 4 };
                self.text([prefix.as_bytes(), text].concat(), summary, cost);
            }
        }
    }

    fn is_own_prefix(&self, prefix: &str) -> bool {
        let mut own = self
            .formats
            .iter()
            .flat_map(|format| format.secret_prefixes());
        own.any(|own| own == prefix)
    }

    fn known_prefixes(&self) -> Vec<String> {
        let own = self
            .formats
            .iter()
            .flat_map(|format| format.secret_prefixes());
        let mut all: Vec<String> = Vec::new();
        for prefix in own.chain(PREFIXES) {
            if !prefix.is_empty() && all.iter().all(|other| other != prefix) {
                all.push(prefix.to_owned());
            }
        }
        all
    }

    /// Adds the texts that `text` encodes in base64 or hexadecimal digits.
    fn decoded(&mut self, text: &[u8]) {
        let mut now = Bytes::new(text.to_vec());
        for (times, cost) in [("base64", 3), ("base64 of base64", 4)] {
            let Some(decoded) = unbase64(&now) else { break };
            now = Bytes::new(decoded.trim_ascii().to_vec());
            let summary = format!("the configured value is {times} of the secret");
            self.text(now.to_vec(), summary, cost);
        }
        if let Ok(decoded) = hex::decode(text) {
            let summary = "the configured value is the secret in hexadecimal digits";
            self.text(decoded.trim_ascii().to_vec(), summary.to_owned(), 3);
        }
    }

    /// Adds the texts that encode `text`, or its key, in base64 or hexadecimal digits.
    fn encoded(&mut self, text: &[u8]) {
        let summary = "the configured value is the decoded secret, and the scheme needs its text";
        for encoded in [
            STANDARD.encode(text),
            URL_SAFE_NO_PAD.encode(text),
            hex::encode(text),
        ] {
            self.text(encoded.into_bytes(), summary.to_owned(), 3);
        }
        if let Some(key) = unbase64(text) {
            let summary = "the secret is in base64, and the scheme needs hexadecimal digits";
            self.text(hex::encode(&*key).into_bytes(), summary.to_owned(), 4);
        }
        if let Ok(key) = hex::decode(text) {
            let summary = "the secret is in hexadecimal digits, and the scheme needs base64";
            for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                self.text(engine.encode(&key).into_bytes(), summary.to_owned(), 4);
            }
        }
    }

    /// Adds texts that the scheme reads as a key that `text` may mean.
    fn keys(&mut self, text: &[u8]) {
        let raw =
            "the configured text is the decoded key already, and the scheme decodes it once more";
        self.key(text, raw, 3);
        for prefix in self.known_prefixes() {
            if let Some(rest) = text.strip_prefix(prefix.as_bytes()) {
                self.key(rest, raw, 4);
                self.decoded_keys(rest, 4);
            }
        }
        self.decoded_keys(text, 3);
        if let Ok(text) = std::str::from_utf8(text) {
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            self.key(&wide, "the key is the secret in UTF-16", 6);
            let latin: Option<Vec<u8>> = text.chars().map(|one| u8::try_from(one).ok()).collect();
            if let Some(latin) = latin {
                self.key(&latin, "the key is the secret in Latin-1", 5);
            }
        }
    }

    fn decoded_keys(&mut self, text: &[u8], cost: u8) {
        if let Some(key) = unbase64(text) {
            self.key(&key, "the key is the secret decoded from base64", cost);
            if let Some(key) = unbase64(&key) {
                self.key(
                    &key,
                    "the key is the secret decoded from base64 twice",
                    cost + 1,
                );
            }
        }
        if let Ok(key) = hex::decode(text) {
            let key = Bytes::new(key);
            self.key(
                &key,
                "the key is the secret decoded from hexadecimal digits",
                cost,
            );
        }
    }

    fn key(&mut self, key: &[u8], summary: &str, cost: u8) {
        for format in self.formats {
            for text in format.secrets_for(key) {
                self.text(text.to_vec(), summary.to_owned(), cost);
            }
        }
    }

    fn text(&mut self, text: Vec<u8>, summary: String, cost: u8) {
        self.found.push(Copy {
            text: SecretText::new(text),
            summary,
            cost,
        });
    }
}

fn unbase64(text: &[u8]) -> Option<Bytes> {
    repair::unbase64(text).map(Bytes::new)
}
