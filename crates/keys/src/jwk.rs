//! JSON Web Keys (RFC 7517): the public keys that verify signatures.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hookgate_core::UnixTime;
use serde_json::{Map, Value};

/// A public key that a document lists, with its bytes as `FetchedKey` expects them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListedKey {
    pub(crate) id: Option<String>,
    pub(crate) public_key: Vec<u8>,
    /// The end of the key's period. Plaid states it as `expired_at`.
    pub(crate) not_after: Option<UnixTime>,
}

impl ListedKey {
    /// Reads a JSON Web Key. `algorithms` are the registered names that the scheme accepts; empty accepts
    /// every name.
    ///
    /// Returns `None` for a key that does not verify signatures of the scheme: it is for
    /// encryption, names another algorithm, or has another type.
    pub(crate) fn from_jwk(value: &Value, algorithms: &[String]) -> Option<Self> {
        let object = value.as_object()?;
        if object.get("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let operations = object.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|all| !all.iter().any(|operation| operation == "verify")) {
            return None;
        }
        if let Some(algorithm) = object.get("alg")
            && !algorithms.is_empty()
            && !algorithms.iter().any(|name| algorithm == name.as_str())
        {
            return None;
        }
        let public_key = match object.get("kty")?.as_str()? {
            "EC" => elliptic_point(object)?,
            "RSA" => rsa_key(&bytes(object, "n")?, &bytes(object, "e")?),
            "OKP" if object.get("crv")? == "Ed25519" => bytes(object, "x")?,
            _ => return None,
        };
        let expired_at = object.get("expired_at").and_then(Value::as_i64);
        Some(Self {
            id: object.get("kid").and_then(Value::as_str).map(str::to_owned),
            public_key,
            not_after: expired_at.map(UnixTime::from_secs),
        })
    }
}

/// Returns the uncompressed point (SEC 1 §2.3.3).
fn elliptic_point(object: &Map<String, Value>) -> Option<Vec<u8>> {
    let len = match object.get("crv")?.as_str()? {
        "P-256" => 32,
        "P-521" => 66,
        _ => return None,
    };
    let (x, y) = (bytes(object, "x")?, bytes(object, "y")?);
    (x.len() == len && y.len() == len).then(|| [&[4][..], &x, &y].concat())
}

fn bytes(object: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(object.get(name)?.as_str()?).ok()
}

/// Returns an RSA key in DER (RFC 8017 §A.1.1): a sequence of modulus and exponent.
fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let start = bytes.iter().position(|byte| *byte != 0);
        let digits = &bytes[start.unwrap_or(bytes.len())..];
        // A first bit of 1 would make the number negative.
        let sign: &[u8] = match digits.first() {
            Some(0x80..) | None => &[0],
            Some(_) => &[],
        };
        element(0x02, &[sign, digits].concat())
    };
    element(0x30, &[integer(modulus), integer(exponent)].concat())
}

/// Returns a DER element (X.690 §8.1).
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len().to_be_bytes();
    let digits = &len[len
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(len.len() - 1)..];
    let mut bytes = vec![tag];
    if content.len() >= 0x80 {
        bytes.push(0x80 | digits.len() as u8);
    }
    bytes.extend_from_slice(digits);
    bytes.extend_from_slice(content);
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn point() -> Value {
        let coordinate = URL_SAFE_NO_PAD.encode([7; 32]);
        json!({ "kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate, "kid": "a" })
    }

    #[test]
    fn a_key_for_another_use_or_algorithm_is_left_out() {
        let with = |name: &str, value: Value| {
            let mut key = point();
            key[name] = value;
            ListedKey::from_jwk(&key, &["ES256".to_owned()])
        };
        for (name, value) in [
            ("use", json!("sig")),
            ("alg", json!("ES256")),
            ("key_ops", json!(["verify"])),
        ] {
            assert!(with(name, value).is_some(), "{name}");
        }
        for (name, value) in [
            ("use", json!("enc")),
            ("alg", json!("ES512")),
            ("key_ops", json!(["sign"])),
            ("kty", json!("oct")),
            ("crv", json!("P-384")),
            ("x", json!("AA")),
            ("x", json!("=")),
            ("y", json!(7)),
        ] {
            assert_eq!(with(name, value.clone()), None, "{name} {value}");
        }
        for value in [json!([]), json!("a"), json!({})] {
            assert_eq!(ListedKey::from_jwk(&value, &[]), None);
        }
    }

    #[test]
    fn a_key_may_have_an_end() {
        let mut key = point();
        key["expired_at"] = json!(1_784_187_600);
        let end = ListedKey::from_jwk(&key, &[]).unwrap().not_after;
        assert_eq!(end, Some(UnixTime::from_secs(1_784_187_600)));
        key["expired_at"] = Value::Null;
        assert_eq!(ListedKey::from_jwk(&key, &[]).unwrap().not_after, None);
    }

    #[test]
    fn an_rsa_key_becomes_der() {
        assert_eq!(
            rsa_key(&[0, 0x81], &[1, 0, 1]),
            [0x30, 9, 2, 2, 0, 0x81, 2, 3, 1, 0, 1]
        );
        let long = rsa_key(&[0x7f; 256], &[3]);
        assert_eq!(long[..8], [0x30, 0x82, 1, 7, 2, 0x82, 1, 0]);
    }
}
