//! [`QueueStore`], the trait of a queue, and the types that its methods take and return.

use std::time::Duration;

use hookgate_core::ReplayKey;

use crate::entry::{
    Entry, EntryId, EntryInfo, EntryLease, EntryState, Failure, LeasedEntry, NewEntry,
};
use crate::error::{EnqueueError, QueueError};

/// Stores deliveries until their upstream has accepted them.
///
/// # What a queue promises
///
/// * An entry is durable when [`enqueue`](Self::enqueue) returns. It stays until its lease
///   holder [completes](Self::complete) or [withdraws](Self::withdraw) it, or until the operator
///   drops it.
/// * An entry for which [`enqueue`](Self::enqueue) has returned [`Enqueued::Stored`] or
///   [`Enqueued::AlreadyStored`] cannot be withdrawn any more: its sender may have stopped.
/// * At most one worker holds the lease on an entry. When the lease ends unsettled, the entry
///   waits again with one more attempt, as a failure of the kind
///   [`Lost`](crate::FailureKind::Lost).
/// * A settlement with a token that is not the current one changes nothing and returns
///   [`Changed::No`]. A token stays the current one after its lease has ended, until the entry
///   is leased again or changed by the operator.
/// * The keys of entries that wait, are in flight or are dead are unique.
/// * Steps of the system clock neither delay nor hasten an attempt.
///
/// The suite in the `conformance` module (feature `conformance`) checks these promises.
pub trait QueueStore: Send + Sync + 'static {
    /// Stores a delivery.
    ///
    /// # Errors
    ///
    /// Returns [`EnqueueError`]; only [`EnqueueError::Unknown`] leaves open whether the
    /// delivery is stored.
    fn enqueue(
        &self,
        entry: NewEntry,
    ) -> impl Future<Output = Result<Enqueued, EnqueueError>> + Send;

    /// Records that the claims of entries are done in the replay store.
    ///
    /// The queue may record this later than it returns, or never: [`unconfirmed`] then lists an
    /// entry once more.
    ///
    /// [`unconfirmed`]: Self::unconfirmed
    fn confirm(&self, ids: &[EntryId]);

    /// Returns the entries whose claims may not be done: a process stored them right before it
    /// ended.
    ///
    /// An entry whose lease is open is left out: its holder may still withdraw it.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue cannot be read.
    fn unconfirmed(&self) -> impl Future<Output = Result<Vec<EntryInfo>, QueueError>> + Send;

    /// Returns the sources that have entries to lease. The sources in `ordered` are leased with
    /// [`Order::Source`].
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue cannot be read.
    fn due(&self, ordered: &[&str]) -> impl Future<Output = Result<Due, QueueError>> + Send;

    /// Leases due entries of one source. The entry with the earliest due time comes first.
    ///
    /// With [`Order::Source`], it leases the oldest entry that is not dead, and only if it is due
    /// and no entry of the source is in flight.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer. Entries that it leased meanwhile wait
    /// again when their lease ends.
    fn lease(
        &self,
        request: LeaseRequest<'_>,
    ) -> impl Future<Output = Result<Vec<LeasedEntry>, QueueError>> + Send;

    /// Prolongs a lease that has not ended: it ends at `duration` from now, or later if it would end
    /// later anyway. A queue may refuse a duration that is longer than the lease that
    /// [`lease`](Self::lease) was asked for.
    ///
    /// The default implementation prolongs nothing, so an attempt must end before its lease does.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer. The lease may be prolonged.
    fn renew(
        &self,
        lease: &EntryLease,
        duration: Duration,
    ) -> impl Future<Output = Result<Changed, QueueError>> + Send {
        let _ = (lease, duration);
        std::future::ready(Ok(Changed::No))
    }

    /// Removes an entry that its upstream has accepted. The queue may keep a copy.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer. The entry may be sent once more.
    fn complete(
        &self,
        lease: &EntryLease,
    ) -> impl Future<Output = Result<Changed, QueueError>> + Send;

    /// Ends the lease. The entry is due after `wait`.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer. The entry waits again when its lease
    /// ends.
    fn retry_later(
        &self,
        lease: &EntryLease,
        wait: Duration,
        failure: Failure,
    ) -> impl Future<Output = Result<Changed, QueueError>> + Send;

    /// Ends the lease of an entry that was not sent. The attempt does not count, and the entry is
    /// due after `wait`.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer. The entry waits again when its lease
    /// ends.
    fn put_back(
        &self,
        lease: &EntryLease,
        wait: Duration,
    ) -> impl Future<Output = Result<Changed, QueueError>> + Send;

    /// Makes the entry a dead letter.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer. The entry waits again when its lease
    /// ends.
    fn bury(
        &self,
        lease: &EntryLease,
        failure: Failure,
    ) -> impl Future<Output = Result<Changed, QueueError>> + Send;

    /// Deletes an entry that [`enqueue`](Self::enqueue) has leased to its caller, if its lease has
    /// not ended and none of its claims is [confirmed](Self::confirm).
    ///
    /// Otherwise another delivery of the event may have been acknowledged, so the entry stays.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer. The entry waits again when its lease
    /// ends.
    fn withdraw(
        &self,
        lease: &EntryLease,
    ) -> impl Future<Output = Result<Changed, QueueError>> + Send;

    /// Returns the undelivered entry that holds `key`, if one exists.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue cannot be read.
    fn find_key(
        &self,
        key: ReplayKey,
    ) -> impl Future<Output = Result<Option<EntryInfo>, QueueError>> + Send;

    /// Returns the entry with the number `id`.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue cannot be read.
    fn entry(&self, id: EntryId) -> impl Future<Output = Result<Option<Entry>, QueueError>> + Send;

    /// Returns entries by the order of their numbers.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue cannot be read.
    fn list(
        &self,
        filter: &EntryFilter,
        page: Page,
    ) -> impl Future<Output = Result<Vec<EntryInfo>, QueueError>> + Send;

    /// Makes an entry due now: a waiting entry, a dead letter, or the copy of a delivered entry.
    ///
    /// The age of a dead letter and of a copy starts again. Their attempts so far become
    /// [earlier attempts](EntryInfo::earlier_attempts).
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer.
    fn retry_now(&self, id: EntryId) -> impl Future<Output = Result<Changed, QueueError>> + Send;

    /// Deletes an entry that is not in flight.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer.
    fn delete(&self, id: EntryId) -> impl Future<Output = Result<Changed, QueueError>> + Send;

    /// Deletes dead letters that are older than `age`. Returns their number.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue did not answer.
    fn delete_dead(&self, age: Duration) -> impl Future<Output = Result<u64, QueueError>> + Send;

    /// Returns the numbers for metrics and for the operator.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue cannot be read.
    fn stats(&self) -> impl Future<Output = Result<QueueStats, QueueError>> + Send;

    /// Completes when an entry may have become due through this process, at any time after the
    /// first poll. A change by another process completes nothing, so the workers also look from
    /// time to time.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// The result of storing a delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Enqueued {
    /// The delivery is stored, and waits.
    Stored(EntryId),
    /// The delivery is stored, and the caller holds its lease. See
    /// [`NewEntry::lease_if_first`].
    Leased(EntryLease),
    /// An entry with one of its keys was stored before. Nothing changed.
    AlreadyStored(EntryId),
    /// An entry with one of its keys was stored before, but the holder of its lease may still
    /// withdraw it: its claims are not [confirmed](QueueStore::confirm). Nothing changed.
    Undecided(EntryId),
}

/// The sources that have entries to lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The queue knows its sources.
    Known {
        /// The sources that have an entry to lease now.
        now: Vec<Box<str>>,
        /// The time until another entry can be leased.
        next: Option<Duration>,
    },
    /// Only a call of [`QueueStore::lease`] tells whether a source has entries.
    Unknown,
}

/// A call of [`QueueStore::lease`].
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'r> {
    /// The name of the source.
    pub source: &'r str,
    /// The order of its deliveries.
    pub order: Order,
    /// The maximum number of entries.
    pub max: usize,
    /// How long no other worker can lease the entries.
    pub lease: Duration,
}

/// The order in which the deliveries of a source are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Several at a time. A failed delivery does not hold up the others.
    #[default]
    Any,
    /// One at a time, in the order in which they were stored. A failed delivery holds up the
    /// others until it succeeds or becomes a dead letter.
    Source,
}

/// Whether a call changed the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The entry was changed.
    Yes,
    /// There is no such entry, its state does not allow the change, or the lease is not the
    /// current one. Nothing was changed.
    No,
}

/// Selects entries. Each field that is set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// The name of the source.
    pub source: Option<Box<str>>,
    /// The tenant.
    pub tenant: Option<Box<str>>,
    /// The state.
    pub state: Option<EntryState>,
    /// The id of the key that signed the delivery.
    pub key_id: Option<Box<str>>,
    /// The event id.
    pub event_id: Option<Box<str>>,
}

/// A part of a list of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The list starts after this entry.
    pub after: Option<EntryId>,
    /// The maximum number of entries.
    pub limit: usize,
}

/// The numbers of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// The numbers of each source that has entries, by the name of the source.
    pub sources: Vec<(Box<str>, SourceStats)>,
    /// The space that the entries use of [`max_bytes`](Self::max_bytes), in bytes.
    pub bytes: u64,
    /// The space that the entries may use, in bytes: the limit of the queue, or less if the disk has
    /// less. `u64::MAX` means that there is no limit.
    pub max_bytes: u64,
}

impl QueueStats {
    /// Returns the sources that are not configured and have entries that wait or are in flight.
    /// Each source has the number of these entries.
    pub fn orphans(
        &self,
        is_configured: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (&str, u64)> {
        let sources = self.sources.iter();
        sources.filter_map(move |(source, stats)| {
            let undelivered = stats.waiting + stats.in_flight;
            (undelivered > 0 && !is_configured(source)).then_some((&**source, undelivered))
        })
    }
}

/// The numbers of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// The number of entries that wait.
    pub waiting: u64,
    /// The number of entries in flight.
    pub in_flight: u64,
    /// The number of dead letters.
    pub dead: u64,
    /// The number of copies of delivered entries.
    pub delivered: u64,
    /// The age of the oldest entry that waits or is in flight.
    pub oldest: Option<Duration>,
    /// The space that its entries use, in bytes.
    pub bytes: u64,
}
