//! The NATS queue with real servers: healthy, failing, emptied and clustered.

#![expect(clippy::unwrap_used, reason = "tests")]

mod conformance;
mod faults;
mod healthy;
mod proxy;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hookgate_core::ReplayKey;
use hookgate_queue::{
    Changed, Enqueued, EntryId, Failure, FailureKind, LeaseRequest, LeasedEntry, NatsConfig,
    NatsQueue, NewEntry, Order, QueueStore,
};

const LEASE: Duration = Duration::from_secs(30);

async fn connect(url: &str) -> NatsQueue {
    let config = NatsConfig::new(url).unwrap();
    NatsQueue::connect(config).await.unwrap()
}

fn key(number: u8) -> ReplayKey {
    ReplayKey::from_bytes([number; 16])
}

fn entry(number: u8) -> NewEntry {
    NewEntry {
        keys: [key(number)].into(),
        token: u64::from(number),
        source: "git.hub".into(),
        tenant: None,
        event_id: Some(format!("event-{number}").into()),
        key_id: "key".into(),
        request_id: "request".into(),
        attempts: 0,
        last_failure: None,
        envelope: Bytes::from_static(b"envelope"),
        body: Bytes::from(vec![number; 100]),
        first_due: Duration::ZERO,
        lease_if_first: None,
    }
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::Response,
        status: Some(503),
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
    }
}

async fn stored(queue: &NatsQueue, entry: NewEntry) -> EntryId {
    match queue.enqueue(entry).await.unwrap() {
        Enqueued::Stored(id) => id,
        other => panic!("expected a stored entry, got {other:?}"),
    }
}

async fn lease(queue: &NatsQueue, order: Order, max: usize) -> Vec<LeasedEntry> {
    let request = LeaseRequest {
        source: "git.hub",
        order,
        max,
        lease: LEASE,
    };
    queue.lease(request).await.unwrap()
}

async fn lease_one(queue: &NatsQueue) -> LeasedEntry {
    let mut leased = lease(queue, Order::Any, 1).await;
    assert_eq!(leased.len(), 1);
    leased.remove(0)
}

async fn complete(queue: &NatsQueue, leased: &LeasedEntry) {
    assert_eq!(queue.complete(&leased.lease).await.unwrap(), Changed::Yes);
}
