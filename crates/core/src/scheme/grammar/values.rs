//! Parsers of the values of single keys.

use http::{HeaderName, Method, StatusCode};

use crate::document::{FromValue, Value, text};
use crate::mac::{Algorithm, KeyDigest, KeyEncoding, PublicAlgorithm};
use crate::message_signature::Component;
use crate::scheme::BodyForm;
use crate::scheme::field::{Encoding, TimeUnit};
use crate::scheme::handshake::{CharSet, ResponseType};
use crate::scheme::location::Location;
use crate::scheme::signature::Trim;

/// Reads a string that must be one of `names`.
fn one_of<T: Copy + FromValue>(value: &Value, names: &[(&str, T)]) -> Result<T, String> {
    text(value, |text| {
        names
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, meaning)| *meaning)
    })
}

/// The value of `alg`: an algorithm, and whether the signature is a JSON Web Token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemeAlgorithm {
    Plain(Algorithm),
    Jwt(&'static str, Algorithm),
    /// A JSON Web Signature whose payload is the message (RFC 7515 appendix F).
    Jws(&'static str, Algorithm),
}

impl SchemeAlgorithm {
    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::Plain(algorithm) | Self::Jwt(_, algorithm) | Self::Jws(_, algorithm) => algorithm,
        }
    }
}

impl FromValue for SchemeAlgorithm {
    const EXPECTED: &'static str = "one of hmac-sha1, hmac-sha256, hmac-sha384, hmac-sha512, \
                                    sha256, ed25519, ecdsa-p256-sha256, ecdsa-p256-sha256-fixed, \
                                    ecdsa-p256-sha1, rsa-pkcs1-sha256, \
                                    rsa-pkcs1-sha256-or-sha1, rsa-pss-sha512, token, jwt-hs256, \
                                    jwt-hs384, jwt-hs512, jwt-rs256, jwt-es256, jws-es512";

    fn from_value(value: &Value) -> Result<Self, String> {
        const JWT: [(&str, Algorithm); 5] = [
            ("jwt-hs256", Algorithm::HmacSha256),
            ("jwt-hs384", Algorithm::HmacSha384),
            ("jwt-hs512", Algorithm::HmacSha512),
            (
                "jwt-rs256",
                Algorithm::Public(PublicAlgorithm::RsaPkcs1Sha256),
            ),
            (
                "jwt-es256",
                Algorithm::Public(PublicAlgorithm::EcdsaP256Sha256Fixed),
            ),
        ];
        let jwt = JWT.map(|(name, algorithm)| (name, Self::Jwt(name, algorithm)));
        let plain = Algorithm::NAMES.map(|(name, algorithm)| (name, Self::Plain(algorithm)));
        let es512 = Algorithm::Public(PublicAlgorithm::EcdsaP521Sha512Fixed);
        let jws = [("jws-es512", Self::Jws("jwt-es512", es512))];
        let all = plain.into_iter().chain(jwt).chain(jws);
        one_of(value, &all.collect::<Vec<_>>())
    }
}

impl FromValue for Component {
    const EXPECTED: &'static str = "a header name in lower case, or one of @method, @target-uri, \
                                    @authority, @scheme, @request-target, @path, @query";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::named)
    }
}

impl FromValue for KeyEncoding {
    const EXPECTED: &'static str = "one of utf8, base64, base64url, hex, pem";

    fn from_value(value: &Value) -> Result<Self, String> {
        let names = [
            ("utf8", Self::Utf8),
            ("base64", Self::Base64),
            ("base64url", Self::Base64Url),
            ("hex", Self::Hex),
            ("pem", Self::Pem),
        ];
        one_of(value, &names)
    }
}

impl FromValue for KeyDigest {
    const EXPECTED: &'static str = "\"sha1\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        one_of(value, &[("sha1", Self::Sha1)])
    }
}

impl FromValue for Encoding {
    const EXPECTED: &'static str = "one of hex, base64, base64url, base64-hex";

    fn from_value(value: &Value) -> Result<Self, String> {
        let names = [
            ("hex", Self::Hex),
            ("base64", Self::Base64),
            ("base64url", Self::Base64Url),
            ("base64-hex", Self::Base64Hex),
        ];
        one_of(value, &names)
    }
}

impl FromValue for BodyForm {
    const EXPECTED: &'static str = "one of json, json-object, json-or-empty, empty";

    fn from_value(value: &Value) -> Result<Self, String> {
        let names = [
            ("json", Self::Json),
            ("json-object", Self::JsonObject),
            ("json-or-empty", Self::JsonOrEmpty),
            ("empty", Self::Empty),
        ];
        one_of(value, &names)
    }
}

impl FromValue for TimeUnit {
    const EXPECTED: &'static str = "one of s, ms, s-or-ms, rfc3339, rfc3339-utc, http-date";

    fn from_value(value: &Value) -> Result<Self, String> {
        let names = [
            ("s", Self::Seconds),
            ("ms", Self::Milliseconds),
            ("s-or-ms", Self::SecondsOrMilliseconds),
            ("rfc3339", Self::Rfc3339),
            ("rfc3339-utc", Self::Rfc3339Utc),
            ("http-date", Self::HttpDate),
        ];
        one_of(value, &names)
    }
}

impl FromValue for Location {
    const EXPECTED: &'static str = "header:NAME, query:NAME, form:NAME, multipart:NAME, \
                                    json:/POINTER, sig:NAME, sig:#POSITION, claim:NAME, \
                                    jose:NAME or param:NAME";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::parse)
    }
}

impl FromValue for HeaderName {
    const EXPECTED: &'static str = "a header name";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| Self::from_bytes(text.as_bytes()).ok())
    }
}

/// A byte that separates items.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Separator(pub(super) u8);

impl Separator {
    /// Returns whether base64, base64url, hexadecimal digits or a token can contain the byte.
    pub(super) fn can_be_in_signature(self) -> bool {
        self.0.is_ascii_alphanumeric() || b"+/=-_.".contains(&self.0)
    }
}

impl FromValue for Separator {
    const EXPECTED: &'static str = "one ASCII character";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text.as_bytes() {
            [byte] if byte.is_ascii() => Some(Self(*byte)),
            _ => None,
        })
    }
}

impl FromValue for Trim {
    const EXPECTED: &'static str = "true, false, \",\" or \";\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Boolean(false) => Ok(Self::Nothing),
            Value::Boolean(true) => Ok(Self::Blanks),
            // Another character could be a part of a signature.
            Value::String(end) if end == "," || end == ";" => {
                Ok(Self::BlanksAndEnd(end.as_bytes()[0]))
            }
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

/// The status of a response that refuses a delivery.
#[derive(Clone, Copy)]
pub(super) struct RefusalStatus(pub(super) StatusCode);

impl FromValue for RefusalStatus {
    const EXPECTED: &'static str = "one of 400, 401, 403";

    fn from_value(value: &Value) -> Result<Self, String> {
        let status = match value.as_integer() {
            Some(400) => StatusCode::BAD_REQUEST,
            Some(401) => StatusCode::UNAUTHORIZED,
            Some(403) => StatusCode::FORBIDDEN,
            _ => return Err(format!("expected {}", Self::EXPECTED)),
        };
        Ok(Self(status))
    }
}

/// The status of the response to a handshake.
#[derive(Clone, Copy)]
pub(crate) struct SuccessStatus(pub(crate) StatusCode);

impl FromValue for SuccessStatus {
    const EXPECTED: &'static str = "one of 200, 201, 202, 204";

    fn from_value(value: &Value) -> Result<Self, String> {
        let status = match value.as_integer() {
            Some(200) => StatusCode::OK,
            Some(201) => StatusCode::CREATED,
            Some(202) => StatusCode::ACCEPTED,
            Some(204) => StatusCode::NO_CONTENT,
            _ => return Err(format!("expected {}", Self::EXPECTED)),
        };
        Ok(Self(status))
    }
}

/// The method of a handshake.
pub(super) struct HandshakeMethod(pub(super) Method);

impl FromValue for HandshakeMethod {
    const EXPECTED: &'static str = "one of GET, HEAD, POST, OPTIONS";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS]
                .into_iter()
                .find(|method| method.as_str() == text)
                .map(Self)
        })
    }
}

/// The method of a delivery.
pub(super) struct DeliveryMethod(pub(super) Method);

impl FromValue for DeliveryMethod {
    const EXPECTED: &'static str = "one of GET, POST";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            [Method::GET, Method::POST]
                .into_iter()
                .find(|method| method.as_str() == text)
                .map(Self)
        })
    }
}

impl FromValue for ResponseType {
    const EXPECTED: &'static str = "text/plain or application/json";

    fn from_value(value: &Value) -> Result<Self, String> {
        one_of(
            value,
            &[("text/plain", Self::Text), ("application/json", Self::Json)],
        )
    }
}

impl FromValue for CharSet {
    const EXPECTED: &'static str = "ASCII characters and ranges, such as A-Za-z0-9_-";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::parse)
    }
}
