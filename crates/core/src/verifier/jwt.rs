//! JSON Web Tokens (RFC 7519) in compact form (RFC 7515 §7.1).
//!
//! The scheme lists the accepted algorithms, and the token chooses one of them.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::VerifyError;
use crate::mac::{Algorithm, TagLen};
use crate::scheme::JwtAlgorithm;
use crate::scheme::field::Encoding;
use crate::time::UnixTime;

/// Longest token, in bytes.
const MAX_LEN: usize = 16 * 1024;

/// Splits a token into its signed part and its signature.
pub(super) fn split(token: &[u8]) -> Option<(&[u8], &[u8])> {
    if token.len() > MAX_LEN || token.iter().filter(|byte| **byte == b'.').count() != 2 {
        return None;
    }
    let at = token.iter().rposition(|byte| *byte == b'.')?;
    Some((&token[..at], &token[at + 1..]))
}

/// The claims of a token, and the members of its header.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    /// The encoded header of a signature that has no payload of its own.
    pub(super) encoded_header: Option<Box<[u8]>>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Claims {
    /// Reads the header and the claims from the signed part of a token. Returns the claims and
    /// the algorithm that the header names, which is one of `algorithms`.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::SignatureMalformed`] if the text is not a token, and
    /// [`VerifyError::SignatureVersionUnknown`] if the token has another algorithm or a
    /// critical extension.
    pub(super) fn read(
        signed: &[u8],
        algorithms: &[JwtAlgorithm],
    ) -> Result<(Self, Algorithm), VerifyError> {
        const MALFORMED: VerifyError = VerifyError::SignatureMalformed;
        let at = signed
            .iter()
            .position(|byte| *byte == b'.')
            .ok_or(MALFORMED)?;
        let (header, algorithm) = read_header(&signed[..at], algorithms)?;
        let claims = object(&signed[at + 1..]).ok_or(MALFORMED)?;
        let encoded_header = None;
        let claims = Self {
            encoded_header,
            header,
            claims,
        };
        Ok((claims, algorithm))
    }

    /// Reads the header of a signature whose payload is not in the token. `signed` is the encoded
    /// header and a dot.
    ///
    /// # Errors
    ///
    /// The errors are those of [`read`](Self::read). A token with a payload is malformed.
    pub(super) fn read_detached(
        signed: &[u8],
        algorithms: &[JwtAlgorithm],
    ) -> Result<(Self, Algorithm), VerifyError> {
        let encoded = signed.strip_suffix(b".");
        let encoded = encoded.ok_or(VerifyError::SignatureMalformed)?;
        Self::from_header(encoded, algorithms)
    }

    /// Creates the claims of an encoded header alone.
    ///
    /// # Errors
    ///
    /// The errors are those of [`read`](Self::read).
    pub(crate) fn from_header(
        encoded: &[u8],
        algorithms: &[JwtAlgorithm],
    ) -> Result<(Self, Algorithm), VerifyError> {
        let (header, algorithm) = read_header(encoded, algorithms)?;
        let claims = Self {
            encoded_header: Some(encoded.into()),
            header,
            claims: Map::new(),
        };
        Ok((claims, algorithm))
    }

    /// Returns the text of the claim `name`, if it is a string, a whole number or a truth
    /// value.
    ///
    /// An array of one element counts as that element, as RFC 7519 §4.1.3 allows for `aud`.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(&self.claims, name)
    }

    /// Returns the text of the member `name` of the header, like [`text`](Self::text).
    pub(super) fn header_text(&self, name: &str) -> Option<String> {
        text(&self.header, name)
    }

    /// Checks `exp` and `nbf` (RFC 7519 §4.1), if the token has them. Returns the last time at
    /// which the token is valid, if it has one.
    pub(super) fn check_time(
        &self,
        now: UnixTime,
        leeway: Duration,
    ) -> Result<Option<UnixTime>, VerifyError> {
        let time = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_i64()
                .map(|seconds| Some(UnixTime::from_secs(seconds)))
                .ok_or(VerifyError::TimestampMalformed),
        };
        let end = time("exp")?.map(|end| end.plus(leeway));
        if end.is_some_and(|end| now > end) {
            return Err(VerifyError::TimestampTooOld);
        }
        if time("nbf")?.is_some_and(|start| now < start.minus(leeway)) {
            return Err(VerifyError::TimestampTooNew);
        }
        Ok(end)
    }
}

/// Returns the text of a member that is a string, a whole number or a truth value, alone or in an
/// array.
fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    let value = match object.get(name)? {
        Value::Array(values) => match values.as_slice() {
            [value] => value,
            _ => return None,
        },
        value => value,
    };
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Reads an encoded header. Returns its members, and the algorithm that it names.
fn read_header(
    encoded: &[u8],
    algorithms: &[JwtAlgorithm],
) -> Result<(Map<String, Value>, Algorithm), VerifyError> {
    let header = object(encoded).ok_or(VerifyError::SignatureMalformed)?;
    let named = header.get("alg").and_then(Value::as_str);
    let wanted = named.map(|name| format!("jwt-{}", name.to_ascii_lowercase()));
    let mut algorithms = algorithms.iter();
    let chosen = algorithms.find(|jwt| Some(jwt.name) == wanted.as_deref());
    let chosen = chosen.ok_or(VerifyError::SignatureVersionUnknown)?;
    // A token with an unknown critical extension must be refused (RFC 7515 §4.1.11). No
    // extension is known.
    if header.contains_key("crit") {
        return Err(VerifyError::SignatureVersionUnknown);
    }
    Ok((header, chosen.algorithm))
}

/// Decodes a JSON object in base64url.
fn object(text: &[u8]) -> Option<Map<String, Value>> {
    let bytes = Encoding::Base64Url.decode(text, TagLen::AtMost(MAX_LEN))?;
    serde_json::from_slice(bytes.bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> Vec<u8> {
        let [header, claims] = [header, claims].map(|t| Encoding::Base64Url.encode(t.as_bytes()));
        format!("{header}.{claims}").into_bytes()
    }

    const HS256: [JwtAlgorithm; 1] = [JwtAlgorithm {
        name: "jwt-hs256",
        algorithm: Algorithm::HmacSha256,
    }];

    #[test]
    fn a_token_cannot_choose_an_algorithm_that_the_scheme_does_not_list() {
        let read = |header: &str| Claims::read(&token(header, "{}"), &HS256).map(drop);
        assert_eq!(read(r#"{"alg":"HS256","typ":"JWT"}"#), Ok(()));
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"HS256","crit":["b64"]}"#,
        ] {
            assert_eq!(
                read(header),
                Err(VerifyError::SignatureVersionUnknown),
                "{header}"
            );
        }
        assert_eq!(read("[]"), Err(VerifyError::SignatureMalformed));
    }

    #[test]
    fn a_token_is_valid_from_nbf_to_exp() {
        let claims = Claims::read(
            &token(r#"{"alg":"HS256"}"#, r#"{"exp":100,"nbf":50}"#),
            &HS256,
        );
        let (claims, _) = claims.unwrap();
        let at = |seconds| claims.check_time(UnixTime::from_secs(seconds), Duration::from_secs(10));
        let end = Some(UnixTime::from_secs(110));
        assert_eq!(at(40), Ok(end));
        assert_eq!(at(110), Ok(end));
        assert_eq!(at(39), Err(VerifyError::TimestampTooNew));
        assert_eq!(at(111), Err(VerifyError::TimestampTooOld));
    }

    #[test]
    fn a_token_has_three_parts() {
        assert_eq!(split(b"a.b.c"), Some((&b"a.b"[..], &b"c"[..])));
        for text in [&b"a.b"[..], b"a.b.c.d", b""] {
            assert_eq!(split(text), None);
        }
    }
}
