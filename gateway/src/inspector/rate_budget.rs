//! Limits of actions: a burst, and then a steady rate.

use std::collections::HashMap;
use std::time::Instant;

/// Maximum number of groups whose budgets are remembered.
const MAX_GROUPS: usize = 4096;

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

/// A budget for each group of requests, so that no group can spend the budget of another one.
#[derive(Debug)]
pub(crate) struct GroupBudgets {
    burst: f64,
    per_second: f64,
    groups: HashMap<u64, RateBudget>,
}

impl GroupBudgets {
    /// Creates budgets of `burst` actions, which gain `per_second` actions each second.
    pub(crate) fn new(burst: f64, per_second: f64) -> Self {
        Self {
            burst,
            per_second,
            groups: HashMap::new(),
        }
    }

    /// Returns whether one more action is allowed for `group`.
    pub(crate) fn spend(&mut self, group: u64, now: Instant) -> bool {
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&group) {
            self.groups.clear();
        }
        let budget = self.groups.entry(group);
        budget
            .or_insert_with(|| RateBudget::new(self.burst, self.per_second, now))
            .spend(now)
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

    #[test]
    fn a_group_cannot_spend_the_budget_of_another_one() {
        let now = Instant::now();
        let mut budgets = GroupBudgets::new(2.0, 1.0);
        let flood = (0..100).filter(|_| budgets.spend(1, now)).count();
        assert_eq!(flood, 2);
        assert!(budgets.spend(2, now));
        for group in 0..10_000 {
            budgets.spend(group, now);
        }
        assert!(budgets.groups.len() <= MAX_GROUPS);
    }
}
