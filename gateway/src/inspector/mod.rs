//! The inspector records each request, for the page, the API and the command line.
//!
//! The pipeline hands over one [`Finished`] for each request, through a bounded queue without a
//! lock. A thread of its own takes them from there, so that a busy inspector never delays a
//! delivery. Records that find the queue full are dropped and counted.

pub(crate) mod capture;
pub(crate) mod compact;
pub(crate) mod fair_queue;
pub(crate) mod filter;
pub(crate) mod history;
pub(crate) mod key_usage;
mod open_error;
pub(crate) mod rate_budget;
pub(crate) mod rates;
pub(crate) mod record;
mod worker;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use arc_swap::{ArcSwap, Guard};
use crossbeam_queue::ArrayQueue;
use hookgate_core::UnixTime;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::capture::{CaptureBudget, CaptureDraft, CaptureFiles, Captured, Captures, RawCapture};
use self::compact::{CompactRecord, Facts, RouteNames, Texts};
use self::fair_queue::Class;
use self::filter::Filter;
use self::history::{Batch, DiskHistory, MemoryHistory, Page};
use self::key_usage::{KeyUsage, KeyUse};
pub(crate) use self::open_error::OpenInspectorError;
use self::rates::{Rate, Rates};
use self::record::{DeliveryRecord, ReplayKeys};
pub(crate) use self::worker::FlushGuard;
use crate::client_address::ClientAddress;
use crate::config::{CaptureConfig, InspectorAccess, InspectorConfig};

/// Maximum number of requests that wait for the thread of the inspector.
const MAX_QUEUED: usize = 8192;
/// Maximum number of evicted records whose memory is kept for the next records.
const MAX_SPARE: usize = 1024;
/// Maximum number of open event streams.
const MAX_STREAMS: usize = 64;
/// The number of parts into which client networks are divided. One client fills one part only.
const NETWORK_PARTS: u64 = 64;

/// A request that was served.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) record: Box<CompactRecord>,
    pub(crate) capture: Option<Box<RawCapture>>,
}

/// The inspector of one gateway process.
#[derive(Debug)]
pub(crate) struct Inspector {
    queue: ArrayQueue<Finished>,
    /// Evicted records, whose memory the next records reuse.
    spare_records: ArrayQueue<Box<CompactRecord>>,
    /// The memory of captures that are not stored yet.
    capture_budget: Arc<CaptureBudget>,
    records_dropped: AtomicU64,
    history_dropped: AtomicU64,
    captures_dropped: AtomicU64,
    is_worker_idle: AtomicBool,
    worker: OnceLock<Thread>,
    access: ArcSwap<InspectorAccess>,
    capture: Arc<ArcSwap<CaptureConfig>>,
    capture_files: Option<CaptureFiles>,
    state: Mutex<State>,
    disk: Option<DiskHistory>,
    keep: usize,
    /// The number of the newest record.
    newest: watch::Sender<u64>,
    streams: Arc<Semaphore>,
    hasher: RandomState,
}

/// The state that the thread of the inspector writes and the API reads.
#[derive(Debug)]
struct State {
    records: MemoryHistory,
    captures: Captures,
    rates: Rates,
    keys: KeyUsage,
}

/// A record with its capture.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) record: Arc<DeliveryRecord>,
    pub(crate) capture: Option<Arc<Captured>>,
}

/// How full the inspector is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) records: usize,
    /// Maximum number of records in memory.
    pub(crate) keep: usize,
    pub(crate) records_dropped: u64,
    /// The number of records that the disk did not take.
    pub(crate) history_dropped: u64,
    pub(crate) captures: CaptureStats,
    /// The time of the oldest record.
    pub(crate) since: Option<UnixTime>,
}

/// How full the store of captures is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct CaptureStats {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    /// Maximum number of bytes.
    pub(crate) limit: usize,
    /// The number of captures for which there was no memory.
    pub(crate) dropped: u64,
    /// The number of operations on files that failed.
    pub(crate) file_errors: u64,
    /// The number of captures that the disk did not keep up with.
    pub(crate) files_dropped: u64,
}

impl State {
    /// Stores a record, and its capture if there is one. All captures together keep within
    /// `max_bytes`. `evicted` is called with each record that goes.
    fn store(
        &mut self,
        class: Class,
        record: Box<CompactRecord>,
        captured: Option<Arc<Captured>>,
        max_bytes: usize,
        evicted: impl FnMut(Box<CompactRecord>),
    ) {
        self.rates.count(&record.facts);
        self.keys.count(&record);
        if let Some(captured) = captured {
            let request_id = record.texts().request_id;
            self.captures.insert(request_id, class, captured, max_bytes);
        }
        self.records.insert(class, record, evicted);
    }
}

impl Inspector {
    /// Creates the inspector. [`FlushGuard::start`] starts its thread.
    ///
    /// # Errors
    ///
    /// Returns an error if the history on disk or the folder for captures cannot be opened.
    pub(crate) fn new(config: InspectorConfig) -> Result<Self, OpenInspectorError> {
        let storage = config.storage;
        let capture_budget = Arc::<CaptureBudget>::default();
        capture_budget.set_limit(config.capture.max_bytes);
        Ok(Self {
            queue: ArrayQueue::new(MAX_QUEUED),
            spare_records: ArrayQueue::new(MAX_SPARE),
            capture_budget,
            records_dropped: AtomicU64::new(0),
            history_dropped: AtomicU64::new(0),
            captures_dropped: AtomicU64::new(0),
            is_worker_idle: AtomicBool::new(false),
            worker: OnceLock::new(),
            access: ArcSwap::from_pointee(config.access),
            capture: Arc::new(ArcSwap::from_pointee(config.capture)),
            capture_files: storage
                .capture_dir
                .as_deref()
                .map(CaptureFiles::open)
                .transpose()?,
            state: Mutex::new(State {
                records: MemoryHistory::new(storage.keep),
                captures: Captures::new(),
                rates: Rates::default(),
                keys: KeyUsage::default(),
            }),
            disk: storage
                .history
                .as_ref()
                .map(DiskHistory::open)
                .transpose()?,
            keep: storage.keep,
            newest: watch::Sender::new(0),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            hasher: RandomState::new(),
        })
    }

    /// Uses the settings of a new configuration that need no restart.
    pub(crate) fn adopt(&self, config: InspectorConfig) {
        self.access.store(Arc::new(config.access));
        self.capture_budget.set_limit(config.capture.max_bytes);
        self.capture.store(Arc::new(config.capture));
    }

    /// Returns who may use the inspector.
    pub(crate) fn access(&self) -> Guard<Arc<InspectorAccess>> {
        self.access.load()
    }

    /// Creates a record. This call takes no lock and never waits.
    pub(crate) fn compact(
        &self,
        facts: Facts,
        names: Option<&Arc<RouteNames>>,
        texts: &Texts<'_>,
        replay_keys: ReplayKeys,
    ) -> Box<CompactRecord> {
        let mut record = self.spare_records.pop().unwrap_or_default();
        record.fill(facts, names, texts, replay_keys);
        record
    }

    /// Returns the limits of captures, and the values that they leave out.
    pub(crate) fn capture_config(&self) -> Guard<Arc<CaptureConfig>> {
        self.capture.load()
    }

    /// Records a request. This call takes no lock and never waits.
    pub(crate) fn record(&self, finished: Finished) {
        // A flood must leave room for the deliveries that claimed their event.
        let is_full = !finished.record.facts.is_claimed && self.queue.len() > MAX_QUEUED / 2;
        if is_full || self.queue.push(finished).is_err() {
            self.records_dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.wake_worker();
    }

    /// Starts the capture of a request whose body may have `body_limit` bytes.
    pub(crate) fn start_capture(&self, body_limit: usize) -> CaptureDraft {
        CaptureDraft::new(&self.capture_budget, body_limit)
    }

    /// Counts a capture for which there was no memory.
    pub(crate) fn capture_dropped(&self) {
        self.captures_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the class of a record, which decides what it can push out.
    ///
    /// A replay of a captured delivery verifies too, so only a delivery that claimed its event, or
    /// that an operator sent again, belongs to the class of verified ones.
    fn class(&self, record: &CompactRecord) -> Class {
        if record.facts.is_claimed {
            return Class::Verified;
        }
        let network = record.facts.client.map(ClientAddress::network);
        let part = self.hasher.hash_one(network) % NETWORK_PARTS;
        Class::Unverified(self.hasher.hash_one((self.group(record), part)))
    }

    /// Returns the group of a record: a hash of its source, its outcome and its reason.
    fn group(&self, record: &CompactRecord) -> u64 {
        let facts = &record.facts;
        let group = (record.source(), facts.outcome, facts.reason);
        self.hasher.hash_one(group)
    }

    /// Returns at most `limit` records before the number `before`, the newest first. This call
    /// can block on the disk.
    ///
    /// # Errors
    ///
    /// Returns the error of the history on disk.
    pub(crate) fn find(
        &self,
        filter: &Filter,
        before: Option<u64>,
        limit: usize,
    ) -> rusqlite::Result<Page> {
        let page = self.state.lock().records.find(filter, before, limit);
        match &self.disk {
            Some(disk) => {
                let mut page = page.merge(disk.find(filter, before, limit)?, limit);
                let captures = &self.state.lock().captures;
                for record in &mut page.records {
                    captures.mark(record);
                }
                Ok(page)
            }
            None => Ok(page),
        }
    }

    /// Returns the record of a request, with its capture. This call can block on the disk.
    ///
    /// # Errors
    ///
    /// Returns the error of the history on disk.
    pub(crate) fn get(&self, request_id: &str) -> rusqlite::Result<Option<Found>> {
        let in_memory = {
            let state = self.state.lock();
            state.records.get(request_id).map(|record| Found {
                capture: state.captures.get(&record.request_id),
                record,
            })
        };
        match (in_memory, &self.disk) {
            (None, Some(disk)) => Ok(disk.get(request_id)?.map(|mut record| {
                let captures = &self.state.lock().captures;
                captures.mark(&mut record);
                Found {
                    capture: captures.get(&record.request_id),
                    record,
                }
            })),
            (found, _) => Ok(found),
        }
    }

    /// Returns the newest `limit` records after the number `after`, for a stream.
    pub(crate) fn after(&self, filter: &Filter, after: u64, limit: usize) -> Batch {
        self.state.lock().records.after(filter, after, limit)
    }

    /// Returns a receiver of the number of the newest record.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Counts an event stream as open until the permit is dropped. Returns `None` at the limit.
    pub(crate) fn open_stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }

    /// Returns the number of open event streams.
    pub(crate) fn open_streams(&self) -> usize {
        MAX_STREAMS - self.streams.available_permits()
    }

    /// Returns the keys of `source` that have verified a delivery.
    pub(crate) fn key_usage(&self, source: &str) -> BTreeMap<String, KeyUse> {
        self.state.lock().keys.of_source(source)
    }

    /// Returns the counts of the last quarter of an hour.
    pub(crate) fn rates(&self, now: UnixTime) -> Vec<Rate> {
        self.state.lock().rates.report(now)
    }

    /// Returns how full the inspector is.
    pub(crate) fn stats(&self) -> Stats {
        let state = self.state.lock();
        Stats {
            records: state.records.len(),
            keep: self.keep,
            records_dropped: self.records_dropped.load(Ordering::Relaxed),
            history_dropped: self.history_dropped.load(Ordering::Relaxed),
            captures: CaptureStats {
                count: state.captures.len(),
                bytes: state.captures.bytes(),
                limit: self.capture.load().max_bytes,
                dropped: self.captures_dropped.load(Ordering::Relaxed),
                file_errors: self.capture_files.as_ref().map_or(0, CaptureFiles::errors),
                files_dropped: self.capture_files.as_ref().map_or(0, CaptureFiles::dropped),
            },
            since: state.records.since(),
        }
    }
}
