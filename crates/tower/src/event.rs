//! The verified facts about a delivery, for the handler.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hookgate_core::{UnixTime, Verified};
use hookgate_gate::Source;
use tokio::sync::Notify;

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
    lease: LeaseSignal,
}

/// Tells the handler that the layer has lost the lease of its event.
#[derive(Debug, Default)]
struct LeaseSignal {
    is_lost: AtomicBool,
    lost: Notify,
}

impl VerifiedEvent {
    pub(crate) fn new(source: Arc<Source>, verified: Verified, attempt: u32) -> Self {
        Self(Arc::new(Inner {
            source,
            verified,
            attempt,
            lease: LeaseSignal::default(),
        }))
    }

    /// Creates the event of a genuine `delivery`, for a test that calls its handler without the
    /// layer. It is the first attempt.
    ///
    /// ```
    /// use tower_hookgate::{VerifiedEvent, test_util::TestProvider};
    ///
    /// let stripe = TestProvider::named("stripe");
    /// let delivery = stripe.delivery(r#"{"id":"evt_1","type":"invoice.paid"}"#);
    /// let event = VerifiedEvent::for_test(&delivery);
    /// assert_eq!(event.id(), Some("evt_1"));
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the delivery cannot be signed, for example because the provider signs forms and
    /// the body is JSON.
    #[cfg(feature = "test-util")]
    #[track_caller]
    pub fn for_test(delivery: &hookgate_gate::test_util::TestDelivery) -> Self {
        let source = delivery.provider().source().build();
        Self::new(Arc::new(source), delivery.verified(), 1)
    }

    /// Tells the handler that the lease is lost.
    pub(crate) fn lose_lease(&self) {
        let lease = &self.0.lease;
        lease.is_lost.store(true, Ordering::SeqCst);
        lease.lost.notify_waiters();
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

    /// Returns the type of the event, if the provider signs one. GitHub does not sign its header
    /// `x-github-event`: read it from the request, and expect that it can be wrong.
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

    /// Returns whether another delivery of the event may run at the same time.
    ///
    /// The layer renews the lease of the event while the call of the inner service lives. The
    /// lease is lost if the store cannot be reached for as long as the lease lasts, if the store
    /// has lost its data, or if the call takes longer than
    /// [`max_run`](hookgate_gate::Source::max_run). A handler with lasting effects should stop
    /// then.
    pub fn is_lease_lost(&self) -> bool {
        self.0.lease.is_lost.load(Ordering::SeqCst)
    }

    /// Completes when the lease is lost; see [`is_lease_lost`](Self::is_lease_lost). Otherwise it
    /// never completes, so use it in a `select!` with the work.
    pub async fn lease_lost(&self) {
        let mut lost = pin!(self.0.lease.lost.notified());
        // A loss between the check and the wait is noticed.
        lost.as_mut().enable();
        if !self.is_lease_lost() {
            lost.await;
        }
    }
}
