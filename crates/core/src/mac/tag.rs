//! Decoded signatures and their lengths.

use std::fmt;

use smallvec::SmallVec;

use super::sha256::Sha256;

/// Length of a signature in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagLen {
    Exactly(usize),
    /// 1 to as many: what the key or the value decides.
    AtMost(usize),
}

impl TagLen {
    pub(crate) fn allows(self, len: usize) -> bool {
        match self {
            Self::Exactly(exact) => len == exact,
            Self::AtMost(most) => (1..=most).contains(&len),
        }
    }

    /// Most bytes.
    pub(crate) const fn most(self) -> usize {
        match self {
            Self::Exactly(len) | Self::AtMost(len) => len,
        }
    }
}

/// A decoded signature; of a token, its digest.
#[derive(Clone, Default)]
pub(crate) struct Tag(SmallVec<[u8; 36]>);

impl Tag {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// Room for `len` bytes, instead of what it was.
    pub(crate) fn zeroed(&mut self, len: usize) -> &mut [u8] {
        self.0.clear();
        self.0.resize(len, 0);
        &mut self.0
    }

    /// The digest of a token. Digests compare in constant time, whatever the
    /// lengths of the tokens.
    pub(crate) fn of_token(text: &[u8]) -> Self {
        Self::new(&Sha256::new(text).finish())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The signature of a genuine delivery is what a forger wants to know.
impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({} bytes)", self.0.len())
    }
}
