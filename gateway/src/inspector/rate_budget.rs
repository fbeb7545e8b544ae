//! A limit of actions: a burst, and then a steady rate.

use std::time::Instant;

/// The actions that are allowed now.
#[derive(Debug)]
pub(crate) struct RateBudget {
    burst: f64,
    per_second: f64,
    left: f64,
    filled: Instant,
}

impl RateBudget {
    /// Creates a budget of `burst` actions, which gains `per_second` actions each second.
    pub(crate) fn new(burst: f64, per_second: f64, now: Instant) -> Self {
        Self {
            burst,
            per_second,
            left: burst,
            filled: now,
        }
    }

    /// Returns whether one more action is allowed.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        let earned = (now - self.filled).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.burst);
        self.filled = now;
        let is_enough = self.left >= 1.0;
        self.left -= f64::from(u8::from(is_enough));
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Instant::now();
        let mut budget = RateBudget::new(3.0, 2.0, start);
        let spent = (0..10).filter(|_| budget.spend(start)).count();
        assert_eq!(spent, 3);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..10).filter(|_| budget.spend(later)).count(), 2);
        let much_later = start + Duration::from_secs(100);
        assert_eq!((0..10).filter(|_| budget.spend(much_later)).count(), 3);
    }
}
