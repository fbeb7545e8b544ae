//! The entries of a [`MemoryQueue`](super::MemoryQueue), and the changes of their states.
//!
//! Every method scans all entries. The reference is simple rather than fast.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::time::Instant;

use super::Limits;
use super::slot::{FAR, Phase, Slot, matches, size};
use crate::entry::{
    Entry, EntryId, EntryInfo, EntryLease, EntryState, Failure, FailureKind, LeasedEntry, NewEntry,
};
use crate::error::EnqueueError;
use crate::store::{
    Changed, Due, Enqueued, EntryFilter, LeaseRequest, Order, Page, QueueStats, SourceStats,
};

/// The entries of a queue.
#[derive(Debug)]
pub(crate) struct State {
    clock: Clock,
    limits: Limits,
    slots: BTreeMap<EntryId, Slot>,
    last_id: u64,
    last_token: u64,
}

/// The clock of the entries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    Tokio,
    /// A clock that only [`State::advance`] moves.
    Manual(Instant),
}

impl State {
    pub(crate) fn new(limits: Limits, clock: Clock) -> Self {
        Self {
            clock,
            limits,
            slots: BTreeMap::new(),
            last_id: 0,
            last_token: 0,
        }
    }

    /// Advances a manual clock.
    pub(crate) fn advance(&mut self, duration: Duration) {
        if let Clock::Manual(now) = &mut self.clock {
            *now += duration;
        }
    }

    /// Returns the time until an entry changes its state by itself.
    pub(crate) fn next_change(&mut self) -> Option<Duration> {
        self.refresh();
        let now = self.now();
        let times = self.slots.values().filter_map(|slot| match slot.phase {
            Phase::Waiting { due } => (due > now).then_some(due),
            Phase::InFlight { until } | Phase::Delivered { until } => Some(until),
            Phase::Dead { .. } => None,
        });
        times.min().map(|time| time - now)
    }

    fn now(&self) -> Instant {
        match self.clock {
            Clock::Tokio => Instant::now(),
            Clock::Manual(now) => now,
        }
    }

    pub(crate) fn enqueue(&mut self, new: NewEntry) -> Result<Enqueued, EnqueueError> {
        self.refresh();
        if let Some((id, slot)) = self.slots.iter().find(|(_, slot)| slot.is_same(&new)) {
            return Ok(match slot.may_be_withdrawn() {
                true => Enqueued::Undecided(*id),
                false => Enqueued::AlreadyStored(*id),
            });
        }
        self.make_space(&new)?;
        self.last_id += 1;
        let id = EntryId(self.last_id);
        let is_first = !self.is_held_up(&new.source);
        let lease = new.lease_if_first.filter(|_| is_first);
        self.slots.insert(id, Slot::new(new, self.now()));
        Ok(match lease {
            Some(lease) => Enqueued::Leased(self.lease_entry(id, lease).lease),
            None => Enqueued::Stored(id),
        })
    }

    pub(crate) fn confirm(&mut self, ids: &[EntryId]) {
        for id in ids {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.is_confirmed = true;
            }
        }
    }

    pub(crate) fn unconfirmed(&mut self) -> Vec<EntryInfo> {
        self.refresh();
        let now = self.now();
        let slots = self.slots.iter();
        let is_leased = |slot: &Slot| matches!(slot.phase, Phase::InFlight { .. });
        let open =
            slots.filter(|(_, slot)| !slot.is_confirmed && slot.holds_keys() && !is_leased(slot));
        open.map(|(id, slot)| slot.info(*id, now)).collect()
    }

    pub(crate) fn due(&mut self, ordered: &[&str]) -> Due {
        self.refresh();
        let now = self.now();
        let (mut sources, mut first) = (BTreeSet::new(), BTreeSet::new());
        let mut next = None::<Instant>;
        for slot in self.slots.values() {
            let source = &*slot.new.source;
            match slot.phase {
                Phase::Waiting { .. }
                    if ordered.contains(&source)
                        && (!first.insert(source) || self.has_in_flight(source)) => {}
                Phase::Waiting { due } if due <= now => {
                    sources.insert(&slot.new.source);
                }
                Phase::Waiting { due: time } | Phase::InFlight { until: time } => {
                    next = Some(next.map_or(time, |next| next.min(time)));
                }
                Phase::Dead { .. } | Phase::Delivered { .. } => {}
            }
        }
        Due::Known {
            now: sources.into_iter().cloned().collect(),
            next: next.map(|next| next - now),
        }
    }

    pub(crate) fn lease(&mut self, request: LeaseRequest<'_>) -> Vec<LeasedEntry> {
        self.refresh();
        let now = self.now();
        let of_source = |slot: &Slot| *slot.new.source == *request.source;
        let slots = self.slots.iter().filter(|(_, slot)| of_source(slot));
        let mut due: Vec<(Instant, EntryId)> = slots
            .filter_map(|(id, slot)| match slot.phase {
                Phase::Waiting { due } => Some((due, *id)),
                _ => None,
            })
            .collect();
        let max = match request.order {
            Order::Any => {
                due.sort();
                request.max
            }
            Order::Source if self.has_in_flight(request.source) => 0,
            // The entries have the order of their numbers. A later one does not overtake the
            // first one, which may not be due.
            Order::Source => {
                due.truncate(1);
                request.max
            }
        };
        due.retain(|(due, _)| *due <= now);
        due.truncate(max);
        due.into_iter()
            .map(|(_, id)| self.lease_entry(id, request.lease))
            .collect()
    }

    pub(crate) fn renew(&mut self, lease: &EntryLease, duration: Duration) -> Changed {
        let end = self.now() + duration.min(FAR);
        match self.leased(lease).map(|slot| &mut slot.phase) {
            Some(Phase::InFlight { until }) => {
                *until = end.max(*until);
                Changed::Yes
            }
            _ => Changed::No,
        }
    }

    pub(crate) fn complete(&mut self, lease: &EntryLease) -> Changed {
        let now = self.now();
        let keep = self.limits.keep_delivered;
        let Some(slot) = self.leased(lease) else {
            return Changed::No;
        };
        let until = now + keep.min(FAR);
        slot.settle(Phase::Delivered { until });
        self.refresh();
        Changed::Yes
    }

    pub(crate) fn retry_later(
        &mut self,
        lease: &EntryLease,
        wait: Duration,
        failure: Failure,
    ) -> Changed {
        let now = self.now();
        let Some(slot) = self.leased(lease) else {
            return Changed::No;
        };
        slot.last_failure = Some(failure);
        slot.settle(Phase::due_after(now, wait));
        Changed::Yes
    }

    pub(crate) fn put_back(&mut self, lease: &EntryLease, wait: Duration) -> Changed {
        let now = self.now();
        let Some(slot) = self.leased(lease) else {
            return Changed::No;
        };
        slot.attempts -= 1;
        slot.settle(Phase::due_after(now, wait));
        Changed::Yes
    }

    pub(crate) fn bury(&mut self, lease: &EntryLease, failure: Failure) -> Changed {
        let now = self.now();
        let Some(slot) = self.leased(lease) else {
            return Changed::No;
        };
        slot.last_failure = Some(failure);
        slot.settle(Phase::Dead { since: now });
        Changed::Yes
    }

    pub(crate) fn withdraw(&mut self, lease: &EntryLease) -> Changed {
        match self.leased(lease) {
            // A delivery without keys has no claims.
            Some(slot)
                if matches!(slot.phase, Phase::InFlight { .. })
                    && (slot.new.keys.is_empty() || !slot.is_confirmed) =>
            {
                self.slots.remove(&lease.id);
                Changed::Yes
            }
            _ => Changed::No,
        }
    }

    pub(crate) fn find_key(&mut self, key: ReplayKey) -> Option<EntryInfo> {
        self.refresh();
        let now = self.now();
        let mut slots = self.slots.iter();
        let (id, slot) =
            slots.find(|(_, slot)| slot.holds_keys() && slot.new.keys.contains(&key))?;
        Some(slot.info(*id, now))
    }

    pub(crate) fn entry(&mut self, id: EntryId) -> Option<Entry> {
        self.refresh();
        let now = self.now();
        self.slots.get(&id).map(|slot| slot.entry(id, now))
    }

    pub(crate) fn list(&mut self, filter: &EntryFilter, page: Page) -> Vec<EntryInfo> {
        self.refresh();
        let now = self.now();
        let after = self.slots.iter().filter(|(id, _)| Some(**id) > page.after);
        let infos = after.map(|(id, slot)| slot.info(*id, now));
        infos
            .filter(|info| matches(filter, info))
            .take(page.limit)
            .collect()
    }

    pub(crate) fn retry_now(&mut self, id: EntryId) -> Changed {
        self.refresh();
        let now = self.now();
        let Some(slot) = self.slots.get(&id) else {
            return Changed::No;
        };
        let is_ended = match slot.phase {
            Phase::InFlight { .. } => return Changed::No,
            // Another delivery of the event may have been stored since.
            Phase::Delivered { .. }
                if self.slots.values().any(|other| other.is_same(&slot.new)) =>
            {
                return Changed::No;
            }
            Phase::Waiting { .. } => false,
            Phase::Dead { .. } | Phase::Delivered { .. } => true,
        };
        let slot = self.slots.get_mut(&id).expect("the entry was just found");
        if is_ended {
            slot.age_from = now;
            slot.earlier_attempts = slot.attempts;
        }
        slot.settle(Phase::due_after(now, Duration::ZERO));
        Changed::Yes
    }

    pub(crate) fn delete(&mut self, id: EntryId) -> Changed {
        self.refresh();
        match self.slots.get(&id).map(|slot| slot.phase) {
            None | Some(Phase::InFlight { .. }) => Changed::No,
            Some(_) => {
                self.slots.remove(&id);
                Changed::Yes
            }
        }
    }

    pub(crate) fn delete_dead(&mut self, age: Duration) -> u64 {
        let now = self.now();
        let before = self.slots.len();
        self.slots
            .retain(|_, slot| !matches!(slot.phase, Phase::Dead { since } if now - since >= age));
        (before - self.slots.len()) as u64
    }

    pub(crate) fn stats(&mut self) -> QueueStats {
        self.refresh();
        let now = self.now();
        let mut sources = BTreeMap::<&str, SourceStats>::new();
        for (id, slot) in &self.slots {
            let stats = sources.entry(&slot.new.source).or_default();
            let info = slot.info(*id, now);
            match info.state {
                EntryState::Waiting => stats.waiting += 1,
                EntryState::InFlight => stats.in_flight += 1,
                EntryState::Dead => stats.dead += 1,
                EntryState::Delivered => stats.delivered += 1,
            }
            if let EntryState::Waiting | EntryState::InFlight = info.state {
                stats.oldest = stats.oldest.max(Some(info.age));
            }
            stats.bytes += slot.size();
        }
        QueueStats {
            bytes: sources.values().map(|stats| stats.bytes).sum(),
            max_bytes: self.limits.max_bytes,
            sources: sources
                .into_iter()
                .map(|(source, stats)| (source.into(), stats))
                .collect(),
        }
    }

    /// Ends the leases and removes the copies whose time is over.
    fn refresh(&mut self) {
        let now = self.now();
        self.slots
            .retain(|_, slot| !matches!(slot.phase, Phase::Delivered { until } if until <= now));
        for slot in self.slots.values_mut() {
            if let Phase::InFlight { until } = slot.phase
                && until <= now
            {
                slot.phase = Phase::Waiting { due: until };
                slot.last_failure = Some(Failure {
                    kind: FailureKind::Lost,
                    status: None,
                    at: slot.stored_at + (until - slot.stored),
                });
            }
        }
    }

    /// Removes copies of delivered entries, the oldest first, until `new` has space.
    fn make_space(&mut self, new: &NewEntry) -> Result<(), EnqueueError> {
        let size = size(new);
        loop {
            let of_source = |slot: &&Slot| slot.new.source == new.source;
            let used: u64 = self.slots.values().map(Slot::size).sum();
            let by_source = self.slots.values().filter(of_source);
            let used_by_source: u64 = by_source.map(Slot::size).sum();
            let is_source_full = used_by_source + size > self.limits.max_bytes_per_source;
            let is_full = used + size > self.limits.max_bytes;
            if !is_full && !is_source_full {
                return Ok(());
            }
            let copy = self.slots.iter().find(|(_, slot)| {
                let is_copy = matches!(slot.phase, Phase::Delivered { .. });
                is_copy && (is_full || slot.new.source == new.source)
            });
            match copy.map(|(id, _)| *id) {
                Some(id) => self.slots.remove(&id),
                None if is_source_full => return Err(EnqueueError::SourceFull),
                None => return Err(EnqueueError::Full),
            };
        }
    }

    /// Returns whether an entry of the source waits or is in flight.
    fn is_held_up(&self, source: &str) -> bool {
        self.slots.values().any(|slot| {
            *slot.new.source == *source
                && matches!(slot.phase, Phase::Waiting { .. } | Phase::InFlight { .. })
        })
    }

    fn has_in_flight(&self, source: &str) -> bool {
        self.slots
            .values()
            .any(|slot| *slot.new.source == *source && matches!(slot.phase, Phase::InFlight { .. }))
    }

    fn lease_entry(&mut self, id: EntryId, lease: Duration) -> LeasedEntry {
        let now = self.now();
        self.last_token += 1;
        let token = self.last_token;
        let slot = self.slots.get_mut(&id).expect("the caller found the entry");
        slot.token = Some(token);
        slot.attempts += 1;
        let until = now + lease.min(FAR);
        slot.phase = Phase::InFlight { until };
        LeasedEntry {
            lease: EntryLease { id, token },
            entry: slot.entry(id, now),
        }
    }

    /// Returns the entry of a lease, if the lease is the current one.
    fn leased(&mut self, lease: &EntryLease) -> Option<&mut Slot> {
        self.refresh();
        let slot = self.slots.get_mut(&lease.id)?;
        (slot.token == Some(lease.token)).then_some(slot)
    }
}

impl Clock {
    /// Returns a clock that only [`State::advance`] moves.
    pub(crate) fn manual() -> Self {
        Self::Manual(Instant::now())
    }
}
