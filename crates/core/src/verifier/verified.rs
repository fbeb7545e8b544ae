use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::identity::{Discriminator, Identity, ReplayKey, ReplayScope};
use crate::time::UnixTime;

/// A delivery that verified, with the bytes that did.
#[derive(Clone)]
pub struct Verified {
    pub(super) body: Bytes,
    pub(super) event_type: Option<Box<str>>,
    pub(super) timestamp: Option<UnixTime>,
    pub(super) key_id: Arc<str>,
    pub(super) discriminator: Discriminator,
}

impl Verified {
    /// The verified bytes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The event's id, if the scheme signs one and it could be read: 1 to 256
    /// visible ASCII characters.
    pub fn id(&self) -> Option<&str> {
        self.discriminator.id()
    }

    /// The event's type, likewise.
    pub fn event_type(&self) -> Option<&str> {
        self.event_type.as_deref()
    }

    /// When the delivery was signed, if the scheme says so.
    pub fn timestamp(&self) -> Option<UnixTime> {
        self.timestamp
    }

    /// Which key matched.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What tells this event from others.
    pub fn identity(&self) -> Identity {
        self.discriminator.identity()
    }

    /// The key under which `scope` remembers this event.
    pub fn replay_key(&self, scope: &ReplayScope) -> ReplayKey {
        scope.key(&self.discriminator)
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("id", &self.id())
            .field("event_type", &self.event_type)
            .field("timestamp", &self.timestamp)
            .field("key_id", &self.key_id)
            .field("identity", &self.identity())
            .field("body_len", &self.body.len())
            .finish()
    }
}
