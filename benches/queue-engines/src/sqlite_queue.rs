//! `DiskQueue`.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::ReplayKey;
use hookgate_queue::{
    DiskQueue, Durability, Enqueued, LeaseRequest, NewEntry, Order, QueueStore,
};

use crate::engine::{BODY, ENVELOPE, Engine, Survives, TAKEN, key};

#[derive(Clone)]
pub struct SqliteQueue(DiskQueue);

impl Engine for SqliteQueue {
    const NAME: &'static str = "SQLite (`DiskQueue`)";

    fn open(folder: &Path, survives: Survives) -> Self {
        let durability = match survives {
            Survives::Process => Durability::Process,
            Survives::Power => Durability::Power,
        };
        let builder = DiskQueue::builder()
            .durability(durability)
            .max_bytes(u64::MAX / 2);
        Self(builder.open(folder).expect("the queue opens"))
    }

    async fn store(&self, number: u64) {
        let entry = NewEntry {
            keys: [ReplayKey::from_bytes(key(number))].into_iter().collect(),
            token: number,
            source: "source".into(),
            tenant: None,
            event_id: Some(format!("evt_{number}").into()),
            key_id: "key-1".into(),
            request_id: format!("{number:032x}").into(),
            attempts: 0,
            last_failure: None,
            envelope: Bytes::from_static(&ENVELOPE),
            body: Bytes::from_static(&BODY),
            first_due: Duration::ZERO,
            lease_if_first: None,
        };
        let stored = self.0.enqueue(entry).await;
        match stored {
            Ok(Enqueued::Stored(id)) => self.0.confirm(&[id]),
            other => panic!("{number}: {other:?}"),
        }
    }

    async fn take(&self) -> u64 {
        let request = LeaseRequest {
            source: "source",
            order: Order::Any,
            max: TAKEN,
            lease: Duration::from_secs(60),
        };
        let leased = self.0.lease(request).await.expect("the queue answers");
        let mut completions = tokio::task::JoinSet::new();
        for entry in leased {
            let queue = self.0.clone();
            completions.spawn(async move { queue.complete(&entry.lease).await });
        }
        completions.join_all().await.len() as u64
    }
}
