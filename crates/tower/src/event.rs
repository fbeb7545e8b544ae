//! The verified facts about a delivery, for the handler.

use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::{UnixTime, Verified};
use hookgate_gate::Source;

/// The verified facts about a delivery. The layer puts them into the extensions of the
/// request.
///
/// With the feature `axum`, this type is an extractor too. On a route that the layer does not
/// cover, the extractor responds with 500, so that the handler never runs unverified.
#[derive(Clone, Debug)]
pub struct VerifiedEvent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<Source>,
    verified: Verified,
    attempt: u32,
}

impl VerifiedEvent {
    pub(crate) fn new(source: Arc<Source>, verified: Verified, attempt: u32) -> Self {
        Self(Arc::new(Inner {
            source,
            verified,
            attempt,
        }))
    }

    /// Returns the name of the source.
    pub fn source(&self) -> &str {
        self.0.source.name()
    }

    /// Returns the tenant of the event, if the source serves several tenants.
    pub fn tenant(&self) -> Option<&str> {
        self.0.source.tenant()
    }

    /// Returns the name of the provider in the catalogue, if the source has one.
    pub fn provider(&self) -> Option<&str> {
        self.0.source.provider()
    }

    /// Returns the id of the event, if the provider signs one.
    pub fn id(&self) -> Option<&str> {
        self.0.verified.id()
    }

    /// Returns the type of the event, if the provider signs one.
    pub fn event_type(&self) -> Option<&str> {
        self.0.verified.event_type()
    }

    /// Returns the time at which the delivery was signed, if the provider signs it.
    pub fn timestamp(&self) -> Option<UnixTime> {
        self.0.verified.timestamp()
    }

    /// Returns the id of the key that matched.
    pub fn key_id(&self) -> &str {
        self.0.verified.key_id()
    }

    /// Returns the verified bytes.
    pub fn body(&self) -> &Bytes {
        self.0.verified.body()
    }

    /// Returns the number of this attempt: 1, plus one for each earlier delivery of the event
    /// whose outcome is unknown.
    ///
    /// Deliveries that certainly failed do not count. A first attempt can therefore follow a
    /// delivery that the inner service has seen.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }
}
