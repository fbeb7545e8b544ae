//! Reads the keys in a document.

use std::error::Error;
use std::fmt;

use hookgate_core::internal::{FetchRule, KeyFormat, fetch_rule};
use hookgate_core::{FetchedKey, Scheme, UnixTime};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use crate::certificate::{CertificateCheck, CertificateError};
use crate::fetch::DocumentRequest;
use crate::jwk::ListedKey;

/// The most keys that a document may list.
const MAX_KEYS: usize = 1000;

/// Why a document has no usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentError {
    /// The document does not have the format of the scheme.
    Malformed,
    /// The document lists more than 1000 keys, or is larger than 1 MiB.
    TooLarge,
    /// The document has no key of the scheme's algorithm.
    NoKey,
    /// The certificate is not one of the provider's, or does not count now.
    Certificate(CertificateError),
}

/// A key of a document, with its id if it has one.
pub(crate) type NamedKey = (Option<String>, FetchedKey);

/// Reads the keys of `scheme` in a document that an operator supplies.
///
/// `id` names the key of a document that has a single key without a name. The chain of a
/// certificate is not checked: the operator has chosen the document.
///
/// # Errors
///
/// Returns a [`DocumentError`] if the document has no usable key.
pub fn read_keys(
    scheme: &Scheme,
    id: &str,
    document: &[u8],
) -> Result<Vec<FetchedKey>, DocumentError> {
    let rule = fetch_rule(scheme).ok_or(DocumentError::NoKey)?;
    let keys = match rule.format {
        KeyFormat::Certificate => {
            let certificate =
                CertificateCheck::read(document).map_err(DocumentError::Certificate)?;
            vec![certificate.key(scheme, id)?]
        }
        _ => parse(scheme, rule, id, document)?
            .into_iter()
            .map(|(_, key)| key)
            .collect(),
    };
    Ok(keys)
}

/// Reads the keys of `scheme` in a document that is no certificate.
///
/// A key that the scheme cannot use is left out. So is an id that two different usable keys
/// have.
///
/// # Errors
///
/// Returns a [`DocumentError`] if the document has no usable key.
pub(crate) fn parse(
    scheme: &Scheme,
    rule: &FetchRule,
    id: &str,
    document: &[u8],
) -> Result<Vec<NamedKey>, DocumentError> {
    if document.len() > DocumentRequest::MAX_DOCUMENT {
        return Err(DocumentError::TooLarge);
    }
    let algorithms = algorithms(scheme);
    let usable = |listed: ListedKey| {
        let name = listed.id.as_deref().unwrap_or(id);
        let key = FetchedKey::new(scheme, name, &listed.public_key, None, listed.not_after);
        Some((listed, key.ok()?))
    };
    let from_jwk = |value: &Value| usable(ListedKey::from_jwk(value, &algorithms)?);
    let from_pem = |text: &str, name: Option<&str>| {
        usable(ListedKey {
            id: name.map(str::to_owned),
            public_key: public_key(text)?,
            not_after: None,
        })
    };
    let keys: Vec<(ListedKey, FetchedKey)> = match (rule.format, rule.at.as_deref()) {
        (KeyFormat::Pem, None) => {
            let text = std::str::from_utf8(document).map_err(|_| DocumentError::Malformed)?;
            from_pem(text, None).into_iter().collect()
        }
        (KeyFormat::Pem, Some(at)) => {
            let text = member(document, at)?;
            let text = text.as_str().ok_or(DocumentError::Malformed)?;
            from_pem(text, None).into_iter().collect()
        }
        (KeyFormat::Jwk, at) => {
            let key = member(document, at.unwrap_or_default())?;
            from_jwk(&key).into_iter().collect()
        }
        (KeyFormat::PemList, at) => list(document, at.unwrap_or_default())?
            .iter()
            .filter_map(|value| {
                let name = value.get("key_identifier")?.as_str()?;
                from_pem(value.get("key")?.as_str()?, Some(name))
            })
            .collect(),
        (_, at) => list(document, at.unwrap_or("/keys"))?
            .iter()
            .filter_map(from_jwk)
            .filter(|(listed, _)| listed.id.is_some())
            .collect(),
    };
    let keys = without_ambiguous(keys);
    match keys.is_empty() {
        true => Err(DocumentError::NoKey),
        false => Ok(keys),
    }
}

/// Leaves out ids that two different keys have. A key may be listed twice.
fn without_ambiguous(mut keys: Vec<(ListedKey, FetchedKey)>) -> Vec<NamedKey> {
    keys.sort_by(|(one, _), (other, _)| one.id.cmp(&other.id));
    let of_one_id = keys.chunk_by(|(one, _), (other, _)| one.id == other.id);
    let unambiguous = of_one_id.filter_map(|group| {
        let (listed, key) = group.first()?;
        let is_same = group.iter().all(|(other, _)| other == listed);
        is_same.then(|| (listed.id.clone(), key.clone()))
    });
    unambiguous.collect()
}

/// Returns the registered names of the JSON Web Algorithms that the scheme accepts.
fn algorithms(scheme: &Scheme) -> Vec<String> {
    scheme
        .variants()
        .filter_map(|variant| {
            let name = variant.algorithm();
            name.strip_prefix("jwt-").or(name.strip_prefix("jws-"))
        })
        .map(str::to_ascii_uppercase)
        .collect()
}

fn member(document: &[u8], at: &str) -> Result<Value, DocumentError> {
    let mut value: Value =
        serde_json::from_slice(document).map_err(|_| DocumentError::Malformed)?;
    let member = value.pointer_mut(at).ok_or(DocumentError::Malformed)?;
    Ok(member.take())
}

fn list(document: &[u8], at: &str) -> Result<Vec<Value>, DocumentError> {
    match member(document, at)? {
        Value::Array(keys) if keys.len() > MAX_KEYS => Err(DocumentError::TooLarge),
        Value::Array(keys) => Ok(keys),
        _ => Err(DocumentError::Malformed),
    }
}

/// Returns the DER of a public key in PEM. eBay writes the PEM without line breaks.
fn public_key(text: &str) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
    const END: &str = "-----END PUBLIC KEY-----";
    let rest = text.trim().strip_prefix(BEGIN)?;
    let inner = rest.strip_suffix(END)?.trim();
    let text = format!("{BEGIN}\n{inner}\n{END}\n");
    let key = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?;
    Some(key.to_vec())
}

impl CertificateCheck<'_> {
    /// Returns the key of the certificate.
    pub(crate) fn key(&self, scheme: &Scheme, id: &str) -> Result<FetchedKey, DocumentError> {
        let (start, end): (UnixTime, UnixTime) = self.period();
        FetchedKey::new(scheme, id, self.public_key(), Some(start), Some(end))
            .map_err(|_| DocumentError::NoKey)
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the document does not have the expected format"),
            Self::TooLarge => f.write_str("the document is too large, or lists too many keys"),
            Self::NoKey => f.write_str("the document has no key of the scheme's algorithm"),
            Self::Certificate(_) => f.write_str("the certificate is refused"),
        }
    }
}

impl Error for DocumentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Certificate(cause) => Some(cause),
            _ => None,
        }
    }
}
