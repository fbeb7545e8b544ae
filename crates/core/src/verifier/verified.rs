use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::identity::{Discriminator, Identity, ReplayKey, ReplayScope};
use crate::scheme::location::Location;
use crate::scheme::{Scheme, field, json};
use crate::time::UnixTime;

/// A delivery that verified, with the bytes that did.
#[derive(Clone)]
pub struct Verified {
    pub(super) body: Bytes,
    pub(super) event: Event,
}

/// What the bytes say.
#[derive(Clone)]
pub(super) struct Event {
    /// Read when somebody asks: to find it, the whole body is looked through.
    pub(super) event_type: OnceLock<Option<Box<str>>>,
    pub(super) scheme: Scheme,
    /// Index of the plan that decided.
    pub(super) plan: usize,
    pub(super) timestamp: Option<UnixTime>,
    pub(super) key_id: Arc<str>,
    pub(super) discriminators: Discriminators,
}

/// What tells the events of a delivery from others: one, but for batches.
#[derive(Clone, Debug, Default)]
pub(super) struct Discriminators(SmallVec<[Discriminator; 1]>);

impl Discriminators {
    pub(super) fn push(&mut self, discriminator: Discriminator) {
        self.0.push(discriminator);
    }
}

impl Verified {
    /// The verified bytes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The event's id, if the scheme signs one and it could be read: 1 to 256
    /// visible ASCII characters; several that name it together with a blank in
    /// between. None for a batch of several events.
    pub fn id(&self) -> Option<&str> {
        match &self.event.discriminators.0[..] {
            [discriminator] => discriminator.id(),
            _ => None,
        }
    }

    /// The event's type, likewise; of a batch, that of its first event. Where a body in
    /// JSON has several at that place, it is the first, or none: nothing is decided by it
    /// here.
    pub fn event_type(&self) -> Option<&str> {
        let event = &self.event;
        let read = || {
            let plan = event.scheme.plans().get(event.plan)?;
            let first = match &plan.each {
                None => &self.body[..],
                Some(each) => json::elements(&self.body, each)?.first()?.get().as_bytes(),
            };
            let text = match plan.event_type.as_ref()? {
                Location::Json(pointer) => {
                    json::first_text(first, pointer)?.into_owned().into_bytes()
                }
                Location::Form(name) => super::evaluate::field(first, name).ok()?.into_owned(),
                _ => return None,
            };
            let text = String::from_utf8(text).ok()?;
            field::is_valid_id(text.as_bytes(), b"").then(|| text.into())
        };
        event.event_type.get_or_init(read).as_deref()
    }

    /// When the delivery was signed, if the scheme says so.
    pub fn timestamp(&self) -> Option<UnixTime> {
        self.event.timestamp
    }

    /// Which key matched.
    pub fn key_id(&self) -> &str {
        &self.event.key_id
    }

    /// What tells this event from others; of a batch, its first.
    pub fn identity(&self) -> Identity {
        self.event
            .discriminators
            .0
            .first()
            .map_or(Identity::Content, Discriminator::identity)
    }

    /// The keys under which `scope` remembers this event, or each event of a
    /// batch: at least one, sorted, none twice.
    pub fn replay_keys(&self, scope: &ReplayScope) -> SmallVec<[ReplayKey; 1]> {
        let mut keys: SmallVec<[ReplayKey; 1]> = self
            .event
            .discriminators
            .0
            .iter()
            .map(|d| scope.key(d))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("id", &self.id())
            .field("event_type", &self.event_type())
            .field("timestamp", &self.event.timestamp)
            .field("key_id", &self.event.key_id)
            .field("identity", &self.identity())
            .field("body_len", &self.body.len())
            .finish()
    }
}
