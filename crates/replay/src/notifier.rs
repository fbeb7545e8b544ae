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

#[cfg(all(test, feature = "redis"))]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_waiters_of_every_key_are_notified() {
        let notifier = SettlementNotifier::new();
        let key = |number: u8| ReplayKey::from_bytes([number; 16]);
        let mut waiters: Vec<_> = (0..=u8::MAX)
            .map(|number| Box::pin(notifier.notified(key(number))))
            .collect();
        notifier.notify(key(0));
        // The control: a settlement wakes the waiters of its own stripe.
        let woken = waiters
            .iter_mut()
            .filter_map(|waiter| waiter.as_mut().now_or_never());
        assert_eq!(woken.count(), 256 / SettlementNotifier::STRIPES);
        let mut waiters: Vec<_> = (0..=u8::MAX)
            .map(|number| Box::pin(notifier.notified(key(number))))
            .collect();
        notifier.notify_all();
        assert!(
            waiters
                .iter_mut()
                .all(|waiter| waiter.as_mut().now_or_never().is_some())
        );
    }
}
