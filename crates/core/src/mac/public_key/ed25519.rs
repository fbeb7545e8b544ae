//! Ed25519 (RFC 8032), behind the feature `ed25519`.

use ed25519_dalek::ed25519::signature::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use x509_cert::der::asn1::ObjectIdentifier;

use super::der::public_key_bits;
use super::{SignMessage, VerifyMessage};
use crate::error::SecretError;

const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

struct VerifyingKey(ed25519_dalek::VerifyingKey);

struct SigningKey(ed25519_dalek::SigningKey);

pub(super) fn public_key(bytes: &[u8]) -> Result<impl VerifyMessage, SecretError> {
    const LEN: usize = ed25519_dalek::PUBLIC_KEY_LENGTH;
    let bits = public_key_bits(bytes, ID_ED25519);
    let bytes = bits.as_deref().unwrap_or(bytes);
    let found = bytes.len();
    let bytes = bytes.try_into().ok().ok_or(SecretError::Length {
        expected: LEN,
        found,
    })?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).ok();
    // Under a weak key, one signature is valid for several messages.
    let key = key.filter(|key| !key.is_weak());
    key.map(VerifyingKey).ok_or(SecretError::PublicKey)
}

/// Creates a key from PKCS#8, or from the raw secret, which the public key may follow.
pub(super) fn private_key(bytes: &[u8]) -> Option<impl SignMessage> {
    let key = ed25519_dalek::SigningKey::from_pkcs8_der(bytes).ok();
    let key = key.or_else(|| {
        let seed = bytes.first_chunk();
        let seed = seed.filter(|_| matches!(bytes.len(), 32 | 64))?;
        Some(ed25519_dalek::SigningKey::from_bytes(seed))
    });
    key.map(SigningKey)
}

impl VerifyMessage for VerifyingKey {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.try_into().is_ok_and(|bytes| {
            let signature = ed25519_dalek::Signature::from_bytes(bytes);
            self.0.verify_strict(message, &signature).is_ok()
        })
    }
}

impl SignMessage for SigningKey {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.sign(message).to_bytes().to_vec())
    }
}
