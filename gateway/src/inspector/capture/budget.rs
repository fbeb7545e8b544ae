//! The memory for captures that the thread of the inspector has not stored.
//!
//! One half of the limit is for verified deliveries, and one half for the bodies of other
//! requests. In that half, a request takes no more memory than is left for the others. So the
//! memory that is left shrinks with each slow forged body and is never used up by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that are reserved, and their limit.
#[derive(Debug, Default)]
pub(crate) struct CaptureBudget {
    /// The limit of each half.
    half: AtomicUsize,
    verified: AtomicUsize,
    unverified: AtomicUsize,
}

/// The half of the budget that a reservation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Verified,
    Unverified,
}

/// Reserved bytes. They are free again when this value is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<CaptureBudget>,
    half: Half,
    bytes: usize,
}

impl CaptureBudget {
    /// Sets the limit of both halves together.
    pub(crate) fn set_limit(&self, bytes: usize) {
        self.half.store(bytes / 2, Ordering::Relaxed);
    }

    /// Returns the largest body of one capture, so that several captures fit.
    pub(crate) fn max_body(&self) -> usize {
        self.half.load(Ordering::Relaxed) / 2
    }

    /// Starts a reservation without a byte.
    pub(crate) fn reservation(self: &Arc<Self>, half: Half) -> Reservation {
        Reservation {
            budget: Arc::clone(self),
            half,
            bytes: 0,
        }
    }

    fn reserved(&self, half: Half) -> &AtomicUsize {
        match half {
            Half::Verified => &self.verified,
            Half::Unverified => &self.unverified,
        }
    }
}

impl Reservation {
    /// Reserves `more` bytes. Returns false, and reserves nothing, if too few are left.
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let reserved = self.budget.reserved(self.half);
        let before = reserved.fetch_add(more, Ordering::Relaxed);
        let limit = self.budget.half.load(Ordering::Relaxed);
        let fits = match self.half {
            Half::Verified => before.saturating_add(more) <= limit,
            Half::Unverified => {
                let of_others = before.saturating_sub(self.bytes);
                let own = self.bytes.saturating_add(more);
                own.saturating_mul(2).saturating_add(of_others) <= limit
            }
        };
        match fits {
            true => self.bytes += more,
            false => drop(reserved.fetch_sub(more, Ordering::Relaxed)),
        }
        fits
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget
            .reserved(self.half)
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Arc<CaptureBudget> {
        let budget = Arc::new(CaptureBudget::default());
        budget.set_limit(2000);
        budget
    }

    #[test]
    fn each_half_has_its_own_limit_and_a_drop_frees_the_bytes() {
        let budget = budget();
        let mut forged = budget.reservation(Half::Unverified);
        assert!(forged.grow(300) && forged.grow(200));
        assert!(!forged.grow(1));
        let mut genuine = budget.reservation(Half::Verified);
        assert!(genuine.grow(600) && genuine.grow(400));
        assert!(!genuine.grow(1));
        drop(forged);
        assert!(budget.reservation(Half::Unverified).grow(500));
    }

    #[test]
    fn bodies_that_take_what_they_can_leave_memory_for_a_short_one() {
        let budget = budget();
        let mut slow: Vec<_> = (0..50)
            .map(|_| budget.reservation(Half::Unverified))
            .collect();
        for _ in 0..1000 {
            for body in &mut slow {
                let _: bool = body.grow(1);
            }
        }
        let left = 1000 - budget.unverified.load(Ordering::Relaxed);
        assert!((10..100).contains(&left), "{left}");
        assert!(budget.reservation(Half::Unverified).grow(left / 2));
        // The control: the half for verified deliveries has no such rule.
        let mut verified = budget.reservation(Half::Verified);
        assert!((0..1000).all(|_| verified.grow(1)) && !verified.grow(1));
    }
}
