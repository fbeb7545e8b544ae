//! The deliveries of the cases, and calls that must succeed.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hookgate_core::ReplayKey;
use smallvec::smallvec;
use tokio::time::Instant;

use super::harness::Harness;
use crate::entry::{EntryId, EntryInfo, EntryLease, Failure, FailureKind, LeasedEntry, NewEntry};
use crate::store::{Changed, Enqueued, EntryFilter, LeaseRequest, Order, Page, QueueStore};

/// A source whose deliveries are sent in any order.
pub(super) const ANY: &str = "github";
/// Another such source.
pub(super) const OTHER: &str = "stripe";
/// A source whose deliveries are sent one at a time.
pub(super) const ORDERED: &str = "shop";

pub(super) const FAILURE: Failure = Failure {
    kind: FailureKind::Response,
    status: Some(503),
    at: SystemTime::UNIX_EPOCH,
};

/// Returns the key of the delivery with a number.
pub(super) fn key(number: u64) -> ReplayKey {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ReplayKey::from_bytes(bytes)
}

/// Returns a delivery of `source` that is due at once.
pub fn delivery(source: &str, number: u64) -> NewEntry {
    NewEntry {
        keys: smallvec![key(number)],
        token: number,
        source: source.into(),
        tenant: None,
        event_id: Some(format!("evt_{number}").into()),
        key_id: "key-1".into(),
        request_id: format!("req-{number}").into(),
        attempts: 0,
        last_failure: None,
        envelope: Bytes::from_static(b"\x01head"),
        body: Bytes::from(format!("{{\"number\":{number}}}")),
        first_due: Duration::ZERO,
        lease_if_first: None,
    }
}

pub(super) async fn enqueue(queue: &impl QueueStore, entry: NewEntry) -> Enqueued {
    let enqueued = queue.enqueue(entry).await;
    enqueued.expect("the queue stores the delivery")
}

/// Stores a delivery that is new.
pub(super) async fn store(queue: &impl QueueStore, entry: NewEntry) -> EntryId {
    match enqueue(queue, entry).await {
        Enqueued::Stored(id) => id,
        other => panic!("expected a stored entry, got {other:?}"),
    }
}

pub(super) async fn lease<H: Harness>(harness: &H, source: &str, max: usize) -> Vec<LeasedEntry> {
    let order = match source {
        ORDERED => Order::Source,
        _ => Order::Any,
    };
    let request = LeaseRequest {
        source,
        order,
        max,
        lease: H::LEASE,
    };
    let leased = harness.queue().lease(request).await;
    leased.expect("the queue answers")
}

/// Leases up to `max` entries, and asserts that there are `expected`.
///
/// A server may notice a moment later that an entry is due.
pub(super) async fn lease_due<H: Harness>(
    harness: &H,
    source: &str,
    max: usize,
    expected: usize,
) -> Vec<LeasedEntry> {
    let start = Instant::now();
    let mut leased = lease(harness, source, max).await;
    while leased.len() < expected && start.elapsed() < H::SLACK {
        leased.extend(lease(harness, source, max - leased.len()).await);
    }
    assert_eq!(leased.len(), expected, "the due entries of {source}");
    leased
}

/// Leases the only entry that is due.
pub(super) async fn lease_one<H: Harness>(harness: &H, source: &str) -> LeasedEntry {
    lease_due(harness, source, 10, 1).await.remove(0)
}

pub(super) async fn assert_nothing_to_lease<H: Harness>(harness: &H, source: &str) {
    let leased = lease(harness, source, 10).await;
    assert!(leased.is_empty(), "{leased:?} must not be leased");
}

pub(super) async fn complete(queue: &impl QueueStore, lease: &EntryLease) -> Changed {
    queue.complete(lease).await.expect("the queue answers")
}

pub(super) async fn retry_later(
    queue: &impl QueueStore,
    lease: &EntryLease,
    wait: Duration,
) -> Changed {
    let changed = queue.retry_later(lease, wait, FAILURE).await;
    changed.expect("the queue answers")
}

pub(super) async fn put_back(
    queue: &impl QueueStore,
    lease: &EntryLease,
    wait: Duration,
) -> Changed {
    let changed = queue.put_back(lease, wait).await;
    changed.expect("the queue answers")
}

pub(super) async fn bury(queue: &impl QueueStore, lease: &EntryLease) -> Changed {
    let changed = queue.bury(lease, FAILURE).await;
    changed.expect("the queue answers")
}

pub(super) async fn withdraw(queue: &impl QueueStore, lease: &EntryLease) -> Changed {
    queue.withdraw(lease).await.expect("the queue answers")
}

pub(super) async fn retry_now(queue: &impl QueueStore, id: EntryId) -> Changed {
    queue.retry_now(id).await.expect("the queue answers")
}

pub(super) async fn delete(queue: &impl QueueStore, id: EntryId) -> Changed {
    queue.delete(id).await.expect("the queue answers")
}

/// Returns the facts of an entry that exists.
pub(super) async fn info(queue: &impl QueueStore, id: EntryId) -> EntryInfo {
    let entry = queue.entry(id).await.expect("the queue answers");
    entry.expect("the entry exists").info
}

/// Returns all entries that `filter` selects.
pub(super) async fn list(queue: &impl QueueStore, filter: &EntryFilter) -> Vec<EntryInfo> {
    let page = Page {
        after: None,
        limit: 1_000,
    };
    queue.list(filter, page).await.expect("the queue answers")
}

pub(super) fn ids(entries: &[LeasedEntry]) -> Vec<EntryId> {
    entries.iter().map(|leased| leased.lease.id).collect()
}
