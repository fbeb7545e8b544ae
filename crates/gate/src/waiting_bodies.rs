//! The budget for the bodies of deliveries that wait for another delivery of their event.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::reason::Reason;
use crate::refusal::Refusal;

/// The most bytes of bodies that wait at one time, over all sources. Without a limit, an
/// attacker who captured one delivery could make thousands of copies wait.
const MAX_WAITING: usize = 64 * 1024 * 1024;

/// The number of bytes of bodies that wait.
#[derive(Debug, Default)]
pub(crate) struct WaitingBodies(AtomicUsize);

impl WaitingBodies {
    /// Counts a body of `bytes` bytes until the returned reservation is dropped.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::InFlight`] if the budget is exhausted.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Reservation<'_>, Refusal> {
        let reservation = Reservation { all: self, bytes };
        match self.0.fetch_add(bytes, Ordering::Relaxed) + bytes {
            ..=MAX_WAITING => Ok(reservation),
            _ => Err(Reason::InFlight.into()),
        }
    }
}

/// A waiting body that counts against the budget until it is dropped.
pub(crate) struct Reservation<'w> {
    all: &'w WaitingBodies,
    bytes: usize,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_used_up_to_its_last_byte_and_no_further() {
        let waiting = WaitingBodies::default();
        let full = waiting.reserve(MAX_WAITING).ok();
        assert!(full.is_some());
        let refusal = waiting.reserve(1).err();
        assert_eq!(refusal.map(Refusal::reason), Some(Reason::InFlight));
        drop(full);
        assert!(waiting.reserve(1).is_ok());
        assert_eq!(waiting.0.load(Ordering::Relaxed), 0);
    }
}
