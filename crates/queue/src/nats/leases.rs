//! [`Leases`]: the leases that this process holds.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::Subject;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::message::StoredEntry;
use crate::entry::{EntryId, EntryLease, Failure};
use crate::store::Changed;

/// The leases that this process holds, by the numbers of their entries.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<EntryId, OpenLease>>);

/// A lease with the facts that its settlement needs.
#[derive(Clone, Debug)]
pub(super) struct OpenLease {
    /// The number of this delivery of the consumer, which is the token of the lease.
    pub(super) token: u64,
    /// The subject of an acknowledgement.
    pub(super) ack: Subject,
    /// The number of times that the server has delivered the message.
    pub(super) delivered: u64,
    /// The number of attempts, which includes this one.
    pub(super) attempts: u32,
    pub(super) last_failure: Option<Failure>,
    /// Whether the stream of the state may have something about the entry.
    pub(super) has_progress: bool,
    pub(super) entry: StoredEntry,
    /// A time before which the server delivers the message to no other worker.
    pub(super) end: Instant,
}

/// How long the record of a lease that ended unsettled is kept.
const KEEP: Duration = Duration::from_secs(3600);

impl Leases {
    pub(super) fn insert(&self, lease: OpenLease) {
        let mut leases = self.0.lock();
        let now = Instant::now();
        leases.retain(|_, lease| now < lease.end + KEEP);
        leases.insert(lease.entry.id, lease);
    }

    /// Returns the lease if it is the current one of its entry and has not ended.
    pub(super) fn current(&self, lease: &EntryLease) -> Option<OpenLease> {
        let leases = self.0.lock();
        let open = leases.get(&lease.id)?;
        (open.token == lease.token && Instant::now() < open.end).then(|| open.clone())
    }

    /// Returns the lease if this process has not leased the entry again, even after its end.
    pub(super) fn latest(&self, lease: &EntryLease) -> Option<OpenLease> {
        let leases = self.0.lock();
        let open = leases.get(&lease.id)?;
        (open.token == lease.token).then(|| open.clone())
    }

    /// Notes that the lease ends at `end` or later, unless the lease has ended meanwhile.
    pub(super) fn prolong(&self, lease: &EntryLease, end: Instant) -> Changed {
        let mut leases = self.0.lock();
        let now = Instant::now();
        match leases.get_mut(&lease.id) {
            Some(open) if open.token == lease.token && now < open.end => {
                open.end = open.end.max(end);
                Changed::Yes
            }
            _ => Changed::No,
        }
    }

    /// Forgets the lease, if it is still the current one.
    pub(super) fn remove(&self, lease: &EntryLease) {
        let mut leases = self.0.lock();
        if leases
            .get(&lease.id)
            .is_some_and(|open| open.token == lease.token)
        {
            leases.remove(&lease.id);
        }
    }

    /// Returns the last lease on the entry in this process, which may have ended.
    pub(super) fn last(&self, id: EntryId) -> Option<OpenLease> {
        self.0.lock().get(&id).cloned()
    }

    pub(super) fn in_flight(&self, source: &str) -> u64 {
        let leases = self.0.lock();
        let now = Instant::now();
        let is_open = |lease: &&OpenLease| now < lease.end && *lease.entry.facts.source == *source;
        leases.values().filter(is_open).count() as u64
    }
}
