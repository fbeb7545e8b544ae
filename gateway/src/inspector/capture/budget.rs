//! The memory for captures that the thread of the inspector has not stored.
//!
//! One half of the limit is for verified deliveries, and one half for the bodies of other
//! requests, so that slow forged bodies leave memory for genuine captures.

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
    /// Reserves `more` bytes. Returns false, and reserves nothing, if the half is full.
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let reserved = self.budget.reserved(self.half);
        let before = reserved.fetch_add(more, Ordering::Relaxed);
        let fits = before.saturating_add(more) <= self.budget.half.load(Ordering::Relaxed);
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

    #[test]
    fn each_half_has_its_own_limit_and_a_drop_frees_the_bytes() {
        let budget = Arc::new(CaptureBudget::default());
        budget.set_limit(200);
        let mut forged = budget.reservation(Half::Unverified);
        assert!(forged.grow(60) && forged.grow(40));
        assert!(!forged.grow(1));
        let mut genuine = budget.reservation(Half::Verified);
        assert!(genuine.grow(100));
        drop(forged);
        assert!(budget.reservation(Half::Unverified).grow(100));
        assert!(!genuine.grow(1));
    }
}
