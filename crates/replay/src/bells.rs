use std::fmt;

use hookgate_core::ReplayKey;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// When a waiter looks again, told or not: another process rings no bell here, and what
/// it says is lost with a connection.
#[cfg(any(feature = "disk", feature = "redis"))]
pub(crate) const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(250);

/// Tells waiters that a claim was settled. Waiters share a bell with those of other
/// keys; more bells, fewer false alarms.
pub(crate) struct Bells([Notify; Self::COUNT]);

impl Bells {
    const COUNT: usize = 64;

    pub(crate) fn new() -> Self {
        Self([const { Notify::const_new() }; Self::COUNT])
    }

    /// Wakes whoever waits for `key`, and perhaps others.
    pub(crate) fn ring(&self, key: ReplayKey) {
        self.of(key).notify_waiters();
    }

    /// Wakes everybody.
    #[cfg(feature = "redis")]
    pub(crate) fn ring_all(&self) {
        self.0.iter().for_each(Notify::notify_waiters);
    }

    /// Completes when it is rung after this call, polled or not.
    pub(crate) fn heard(&self, key: ReplayKey) -> Notified<'_> {
        self.of(key).notified()
    }

    fn of(&self, key: ReplayKey) -> &Notify {
        // The key is a hash already: any byte of it spreads evenly.
        &self.0[usize::from(key.as_bytes()[0]) % Self::COUNT]
    }
}

impl fmt::Debug for Bells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bells")
    }
}
