//! Digests of the body in `Content-Digest` (RFC 9530).

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, DictSerializer, key_ref};
use sha2::{Digest, Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use super::dictionary::{self, Value};
use crate::error::VerifyError;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The SHA-256 and SHA-512 digests in a `Content-Digest` field, at least one.
///
/// Digests of other algorithms are ignored, because some of these algorithms are broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

impl Digests {
    /// Computes the digest that a sender writes for `body`.
    pub(crate) fn of(body: &[u8]) -> Self {
        Self {
            sha256: Some(Sha256::digest(body).into()),
            sha512: None,
        }
    }

    /// Reads the digests in the headers.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::FieldMissing`] without a `Content-Digest`, and
    /// [`VerifyError::FieldMalformed`] if it is malformed or has no usable digest.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, VerifyError> {
        let malformed = VerifyError::FieldMalformed;
        let members = dictionary::read(headers, &CONTENT_DIGEST).map_err(|_| malformed)?;
        let (mut sha256, mut sha512) = (None, None);
        for member in members.ok_or(VerifyError::FieldMissing)? {
            let Value::Item(BareItem::ByteSequence(digest)) = &member.value else {
                return Err(malformed);
            };
            match member.key.as_str() {
                "sha-256" => sha256 = Some(digest.as_slice().try_into().map_err(|_| malformed)?),
                "sha-512" => sha512 = Some(digest.as_slice().try_into().map_err(|_| malformed)?),
                _ => {}
            }
        }
        if sha256.is_none() && sha512.is_none() {
            return Err(malformed);
        }
        Ok(Self { sha256, sha512 })
    }

    /// Whether every digest matches `body`, as it was transferred.
    pub(crate) fn matches(&self, body: &[u8]) -> bool {
        let mut all = Choice::from(1);
        if let Some(digest) = &self.sha256 {
            all &= Sha256::digest(body).as_slice().ct_eq(digest);
        }
        if let Some(digest) = &self.sha512 {
            all &= Sha512::digest(body).as_slice().ct_eq(digest);
        }
        all.into()
    }

    /// Returns the value of the `Content-Digest` field.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut digests = DictSerializer::new();
        if let Some(digest) = &self.sha256 {
            _ = digests.bare_item(key_ref("sha-256"), &digest[..]);
        }
        if let Some(digest) = &self.sha512 {
            _ = digests.bare_item(key_ref("sha-512"), &digest[..]);
        }
        let value = digests.finish().unwrap_or_default();
        HeaderValue::try_from(value).expect("structured fields are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"hello": "world"}"#;
    const SHA256: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    const SHA512: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX\
        +TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

    fn read(lines: &[&str]) -> Result<Digests, VerifyError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CONTENT_DIGEST, HeaderValue::from_str(line).unwrap());
        }
        Digests::read(&headers)
    }

    #[test]
    fn a_body_must_match_every_digest() {
        let both = format!("{SHA256}, {SHA512}");
        let with_unknown = format!("md5=:AAAA:, {SHA256};q=1, id-sha-512=::");
        for lines in [
            &[SHA256][..],
            &[SHA512],
            &[&both],
            &[SHA256, SHA512],
            &[&with_unknown],
        ] {
            let digests = read(lines).unwrap();
            assert!(digests.matches(BODY), "{lines:?}");
            assert!(!digests.matches(br#"{"hello": "World"}"#), "{lines:?}");
            assert!(!digests.matches(b""), "{lines:?}");
        }
        // A matching digest does not excuse a second digest without a match.
        let zeros = format!("sha-256=:{}=:", "A".repeat(43));
        assert!(!read(&[&zeros]).unwrap().matches(BODY));
        assert!(!read(&[SHA512, &zeros]).unwrap().matches(BODY));
        assert!(!read(&[&zeros, SHA512]).unwrap().matches(BODY));
    }

    #[test]
    fn a_malformed_digest_is_refused() {
        assert_eq!(read(&[]), Err(VerifyError::FieldMissing));
        let text = SHA256.replace(":X", "\"X").replace("=:", "=\"");
        let short = SHA256.replace("X48E", "");
        let long = SHA256.replace("X48E", "X48EX48E");
        let swapped = SHA256.replace("256", "512");
        for lines in [
            &[""][..],
            &["md5=:AAAA:"],
            &["sha-256"],
            &["sha-256=::"],
            &["sha-256=1"],
            &["sha-256=(:AAAA:)"],
            &["SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"],
            &[&text],
            &[&short],
            &[&long],
            &[&swapped],
            &[SHA256, SHA256],
            &[SHA256, "md5=1"],
            &[SHA256, "sha-512=:AAAA:"],
            &[SHA256, ","],
        ] {
            assert_eq!(read(lines), Err(VerifyError::FieldMalformed), "{lines:?}");
        }
    }

    #[test]
    fn a_written_digest_can_be_read() {
        let value = Digests::of(BODY).header();
        assert_eq!(value, SHA256);
        assert_eq!(read(&[SHA256]), Ok(Digests::of(BODY)));
        let both = format!("{SHA256}, {SHA512}");
        assert_eq!(read(&[SHA512, SHA256]).unwrap().header(), both);
    }
}
