//! [`LeasedSlots`]: direct references to the slots of open leases.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use hookgate_core::ReplayKey;

use super::slot::Slot;
use super::store_time::StoreTime;

/// The slots of keys with an open lease, and of some keys whose lease ended unsettled.
///
/// A settlement finds its slot here, because a read of the cache is slower. The references
/// are weak: the cache owns the slots and decides whether one exists.
#[derive(Default)]
pub(super) struct LeasedSlots {
    slots: HashMap<ReplayKey, Weak<Slot>, RandomState>,
    /// At this number of slots, those without an open lease are removed.
    prune_at: usize,
}

impl LeasedSlots {
    /// The number of slots up to which none is removed.
    const MIN_PRUNE_AT: usize = 16;

    pub(super) fn get(&self, key: ReplayKey) -> Option<Arc<Slot>> {
        self.slots.get(&key)?.upgrade()
    }

    pub(super) fn insert(&mut self, key: ReplayKey, slot: &Arc<Slot>, now: StoreTime) {
        if self.slots.len() >= self.prune_at {
            self.slots.retain(|_, slot| {
                slot.upgrade()
                    .is_some_and(|slot| slot.record().is_leased(now))
            });
            self.prune_at = Self::MIN_PRUNE_AT.max(2 * self.slots.len());
            self.slots.shrink_to(self.prune_at);
        }
        self.slots.insert(key, Arc::downgrade(slot));
    }

    pub(super) fn remove(&mut self, key: ReplayKey) {
        self.slots.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::CLAIM_OPTIONS;
    use crate::memory::slot::Record;
    use crate::memory::store_time::store_time;
    use crate::store::Lease;

    #[test]
    fn slots_of_expired_leases_are_removed() {
        const OPEN_LEASES: u64 = 100;
        let mut leased = LeasedSlots::default();
        let mut slots = Vec::new();
        for number in 0..10_000 {
            let key = ReplayKey::from_bytes(u128::from(number).to_be_bytes());
            let now = number * store_time(CLAIM_OPTIONS.lease) / OPEN_LEASES;
            let record = Record::claimed(&Lease::new(key, number, 1), now, CLAIM_OPTIONS, None);
            let slot = Arc::new(Slot::new(record));
            leased.insert(key, &slot, now);
            slots.push((key, slot));
            let oldest_open = slots.len().saturating_sub(OPEN_LEASES as usize);
            assert!(leased.get(slots[oldest_open].0).is_some(), "{number}");
        }
        assert!(leased.slots.len() <= 4 * OPEN_LEASES as usize);
        assert!(leased.slots.capacity() < 1_000);
    }
}
