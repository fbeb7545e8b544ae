//! [`Slot`]: the record of one key in the memory store, and when the cache drops it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hookgate_core::ReplayKey;
use moka::Expiry;

use super::capacity::Permit;
use super::store_time::{SECOND, StoreTime, store_time};
use crate::store::{Claim, ClaimOptions, Lease};

/// The record of a key.
///
/// A live key keeps its slot, and claims and settlements change the slot in place. So the
/// cache, whose writes are slow, is only written when a key is new or when its expiry moves.
pub(super) struct Slot(Mutex<Record>);

/// The state of a key and the times at which it ends.
pub(super) struct Record {
    pub(super) state: State,
    /// From this time on the key is unknown.
    pub(super) forget_at: StoreTime,
    /// When the cache drops the slot. This is never earlier than `forget_at`.
    cache_expiry: StoreTime,
    content_checksum: Option<u32>,
    /// Released when the key is forgotten, at the latest when the cache drops the slot.
    pub(super) permit: Option<Permit>,
}

#[derive(Clone, Copy)]
pub(super) enum State {
    InFlight {
        token: u64,
        attempt: u32,
        lease_end: StoreTime,
    },
    Done,
}

/// How much longer than necessary the cache may keep a slot. Moving the expiry in the
/// cache costs more than the memory of a slot.
const EXPIRY_SLACK: StoreTime = 60 * SECOND;

/// How far the clock of the cache may be ahead of the store's clock.
const CLOCK_TOLERANCE: StoreTime = SECOND;

impl Slot {
    pub(super) fn new(record: Record) -> Self {
        Self(Mutex::new(record))
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Creates the record of a key that `lease` has just claimed.
    pub(super) fn claimed(
        lease: &Lease,
        now: StoreTime,
        options: ClaimOptions,
        permit: Option<Permit>,
    ) -> Self {
        let lease_end = now.saturating_add(store_time(options.lease));
        let forget_at = lease_end.saturating_add(store_time(options.attempt_retention));
        Self {
            state: State::InFlight {
                token: lease.token(),
                attempt: lease.attempt(),
                lease_end,
            },
            forget_at,
            cache_expiry: forget_at.saturating_add(CLOCK_TOLERANCE),
            content_checksum: options.content_checksum,
            permit,
        }
    }

    /// Creates the record of a key that is done without a claim.
    pub(super) fn done(forget_at: StoreTime, permit: Permit) -> Self {
        Self {
            state: State::Done,
            forget_at,
            cache_expiry: forget_at.saturating_add(CLOCK_TOLERANCE),
            content_checksum: None,
            permit: Some(permit),
        }
    }

    /// Makes the key done until `done_until`. Returns whether that changes the record: a key
    /// that is done for longer stays as it is.
    pub(super) fn set_done(&mut self, now: StoreTime, done_until: StoreTime) -> bool {
        match self.state {
            // The slot of a forgotten key, which the cache has not dropped yet.
            _ if !self.is_live(now) => self.content_checksum = None,
            State::Done if self.forget_at >= done_until => return false,
            State::Done | State::InFlight { .. } => {}
        }
        self.state = State::Done;
        self.forget_at = done_until;
        true
    }

    /// Moves the end of the lease with `token` to `new_end`, unless it is later already. Returns
    /// whether that lease is the current one.
    pub(super) fn renew(&mut self, token: u64, now: StoreTime, new_end: StoreTime) -> bool {
        if !self.is_live(now) {
            return false;
        }
        match &mut self.state {
            State::InFlight {
                token: current,
                lease_end,
                ..
            } if *current == token => {
                let extension = new_end.saturating_sub(*lease_end);
                *lease_end += extension;
                self.forget_at = self.forget_at.saturating_add(extension);
                true
            }
            State::InFlight { .. } | State::Done => false,
        }
    }

    /// Returns whether the key is still remembered.
    pub(super) fn is_live(&self, now: StoreTime) -> bool {
        now < self.forget_at
    }

    /// Returns whether a lease on the key is open.
    pub(super) fn is_leased(&self, now: StoreTime) -> bool {
        matches!(self.state, State::InFlight { lease_end, .. } if now < lease_end)
    }

    /// Returns the result of a claim that cannot be granted, or `None` if it can.
    pub(super) fn refusal(&self, now: StoreTime, options: ClaimOptions) -> Option<Claim> {
        match self.state {
            _ if !self.is_live(now) => None,
            State::Done => Some(Claim::done_or_conflict(
                options.content_checksum,
                self.content_checksum,
            )),
            State::InFlight { lease_end, .. } if now < lease_end => Some(Claim::InFlight {
                remaining: Duration::from_nanos(lease_end - now),
            }),
            State::InFlight { .. } => None,
        }
    }

    /// Makes the cache keep the slot while the key is live. The slot must be cached again.
    pub(super) fn set_suitable_expiry(&mut self) {
        self.cache_expiry = self.forget_at.saturating_add(CLOCK_TOLERANCE);
    }

    /// Returns whether the cache keeps the slot while the key is live, and not much longer.
    pub(super) fn has_suitable_expiry(&self) -> bool {
        let earliest = self.forget_at.saturating_add(CLOCK_TOLERANCE);
        (earliest..=earliest.saturating_add(EXPIRY_SLACK)).contains(&self.cache_expiry)
    }
}

/// Tells the cache when to drop a slot.
///
/// Only the record decides whether a key is live; the expiry frees memory. The store never
/// overwrites a cached slot, so creation is the only event that sets an expiry.
pub(super) struct SlotExpiry {
    pub(super) store_created: Instant,
}

impl Expiry<ReplayKey, Arc<Slot>> for SlotExpiry {
    fn expire_after_create(
        &self,
        _: &ReplayKey,
        slot: &Arc<Slot>,
        now: Instant,
    ) -> Option<Duration> {
        let now = store_time(now.saturating_duration_since(self.store_created));
        let cache_expiry = slot.record().cache_expiry;
        Some(Duration::from_nanos(cache_expiry.saturating_sub(now)))
    }
}
