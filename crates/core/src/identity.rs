//! The identity of an event: the replay key that a delivery shares with its retries and replays.
//!
//! The key is made of signed values alone. An attacker who captured a delivery can change its
//! path, its unsigned headers and the text of its signature, but not its replay key.
//!
//! There are two exceptions. A static token authenticates the caller and signs nothing: the
//! event id of such a delivery is unsigned. And where distinct events can have equal bytes, an
//! unsigned delivery id can complete the content. Both recognise retries, and keep no replay out.

use std::fmt;

#[cfg(feature = "stored-facts")]
use serde::{Deserialize, Serialize};

use crate::mac::HmacSha256;

/// The signed value that identifies an event. If a scheme signs several of these values, the
/// first variant wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Identity {
    /// The event id. All deliveries of one event carry the same id.
    Id,
    /// The whole signed message, including its timestamp. A retry has a new timestamp, so
    /// only exact replays are recognised.
    Exact,
    /// The whole signed message, which has no timestamp. Two events with equal bytes count
    /// as one event.
    Content,
}

impl Identity {
    /// Stable label of the variant for logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Exact => "exact",
            Self::Content => "content",
        }
    }
}

/// The identity of an event together with the value that it is made of.
///
/// Queues store it: a new variant comes last.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "stored-facts", derive(Serialize, Deserialize))]
pub(crate) enum Discriminator {
    Id(Box<str>),
    /// SHA-256 of the signed message.
    Exact(Box<[u8; 32]>),
    /// SHA-256 of the signed message.
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

    /// Returns the number of the variant, which keeps the variants apart, and the bytes.
    fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Id(id) => (1, id.as_bytes()),
            Self::Exact(digest) => (2, &digest[..]),
            Self::Content(digest) => (3, &digest[..]),
        }
    }
}

/// The number of a content that a delivery id completes. No [`Discriminator`] has it.
const DELIVERY: u8 = 4;

/// The name of an event in a replay store: 128 bits of a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayKey([u8; 16]);

impl ReplayKey {
    /// Creates a key from its bytes, for stores and their tests.
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

/// A namespace for the events of one source, or of one tenant of a source.
///
/// The same event id in two scopes is two events. The same names give the same keys in every
/// process, so replicas and restarts agree.
#[derive(Clone)]
pub struct ReplayScope(HmacSha256);

impl ReplayScope {
    /// Creates the scope with this path of names, such as a source and a tenant.
    ///
    /// Each name is delimited by its length, so `["ab", "c"]` differs from `["a", "bc"]`.
    pub fn new(names: &[&str]) -> Self {
        let mut key = b"hookgate replay key 1".to_vec();
        for name in names {
            key.extend_from_slice(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
            key.extend_from_slice(name.as_bytes());
        }
        Self(HmacSha256::new(&key))
    }

    /// Returns the key of the event with a signed `id` in this scope.
    ///
    /// It is the key of a delivery whose [`Verified::id`](crate::Verified::id) is `id`, and of an
    /// event with this id in a batch.
    pub fn key_of_event(&self, id: &str) -> ReplayKey {
        self.key(&Discriminator::Id(id.into()))
    }

    /// Returns the key of the event that `discriminator` identifies in this scope.
    pub(crate) fn key(&self, discriminator: &Discriminator) -> ReplayKey {
        let (kind, bytes) = discriminator.parts();
        ReplayKey(self.hash(kind, &[bytes]))
    }

    /// Returns the key of the delivery `id` of an event that its content identifies.
    ///
    /// An event with an id or a timestamp of its own keeps its key.
    pub(crate) fn key_of_delivery(&self, discriminator: &Discriminator, id: &str) -> ReplayKey {
        match discriminator {
            Discriminator::Id(_) | Discriminator::Exact(_) => self.key(discriminator),
            // The digest has a fixed length, so no other pair has the same bytes.
            Discriminator::Content(digest) => {
                ReplayKey(self.hash(DELIVERY, &[&digest[..], id.as_bytes()]))
            }
        }
    }

    /// Returns a number that stands for the scope in a store. Like the keys, it is the same
    /// in every process.
    pub(crate) fn number(&self) -> u64 {
        // Kind 0 belongs to no discriminator.
        let hash = u128::from_be_bytes(self.hash(0, &[]));
        (hash >> 64) as u64
    }

    /// Returns the first 128 bits of the keyed hash of `kind` and `parts`.
    #[inline]
    fn hash(&self, kind: u8, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.0.clone();
        mac.update(&[kind]);
        parts.iter().for_each(|part| mac.update(part));
        let mut first = [0; 16];
        first.copy_from_slice(&mac.finish()[..16]);
        first
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
    fn keys_of_different_scopes_and_identities_differ() {
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
    fn a_delivery_id_completes_content_and_nothing_else() {
        let scope = ReplayScope::new(&["a"]);
        let digest = Box::new(*b"0123456789abcdef0123456789abcdef");
        let content = Discriminator::Content(digest.clone());
        let keys = [
            scope.key(&content),
            scope.key_of_delivery(&content, "1"),
            scope.key_of_delivery(&content, "2"),
        ];
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
        for signed in [id("1"), Discriminator::Exact(digest)] {
            assert_eq!(scope.key_of_delivery(&signed, "2"), scope.key(&signed));
        }
    }

    #[test]
    fn a_replay_key_is_the_same_in_every_process() {
        let key = ReplayScope::new(&["beatapi"]).key(&id("evt_1"));
        assert_eq!(
            format!("{key:?}"),
            "ReplayKey(b7dd8265f79aa79c4ec37a192caeddd1)"
        );
        assert_eq!(ReplayScope::new(&["beatapi"]).key_of_event("evt_1"), key);
    }

    #[test]
    fn the_number_of_a_scope_is_the_same_in_every_process() {
        assert_eq!(
            ReplayScope::new(&["beatapi"]).number(),
            0x97ea_77d7_ed5b_4504
        );
        let tenant = ReplayScope::new(&["beatapi", "tenant"]);
        assert_ne!(ReplayScope::new(&["beatapi"]).number(), tenant.number());
    }

    #[test]
    fn an_identity_has_a_stable_label_and_its_value() {
        let digest = Box::new([0; 32]);
        for (discriminator, label, event_id) in [
            (id("evt_1"), "id", Some("evt_1")),
            (Discriminator::Exact(digest.clone()), "exact", None),
            (Discriminator::Content(digest), "content", None),
        ] {
            assert_eq!(discriminator.identity().label(), label);
            assert_eq!(discriminator.id(), event_id, "{label}");
        }
    }

    #[test]
    fn a_key_is_its_bytes_and_a_scope_shows_none() {
        let bytes = std::array::from_fn(|index| index as u8);
        assert_eq!(ReplayKey::from_bytes(bytes).as_bytes(), &bytes);
        assert_eq!(format!("{:?}", ReplayScope::new(&["a"])), "ReplayScope(…)");
    }
}
