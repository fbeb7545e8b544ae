//! The algorithms: keys, running states, tags. One seam, private to the crate.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::SecretError;
use crate::secret::Secret;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
    Ed25519,
    /// The secret itself. It authenticates the caller and signs nothing.
    Token,
}

impl Algorithm {
    /// Every algorithm, by the name that schemes call it.
    pub(crate) const NAMES: [(&'static str, Self); 6] = [
        ("hmac-sha1", Self::HmacSha1),
        ("hmac-sha256", Self::HmacSha256),
        ("hmac-sha384", Self::HmacSha384),
        ("hmac-sha512", Self::HmacSha512),
        ("ed25519", Self::Ed25519),
        ("token", Self::Token),
    ];

    pub(crate) fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, algorithm)| *algorithm == self);
        named.map_or("", |(name, _)| name)
    }

    /// Length of a signature in bytes; of a token, that of its digest.
    pub(crate) const fn tag_len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 | Self::Token => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
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

    /// The digest of a token. Digests compare in constant time, whatever the
    /// lengths of the tokens.
    pub(crate) fn of_token(text: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..32].copy_from_slice(&Sha256::digest(text));
        Self { bytes, len: 32 }
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
    pub(crate) applies: Applies,
}

/// To which secrets the encoding applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    Always,
    /// Only to those that have a prefix; others are taken as they are.
    IfPrefixed,
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
        let encoding = match self.applies {
            Applies::IfPrefixed if text.len() == secret.expose().len() => KeyEncoding::Utf8,
            _ => self.encoding,
        };
        let key = match encoding {
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
    Streaming(Running),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl Key {
    pub(crate) fn new(
        algorithm: Algorithm,
        rule: &KeyRule,
        secret: &Secret,
    ) -> Result<Self, SecretError> {
        fn hmac<M: KeyInit>(key: &[u8]) -> Result<M, SecretError> {
            M::new_from_slice(key).map_err(|_| SecretError::Blank)
        }
        let bytes = rule.decode(secret)?;
        Ok(Self::Streaming(match algorithm {
            Algorithm::HmacSha1 => Running::Sha1(hmac(&bytes)?),
            Algorithm::HmacSha256 => Running::Sha256(hmac(&bytes)?),
            Algorithm::HmacSha384 => Running::Sha384(Box::new(hmac(&bytes)?)),
            Algorithm::HmacSha512 => Running::Sha512(Box::new(hmac(&bytes)?)),
            Algorithm::Token => Running::Token(Tag::of_token(&bytes)),
            Algorithm::Ed25519 => return public_key(&bytes),
        }))
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
            Self::Streaming(state) => Some(state.clone()),
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
            Self::Streaming(state) => {
                let mut state = state.clone();
                state.update(message);
                state.finish().matches(tag)
            }
        }
    }
}

fn public_key(bytes: &[u8]) -> Result<Key, SecretError> {
    const LEN: usize = ed25519_dalek::PUBLIC_KEY_LENGTH;
    let found = bytes.len();
    let bytes = bytes.try_into().map_err(|_| SecretError::Length {
        expected: LEN,
        found,
    })?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| SecretError::PublicKey)?;
    // A weak key lets one signature fit several messages.
    if key.is_weak() {
        return Err(SecretError::PublicKey);
    }
    Ok(Key::Ed25519(Box::new(key)))
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A MAC under way. The states of the long hashes are large, and rare.
#[derive(Clone)]
pub(crate) enum Running {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Box<Hmac<Sha384>>),
    Sha512(Box<Hmac<Sha512>>),
    /// Takes no notice of the message.
    Token(Tag),
}

impl Running {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(mac) => mac.update(bytes),
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha384(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
            Self::Token(_) => {}
        }
    }

    pub(crate) fn finish(self) -> Expected {
        fn tag(bytes: &[u8]) -> Tag {
            let mut tag = Tag {
                bytes: [0; Tag::MAX_LEN],
                len: bytes.len(),
            };
            tag.bytes_mut().copy_from_slice(bytes);
            tag
        }
        Expected(match self {
            Self::Sha1(mac) => tag(&mac.finalize().into_bytes()),
            Self::Sha256(mac) => tag(&mac.finalize().into_bytes()),
            Self::Sha384(mac) => tag(&mac.finalize().into_bytes()),
            Self::Sha512(mac) => tag(&mac.finalize().into_bytes()),
            Self::Token(tag) => tag,
        })
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running(…)")
    }
}

/// What the signature has to be.
pub(crate) struct Expected(Tag);

impl Expected {
    /// Compares in constant time.
    pub(crate) fn matches(&self, tag: &Tag) -> bool {
        self.0.bytes().ct_eq(tag.bytes()).into()
    }

    /// The signature, for whoever signs.
    pub(crate) fn into_tag(self) -> Tag {
        self.0
    }
}
