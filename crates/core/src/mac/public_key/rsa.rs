//! RSA (RFC 8017) by ring, behind the feature `rsa`.
//!
//! The crate `rsa` needs no C compiler, but the time of its private operations depends on the key
//! (RUSTSEC-2023-0071).

use std::sync::Arc;

use ring::signature::{self as ring_signature, RsaEncoding, RsaParameters, UnparsedPublicKey};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Reader, SliceReader};

use super::der::public_key_bits;
use super::{PublicAlgorithm, SignMessage, VerifyMessage};
use crate::error::SecretError;

const ID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

pub(super) static PKCS1_SHA256: [&RsaParameters; 1] = [&ring_signature::RSA_PKCS1_2048_8192_SHA256];
pub(super) static PKCS1_SHA256_OR_SHA1: [&RsaParameters; 2] = [
    &ring_signature::RSA_PKCS1_2048_8192_SHA256,
    &ring_signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
];
pub(super) static PSS_SHA512: [&RsaParameters; 1] = [&ring_signature::RSA_PSS_2048_8192_SHA512];

/// The parameters (one of them must fit), and the modulus and exponent in DER (RFC 8017 §A.1.1).
struct VerifyingKey(&'static [&'static RsaParameters], Arc<[u8]>);

struct SigningKey(&'static dyn RsaEncoding, ring::rsa::KeyPair);

/// Checks the key when it is loaded. `ring` checks it only with the first signature, and would
/// then refuse every delivery.
pub(super) fn public_key(
    parameters: &'static [&'static RsaParameters],
    bytes: &[u8],
) -> Result<impl VerifyMessage + use<>, SecretError> {
    let bits = public_key_bits(bytes, ID_RSA);
    let bytes = bits.as_deref().unwrap_or(bytes);
    match modulus_bits(bytes) {
        Some(bits) if PublicAlgorithm::RSA_BITS.contains(&bits) => {
            Ok(VerifyingKey(parameters, bytes.into()))
        }
        _ => Err(SecretError::PublicKey),
    }
}

pub(super) fn private_key(
    algorithm: PublicAlgorithm,
    bytes: &[u8],
) -> Option<impl SignMessage + use<>> {
    let encoding: &'static dyn RsaEncoding = match algorithm {
        PublicAlgorithm::RsaPssSha512 => &ring_signature::RSA_PSS_SHA512,
        _ => &ring_signature::RSA_PKCS1_SHA256,
    };
    let pair = ring::rsa::KeyPair::from_pkcs8(bytes).ok();
    let pair = pair.or_else(|| ring::rsa::KeyPair::from_der(bytes).ok());
    pair.map(|pair| SigningKey(encoding, pair))
}

/// Returns the size of the modulus of a PKCS#1 key.
fn modulus_bits(bytes: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let modulus = reader
        .sequence(|inner| {
            let modulus = UintRef::decode(inner)?;
            UintRef::decode(inner)?;
            Ok::<_, x509_cert::der::Error>(modulus)
        })
        .ok()?;
    let first = modulus.as_bytes().first()?;
    Some(modulus.as_bytes().len() * 8 - first.leading_zeros() as usize)
}

impl VerifyMessage for VerifyingKey {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Self(parameters, key) = self;
        parameters.iter().any(|parameters| {
            let key = UnparsedPublicKey::new(*parameters, key);
            key.verify(message, signature).is_ok()
        })
    }
}

impl SignMessage for SigningKey {
    /// Returns `None` if ring cannot make a signature, for example if the system supplies no
    /// randomness.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let Self(encoding, pair) = self;
        let mut signature = vec![0; pair.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        pair.sign(*encoding, &random, message, &mut signature)
            .ok()?;
        Some(signature)
    }
}
