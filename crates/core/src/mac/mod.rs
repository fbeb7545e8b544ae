//! Signature algorithms: keys, the states of running MACs, and the comparison of signatures.
//!
//! A [`Key`] is prepared once. For each delivery its [`MacState`] is cloned and fed with the
//! message; [`Expected::matches`] compares the result with the signature of the delivery.

mod key_rule;
mod pair;
mod public_key;
mod sha256;
mod tag;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha384, Sha512};
use subtle::ConstantTimeEq;

pub(crate) use self::key_rule::{KeyDigest, KeyEncoding, KeyEncodingScope, KeyReadings, KeyRule};
use self::public_key::PublicKey;
pub(crate) use self::public_key::{PrivateKey, PublicAlgorithm};
pub(crate) use self::sha256::{HmacSha256, Sha256};
pub(crate) use self::tag::{Tag, TagLen};
use crate::error::SecretError;

/// A signature algorithm that a scheme can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
    /// SHA-256 of the secret followed by the message. Some older providers sign so.
    Sha256,
    Public(PublicAlgorithm),
    /// The secret itself. It authenticates the sender, but covers no part of the delivery.
    Token,
}

impl Algorithm {
    /// Every algorithm with its name in schemes.
    pub(crate) const NAMES: [(&'static str, Self); 13] = [
        ("hmac-sha1", Self::HmacSha1),
        ("hmac-sha256", Self::HmacSha256),
        ("hmac-sha384", Self::HmacSha384),
        ("hmac-sha512", Self::HmacSha512),
        ("sha256", Self::Sha256),
        ("ed25519", Self::Public(PublicAlgorithm::Ed25519)),
        (
            "ecdsa-p256-sha256",
            Self::Public(PublicAlgorithm::EcdsaP256Sha256),
        ),
        (
            "ecdsa-p256-sha256-fixed",
            Self::Public(PublicAlgorithm::EcdsaP256Sha256Fixed),
        ),
        (
            "rsa-pkcs1-sha256",
            Self::Public(PublicAlgorithm::RsaPkcs1Sha256),
        ),
        (
            "ecdsa-p256-sha1",
            Self::Public(PublicAlgorithm::EcdsaP256Sha1),
        ),
        (
            "rsa-pkcs1-sha256-or-sha1",
            Self::Public(PublicAlgorithm::RsaPkcs1Sha256OrSha1),
        ),
        (
            "rsa-pss-sha512",
            Self::Public(PublicAlgorithm::RsaPssSha512),
        ),
        ("token", Self::Token),
    ];

    pub(crate) fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, algorithm)| *algorithm == self);
        named.map_or("", |(name, _)| name)
    }

    /// Length of a signature in bytes.
    pub(crate) const fn tag_len(self) -> TagLen {
        match self {
            Self::HmacSha1 => TagLen::Exactly(20),
            Self::HmacSha256 | Self::Sha256 => TagLen::Exactly(32),
            Self::HmacSha384 => TagLen::Exactly(48),
            Self::HmacSha512 => TagLen::Exactly(64),
            Self::Public(algorithm) => algorithm.signature_len(),
            Self::Token => TagLen::AtMost(MAX_TOKEN),
        }
    }
}

/// Longest token, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// A key, prepared once so that verifying a delivery only clones its state.
#[derive(Clone)]
pub(crate) enum Key {
    Streaming(MacState),
    Public(PublicKey),
    /// One secret for several HMACs. The length of a signature tells which one it is.
    ByTagLen(Box<[MacState]>),
}

impl Key {
    /// Creates a key from the bytes that a secret decodes to.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::PublicKey`] or [`SecretError::Length`] if the bytes are not a
    /// public key of `algorithm`.
    pub(crate) fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, SecretError> {
        fn hmac<M: KeyInit>(key: &[u8]) -> Result<M, SecretError> {
            // HMAC accepts keys of any length, so this error does not occur.
            M::new_from_slice(key).ok().ok_or(SecretError::Blank)
        }
        Ok(Self::Streaming(match algorithm {
            Algorithm::HmacSha1 => MacState::Sha1(hmac(bytes)?),
            Algorithm::HmacSha256 => MacState::Sha256(HmacSha256::new(bytes)),
            Algorithm::HmacSha384 => MacState::Sha384(Box::new(hmac(bytes)?)),
            Algorithm::HmacSha512 => MacState::Sha512(Box::new(hmac(bytes)?)),
            Algorithm::Sha256 => MacState::Digest(Sha256::new(bytes)),
            Algorithm::Token => MacState::Token(Tag::of_token(bytes)),
            Algorithm::Public(algorithm) => {
                return PublicKey::new(algorithm, bytes).map(Self::Public);
            }
        }))
    }

    /// Creates a key for several HMACs whose signatures differ in length.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Key::new`].
    pub(crate) fn by_tag_len(
        algorithms: impl Iterator<Item = Algorithm>,
        bytes: &[u8],
    ) -> Result<Self, SecretError> {
        let mut states = Vec::new();
        for algorithm in algorithms {
            match Self::new(algorithm, bytes)? {
                Self::Streaming(state) => states.push(state),
                // A public key is no secret: any party could sign with it as the secret of an HMAC.
                Self::Public(_) | Self::ByTagLen(_) => return Err(SecretError::PublicKey),
            }
        }
        Ok(Self::ByTagLen(states.into()))
    }

    /// Returns the state to clone for a message, if the algorithm can take it in chunks.
    pub(crate) fn state(&self) -> Option<&MacState> {
        match self {
            Self::Streaming(state) => Some(state),
            Self::Public(_) | Self::ByTagLen(_) => None,
        }
    }

    /// Returns the state for signatures of `len` bytes. For one algorithm, it is the only state.
    pub(crate) fn state_for(&self, len: usize) -> Option<&MacState> {
        match self {
            Self::ByTagLen(states) => states.iter().find(|state| state.tag_len() == len),
            _ => self.state(),
        }
    }

    /// Returns the value that the `signatures` of `message` must match. All of them have one
    /// algorithm, and so one length. Returns `None` if the key has no algorithm of this length.
    pub(crate) fn expects<'k>(
        &'k self,
        message: &'k [u8],
        signatures: &[Tag],
    ) -> Option<Expected<'k>> {
        if let Self::Public(key) = self {
            return Some(Expected::PublicKey(message, key));
        }
        let len = signatures.first().map_or(0, |tag| tag.bytes().len());
        let mut state = self.state_for(len)?.clone();
        state.update(message);
        Some(Expected::Mac(state.finish()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A MAC or hash that has processed a part of its message.
///
/// SHA-384 and SHA-512 have large states and are rare, so they are boxed.
#[derive(Clone)]
pub(crate) enum MacState {
    Sha1(Hmac<Sha1>),
    Sha256(HmacSha256),
    Sha384(Box<Hmac<Sha384>>),
    Sha512(Box<Hmac<Sha512>>),
    Digest(Sha256),
    /// The digest of a token. It does not depend on the message.
    Token(Tag),
}

impl MacState {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(mac) => mac.update(bytes),
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha384(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
            Self::Digest(digest) => digest.update(bytes),
            Self::Token(_) => {}
        }
    }

    /// Updates all states with the same bytes. SHA-256 states are updated in pairs.
    pub(crate) fn update_all(states: &mut [Self], bytes: &[u8]) {
        for pair in states.chunks_mut(2) {
            if let [one, two] = pair
                && let (Some(one), Some(two)) = (one.sha256(), two.sha256())
            {
                Sha256::update_pair([one, two], [bytes, bytes]);
            } else {
                pair.iter_mut().for_each(|state| state.update(bytes));
            }
        }
    }

    /// Returns the hash that processes the message, if it is SHA-256.
    pub(crate) fn sha256(&mut self) -> Option<&mut Sha256> {
        match self {
            Self::Sha256(mac) => Some(&mut mac.inner),
            Self::Digest(digest) => Some(digest),
            _ => None,
        }
    }

    /// Length of the result in bytes.
    fn tag_len(&self) -> usize {
        match self {
            Self::Sha1(_) => Algorithm::HmacSha1.tag_len().max(),
            Self::Sha256(_) | Self::Digest(_) | Self::Token(_) => {
                Algorithm::HmacSha256.tag_len().max()
            }
            Self::Sha384(_) => Algorithm::HmacSha384.tag_len().max(),
            Self::Sha512(_) => Algorithm::HmacSha512.tag_len().max(),
        }
    }

    pub(crate) fn finish(mut self) -> Tag {
        match self {
            Self::Sha1(mac) => Tag::new(&mac.finalize().into_bytes()),
            Self::Sha256(ref mut mac) => Tag::new(&mac.finish()),
            Self::Sha384(mac) => Tag::new(&mac.finalize().into_bytes()),
            Self::Sha512(mac) => Tag::new(&mac.finalize().into_bytes()),
            Self::Digest(ref mut digest) => Tag::new(&digest.finish()),
            Self::Token(tag) => tag,
        }
    }
}

impl fmt::Debug for MacState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacState(…)")
    }
}

/// The value that a signature must match. Signatures are compared in no other place.
pub(crate) enum Expected<'m> {
    Mac(Tag),
    /// The message that the signature must be valid for, and the key that verifies it.
    PublicKey(&'m [u8], &'m PublicKey),
}

impl Expected<'_> {
    /// Whether `tag` is the expected signature. Tags are compared in constant time.
    ///
    /// The comparison runs by machine words: by bytes it takes as long as hashing 100 bytes.
    pub(crate) fn matches(&self, tag: &Tag) -> bool {
        let (expected, tag) = match self {
            Self::Mac(mac) => (mac.bytes(), tag.bytes()),
            Self::PublicKey(message, key) => return key.verify(message, tag.bytes()),
        };
        if expected.len() != tag.len() {
            return false;
        }
        let (words, rest) = expected.as_chunks();
        let (tag_words, tag_rest) = tag.as_chunks();
        let of_words = words
            .iter()
            .zip(tag_words)
            .map(|(word, of_tag)| u64::from_ne_bytes(*word).ct_eq(&u64::from_ne_bytes(*of_tag)));
        of_words
            .fold(rest.ct_eq(tag_rest), |equal, word| equal & word)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_has_the_name_by_which_a_scheme_selects_it() {
        for (name, algorithm) in Algorithm::NAMES {
            assert_eq!(algorithm.name(), name);
        }
    }

    #[test]
    fn a_tag_matches_only_itself() {
        for len in [1, 7, 8, 20, 32, 48, 64] {
            let tag: Vec<u8> = (0..len).collect();
            let expected = Expected::Mac(Tag::new(&tag));
            assert!(expected.matches(&Tag::new(&tag)), "{len}");
            for bit in 0..tag.len() * 8 {
                let mut other = tag.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(!expected.matches(&Tag::new(&other)), "{len}, bit {bit}");
            }
            assert!(!expected.matches(&Tag::new(&tag[1..])), "{len}");
            assert!(
                !expected.matches(&Tag::new(&[&tag[..], &[0]].concat())),
                "{len}"
            );
        }
    }
}
