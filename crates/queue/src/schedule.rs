//! [`RetrySchedule`]: when the attempts of a delivery follow each other, and when they end.

use std::time::Duration;

/// The times between the attempts of a delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetrySchedule {
    /// The time from the first failed attempt to the next one. The default is 5 s.
    pub first: Duration,
    /// The factor by which each wait is longer than the last, at least 1. The default is 2.
    pub factor: f64,
    /// The longest wait, also for a `Retry-After`. The default is 1 h.
    pub max: Duration,
    /// The age at which a delivery that failed becomes a dead letter. The default is 72 h.
    pub give_up: Duration,
}

impl RetrySchedule {
    /// The default schedule.
    pub const DEFAULT: Self = Self {
        first: Duration::from_secs(5),
        factor: 2.0,
        max: Duration::from_secs(3600),
        give_up: Duration::from_secs(72 * 3600),
    };

    /// Returns the wait after `failed` attempts, which count from 1: up to 20 % shorter or longer
    /// than the schedule, at least `retry_after`, and at most [`max`](Self::max).
    ///
    /// Without jitter, all deliveries that failed together would be sent together again.
    pub fn wait_after(&self, failed: u32, retry_after: Option<Duration>) -> Duration {
        self.wait_with(failed, retry_after, random())
    }

    /// Does the same with a `random` number between 0 and 1.
    pub(crate) fn wait_with(
        &self,
        failed: u32,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Duration {
        const JITTER: f64 = 0.2;
        let factor = 1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        let wait = self.wait(failed).as_secs_f64() * factor;
        let wait = Duration::try_from_secs_f64(wait).unwrap_or(self.max);
        wait.max(retry_after.unwrap_or_default()).min(self.max)
    }

    /// Returns the wait without jitter.
    fn wait(&self, failed: u32) -> Duration {
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.powi(exponent);
        match Duration::try_from_secs_f64(seconds) {
            Ok(wait) => wait.min(self.max),
            Err(_) => self.max,
        }
    }
}

/// Returns a random number between 0 and 1.
pub(crate) fn random() -> f64 {
    // Without random numbers, the waits have no jitter.
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_the_factor_up_to_the_maximum() {
        let schedule = RetrySchedule::DEFAULT;
        let waits = [1, 2, 3, 10, 11, 1000, u32::MAX].map(|failed| schedule.wait(failed).as_secs());
        assert_eq!(waits, [5, 10, 20, 2560, 3600, 3600, 3600]);
    }

    #[test]
    fn jitter_changes_a_wait_by_a_fifth_at_most_and_never_exceeds_the_maximum() {
        let schedule = RetrySchedule::DEFAULT;
        for (failed, expected) in [
            (1, [4_000, 5_000, 6_000]),
            (50, [2_880_000, 3_600_000, 3_600_000]),
        ] {
            let waits = [0.0, 0.5, 1.0].map(|random| schedule.wait_with(failed, None, random));
            assert_eq!(waits.map(|wait| wait.as_millis()), expected);
        }
        let endless = RetrySchedule {
            max: Duration::MAX,
            ..schedule
        };
        assert_eq!(endless.wait_with(u32::MAX, None, 1.0), Duration::MAX);
    }

    #[test]
    fn the_waits_of_deliveries_that_failed_together_differ() {
        let waits = [(); 20].map(|()| RetrySchedule::DEFAULT.wait_after(1, None));
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
        let asked = Some(Duration::from_secs(60));
        assert_eq!(RetrySchedule::DEFAULT.wait_after(1, asked).as_secs(), 60);
    }
}
