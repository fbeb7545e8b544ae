//! Which event a delivery is: the key that replays and retries share.
//!
//! Made of signed material only. Whoever captured a delivery may change every
//! header, the path and the text of the signature, and it stays the same event.

use std::fmt;

use crate::mac::HmacSha256;

/// What tells one event from another: the first of these that the scheme signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Identity {
    /// The event id. Retries carry the same one, whatever else changes.
    Id,
    /// The whole signed message, its timestamp included. A retry is signed
    /// anew, so only exact replays are recognised.
    Exact,
    /// The whole signed message, which has no timestamp. Two events with equal
    /// bytes look like one.
    Content,
}

impl Identity {
    /// Stable label for logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Exact => "exact",
            Self::Content => "content",
        }
    }
}

/// An identity with what it is made of.
#[derive(Clone, Debug)]
pub(crate) enum Discriminator {
    Id(Box<str>),
    /// SHA-256 of the signed message.
    Exact(Box<[u8; 32]>),
    /// Likewise.
    Content(Box<[u8; 32]>),
}

impl Discriminator {
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Self::Id(_) => Identity::Id,
            Self::Exact(_) => Identity::Exact,
            Self::Content(_) => Identity::Content,
        }
    }

    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::Exact(_) | Self::Content(_) => None,
        }
    }

    /// Its bytes, and what keeps one kind apart from the others.
    fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Id(id) => (1, id.as_bytes()),
            Self::Exact(digest) => (2, &digest[..]),
            Self::Content(digest) => (3, &digest[..]),
        }
    }
}

/// Names an event within a replay store: 128 bits of a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayKey([u8; 16]);

impl ReplayKey {
    /// A key of these bytes, for stores and their tests.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayKey({})", hex::encode(self.0))
    }
}

/// Keeps the events of one source, or of one tenant of it, apart from all
/// others: the same id at two sources is two events.
///
/// The same names give the same keys in every process, so that replicas and
/// restarts agree.
#[derive(Clone)]
pub struct ReplayScope(HmacSha256);

impl ReplayScope {
    /// The scope with this path of names, such as a source and a tenant. Each
    /// name is delimited by its length: `["ab", "c"]` is not `["a", "bc"]`.
    pub fn new(names: &[&str]) -> Self {
        let mut key = b"hookgate replay key 1".to_vec();
        for name in names {
            key.extend_from_slice(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
            key.extend_from_slice(name.as_bytes());
        }
        Self(HmacSha256::new(&key))
    }

    /// The key of the event that `discriminator` names in this scope.
    pub(crate) fn key(&self, discriminator: &Discriminator) -> ReplayKey {
        let (kind, bytes) = discriminator.parts();
        let mut mac = self.0.clone();
        mac.update(&[kind]);
        mac.update(bytes);
        let hash = mac.finish();
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        ReplayKey(key)
    }
}

impl fmt::Debug for ReplayScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayScope(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Discriminator {
        Discriminator::Id(text.into())
    }

    #[test]
    fn scopes_and_identities_do_not_collide() {
        let key = |names: &[&str], discriminator| ReplayScope::new(names).key(&discriminator);
        let digest = *b"0123456789abcdef0123456789abcdef";
        let keys = [
            key(&["ab", "c"], id("1")),
            key(&["a", "bc"], id("1")),
            key(&["abc"], id("1")),
            key(&["ab"], id("c1")),
            key(&["abc"], id("0123456789abcdef0123456789abcdef")),
            key(&["abc"], Discriminator::Exact(digest.into())),
            key(&["abc"], Discriminator::Content(digest.into())),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{index}");
        }
    }

    #[test]
    fn keys_are_the_same_in_every_process() {
        let key = ReplayScope::new(&["beatapi"]).key(&id("evt_1"));
        assert_eq!(
            format!("{key:?}"),
            "ReplayKey(b7dd8265f79aa79c4ec37a192caeddd1)"
        );
    }
}
