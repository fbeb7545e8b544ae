//! A delivery that verified.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
#[cfg(feature = "stored-facts")]
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::lookup::form_field;
use crate::identity::{Discriminator, Identity, ReplayKey, ReplayScope};
use crate::scheme::location::Location;
use crate::scheme::{Scheme, field, json};
use crate::time::UnixTime;

/// A delivery that verified, with exactly the bytes that were verified.
#[derive(Clone)]
pub struct Verified {
    pub(super) body: Bytes,
    pub(super) event: Event,
}

/// The verified values of a delivery.
#[derive(Clone)]
pub(super) struct Event {
    /// The event type. Read on first use, because finding it means parsing the body.
    pub(super) event_type: OnceLock<Option<Box<str>>>,
    pub(super) scheme: Scheme,
    /// Index of the plan that verified the delivery.
    pub(super) plan: usize,
    pub(super) timestamp: Option<UnixTime>,
    pub(super) key_id: Arc<str>,
    pub(super) discriminators: Discriminators,
}

/// The identities of a delivery's events. A batch has several events, other deliveries one.
#[derive(Clone, Debug, Default)]
pub(super) struct Discriminators(SmallVec<[Discriminator; 1]>);

/// The verified values of a delivery, as a queue stores them beside the body.
///
/// They contain all that a [`Verified`] says, so that a scheme that has changed meanwhile changes
/// nothing about the delivery.
#[derive(Debug)]
#[cfg_attr(feature = "stored-facts", derive(Serialize, Deserialize))]
pub struct VerifiedFacts {
    event_type: Option<Box<str>>,
    /// The milliseconds since the Unix epoch.
    timestamp: Option<i64>,
    key_id: Box<str>,
    discriminators: Vec<Discriminator>,
}

impl Discriminators {
    pub(super) fn push(&mut self, discriminator: Discriminator) {
        self.0.push(discriminator);
    }
}

impl Verified {
    /// The verified body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Gives the body a buffer of its own.
    pub(crate) fn copy_body(&mut self) {
        self.body = Bytes::copy_from_slice(&self.body);
    }

    /// The event id, if the scheme signs one and it is well-formed.
    ///
    /// The id is 1 to 256 visible ASCII characters. If the scheme composes it of several values,
    /// a blank separates them. A batch of several events has no id.
    pub fn id(&self) -> Option<&str> {
        match &self.event.discriminators.0[..] {
            [discriminator] => discriminator.id(),
            _ => None,
        }
    }

    /// The event type, if the scheme has one and it is 1 to 256 visible ASCII characters.
    ///
    /// For a batch, this is the type of its first event. If a JSON body repeats the member, the
    /// result is the first value or none: verification never depends on the type.
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
                Location::Form(name) => form_field(first, name).ok()?.into_owned(),
                _ => return None,
            };
            let text = String::from_utf8(text).ok()?;
            field::is_valid_id(text.as_bytes()).then(|| text.into())
        };
        event.event_type.get_or_init(read).as_deref()
    }

    /// The time at which the delivery was signed, if the scheme signs a timestamp.
    pub fn timestamp(&self) -> Option<UnixTime> {
        self.event.timestamp
    }

    /// The id of the key that has signed the delivery.
    pub fn key_id(&self) -> &str {
        &self.event.key_id
    }

    /// The kind of value that identifies the event. For a batch, that of its first event.
    pub fn identity(&self) -> Identity {
        self.event
            .discriminators
            .0
            .first()
            .map_or(Identity::Content, Discriminator::identity)
    }

    /// Returns the replay keys of the delivery's events in `scope`.
    ///
    /// The list has at least one key, is sorted, and has no key twice.
    pub fn replay_keys(&self, scope: &ReplayScope) -> SmallVec<[ReplayKey; 1]> {
        self.keys(|discriminator| scope.key(discriminator))
    }

    /// Returns the replay keys of the delivery's events in `scope`, with the unsigned id of the
    /// delivery as a part of each key that is made of content alone.
    ///
    /// Keys of events with a signed id or timestamp do not change. The list has at least one
    /// key, is sorted, and has no key twice.
    ///
    /// # Security
    ///
    /// A party that holds a captured delivery can change `delivery_id`, and replay the delivery
    /// under the new key. Use this only where distinct events have equal bytes.
    pub fn replay_keys_with_delivery_id(
        &self,
        scope: &ReplayScope,
        delivery_id: &str,
    ) -> SmallVec<[ReplayKey; 1]> {
        self.keys(|discriminator| scope.key_of_delivery(discriminator, delivery_id))
    }

    /// Returns the verified values.
    pub(crate) fn facts(&self) -> VerifiedFacts {
        VerifiedFacts {
            event_type: self.event_type().map(Into::into),
            timestamp: self.timestamp().map(UnixTime::millis),
            key_id: self.key_id().into(),
            discriminators: self.event.discriminators.0.to_vec(),
        }
    }

    /// Creates the delivery that had these values.
    pub(crate) fn from_facts(facts: VerifiedFacts, scheme: &Scheme, body: Bytes) -> Self {
        let event = Event {
            event_type: OnceLock::from(facts.event_type),
            scheme: scheme.clone(),
            // Only the event type is read through the plan, and it is known.
            plan: 0,
            timestamp: facts.timestamp.map(UnixTime::from_millis),
            key_id: facts.key_id.into(),
            discriminators: Discriminators(facts.discriminators.into()),
        };
        Self { body, event }
    }

    fn keys(&self, key: impl Fn(&Discriminator) -> ReplayKey) -> SmallVec<[ReplayKey; 1]> {
        let discriminators = self.event.discriminators.0.iter();
        let mut keys: SmallVec<[ReplayKey; 1]> = discriminators.map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Whether the content alone identifies every event of the delivery: no event has a signed
    /// id or timestamp.
    pub fn is_identified_by_content(&self) -> bool {
        let mut identities = self
            .event
            .discriminators
            .0
            .iter()
            .map(Discriminator::identity);
        identities.all(|identity| identity == Identity::Content)
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
