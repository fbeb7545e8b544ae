//! ECDSA over the curves P-256 and P-521, behind the feature `ecdsa`.

use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::pkcs8::DecodePrivateKey as _;
use sha1::{Digest as _, Sha1};
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::{SignMessage, VerifyMessage};
use crate::error::SecretError;

/// The format of a signature over P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Der,
    Fixed,
    /// DER, and the signed digest is SHA-1.
    DerSha1,
}

struct P256VerifyingKey(Form, p256::ecdsa::VerifyingKey);

struct P256SigningKey(Form, p256::ecdsa::SigningKey);

struct P521VerifyingKey(p521::ecdsa::VerifyingKey);

struct P521SigningKey(p521::ecdsa::SigningKey);

pub(super) fn p256_public_key(
    form: Form,
    bytes: &[u8],
) -> Result<impl VerifyMessage + use<>, SecretError> {
    let key = match SubjectPublicKeyInfoRef::from_der(bytes) {
        Ok(info) => p256::PublicKey::try_from(info).ok().map(Into::into),
        Err(_) => p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok(),
    };
    key.map(|key| P256VerifyingKey(form, key))
        .ok_or(SecretError::PublicKey)
}

pub(super) fn p521_public_key(bytes: &[u8]) -> Result<impl VerifyMessage + use<>, SecretError> {
    let key = match SubjectPublicKeyInfoRef::from_der(bytes) {
        Ok(info) => p521::PublicKey::try_from(info).ok().map(Into::into),
        Err(_) => p521::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok(),
    };
    key.map(P521VerifyingKey).ok_or(SecretError::PublicKey)
}

pub(super) fn p256_private_key(form: Form, bytes: &[u8]) -> Option<impl SignMessage + use<>> {
    let key = p256::ecdsa::SigningKey::from_pkcs8_der(bytes).ok();
    let key = key.or_else(|| p256::ecdsa::SigningKey::from_slice(bytes).ok());
    key.map(|key| P256SigningKey(form, key))
}

pub(super) fn p521_private_key(bytes: &[u8]) -> Option<impl SignMessage + use<>> {
    let key = p521::ecdsa::SigningKey::from_pkcs8_der(bytes).ok();
    let key = key.or_else(|| p521::ecdsa::SigningKey::from_slice(bytes).ok());
    key.map(P521SigningKey)
}

impl VerifyMessage for P256VerifyingKey {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Self(form, key) = self;
        let signature = match form {
            Form::Der | Form::DerSha1 => p256::ecdsa::Signature::from_der(signature),
            Form::Fixed => p256::ecdsa::Signature::from_slice(signature),
        };
        signature.is_ok_and(|signature| match form {
            Form::Der | Form::Fixed => key.verify(message, &signature).is_ok(),
            Form::DerSha1 => {
                let digest = Sha1::digest(message);
                key.verify_prehash(&digest, &signature).is_ok()
            }
        })
    }
}

impl VerifyMessage for P521VerifyingKey {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        p521::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

impl SignMessage for P256SigningKey {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let Self(form, key) = self;
        let signature: p256::ecdsa::Signature = match form {
            Form::Der | Form::Fixed => key.sign(message),
            Form::DerSha1 => key.sign_prehash(&Sha1::digest(message)).ok()?,
        };
        Some(match form {
            Form::Der | Form::DerSha1 => signature.to_der().as_bytes().to_vec(),
            Form::Fixed => signature.to_bytes().to_vec(),
        })
    }
}

impl SignMessage for P521SigningKey {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature: p521::ecdsa::Signature = self.0.sign(message);
        Some(signature.to_bytes().to_vec())
    }
}
