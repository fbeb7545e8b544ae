//! Public keys, which verify signatures, and private keys, which sign.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use ring::signature::{self as ring_signature, UnparsedPublicKey};
use sha1::{Digest as _, Sha1};
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitStringRef, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader, pem};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::tag::TagLen;
use crate::error::SecretError;

const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

static RSA_PKCS1_SHA256: [&ring_signature::RsaParameters; 1] =
    [&ring_signature::RSA_PKCS1_2048_8192_SHA256];
static RSA_PKCS1_SHA256_OR_SHA1: [&ring_signature::RsaParameters; 2] = [
    &ring_signature::RSA_PKCS1_2048_8192_SHA256,
    &ring_signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
];
static RSA_PSS_SHA512: [&ring_signature::RsaParameters; 1] =
    [&ring_signature::RSA_PSS_2048_8192_SHA512];

/// A signature algorithm with a public and a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicAlgorithm {
    Ed25519,
    /// Signatures in DER.
    EcdsaP256Sha256,
    /// Signatures as two numbers of 32 bytes each (RFC 7518 §3.4, RFC 9421 §3.3.4).
    EcdsaP256Sha256Fixed,
    /// Signatures in DER over SHA-1, which eBay uses.
    EcdsaP256Sha1,
    /// Signatures as two numbers of 66 bytes each (RFC 7518 §3.4).
    EcdsaP521Sha512Fixed,
    RsaPkcs1Sha256,
    /// SHA-256 or SHA-1: AWS SNS signs with either, and the body says which.
    RsaPkcs1Sha256OrSha1,
    RsaPssSha512,
}

impl PublicAlgorithm {
    /// Accepted sizes of an RSA modulus, in bits.
    const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

    /// Length of a signature in bytes.
    pub(crate) const fn signature_len(self) -> TagLen {
        match self {
            Self::Ed25519 => TagLen::Exactly(ed25519_dalek::SIGNATURE_LENGTH),
            // A DER sequence of two integers of at most 33 bytes.
            Self::EcdsaP256Sha256 | Self::EcdsaP256Sha1 => TagLen::AtMost(72),
            Self::EcdsaP256Sha256Fixed => TagLen::Exactly(64),
            Self::EcdsaP521Sha512Fixed => TagLen::Exactly(132),
            Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha256OrSha1 | Self::RsaPssSha512 => {
                TagLen::AtMost(*Self::RSA_BITS.end() / 8)
            }
        }
    }
}

/// A key that verifies signatures.
#[derive(Clone)]
pub(crate) enum PublicKey {
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    EcdsaP256(Form, Box<p256::ecdsa::VerifyingKey>),
    EcdsaP521(Box<p521::ecdsa::VerifyingKey>),
    /// The parameters (one of them must fit), and the modulus and exponent in DER
    /// (RFC 8017 §A.1.1).
    Rsa(&'static [&'static ring_signature::RsaParameters], Arc<[u8]>),
}

/// The format of an ECDSA signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Der,
    Fixed,
    /// DER, and the signed digest is SHA-1.
    DerSha1,
}

impl PublicKey {
    /// Creates a key from its bytes.
    ///
    /// The bytes are the raw point of an elliptic curve, a `SubjectPublicKeyInfo` (RFC 5280),
    /// or for RSA a PKCS#1 key.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::PublicKey`] or [`SecretError::Length`] if the bytes are not a
    /// key of `algorithm`.
    pub(crate) fn new(algorithm: PublicAlgorithm, bytes: &[u8]) -> Result<Self, SecretError> {
        let info = SubjectPublicKeyInfoRef::from_der(bytes).ok();
        let bits = |id| {
            info.as_ref()
                .filter(|info| info.algorithm.oid == id)
                .and_then(|info| BitStringRef::as_bytes(&info.subject_public_key))
        };
        match algorithm {
            PublicAlgorithm::Ed25519 => ed25519(bits(ID_ED25519).unwrap_or(bytes)),
            PublicAlgorithm::EcdsaP256Sha256 => p256(Form::Der, info, bytes),
            PublicAlgorithm::EcdsaP256Sha256Fixed => p256(Form::Fixed, info, bytes),
            PublicAlgorithm::EcdsaP256Sha1 => p256(Form::DerSha1, info, bytes),
            PublicAlgorithm::EcdsaP521Sha512Fixed => p521(info, bytes),
            PublicAlgorithm::RsaPkcs1Sha256 => {
                rsa(&RSA_PKCS1_SHA256, bits(ID_RSA).unwrap_or(bytes))
            }
            PublicAlgorithm::RsaPkcs1Sha256OrSha1 => {
                rsa(&RSA_PKCS1_SHA256_OR_SHA1, bits(ID_RSA).unwrap_or(bytes))
            }
            PublicAlgorithm::RsaPssSha512 => rsa(&RSA_PSS_SHA512, bits(ID_RSA).unwrap_or(bytes)),
        }
    }

    /// Whether `signature` is a valid signature of `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => signature.try_into().is_ok_and(|bytes| {
                key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(bytes))
                    .is_ok()
            }),
            Self::EcdsaP256(form, key) => match form {
                Form::Der | Form::DerSha1 => p256::ecdsa::Signature::from_der(signature),
                Form::Fixed => p256::ecdsa::Signature::from_slice(signature),
            }
            .is_ok_and(|signature| match form {
                Form::Der | Form::Fixed => key.verify(message, &signature).is_ok(),
                Form::DerSha1 => key
                    .verify_prehash(&Sha1::digest(message), &signature)
                    .is_ok(),
            }),
            Self::EcdsaP521(key) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::Rsa(parameters, key) => parameters.iter().any(|parameters| {
                UnparsedPublicKey::new(*parameters, key)
                    .verify(message, signature)
                    .is_ok()
            }),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}

fn ed25519(bytes: &[u8]) -> Result<PublicKey, SecretError> {
    const LEN: usize = ed25519_dalek::PUBLIC_KEY_LENGTH;
    let found = bytes.len();
    let bytes = bytes.try_into().ok().ok_or(SecretError::Length {
        expected: LEN,
        found,
    })?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).ok();
    // Under a weak key, one signature is valid for several messages.
    let key = key.filter(|key| !key.is_weak());
    key.map(|key| PublicKey::Ed25519(Box::new(key)))
        .ok_or(SecretError::PublicKey)
}

fn p256(
    form: Form,
    info: Option<SubjectPublicKeyInfoRef<'_>>,
    bytes: &[u8],
) -> Result<PublicKey, SecretError> {
    let key = match info {
        Some(info) => p256::PublicKey::try_from(info).ok().map(Into::into),
        None => p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok(),
    };
    key.map(|key| PublicKey::EcdsaP256(form, Box::new(key)))
        .ok_or(SecretError::PublicKey)
}

fn p521(info: Option<SubjectPublicKeyInfoRef<'_>>, bytes: &[u8]) -> Result<PublicKey, SecretError> {
    let key = match info {
        Some(info) => p521::PublicKey::try_from(info).ok().map(Into::into),
        None => p521::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok(),
    };
    key.map(|key| PublicKey::EcdsaP521(Box::new(key)))
        .ok_or(SecretError::PublicKey)
}

/// Checks an RSA key when it is loaded. `ring` checks it only with the first signature, and
/// would then refuse every delivery.
fn rsa(
    parameters: &'static [&'static ring_signature::RsaParameters],
    bytes: &[u8],
) -> Result<PublicKey, SecretError> {
    let modulus_bits = || {
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
    };
    match modulus_bits() {
        Some(bits) if PublicAlgorithm::RSA_BITS.contains(&bits) => {
            Ok(PublicKey::Rsa(parameters, bytes.into()))
        }
        _ => Err(SecretError::PublicKey),
    }
}

/// Returns the DER inside of a PEM text (RFC 7468). For a certificate, returns the DER of its
/// public key.
///
/// # Errors
///
/// Returns [`SecretError::Encoding`] if the text is not PEM, or holds something else than a key
/// or a certificate.
pub(crate) fn read_pem(text: &[u8]) -> Result<Vec<u8>, SecretError> {
    const EXPECTED: SecretError =
        SecretError::Encoding("PEM: a public key or a certificate (to sign, a private key)");
    let (label, der) = pem::decode_vec(text.trim_ascii()).ok().ok_or(EXPECTED)?;
    match label {
        "CERTIFICATE" => {
            let certificate = Certificate::from_der(&der).ok();
            let key = certificate.and_then(|certificate| {
                let key = certificate.tbs_certificate().subject_public_key_info();
                key.to_der().ok()
            });
            key.ok_or(EXPECTED)
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" | "PRIVATE KEY" | "RSA PRIVATE KEY" => Ok(der),
        _ => Err(EXPECTED),
    }
}

/// Writes the PEM text of a public key or a certificate, from which [`read_pem`] reads `der`.
pub(crate) fn write_pem(der: &[u8]) -> Option<String> {
    let label = match Certificate::from_der(der) {
        Ok(_) => "CERTIFICATE",
        Err(_) => "PUBLIC KEY",
    };
    pem::encode_string(label, pem::LineEnding::LF, der).ok()
}

/// A key that signs.
#[derive(Clone)]
pub(crate) enum PrivateKey {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    EcdsaP256(Form, Box<p256::ecdsa::SigningKey>),
    EcdsaP521(Box<p521::ecdsa::SigningKey>),
    Rsa(
        &'static dyn ring_signature::RsaEncoding,
        Arc<ring::rsa::KeyPair>,
    ),
}

impl PrivateKey {
    /// Creates a key from PKCS#8 (RFC 5958), or for elliptic curves from the raw secret.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::PrivateKey`] if the bytes are not a key of `algorithm`.
    pub(crate) fn new(algorithm: PublicAlgorithm, bytes: &[u8]) -> Result<Self, SecretError> {
        let rsa = |encoding: &'static dyn ring_signature::RsaEncoding| {
            ring::rsa::KeyPair::from_pkcs8(bytes)
                .or_else(|_| ring::rsa::KeyPair::from_der(bytes))
                .ok()
                .map(|pair| Self::Rsa(encoding, Arc::new(pair)))
        };
        let p256 = |form| {
            p256::ecdsa::SigningKey::from_pkcs8_der(bytes)
                .or_else(|_| p256::ecdsa::SigningKey::from_slice(bytes))
                .ok()
                .map(|key| Self::EcdsaP256(form, Box::new(key)))
        };
        match algorithm {
            PublicAlgorithm::Ed25519 => ed25519_dalek::SigningKey::from_pkcs8_der(bytes)
                .ok()
                // A raw secret, which the public key may follow.
                .or_else(|| {
                    let seed = bytes
                        .first_chunk()
                        .filter(|_| matches!(bytes.len(), 32 | 64))?;
                    Some(ed25519_dalek::SigningKey::from_bytes(seed))
                })
                .map(|key| Self::Ed25519(Box::new(key))),
            PublicAlgorithm::EcdsaP256Sha256 => p256(Form::Der),
            PublicAlgorithm::EcdsaP256Sha256Fixed => p256(Form::Fixed),
            PublicAlgorithm::EcdsaP256Sha1 => p256(Form::DerSha1),
            PublicAlgorithm::EcdsaP521Sha512Fixed => p521::ecdsa::SigningKey::from_pkcs8_der(bytes)
                .or_else(|_| p521::ecdsa::SigningKey::from_slice(bytes))
                .ok()
                .map(|key| Self::EcdsaP521(Box::new(key))),
            PublicAlgorithm::RsaPkcs1Sha256 | PublicAlgorithm::RsaPkcs1Sha256OrSha1 => {
                rsa(&ring_signature::RSA_PKCS1_SHA256)
            }
            PublicAlgorithm::RsaPssSha512 => rsa(&ring_signature::RSA_PSS_SHA512),
        }
        .ok_or(SecretError::PrivateKey)
    }

    /// Signs `message`. Returns `None` if ring cannot make an RSA signature, for example if the
    /// system supplies no randomness.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Ed25519(key) => Some(key.sign(message).to_bytes().to_vec()),
            Self::EcdsaP256(form, key) => {
                let signature: p256::ecdsa::Signature = match form {
                    Form::Der | Form::Fixed => key.sign(message),
                    Form::DerSha1 => key.sign_prehash(&Sha1::digest(message)).ok()?,
                };
                Some(match form {
                    Form::Der | Form::DerSha1 => signature.to_der().as_bytes().to_vec(),
                    Form::Fixed => signature.to_bytes().to_vec(),
                })
            }
            Self::EcdsaP521(key) => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                Some(signature.to_bytes().to_vec())
            }
            Self::Rsa(encoding, pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(
                    *encoding,
                    &ring::rand::SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .ok()?;
                Some(signature)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}
