use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hookgate_core::ReplayKey;
use moka::Expiry;

use super::places::Place;
use crate::store::{Claim, Lease, Terms};

/// What is known of a key. While the key counts, its slot stays the same one, and is
/// changed in place, so that who holds it sees what others do: the cache, which is slow
/// to write to, hears of a key when it comes and when it is to be dropped at another time.
pub(super) struct Slot(Mutex<Record>);

pub(super) struct Record {
    pub(super) state: State,
    /// From then on the key counts no longer.
    pub(super) forget_at: Moment,
    /// When the cache drops the slot: never before that.
    pub(super) dropped_at: Moment,
    content: Option<u32>,
    /// Given back when the key is forgotten, or else when the cache lets go of the slot.
    pub(super) place: Option<Place>,
}

#[derive(Clone, Copy)]
pub(super) enum State {
    InFlight {
        token: u64,
        attempt: u32,
        lease_end: Moment,
    },
    Done,
}

/// Nanoseconds since the store was made.
pub(super) type Moment = u64;

/// How much longer than it counts a slot may be kept. Telling the cache costs more than
/// the memory does.
const SLACK: Moment = 60 * SECOND;
/// What the clock of the cache may be ahead of ours.
pub(super) const CLOCK: Moment = SECOND;
pub(super) const SECOND: Moment = 1_000_000_000;

impl Slot {
    pub(super) fn new(record: Record) -> Self {
        Self(Mutex::new(record))
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    pub(super) fn claimed(lease: &Lease, now: Moment, terms: Terms, place: Option<Place>) -> Self {
        let lease_end = now.saturating_add(moment(terms.lease));
        let forget_at = lease_end.saturating_add(moment(terms.memory));
        Self {
            state: State::InFlight {
                token: lease.token(),
                attempt: lease.attempt(),
                lease_end,
            },
            forget_at,
            dropped_at: forget_at.saturating_add(CLOCK),
            content: terms.content,
            place,
        }
    }

    /// Whether the key is known.
    pub(super) fn counts(&self, now: Moment) -> bool {
        now < self.forget_at
    }

    /// Whether somebody may settle it.
    pub(super) fn is_leased(&self, now: Moment) -> bool {
        matches!(self.state, State::InFlight { lease_end, .. } if now < lease_end)
    }

    /// What a claim is told; none if it may be granted.
    pub(super) fn answer(&self, now: Moment, terms: Terms) -> Option<Claim> {
        match self.state {
            _ if !self.counts(now) => None,
            State::Done => Some(Claim::done(terms.content, self.content)),
            State::InFlight { lease_end, .. } if now < lease_end => Some(Claim::InFlight {
                remaining: Duration::from_nanos(lease_end - now),
            }),
            State::InFlight { .. } => None,
        }
    }

    /// Whether the cache keeps the slot for as long as it counts, and not much longer.
    pub(super) fn is_kept_well(&self) -> bool {
        let needed = self.forget_at.saturating_add(CLOCK);
        (needed..=needed.saturating_add(SLACK)).contains(&self.dropped_at)
    }
}

/// Ten years are as good as for ever, and do not overflow.
pub(super) fn moment(since: Duration) -> Moment {
    const EVER: Moment = 10 * 365 * 24 * 3600 * SECOND;
    u64::try_from(since.as_nanos()).map_or(EVER, |nanos| nanos.min(EVER))
}

/// Lets the cache drop a slot when it is due. Whether a key still counts is decided by
/// its record alone; this only gives the memory back. Nothing is put over what is there.
pub(super) struct DropAt {
    pub(super) start: Instant,
}

impl Expiry<ReplayKey, Arc<Slot>> for DropAt {
    fn expire_after_create(
        &self,
        _: &ReplayKey,
        slot: &Arc<Slot>,
        now: Instant,
    ) -> Option<Duration> {
        let now = moment(now.saturating_duration_since(self.start));
        let dropped_at = slot.record().dropped_at;
        Some(Duration::from_nanos(dropped_at.saturating_sub(now)))
    }
}
