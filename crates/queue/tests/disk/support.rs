//! A queue in a temporary folder, and deliveries for it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::ReplayKey;
use hookgate_core::internal::ErrorChain;
use hookgate_queue::{
    DiskQueue, DiskQueueBuilder, Enqueued, EntryFilter, EntryId, EntryInfo, Failure, FailureKind,
    LeaseRequest, LeasedEntry, NewEntry, Order, Page, QueueStore, TestClock,
};
use tempfile::TempDir;

pub(crate) const LEASE: Duration = Duration::from_secs(20);

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) queue: DiskQueue,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(settings: fn(DiskQueueBuilder) -> DiskQueueBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::<TestClock>::default();
        let builder = settings(DiskQueue::builder()).with_test_clock(Arc::clone(&clock));
        let queue = builder.open(folder.path()).unwrap();
        Self {
            folder,
            clock,
            queue,
        }
    }

    /// Opens the file again after the first queue has ended.
    pub(crate) fn reopen(self) -> Self {
        let Self {
            folder,
            clock,
            queue,
        } = self;
        drop(queue);
        let builder = DiskQueue::builder().with_test_clock(Arc::clone(&clock));
        let queue = builder.open(folder.path()).unwrap();
        Self {
            folder,
            clock,
            queue,
        }
    }

    pub(crate) fn advance(&self, duration: Duration) {
        let millis = i64::try_from(duration.as_millis()).unwrap();
        self.clock.advance.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the system clock by `seconds`.
    pub(crate) fn step(&self, seconds: i64) {
        self.clock.step.fetch_add(1000 * seconds, Ordering::SeqCst);
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }
}

pub(crate) fn key(number: u64) -> ReplayKey {
    // Real keys are hashes, so the test keys are spread evenly too.
    let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    ReplayKey::from_bytes(spread.to_be_bytes())
}

pub(crate) fn delivery(source: &str, number: u64) -> NewEntry {
    NewEntry {
        keys: [key(number)].into_iter().collect(),
        token: number,
        source: source.into(),
        tenant: None,
        event_id: Some(format!("evt_{number}").into()),
        key_id: "key-1".into(),
        request_id: format!("req-{number}").into(),
        attempts: 0,
        last_failure: None,
        envelope: Bytes::from_static(b"\x01head"),
        body: body(number),
        first_due: Duration::ZERO,
        lease_if_first: None,
    }
}

/// Returns a body of 1 KiB that differs for each number.
pub(crate) fn body(number: u64) -> Bytes {
    let text = format!("{{\"number\":{number},\"filler\":\"");
    let mut body = text.into_bytes();
    body.resize(1022, b'x');
    body.extend_from_slice(b"\"}");
    body.into()
}

pub(crate) async fn store(queue: &DiskQueue, entry: NewEntry) -> EntryId {
    match queue.enqueue(entry).await {
        Ok(Enqueued::Stored(id)) => id,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn lease(queue: &DiskQueue, source: &str, max: usize) -> Vec<LeasedEntry> {
    let request = LeaseRequest {
        source,
        order: Order::Any,
        max,
        lease: LEASE,
    };
    queue.lease(request).await.unwrap()
}

pub(crate) async fn list(queue: &DiskQueue) -> Vec<EntryInfo> {
    let page = Page {
        after: None,
        limit: usize::MAX,
    };
    queue.list(&EntryFilter::default(), page).await.unwrap()
}

pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        status: None,
        at: std::time::SystemTime::UNIX_EPOCH,
    }
}

/// Returns the error with its causes.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    ErrorChain(error).to_string()
}

/// Waits until `is_true` returns true.
pub(crate) async fn wait_until(mut is_true: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, wait)
        .await
        .expect("the condition becomes true");
}
