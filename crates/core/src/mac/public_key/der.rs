//! Keys and certificates in DER and PEM.

use x509_cert::Certificate;
use x509_cert::der::asn1::{BitStringRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, pem};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::PEM_EXPECTED;
use crate::error::SecretError;

/// Returns the key in a `SubjectPublicKeyInfo` (RFC 5280) of the algorithm `id`.
#[cfg(any(feature = "ed25519", feature = "rsa"))]
pub(super) fn public_key_bits(info: &[u8], id: ObjectIdentifier) -> Option<Vec<u8>> {
    let info = SubjectPublicKeyInfoRef::from_der(info).ok()?;
    let bits = BitStringRef::as_bytes(&info.subject_public_key);
    bits.filter(|_| info.algorithm.oid == id).map(Into::into)
}

/// Returns the DER inside of a PEM text (RFC 7468). For a certificate, returns the DER of its
/// public key.
///
/// # Errors
///
/// Returns [`SecretError::Encoding`] if the text is not PEM, or holds something else than a key
/// or a certificate.
pub(in crate::mac) fn read_pem(text: &[u8]) -> Result<Vec<u8>, SecretError> {
    let decoded = pem::decode_vec(text.trim_ascii()).ok();
    let (label, der) = decoded.ok_or(PEM_EXPECTED)?;
    match label {
        "CERTIFICATE" => {
            let certificate = Certificate::from_der(&der).ok();
            let key = certificate.and_then(|certificate| {
                let key = certificate.tbs_certificate().subject_public_key_info();
                key.to_der().ok()
            });
            key.ok_or(PEM_EXPECTED)
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" | "PRIVATE KEY" | "RSA PRIVATE KEY" => Ok(der),
        _ => Err(PEM_EXPECTED),
    }
}

/// Writes the PEM text of a public key or a certificate, from which [`read_pem`] reads `der`.
pub(in crate::mac) fn write_pem(der: &[u8]) -> Option<String> {
    let label = match Certificate::from_der(der) {
        Ok(_) => "CERTIFICATE",
        Err(_) => "PUBLIC KEY",
    };
    pem::encode_string(label, pem::LineEnding::LF, der).ok()
}
