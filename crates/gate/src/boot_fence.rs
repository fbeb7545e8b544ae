//! [`BootFence`]: refuses deliveries that were signed before the start of the process.

use std::time::{Duration, Instant};

use hookgate_core::UnixTime;

use crate::clock::Clock;

/// The error of two clocks that are read one after the other.
const CLOCK_ERROR: Duration = Duration::from_millis(10);

/// Whether deliveries that were signed before the start of the process are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BootFence {
    /// Such deliveries are checked like all others: the store remembers the events that were
    /// done before the start.
    #[default]
    Off,
    /// Such deliveries are refused with 503, so that the sender retries with a fresh timestamp.
    ///
    /// Use this for a store that starts empty: a delivery that an earlier process accepted
    /// would pass once more. The fence cannot recognise a delivery whose sender's clock was
    /// ahead, because it looks newer than the start. A store that outlives the process does.
    On,
}

/// The start of the process.
///
/// The time of day of the start follows from the current time of day and from the time since the
/// start. The clock may thus be wrong at the start, and set afterwards. A start time that was
/// read from a late clock would let earlier deliveries pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fence(Instant);

impl Fence {
    pub(crate) fn start(clock: &dyn Clock) -> Self {
        Self(clock.steady())
    }

    /// Returns whether a delivery that was signed at `signed` is older than the start.
    pub(crate) fn refuses(&self, signed: UnixTime, clock: &dyn Clock) -> bool {
        let running = clock.steady().saturating_duration_since(self.0);
        let start = clock.now().minus(running).plus(CLOCK_ERROR);
        signed.secs() <= start.secs()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use tokio::time::advance;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct SetClock(Arc<AtomicI64>);

    impl Clock for SetClock {
        fn now(&self) -> UnixTime {
            UnixTime::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    /// The process starts at 1000 by the right clock.
    #[tokio::test(start_paused = true)]
    async fn a_wrong_clock_at_the_start_does_not_move_the_fence() {
        for wrong in [300, 1000, 1700, 90_000] {
            let clock = SetClock::default();
            clock.0.store(wrong, Ordering::Relaxed);
            let fence = Fence::start(&clock);
            advance(Duration::from_secs(20)).await;
            clock.0.store(1020, Ordering::Relaxed);
            let refuses = |signed| fence.refuses(UnixTime::from_secs(signed), &clock);
            let refused = [400, 999, 1000, 1001, 1020].map(refuses);
            assert_eq!(refused, [true, true, true, false, false], "{wrong}");
        }
    }
}
