//! The rule by which deliveries with equal signed bytes are one event or several.

use hookgate_core::internal::is_valid_id;
use hookgate_core::{EqualBytes, Provider, ReplayKey, ReplayScope, Verified};
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

/// The rule by which two deliveries are one event if the provider signs neither an event id nor
/// a timestamp.
///
/// A signed event id, or a signed timestamp, decides by itself. Only [`Dedupe::Off`] changes
/// that, if the operator sets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dedupe {
    /// Deliveries with equal signed bytes are one event. Replays are refused. If two distinct
    /// events have equal bytes, the second one is lost.
    #[default]
    Content,
    /// Deliveries with equal signed bytes and an equal delivery id are one event. Retries are
    /// recognised. The id is not signed: a party that holds a captured delivery can replay it
    /// under another id. A delivery without the id is forwarded.
    DeliveryId,
    /// Every delivery that verifies is forwarded, retries and replays included.
    Off,
}

impl Dedupe {
    /// Returns the rule for the deliveries of `provider`, if the operator chooses none.
    pub fn default_for(provider: &Provider) -> Self {
        DedupeRule::new(None, ProviderFacts::of(provider)).dedupe
    }
}

/// The facts about equal bytes in the entry of a provider.
#[derive(Clone, Debug, Default)]
pub(super) struct ProviderFacts {
    /// Absent if distinct events always differ, and if that is not known.
    equal_bytes: Option<EqualBytes>,
    delivery_id: Option<HeaderName>,
}

/// The rule of a source, made of the operator's choice and the provider's facts.
#[derive(Clone, Debug)]
pub(super) struct DedupeRule {
    pub(super) dedupe: Dedupe,
    /// The header with the delivery id, if the provider sends one.
    delivery_id: Option<HeaderName>,
    /// The events that leave [`Dedupe::Content`]. Without conditions, every event does that no
    /// signed id or timestamp identifies.
    exception: Option<EqualBytes>,
    /// Whether the operator turned duplicate detection off for every event.
    is_off: bool,
}

impl ProviderFacts {
    pub(super) fn of(provider: &Provider) -> Self {
        let facts = provider.facts();
        let equal_bytes = facts.equal_bytes().map(|fact| fact.value());
        Self {
            equal_bytes: equal_bytes.filter(|fact| fact.is_possible()).cloned(),
            delivery_id: facts.delivery_id().map(|fact| fact.value().clone()),
        }
    }

    pub(super) fn set_delivery_id(&mut self, header: HeaderName) {
        self.delivery_id = Some(header);
    }
}

impl DedupeRule {
    /// Creates the rule from the operator's choice, if any, and the provider's facts.
    pub(super) fn new(choice: Option<Dedupe>, facts: ProviderFacts) -> Self {
        let ProviderFacts {
            equal_bytes,
            delivery_id,
        } = facts;
        let dedupe = match (choice, &equal_bytes, &delivery_id) {
            (None, None, _) | (Some(Dedupe::Content), _, _) => Dedupe::Content,
            (None, Some(_), Some(_)) | (Some(Dedupe::DeliveryId), _, Some(_)) => Dedupe::DeliveryId,
            (None, Some(_), None) | (Some(Dedupe::Off), _, _) => Dedupe::Off,
            // Without the name of the header, the strict rule stays: replays are refused.
            (Some(Dedupe::DeliveryId), _, None) => Dedupe::Content,
        };
        Self {
            dedupe,
            delivery_id,
            exception: equal_bytes,
            is_off: choice == Some(Dedupe::Off),
        }
    }

    /// Whether only some events leave [`Dedupe::Content`].
    pub(super) fn exception(&self) -> Option<&EqualBytes> {
        let exception = self.exception.as_ref();
        exception.filter(|_| self.dedupe != Dedupe::Content && !self.is_off)
    }

    /// Whether the operator turned duplicate detection off for every event.
    pub(super) fn is_off(&self) -> bool {
        self.is_off
    }

    pub(super) fn delivery_id(&self) -> Option<&HeaderName> {
        self.delivery_id.as_ref()
    }

    /// Returns the delivery id of a request. `None` if the rule needs none, and if the request
    /// does not have exactly one well-formed id.
    pub(super) fn read_delivery_id(&self, headers: &HeaderMap) -> Option<Box<str>> {
        let header = self.delivery_id.as_ref();
        let header = header.filter(|_| self.dedupe == Dedupe::DeliveryId)?;
        let mut values = headers.get_all(header).iter();
        match (values.next(), values.next()) {
            (Some(value), None) if is_valid_id(value.as_bytes()) => {
                Some(value.to_str().ok()?.into())
            }
            _ => None,
        }
    }

    /// Returns the keys that `verified` claims. `None` if it claims nothing and is forwarded.
    #[cold]
    pub(super) fn claimed_keys(
        &self,
        verified: &Verified,
        scope: &ReplayScope,
        delivery_id: Option<&str>,
    ) -> Option<SmallVec<[ReplayKey; 1]>> {
        let leaves_content = || {
            let exception = self.exception.as_ref();
            verified.is_identified_by_content()
                && exception.is_none_or(|events| events.include(verified.body()))
        };
        match delivery_id {
            _ if self.is_off => None,
            _ if !leaves_content() => Some(verified.replay_keys(scope)),
            // Without an id, the delivery could be a new event, which must not be lost.
            None => None,
            Some(id) => Some(verified.replay_keys_with_delivery_id(scope, id)),
        }
    }
}
