//! [`Slot`]: one entry of the reference.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::entry::{Entry, EntryId, EntryInfo, EntryState, Failure, NewEntry};
use crate::store::EntryFilter;

/// A moment that comes after every lease, wait and retention.
pub(super) const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) new: NewEntry,
    pub(super) phase: Phase,
    /// The token of the last lease, unless another change has ended it.
    pub(super) token: Option<u64>,
    pub(super) attempts: u32,
    pub(super) earlier_attempts: u32,
    pub(super) last_failure: Option<Failure>,
    pub(super) stored: Instant,
    pub(super) stored_at: SystemTime,
    /// The age of the entry counts from here.
    pub(super) age_from: Instant,
    pub(super) is_confirmed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Waiting { due: Instant },
    InFlight { until: Instant },
    Dead { since: Instant },
    Delivered { until: Instant },
}

impl Phase {
    pub(super) fn due_after(now: Instant, wait: Duration) -> Self {
        let due = now + wait.min(FAR);
        Self::Waiting { due }
    }
}

impl Slot {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time of storing is for the operator, and nothing depends on it"
    )]
    pub(super) fn new(new: NewEntry, now: Instant) -> Self {
        Self {
            phase: Phase::due_after(now, new.first_due),
            token: None,
            attempts: new.attempts,
            earlier_attempts: 0,
            last_failure: new.last_failure,
            stored: now,
            stored_at: SystemTime::now(),
            age_from: now,
            is_confirmed: false,
            new,
        }
    }

    pub(super) fn size(&self) -> u64 {
        size(&self.new)
    }

    pub(super) fn settle(&mut self, phase: Phase) {
        self.token = None;
        self.phase = phase;
    }

    /// Returns whether the keys of the entry are taken.
    pub(super) fn holds_keys(&self) -> bool {
        !matches!(self.phase, Phase::Delivered { .. })
    }

    /// Returns whether the holder of the lease may withdraw the entry.
    pub(super) fn may_be_withdrawn(&self) -> bool {
        let is_in_flight = matches!(self.phase, Phase::InFlight { .. });
        is_in_flight && !self.is_confirmed && !self.new.keys.is_empty()
    }

    /// Returns whether the entry excludes `new`.
    pub(super) fn is_same(&self, new: &NewEntry) -> bool {
        let has_key = self.new.keys.iter().any(|key| new.keys.contains(key));
        let has_no_keys = self.new.keys.is_empty() && new.keys.is_empty();
        self.holds_keys() && (has_key || (has_no_keys && self.new.token == new.token))
    }

    pub(super) fn info(&self, id: EntryId, now: Instant) -> EntryInfo {
        let mut info = EntryInfo::new(id, &self.new, self.stored_at);
        info.age = now - self.age_from;
        info.attempts = self.attempts;
        info.earlier_attempts = self.earlier_attempts;
        info.last_failure = self.last_failure;
        (info.state, info.due_in) = match self.phase {
            Phase::Waiting { due } => {
                let due_in = due.saturating_duration_since(now);
                (EntryState::Waiting, Some(due_in))
            }
            Phase::InFlight { .. } => (EntryState::InFlight, None),
            Phase::Dead { .. } => (EntryState::Dead, None),
            Phase::Delivered { .. } => (EntryState::Delivered, None),
        };
        info
    }

    pub(super) fn entry(&self, id: EntryId, now: Instant) -> Entry {
        Entry {
            info: self.info(id, now),
            envelope: self.new.envelope.clone(),
            body: self.new.body.clone(),
        }
    }
}

pub(super) fn size(entry: &NewEntry) -> u64 {
    const OVERHEAD: u64 = 256;
    OVERHEAD + entry.envelope.len() as u64 + entry.body.len() as u64
}

pub(super) fn matches(filter: &EntryFilter, info: &EntryInfo) -> bool {
    let EntryFilter {
        source,
        tenant,
        state,
        key_id,
        event_id,
    } = filter;
    source.as_ref().is_none_or(|source| *source == info.source)
        && (tenant.is_none() || *tenant == info.tenant)
        && state.is_none_or(|state| state == info.state)
        && key_id.as_ref().is_none_or(|key_id| *key_id == info.key_id)
        && (event_id.is_none() || *event_id == info.event_id)
}
