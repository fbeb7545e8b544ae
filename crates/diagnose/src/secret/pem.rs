//! Public keys whose PEM text was damaged, or that have another form than the scheme's.

use hookgate_core::internal::Format;

use super::copies::Copy;
use crate::cause::Code;
use crate::repair::unbase64;
use crate::setup::SecretText;

/// A part of the first line of PEM (RFC 7468).
const BEGIN: &[u8] = b"BEGIN";
/// Texts longer than any key.
const MAX_LEN: usize = 64 * 1024;

/// Returns the keys that `text` may contain, in the form that the scheme reads.
pub(super) fn each(text: &SecretText, formats: &[Format<'_>]) -> Vec<(Code, Copy)> {
    let text = text.expose();
    let mut copies = Vec::new();
    if text.len() > MAX_LEN {
        return copies;
    }
    let mut push = |code, key: &[u8], summary: &str, cost| {
        let texts = formats.iter().flat_map(|format| format.secrets_for(key));
        copies.extend(texts.map(|text| {
            let copy = Copy {
                text: SecretText::new(text.to_vec()),
                summary: summary.to_owned(),
                cost,
            };
            (code, copy)
        }));
    };
    if let Some(key) = payload(text) {
        let has_label = memchr::memmem::find(text, BEGIN).is_some();
        match (has_label, reads_pem(formats)) {
            (true, true) => push(
                Code::SecretCopiedBadly,
                &key,
                "the PEM text of the public key lost its line ends, or has other text around it",
                3,
            ),
            (false, true) => push(
                Code::SecretCopiedBadly,
                &key,
                "the PEM text of the public key lost its lines BEGIN and END",
                3,
            ),
            (true, false) => push(
                Code::SecretDecoding,
                &key,
                "the public key is in PEM, and the scheme needs another form",
                3,
            ),
            (false, false) => {}
        }
    }
    if let Some(inner) = unbase64(text)
        && memchr::memmem::find(&inner, BEGIN).is_some()
        && let Some(key) = payload(&inner)
    {
        let summary = "the configured value is base64 of the PEM text of the public key";
        push(Code::SecretDecoding, &key, summary, 4);
    }
    if let Ok(key) = hex::decode(text.trim_ascii()) {
        let summary = "the public key is in hexadecimal digits, and the scheme needs another form";
        push(Code::SecretDecoding, &key, summary, 4);
    }
    let summary = "the public key is in DER, and the scheme needs another form";
    push(Code::SecretDecoding, text, summary, 4);
    copies
}

/// Whether the scheme reads keys in PEM.
fn reads_pem(formats: &[Format<'_>]) -> bool {
    let mut texts = formats.iter().flat_map(|format| format.secrets_for(b"key"));
    texts.any(|text| memchr::memmem::find(&text, BEGIN).is_some())
}

/// Returns the bytes in the longest run of base64 between dashes: what PEM puts between its
/// first and its last line.
fn payload(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.replace("\\r", " ").replace("\\n", " ");
    let runs = text.split(['-', '\u{2013}', '\u{2014}']);
    let run = runs.max_by_key(|run| run.len())?;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let run: Vec<u8> = run.bytes().filter(is_base64).collect();
    unbase64(&run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_of_pem_survives_lost_line_ends() {
        for text in [
            "-----BEGIN PUBLIC KEY-----\nAQID\nBAUG\n-----END PUBLIC KEY-----\n",
            "-----BEGIN PUBLIC KEY-----\\nAQID\\nBAUG\\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY----- AQID BAUG -----END PUBLIC KEY-----",
            "\"-----BEGIN PUBLIC KEY-----AQIDBAUG-----END PUBLIC KEY-----\"",
            "AQID\r\nBAUG",
        ] {
            // A short payload is not the longest run, so the labels are shortened.
            let text = text.replace("PUBLIC KEY", "K");
            assert_eq!(
                payload(text.as_bytes()),
                Some(vec![1, 2, 3, 4, 5, 6]),
                "{text}"
            );
        }
    }
}
