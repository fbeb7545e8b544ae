use std::collections::HashMap;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use hookgate_core::ReplayKey;

use super::slot::{Moment, Slot};

/// Slots that are claimed, and those of leases that ended unsettled and were not looked
/// for yet. Whether there is one is known to the cache, to which all of them belong.
#[derive(Default)]
pub(super) struct InFlight {
    slots: HashMap<ReplayKey, Weak<Slot>, RandomState>,
    /// So many, and those that nobody will settle are looked for.
    many: usize,
}

impl InFlight {
    /// Slots that are kept without such a look.
    const FEW: usize = 16;

    pub(super) fn get(&self, key: ReplayKey) -> Option<Arc<Slot>> {
        self.slots.get(&key)?.upgrade()
    }

    pub(super) fn put(&mut self, key: ReplayKey, slot: &Arc<Slot>, now: Moment) {
        if self.slots.len() >= self.many {
            self.slots.retain(|_, slot| {
                slot.upgrade()
                    .is_some_and(|slot| slot.record().is_leased(now))
            });
            self.many = Self::FEW.max(2 * self.slots.len());
            self.slots.shrink_to(self.many);
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
    use crate::conformance::TERMS;
    use crate::memory::slot::{Record, moment};
    use crate::store::Lease;

    #[test]
    fn leases_that_nobody_settles_are_forgotten_when_they_end() {
        const AT_A_TIME: u64 = 100;
        let mut in_flight = InFlight::default();
        let mut held = Vec::new();
        for number in 0..10_000 {
            let key = ReplayKey::from_bytes(u128::from(number).to_be_bytes());
            let now = number * moment(TERMS.lease) / AT_A_TIME;
            let record = Record::claimed(&Lease::new(key, number, 1), now, TERMS, None);
            let slot = Arc::new(Slot::new(record));
            in_flight.put(key, &slot, now);
            held.push((key, slot));
            // Those that are under way are found.
            let earliest = held.len().saturating_sub(AT_A_TIME as usize);
            assert!(in_flight.get(held[earliest].0).is_some(), "{number}");
        }
        assert!(in_flight.slots.len() <= 4 * AT_A_TIME as usize);
        assert!(in_flight.slots.capacity() < 1_000);
    }
}
