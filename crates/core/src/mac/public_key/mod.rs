//! Public keys, which verify signatures, and private keys, which sign.
//!
//! Each algorithm is behind a feature, because its dependencies are large. Without the feature, a
//! key of the algorithm cannot be created: see [`PublicAlgorithm::missing_feature`].

#[cfg(any(feature = "ecdsa", feature = "ed25519", feature = "rsa"))]
mod der;
#[cfg(feature = "ecdsa")]
mod ecdsa;
#[cfg(feature = "ed25519")]
mod ed25519;
#[cfg(feature = "rsa")]
mod rsa;

use std::fmt;
use std::sync::Arc;

#[cfg(any(feature = "ecdsa", feature = "ed25519", feature = "rsa"))]
pub(super) use self::der::{read_pem, write_pem};
use super::tag::TagLen;
use crate::error::SecretError;

/// The error of a text that is not PEM.
const PEM_EXPECTED: SecretError =
    SecretError::Encoding("PEM: a public key or a certificate (to sign, a private key)");

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
            Self::Ed25519 | Self::EcdsaP256Sha256Fixed => TagLen::Exactly(64),
            // A DER sequence of two integers of at most 33 bytes.
            Self::EcdsaP256Sha256 | Self::EcdsaP256Sha1 => TagLen::AtMost(72),
            Self::EcdsaP521Sha512Fixed => TagLen::Exactly(132),
            Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha256OrSha1 | Self::RsaPssSha512 => {
                TagLen::AtMost(*Self::RSA_BITS.end() / 8)
            }
        }
    }

    /// Returns the feature of this crate that contains the algorithm, if it is not enabled.
    pub(crate) const fn missing_feature(self) -> Option<&'static str> {
        let (feature, is_enabled) = match self {
            Self::Ed25519 => ("ed25519", cfg!(feature = "ed25519")),
            Self::EcdsaP256Sha256
            | Self::EcdsaP256Sha256Fixed
            | Self::EcdsaP256Sha1
            | Self::EcdsaP521Sha512Fixed => ("ecdsa", cfg!(feature = "ecdsa")),
            Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha256OrSha1 | Self::RsaPssSha512 => {
                ("rsa", cfg!(feature = "rsa"))
            }
        };
        match is_enabled {
            true => None,
            false => Some(feature),
        }
    }
}

/// Verifies signatures with a public key.
trait VerifyMessage: Send + Sync + 'static {
    /// Whether `signature` is a valid signature of `message`.
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool;
}

/// Signs with a private key.
trait SignMessage: Send + Sync + 'static {
    /// Signs `message`. Returns `None` if the algorithm fails.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
}

/// A key that verifies signatures.
#[derive(Clone)]
pub(crate) struct PublicKey(Arc<dyn VerifyMessage>);

impl PublicKey {
    /// Creates a key from its bytes.
    ///
    /// The bytes are the raw point of an elliptic curve, a `SubjectPublicKeyInfo` (RFC 5280),
    /// or for RSA a PKCS#1 key.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::PublicKey`] or [`SecretError::Length`] if the bytes are not a
    /// key of `algorithm`, or if its feature is [missing](PublicAlgorithm::missing_feature).
    #[cfg_attr(
        not(any(feature = "ecdsa", feature = "ed25519", feature = "rsa")),
        expect(unused_variables, reason = "no algorithm reads the bytes")
    )]
    pub(crate) fn new(algorithm: PublicAlgorithm, bytes: &[u8]) -> Result<Self, SecretError> {
        match algorithm {
            #[cfg(feature = "ed25519")]
            PublicAlgorithm::Ed25519 => ed25519::public_key(bytes).map(Self::of),
            #[cfg(feature = "ecdsa")]
            PublicAlgorithm::EcdsaP256Sha256 => {
                ecdsa::p256_public_key(ecdsa::Form::Der, bytes).map(Self::of)
            }
            #[cfg(feature = "ecdsa")]
            PublicAlgorithm::EcdsaP256Sha256Fixed => {
                ecdsa::p256_public_key(ecdsa::Form::Fixed, bytes).map(Self::of)
            }
            #[cfg(feature = "ecdsa")]
            PublicAlgorithm::EcdsaP256Sha1 => {
                ecdsa::p256_public_key(ecdsa::Form::DerSha1, bytes).map(Self::of)
            }
            #[cfg(feature = "ecdsa")]
            PublicAlgorithm::EcdsaP521Sha512Fixed => ecdsa::p521_public_key(bytes).map(Self::of),
            #[cfg(feature = "rsa")]
            PublicAlgorithm::RsaPkcs1Sha256 => {
                rsa::public_key(&rsa::PKCS1_SHA256, bytes).map(Self::of)
            }
            #[cfg(feature = "rsa")]
            PublicAlgorithm::RsaPkcs1Sha256OrSha1 => {
                rsa::public_key(&rsa::PKCS1_SHA256_OR_SHA1, bytes).map(Self::of)
            }
            #[cfg(feature = "rsa")]
            PublicAlgorithm::RsaPssSha512 => rsa::public_key(&rsa::PSS_SHA512, bytes).map(Self::of),
            #[cfg(not(all(feature = "ecdsa", feature = "ed25519", feature = "rsa")))]
            _ => Err(SecretError::PublicKey),
        }
    }

    /// Whether `signature` is a valid signature of `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature)
    }

    #[cfg(any(feature = "ecdsa", feature = "ed25519", feature = "rsa"))]
    fn of(key: impl VerifyMessage) -> Self {
        Self(Arc::new(key))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}

/// A key that signs.
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<dyn SignMessage>);

impl PrivateKey {
    /// Creates a key from PKCS#8 (RFC 5958), or for elliptic curves from the raw secret.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::PrivateKey`] if the bytes are not a key of `algorithm`, or if its
    /// feature is [missing](PublicAlgorithm::missing_feature).
    #[cfg_attr(
        not(any(feature = "ecdsa", feature = "ed25519", feature = "rsa")),
        expect(unused_variables, reason = "no algorithm reads the bytes")
    )]
    pub(crate) fn new(algorithm: PublicAlgorithm, bytes: &[u8]) -> Result<Self, SecretError> {
        let key = match algorithm {
            #[cfg(feature = "ed25519")]
            PublicAlgorithm::Ed25519 => ed25519::private_key(bytes).map(Self::of),
            #[cfg(feature = "ecdsa")]
            PublicAlgorithm::EcdsaP256Sha256 => {
                ecdsa::p256_private_key(ecdsa::Form::Der, bytes).map(Self::of)
            }
            #[cfg(feature = "ecdsa")]
            PublicAlgorithm::EcdsaP256Sha256Fixed => {
                ecdsa::p256_private_key(ecdsa::Form::Fixed, bytes).map(Self::of)
            }
            #[cfg(feature = "ecdsa")]
            PublicAlgorithm::EcdsaP256Sha1 => {
                ecdsa::p256_private_key(ecdsa::Form::DerSha1, bytes).map(Self::of)
            }
            #[cfg(feature = "ecdsa")]
            PublicAlgorithm::EcdsaP521Sha512Fixed => ecdsa::p521_private_key(bytes).map(Self::of),
            #[cfg(feature = "rsa")]
            PublicAlgorithm::RsaPkcs1Sha256
            | PublicAlgorithm::RsaPkcs1Sha256OrSha1
            | PublicAlgorithm::RsaPssSha512 => rsa::private_key(algorithm, bytes).map(Self::of),
            #[cfg(not(all(feature = "ecdsa", feature = "ed25519", feature = "rsa")))]
            _ => None,
        };
        key.ok_or(SecretError::PrivateKey)
    }

    /// Signs `message`. Returns `None` if the algorithm fails, for example if the system supplies
    /// no randomness.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.0.sign(message)
    }

    #[cfg(any(feature = "ecdsa", feature = "ed25519", feature = "rsa"))]
    fn of(key: impl SignMessage) -> Self {
        Self(Arc::new(key))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// Fails: only public keys are written as PEM, and no algorithm with public keys is enabled.
#[cfg(not(any(feature = "ecdsa", feature = "ed25519", feature = "rsa")))]
pub(super) fn read_pem(_: &[u8]) -> Result<Vec<u8>, SecretError> {
    Err(PEM_EXPECTED)
}

/// Fails: only public keys are written as PEM, and no algorithm with public keys is enabled.
#[cfg(not(any(feature = "ecdsa", feature = "ed25519", feature = "rsa")))]
pub(super) fn write_pem(_: &[u8]) -> Option<String> {
    None
}
