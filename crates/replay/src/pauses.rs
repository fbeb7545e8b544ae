use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pauses between tries of telling a store what it has not taken: longer and longer, for as
/// long as it makes a difference.
#[doc(hidden)]
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
    /// None where that is beyond what the clock can say.
    end: Option<Instant>,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    /// From now on, until what was claimed for `lease` is open again.
    pub fn within(lease: Duration) -> Self {
        Self {
            next: Self::FIRST,
            end: Instant::now().checked_add(lease),
        }
    }

    /// Pauses before another try. Whether there is to be one.
    pub async fn pause(&mut self) -> bool {
        if self.end.is_some_and(|end| Instant::now() + self.next > end) {
            return false;
        }
        sleep(self.next).await;
        self.next = (2 * self.next).min(Self::LONGEST);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_longest_until_the_lease_ends() {
        let mut pauses = Pauses::within(Duration::from_secs(33));
        let start = Instant::now();
        let mut ends = Vec::new();
        while pauses.pause().await {
            ends.push(start.elapsed().as_millis());
        }
        assert_eq!(
            ends,
            [100, 300, 700, 1500, 3100, 6300, 12_700, 22_700, 32_700]
        );
        // No lease is too long.
        assert!(Pauses::within(Duration::MAX).pause().await);
    }
}
