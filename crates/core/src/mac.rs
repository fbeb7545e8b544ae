//! The algorithms: keys, running states, tags. One seam, private to the crate.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::SecretError;
use crate::secret::Secret;

type HmacSha256 = Hmac<Sha256>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    HmacSha256,
    Ed25519,
}

impl Algorithm {
    /// Length of a signature in bytes.
    pub(crate) const fn tag_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::Ed25519 => ed25519_dalek::SIGNATURE_LENGTH,
        }
    }
}

/// A decoded signature of a length that the algorithm gives.
#[derive(Clone)]
pub(crate) struct Tag {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl Tag {
    pub(crate) const MAX_LEN: usize = 64;

    pub(crate) fn zeroed(len: usize) -> Option<Self> {
        (len <= Self::MAX_LEN).then_some(Self {
            bytes: [0; Self::MAX_LEN],
            len,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

/// The signature of a genuine delivery is what a forger wants to know.
impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({} bytes)", self.len)
    }
}

/// How the text of a secret becomes a key. A property of the provider: three
/// providers hand out `whsec_…` and mean three different things.
#[derive(Clone, Debug)]
pub(crate) struct KeyRule {
    /// Prefixes to take off in this order, each if it is there.
    pub(crate) strip: Vec<String>,
    pub(crate) encoding: KeyEncoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyEncoding {
    Utf8,
    Base64,
    Hex,
}

/// Secrets are shown with and without padding; both mean the same bytes.
const SECRET_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl KeyRule {
    /// Whether the key that `secret` decodes to is short enough to be guessed.
    pub(crate) fn is_weak(&self, secret: &Secret) -> bool {
        self.decode(secret)
            .is_ok_and(|key| key.len() < Secret::WEAK_LEN)
    }

    fn decode(&self, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let mut text = secret.expose();
        for prefix in &self.strip {
            text = text.strip_prefix(prefix.as_bytes()).unwrap_or(text);
        }
        let key = match self.encoding {
            KeyEncoding::Utf8 => text.to_vec(),
            KeyEncoding::Base64 => SECRET_BASE64
                .decode(text)
                .map_err(|_| SecretError::Encoding("base64, standard alphabet"))?,
            KeyEncoding::Hex => {
                hex::decode(text).map_err(|_| SecretError::Encoding("hexadecimal digits"))?
            }
        };
        // The empty key is a valid HMAC key: anybody could sign with it.
        if key.is_empty() {
            Err(SecretError::Blank)
        } else {
            Ok(Zeroizing::new(key))
        }
    }
}

/// A key, prepared once so that a delivery only clones its state.
#[derive(Clone)]
pub(crate) enum Key {
    HmacSha256(HmacSha256),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl Key {
    pub(crate) fn new(
        algorithm: Algorithm,
        rule: &KeyRule,
        secret: &Secret,
    ) -> Result<Self, SecretError> {
        let bytes = rule.decode(secret)?;
        match algorithm {
            Algorithm::HmacSha256 => {
                let mac = HmacSha256::new_from_slice(&bytes).map_err(|_| SecretError::Blank)?;
                Ok(Self::HmacSha256(mac))
            }
            Algorithm::Ed25519 => {
                const LEN: usize = ed25519_dalek::PUBLIC_KEY_LENGTH;
                let bytes: &[u8; LEN] =
                    bytes
                        .as_slice()
                        .try_into()
                        .map_err(|_| SecretError::Length {
                            expected: LEN,
                            found: bytes.len(),
                        })?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(bytes)
                    .map_err(|_| SecretError::PublicKey)?;
                // A weak key lets one signature fit several messages.
                if key.is_weak() {
                    return Err(SecretError::PublicKey);
                }
                Ok(Self::Ed25519(Box::new(key)))
            }
        }
    }

    /// Whether `other` decodes to the same key.
    pub(crate) fn is_same_secret(rule: &KeyRule, secret: &Secret, other: &Secret) -> bool {
        match (rule.decode(secret), rule.decode(other)) {
            (Ok(key), Ok(other)) => key.ct_eq(&other).into(),
            _ => false,
        }
    }

    /// The state that takes the message in chunks, for algorithms that can.
    pub(crate) fn start(&self) -> Option<Running> {
        match self {
            Self::HmacSha256(mac) => Some(Running(mac.clone())),
            Self::Ed25519(_) => None,
        }
    }

    /// Checks a signature over the whole message.
    pub(crate) fn verify(&self, message: &[u8], tag: &Tag) -> bool {
        match self {
            Self::Ed25519(key) => tag.bytes().try_into().is_ok_and(|bytes| {
                key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(bytes))
                    .is_ok()
            }),
            Self::HmacSha256(mac) => Running(mac.clone()).chain(message).finish().matches(tag),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha256(_) => "HmacSha256(…)",
            Self::Ed25519(_) => "Ed25519(…)",
        })
    }
}

/// A MAC under way.
#[derive(Clone)]
pub(crate) struct Running(HmacSha256);

impl Running {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn chain(mut self, bytes: &[u8]) -> Self {
        self.update(bytes);
        self
    }

    pub(crate) fn finish(self) -> Expected {
        Expected(self.0.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running(…)")
    }
}

/// What the signature has to be.
pub(crate) struct Expected([u8; 32]);

impl Expected {
    /// Compares in constant time.
    pub(crate) fn matches(&self, tag: &Tag) -> bool {
        self.0.as_slice().ct_eq(tag.bytes()).into()
    }

    /// The bytes, for whoever signs.
    pub(crate) fn into_bytes(self) -> [u8; 32] {
        self.0
    }
}
