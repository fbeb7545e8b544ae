use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::{UnixTime, Verified};
use hookgate_gate::Source;

/// What was verified about a delivery, in the extensions of the request.
///
/// Behind the feature `axum` it is an extractor too; a route that the layer
/// does not cover then fails with 500 instead of running unverified.
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

    /// Name of the source.
    pub fn source(&self) -> &str {
        self.0.source.name()
    }

    /// Whose event it is, where the source serves several tenants.
    pub fn tenant(&self) -> Option<&str> {
        self.0.source.tenant()
    }

    /// Name of the provider in the catalogue.
    pub fn provider(&self) -> Option<&str> {
        self.0.source.provider()
    }

    /// The event's id, if the provider signs one.
    pub fn id(&self) -> Option<&str> {
        self.0.verified.id()
    }

    /// The event's type, if the provider signs one.
    pub fn event_type(&self) -> Option<&str> {
        self.0.verified.event_type()
    }

    /// When the delivery was signed.
    pub fn timestamp(&self) -> Option<UnixTime> {
        self.0.verified.timestamp()
    }

    /// Which key matched.
    pub fn key_id(&self) -> &str {
        self.0.verified.key_id()
    }

    /// The bytes that were verified.
    pub fn body(&self) -> &Bytes {
        self.0.verified.body()
    }

    /// 1, and one more for each earlier delivery of the event of which nobody
    /// knows what became. Those that failed for certain do not count, so the
    /// service inside may have seen part of a first attempt, too.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }
}
