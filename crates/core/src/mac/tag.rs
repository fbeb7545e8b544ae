//! Decoded signatures and their lengths.

use std::fmt;

use smallvec::SmallVec;

use super::sha256::Sha256;

/// Length of a signature in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagLen {
    Exactly(usize),
    /// From 1 byte to this many: the key or the value decides.
    AtMost(usize),
}

impl TagLen {
    pub(crate) fn allows(self, len: usize) -> bool {
        match self {
            Self::Exactly(exact) => len == exact,
            Self::AtMost(max) => (1..=max).contains(&len),
        }
    }

    /// Greatest length in bytes.
    pub(crate) const fn max(self) -> usize {
        match self {
            Self::Exactly(len) | Self::AtMost(len) => len,
        }
    }
}

/// A decoded signature, or the digest of a token.
#[derive(Clone, Default)]
pub(crate) struct Tag(SmallVec<[u8; 36]>);

impl Tag {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// Replaces the tag by `len` zero bytes, and returns them to be filled.
    pub(crate) fn zeroed(&mut self, len: usize) -> &mut [u8] {
        self.0.clear();
        self.0.resize(len, 0);
        &mut self.0
    }

    /// Shortens the tag to its first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Creates the tag of a token: its digest. Digests have one length, so their comparison
    /// takes constant time whatever the lengths of the tokens are.
    pub(crate) fn of_token(text: &[u8]) -> Self {
        Self::new(&Sha256::new(text).finish())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Shows only the length: with the expected signature, an attacker can forge a delivery.
impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({} bytes)", self.0.len())
    }
}
