//! [`SettlementNotifier`]: wakes deliveries that wait for another delivery of their event.

use std::fmt;

use hookgate_core::ReplayKey;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How long a waiter waits for a notification before it claims again. Another process
/// that shares the store cannot notify this one, and a lost connection loses messages.
#[cfg(any(feature = "disk", feature = "redis"))]
pub(crate) const RECHECK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(250);

/// Notifies waiters that the claim on a key was settled.
///
/// Several keys share one `Notify`, so a waiter can wake without a settlement of its key.
pub(crate) struct SettlementNotifier([Notify; Self::STRIPES]);

impl SettlementNotifier {
    /// More stripes mean fewer needless wake-ups.
    const STRIPES: usize = 64;

    pub(crate) fn new() -> Self {
        Self([const { Notify::const_new() }; Self::STRIPES])
    }

    /// Wakes all waiters of `key`, and possibly waiters of other keys.
    pub(crate) fn notify(&self, key: ReplayKey) {
        self.stripe(key).notify_waiters();
    }

    /// Wakes all waiters of all keys.
    #[cfg(feature = "redis")]
    pub(crate) fn notify_all(&self) {
        self.0.iter().for_each(Notify::notify_waiters);
    }

    /// Returns a future that completes at the first notification after this call, even if
    /// it was not polled yet.
    pub(crate) fn notified(&self, key: ReplayKey) -> Notified<'_> {
        self.stripe(key).notified()
    }

    fn stripe(&self, key: ReplayKey) -> &Notify {
        // The key is a hash, so any of its bytes is evenly distributed.
        &self.0[usize::from(key.as_bytes()[0]) % Self::STRIPES]
    }
}

impl fmt::Debug for SettlementNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SettlementNotifier")
    }
}
