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

    /// Returns the wait after `failed` attempts, without jitter. `failed` counts from 1.
    pub fn wait(&self, failed: u32) -> Duration {
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.powi(exponent);
        match Duration::try_from_secs_f64(seconds) {
            Ok(wait) => wait.min(self.max),
            Err(_) => self.max,
        }
    }

    /// Returns the wait after `failed` attempts, up to 20 % shorter or longer, and at most
    /// [`max`](Self::max). `random` is between 0 and 1.
    ///
    /// Without jitter, all deliveries that failed together would be sent together again.
    pub fn wait_with_jitter(&self, failed: u32, random: f64) -> Duration {
        const JITTER: f64 = 0.2;
        let factor = 1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        let wait = self.wait(failed).as_secs_f64() * factor;
        Duration::try_from_secs_f64(wait).map_or(self.max, |wait| wait.min(self.max))
    }
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
            let waits = [0.0, 0.5, 1.0].map(|random| schedule.wait_with_jitter(failed, random));
            assert_eq!(waits.map(|wait| wait.as_millis()), expected);
        }
        let endless = RetrySchedule {
            max: Duration::MAX,
            ..schedule
        };
        assert_eq!(endless.wait_with_jitter(u32::MAX, 1.0), Duration::MAX);
    }
}
