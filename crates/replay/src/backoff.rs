//! [`Backoff`]: growing pauses between attempts to settle a claim.
//!
//! The gate uses it when a store does not answer, and the Redis store uses it to
//! release orphaned claims.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Doubles the pause between attempts, up to ten seconds, until a lease ends.
#[derive(Debug)]
pub struct Backoff {
    next_pause: Duration,
    /// `None` if the lease ends later than the clock can express.
    lease_end: Option<Instant>,
}

impl Backoff {
    const FIRST_PAUSE: Duration = Duration::from_millis(100);
    const MAX_PAUSE: Duration = Duration::from_secs(10);

    /// Creates a backoff for a claim whose lease starts now and lasts for `lease`.
    pub fn until_lease_ends(lease: Duration) -> Self {
        Self {
            next_pause: Self::FIRST_PAUSE,
            lease_end: Instant::now().checked_add(lease),
        }
    }

    /// Waits before another attempt. Returns `false` at once if the pause would
    /// outlast the lease, because a settlement makes no difference after that.
    pub async fn wait(&mut self) -> bool {
        if let Some(end) = self.lease_end
            && Instant::now() + self.next_pause > end
        {
            return false;
        }
        sleep(self.next_pause).await;
        self.next_pause = (2 * self.next_pause).min(Self::MAX_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_ten_seconds_until_the_lease_ends() {
        for (lease, expected) in [
            (299, &[100][..]),
            // An attempt at the last moment of the lease still counts.
            (300, &[100, 300]),
            (
                33_000,
                &[100, 300, 700, 1500, 3100, 6300, 12_700, 22_700, 32_700],
            ),
        ] {
            let mut backoff = Backoff::until_lease_ends(Duration::from_millis(lease));
            let start = Instant::now();
            let mut attempts = Vec::new();
            while backoff.wait().await {
                attempts.push(start.elapsed().as_millis());
            }
            assert_eq!(attempts, expected, "{lease}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_possible_lease_does_not_overflow_the_clock() {
        assert!(Backoff::until_lease_ends(Duration::MAX).wait().await);
    }
}
