//! A source with a queue and a replay store, which fail as a test plans.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hookgate_core::{Chunk, Head, Provider, ReplayKey, Secret, Signer, UnixTime, Verifier};
use hookgate_gate::{
    Admission, BodyError, BodySource, Clock, Delivery, FirstAttempt, Gate, QueuePolicy, Queued,
    QueuedRequest, Refusal, Source, SourceBuilder, Turn,
};
use hookgate_queue::{
    Changed, Due, EnqueueError, Enqueued, Entry, EntryFilter, EntryId, EntryInfo, EntryLease,
    Failure, FailureKind, LeaseRequest, LeasedEntry, MemoryQueue, NewEntry, Page, QueueError,
    QueueStats, QueueStore,
};
use hookgate_replay::{
    Claim, ClaimOptions, Forgotten, Lease, MemoryStore, ReplayStore, Settled, StoreError,
};
use http::Request;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The steps of a test that the queue and the store took, in their order.
pub(crate) type Steps = Arc<Mutex<Vec<&'static str>>>;

/// The fault of the queue at the next delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueFault {
    Full,
    SourceFull,
    TooLarge,
    DiskFull,
    NotStored,
    UnknownAndStored,
    UnknownAndNotStored,
    PanicsBefore,
    PanicsAfterStoring,
    HangsAfterStoring,
}

/// The fault of the store when the next event is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    Fails,
    Panics,
}

/// A queue that fails as planned. The gate calls only the methods that do not panic.
pub(crate) struct PlannedQueue {
    pub(crate) queue: MemoryQueue,
    pub(crate) fault: Mutex<Option<QueueFault>>,
    steps: Steps,
}

impl QueueStore for PlannedQueue {
    async fn enqueue(&self, entry: NewEntry) -> Result<Enqueued, EnqueueError> {
        let fault = self.fault.lock().unwrap().take();
        let error = || QueueError::new("out of order");
        match fault {
            Some(QueueFault::Full) => return Err(EnqueueError::Full),
            Some(QueueFault::SourceFull) => return Err(EnqueueError::SourceFull),
            Some(QueueFault::TooLarge) => return Err(EnqueueError::TooLarge),
            Some(QueueFault::DiskFull) => return Err(EnqueueError::DiskFull(error())),
            Some(QueueFault::NotStored) => return Err(EnqueueError::NotStored(error())),
            Some(QueueFault::UnknownAndNotStored) => return Err(EnqueueError::Unknown(error())),
            Some(QueueFault::PanicsBefore) => panic!("planned"),
            _ => {}
        }
        let enqueued = self.queue.enqueue(entry).await?;
        self.steps.lock().unwrap().push("stored");
        match fault {
            Some(QueueFault::UnknownAndStored) => Err(EnqueueError::Unknown(error())),
            Some(QueueFault::PanicsAfterStoring) => panic!("planned"),
            Some(QueueFault::HangsAfterStoring) => std::future::pending().await,
            _ => Ok(enqueued),
        }
    }

    fn confirm(&self, ids: &[EntryId]) {
        self.steps.lock().unwrap().push("confirmed");
        self.queue.confirm(ids);
    }

    async fn unconfirmed(&self) -> Result<Vec<EntryInfo>, QueueError> {
        self.queue.unconfirmed().await
    }

    async fn find_key(&self, key: ReplayKey) -> Result<Option<EntryInfo>, QueueError> {
        self.queue.find_key(key).await
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, QueueError> {
        self.queue.entry(id).await
    }

    async fn due(&self, _: &[&str]) -> Result<Due, QueueError> {
        panic!("the gate does not call this")
    }

    async fn lease(&self, _: LeaseRequest<'_>) -> Result<Vec<LeasedEntry>, QueueError> {
        panic!("the gate does not call this")
    }

    async fn complete(&self, _: &EntryLease) -> Result<Changed, QueueError> {
        panic!("the gate does not call this")
    }

    async fn retry_later(
        &self,
        _: &EntryLease,
        _: Duration,
        _: Failure,
    ) -> Result<Changed, QueueError> {
        panic!("the gate does not call this")
    }

    async fn put_back(&self, _: &EntryLease, _: Duration) -> Result<Changed, QueueError> {
        panic!("the gate does not call this")
    }

    async fn bury(&self, _: &EntryLease, _: Failure) -> Result<Changed, QueueError> {
        panic!("the gate does not call this")
    }

    async fn withdraw(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        self.queue.withdraw(lease).await
    }

    async fn list(&self, _: &EntryFilter, _: Page) -> Result<Vec<EntryInfo>, QueueError> {
        panic!("the gate does not call this")
    }

    async fn retry_now(&self, _: EntryId) -> Result<Changed, QueueError> {
        panic!("the gate does not call this")
    }

    async fn delete(&self, _: EntryId) -> Result<Changed, QueueError> {
        panic!("the gate does not call this")
    }

    async fn delete_dead(&self, _: Duration) -> Result<u64, QueueError> {
        panic!("the gate does not call this")
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        panic!("the gate does not call this")
    }

    async fn changed(&self) {
        panic!("the gate does not call this")
    }
}

/// A store that fails as planned when an event is recorded.
#[derive(Debug)]
pub(crate) struct PlannedStore {
    pub(crate) store: MemoryStore,
    pub(crate) fault: Mutex<Option<StoreFault>>,
    steps: Steps,
}

impl ReplayStore for PlannedStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.store.claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.store.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.store.release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        self.store.renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.store.forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        let fault = self.fault.lock().unwrap().take();
        match fault {
            Some(StoreFault::Fails) => return Err(StoreError::new("out of order")),
            Some(StoreFault::Panics) => panic!("planned"),
            None => {}
        }
        self.steps.lock().unwrap().push("recorded");
        self.store.record_done(key, retention).await
    }
}

/// A body that arrives as a whole.
struct Whole(Option<Bytes>);

impl BodySource for Whole {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        Ok(self.0.take().map(Chunk::from))
    }
}

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> UnixTime {
        NOW
    }
}

/// A gate and a queue, with a source and its signer.
pub(crate) struct Fixture {
    pub(crate) gate: Gate<PlannedStore>,
    pub(crate) queue: PlannedQueue,
    pub(crate) source: Source,
    pub(crate) signer: Signer,
    pub(crate) steps: Steps,
}

/// A delivery whose event is claimed, with its request.
pub(crate) struct Claimed {
    pub(crate) request: Request<Bytes>,
    pub(crate) delivery: Delivery<PlannedStore>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with("beatapi", |source| source)
    }

    pub(crate) fn with(
        provider: &str,
        adjust: impl FnOnce(SourceBuilder) -> SourceBuilder,
    ) -> Self {
        let provider = Provider::named(provider).unwrap();
        let secret = Secret::new(match provider.name() {
            "adyen" => "ab".repeat(32),
            _ => "whsec_5f0c8a6de2b94a13".to_owned(),
        });
        let secret = secret.unwrap();
        let signer = Signer::new(provider.scheme(), &secret).unwrap();
        let verifier = Verifier::builder(provider.scheme()).key(secret).build();
        let source = Source::builder("hooks", verifier.unwrap())
            .provider(&provider)
            .queue(QueuePolicy::default())
            .duplicate_wait(Duration::ZERO);
        let steps = Steps::default();
        let store = PlannedStore {
            store: MemoryStore::new(),
            fault: Mutex::default(),
            steps: Arc::clone(&steps),
        };
        Self {
            gate: Gate::builder(store).clock(StoppedClock).build(),
            queue: PlannedQueue {
                queue: MemoryQueue::new(),
                fault: Mutex::default(),
                steps: Arc::clone(&steps),
            },
            source: adjust(source).build(),
            signer,
            steps,
        }
    }

    pub(crate) fn sign(&self, body: &str) -> Request<Bytes> {
        let request = Request::post("/hooks?a=1").body(Bytes::from(body.to_owned()));
        let signed = self.signer.sign_request(request.unwrap(), NOW, None);
        signed.unwrap()
    }

    pub(crate) async fn admit(
        &self,
        request: &Request<Bytes>,
    ) -> Result<Admission<PlannedStore>, Refusal> {
        let receiving = self.gate.begin(&self.source, Head::from(request), None)?;
        let mut body = Whole(Some(request.body().clone()));
        self.gate.admit(receiving.receive(&mut body).await?).await
    }

    pub(crate) async fn claim_request(&self, request: Request<Bytes>) -> Claimed {
        match self.admit(&request).await.unwrap() {
            Admission::Forward(delivery) => Claimed { request, delivery },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn claim(&self, body: &str) -> Claimed {
        self.claim_request(self.sign(body)).await
    }

    pub(crate) async fn enqueue(
        &self,
        claimed: Claimed,
        first: FirstAttempt,
    ) -> Result<Queued, Refusal> {
        let Claimed { request, delivery } = claimed;
        let (verified, settlement) = delivery.into_parts();
        let stored = stored(&request);
        self.gate
            .enqueue(
                &self.queue,
                &self.source,
                stored,
                &verified,
                settlement,
                first,
            )
            .await
    }

    /// Does the same, and returns `None` if the call panics.
    pub(crate) async fn enqueue_or_panic(
        &self,
        claimed: Claimed,
        first: FirstAttempt,
    ) -> Option<Result<Queued, Refusal>> {
        use futures_util::FutureExt;
        AssertUnwindSafe(self.enqueue(claimed, first))
            .catch_unwind()
            .await
            .ok()
    }

    pub(crate) async fn enqueue_in_order(
        &self,
        claimed: Claimed,
    ) -> Result<Turn<PlannedStore>, Refusal> {
        let Claimed { request, delivery } = claimed;
        let (verified, settlement) = delivery.into_parts();
        let stored = stored(&request);
        self.gate
            .enqueue_in_order(&self.queue, &self.source, stored, &verified, settlement)
            .await
    }

    /// Stores a delivery of `body`.
    pub(crate) async fn store(&self, body: &str) -> Queued {
        let claimed = self.claim(body).await;
        self.enqueue(claimed, FirstAttempt::Now).await.unwrap()
    }

    /// Returns the entries of the queue by their order.
    pub(crate) async fn entries(&self) -> Vec<EntryInfo> {
        let page = Page {
            after: None,
            limit: 100,
        };
        let filter = EntryFilter::default();
        self.queue.queue.list(&filter, page).await.unwrap()
    }

    pub(crate) async fn unconfirmed(&self) -> usize {
        self.queue.unconfirmed().await.unwrap().len()
    }

    pub(crate) fn take_steps(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.steps.lock().unwrap())
    }
}

pub(crate) fn stored(request: &Request<Bytes>) -> QueuedRequest<'_> {
    QueuedRequest {
        head: Head::from(request),
        client: Some([203, 0, 113, 7].into()),
        scheme: "https",
        request_id: "r1",
    }
}

pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        status: None,
        at: SystemTime::UNIX_EPOCH,
    }
}

/// Counts the errors that a thread logs.
pub(crate) struct ErrorCount(pub(crate) Arc<AtomicUsize>);

impl Subscriber for ErrorCount {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
