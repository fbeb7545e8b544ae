//! The entries of a queue: deliveries with the facts that workers and the operator need.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hookgate_core::ReplayKey;
use smallvec::SmallVec;

/// The number of an entry in its queue. A greater number belongs to a newer entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// A delivery that is to be stored.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The replay keys of the delivery's events. Empty if the source claims nothing.
    ///
    /// The queue holds at most one entry with a key: while that entry waits, is in flight or
    /// is dead, another delivery with one of its keys is [`AlreadyStored`].
    ///
    /// [`AlreadyStored`]: crate::Enqueued::AlreadyStored
    pub keys: SmallVec<[ReplayKey; 1]>,
    /// The token of the claim. A source that claims nothing has a random number here. The keys
    /// and the token identify this delivery, so that a repeated call stores it only once.
    pub token: u64,
    /// The name of the source.
    pub source: Box<str>,
    /// The tenant, if the source serves several.
    pub tenant: Option<Box<str>>,
    /// The event id, if the scheme signs one.
    pub event_id: Option<Box<str>>,
    /// The id of the key that signed the delivery.
    pub key_id: Box<str>,
    /// The id of the sender's request.
    pub request_id: Box<str>,
    /// The number of attempts before the entry was stored: 0, or more after direct attempts.
    pub attempts: u32,
    /// Why the direct attempt failed, if there was one.
    pub last_failure: Option<Failure>,
    /// The head of the request and the verified facts, in the format of the gate.
    pub envelope: Bytes,
    /// The exact bytes that were verified.
    pub body: Bytes,
    /// The time until the first attempt of a worker.
    pub first_due: Duration,
    /// If set, the queue leases the entry to the caller for this time, provided that no other
    /// entry of the source waits or is in flight. The caller then makes the first attempt.
    ///
    /// The order of a source holds for direct attempts through this.
    pub lease_if_first: Option<Duration>,
}

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryState {
    /// The entry waits for its next attempt.
    Waiting,
    /// A worker has leased the entry.
    InFlight,
    /// The attempts have ended without success. Only the operator changes the entry.
    Dead,
    /// The upstream has accepted the delivery. The queue keeps a copy for a while.
    Delivered,
}

impl EntryState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::InFlight, Self::Dead, Self::Delivered];

    /// Returns the stable label of the state, for the API and for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::InFlight => "in_flight",
            Self::Dead => "dead",
            Self::Delivered => "delivered",
        }
    }
}

/// An entry without its envelope and body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntryInfo {
    /// The number of the entry.
    pub id: EntryId,
    /// The state of the entry.
    pub state: EntryState,
    /// See [`NewEntry::keys`].
    pub keys: SmallVec<[ReplayKey; 1]>,
    /// The name of the source.
    pub source: Box<str>,
    /// The tenant, if the source serves several.
    pub tenant: Option<Box<str>>,
    /// The event id, if the scheme signs one.
    pub event_id: Option<Box<str>>,
    /// The id of the key that signed the delivery.
    pub key_id: Box<str>,
    /// The id of the sender's request.
    pub request_id: Box<str>,
    /// The time at which the entry was stored, by the system clock of that moment.
    pub stored_at: SystemTime,
    /// The time since the entry was stored. Steps of the system clock do not change it while
    /// the machine runs.
    pub age: Duration,
    /// The number of attempts so far. It includes the attempt in flight.
    pub attempts: u32,
    /// The number of attempts before the operator's last [retry] of a dead letter or of a copy.
    /// These attempts do not count towards a limit.
    ///
    /// [retry]: crate::QueueStore::retry_now
    pub earlier_attempts: u32,
    /// The time until the next attempt. `None` if the entry does not wait.
    pub due_in: Option<Duration>,
    /// Why the last attempt failed, if it did.
    pub last_failure: Option<Failure>,
    /// The length of the body in bytes.
    pub body_len: u64,
}

impl EntryInfo {
    /// Creates the facts of an entry that was just stored. Only queues need this; they set the
    /// other fields afterwards.
    pub fn new(id: EntryId, entry: &NewEntry, stored_at: SystemTime) -> Self {
        Self {
            id,
            state: EntryState::Waiting,
            keys: entry.keys.clone(),
            source: entry.source.clone(),
            tenant: entry.tenant.clone(),
            event_id: entry.event_id.clone(),
            key_id: entry.key_id.clone(),
            request_id: entry.request_id.clone(),
            stored_at,
            age: Duration::ZERO,
            attempts: entry.attempts,
            earlier_attempts: 0,
            due_in: Some(entry.first_due),
            last_failure: entry.last_failure,
            body_len: entry.body.len() as u64,
        }
    }
}

/// An entry with its envelope and body.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The facts about the entry.
    pub info: EntryInfo,
    /// See [`NewEntry::envelope`].
    pub envelope: Bytes,
    /// The exact bytes that were verified.
    pub body: Bytes,
}

/// The lease on an entry. Its token ensures that only the holder settles the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryLease {
    /// The number of the entry.
    pub id: EntryId,
    /// A number that differs from that of every other lease on the entry.
    pub token: u64,
}

/// An entry that a worker has leased.
#[derive(Clone, Debug)]
pub struct LeasedEntry {
    /// The lease.
    pub lease: EntryLease,
    /// The entry. Its state is [`EntryState::InFlight`].
    pub entry: Entry,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of the failure.
    pub kind: FailureKind,
    /// The status of the upstream's response, if there was one.
    pub status: Option<u16>,
    /// The time of the failure, by the system clock.
    pub at: SystemTime,
}

/// The kind of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The upstream could not be connected to.
    Unreachable,
    /// The upstream did not respond in time.
    TimedOut,
    /// The upstream broke off.
    BrokenOff,
    /// The upstream responded with a status that is no success.
    Response,
    /// The process of the worker ended before it recorded a result.
    Lost,
    /// The stored delivery is damaged.
    Damaged,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Unreachable,
        Self::TimedOut,
        Self::BrokenOff,
        Self::Response,
        Self::Lost,
        Self::Damaged,
    ];

    /// Returns the stable label of the kind, for stores, the API and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::BrokenOff => "broken_off",
            Self::Response => "response",
            Self::Lost => "lost",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_states_and_failures_are_stable() {
        let states = EntryState::ALL.map(EntryState::label);
        assert_eq!(states, ["waiting", "in_flight", "dead", "delivered"]);
        let failures = FailureKind::ALL.map(FailureKind::label);
        let expected = [
            "unreachable",
            "timed_out",
            "broken_off",
            "response",
            "lost",
            "damaged",
        ];
        assert_eq!(failures, expected);
    }
}
