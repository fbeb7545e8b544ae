//! The thread of the inspector: takes the records from the queue, and stores them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use hookgate_core::UnixTime;
use hookgate_core::internal::ErrorChain;
use hookgate_gate::{Clock, Reason};

use super::capture::redaction::redact_record;
use super::capture::{CaptureWriter, Captured, Explainer, RawCapture, Tools};
use super::compact::CompactRecord;
use super::fair_queue::Class;
use super::history::{DiskHistory, Expired};
use super::rate_budget::GroupBudgets;
use super::record::DeliveryRecord;
use super::{Finished, Inspector};
use crate::config::CaptureConfig;

/// How long the thread waits for more records after the first one. Waking the thread for each
/// record would cost more than storing the record.
const BATCH_DELAY: Duration = Duration::from_millis(20);
/// How often old records and captures are removed.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last records to reach the disk.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// The number of records of one source, outcome and reason that the disk takes at once, if they
/// claimed no event. A flood must not fill the disk.
const UNVERIFIED_BURST: f64 = 500.0;
/// The number of these records that the disk takes for each second after a burst: 12 a minute.
const UNVERIFIED_PER_SECOND: f64 = 0.2;
/// Maximum number of records that wait for the disk.
const MAX_UNWRITTEN: usize = 20_000;

/// Ends the thread of the inspector when it is dropped, after the last records are stored.
#[derive(Debug)]
pub(crate) struct FlushGuard {
    inspector: Arc<Inspector>,
    /// The thread ends when the other end is dropped.
    stop: Option<mpsc::Sender<()>>,
    /// Disconnects when the thread has ended.
    ended: Receiver<()>,
}

impl FlushGuard {
    /// Starts the thread of `inspector`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it cannot start a thread, or that of the history on disk.
    pub(crate) fn start(inspector: Arc<Inspector>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let files = inspector.capture_files.as_ref().map(|files| {
            let config = Arc::clone(&inspector.capture);
            files.start(config, Arc::clone(&clock))
        });
        let files = files.transpose()?;
        let newest_seq = inspector.disk.as_ref().map(DiskHistory::newest_seq);
        let newest_seq = newest_seq.transpose().map_err(io::Error::other)?;
        let (stop, stopped) = mpsc::channel();
        let (ending, ended) = mpsc::channel::<()>();
        let worker = Worker {
            inspector: Arc::clone(&inspector),
            clock,
            next_expiry: Instant::now(),
            last_seq: newest_seq.unwrap_or(0),
            budgets: GroupBudgets::new(UNVERIFIED_BURST, UNVERIFIED_PER_SECOND),
            unwritten: Vec::new(),
            explainer: Explainer::start()?,
            files,
            is_disk_failing: false,
        };
        let thread = thread::Builder::new()
            .name("hookgate-inspector".to_owned())
            .spawn(move || {
                worker.run(&stopped);
                drop(ending);
            })?;
        // The inspector has one thread, so no other thread is set.
        let _: Result<(), _> = inspector.worker.set(thread.thread().clone());
        Ok(Self {
            inspector,
            stop: Some(stop),
            ended,
        })
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        self.stop.take();
        self.inspector.unpark_worker();
        let _: Result<(), _> = self.ended.recv_timeout(FLUSH_TIMEOUT);
    }
}

impl Inspector {
    /// Wakes the thread if it waits for the first record.
    pub(super) fn wake_worker(&self) {
        // The load keeps a busy thread's flag in the shared state of the caches.
        if self.is_worker_idle.load(Ordering::SeqCst)
            && self.is_worker_idle.swap(false, Ordering::SeqCst)
        {
            self.unpark_worker();
        }
    }

    /// Keeps the memory of an evicted record for the next one. To free it here would cost more,
    /// because another thread has allocated it.
    fn keep_spare(&self, evicted: Box<CompactRecord>) {
        if evicted.is_reusable() {
            // Above the maximum, the memory is freed.
            let _: Result<(), _> = self.spare_records.push(evicted);
        }
    }

    fn unpark_worker(&self) {
        if let Some(thread) = self.worker.get() {
            thread.unpark();
        }
    }
}

/// The state of the thread.
struct Worker {
    inspector: Arc<Inspector>,
    clock: Arc<dyn Clock>,
    next_expiry: Instant,
    last_seq: u64,
    /// Limits how many records of a group the disk takes, if they claimed no event.
    budgets: GroupBudgets,
    /// The records that the disk has not taken yet, the oldest first.
    unwritten: Vec<DeliveryRecord>,
    explainer: Explainer,
    files: Option<CaptureWriter>,
    /// Whether the last write to the disk failed. Only the first failure is logged.
    is_disk_failing: bool,
}

impl Worker {
    /// Stores records until `stopped` disconnects and the queue is empty.
    fn run(mut self, stopped: &Receiver<()>) {
        loop {
            self.wait();
            let is_last = matches!(stopped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
            self.store_batch();
            if Instant::now() >= self.next_expiry {
                self.expire();
            }
            if is_last {
                return;
            }
        }
    }

    /// Waits for the first record, and then a moment for others.
    fn wait(&self) {
        let inspector = &self.inspector;
        inspector.is_worker_idle.store(true, Ordering::SeqCst);
        if inspector.queue.is_empty() {
            thread::park_timeout(EXPIRY_INTERVAL);
        }
        inspector.is_worker_idle.store(false, Ordering::SeqCst);
        thread::park_timeout(BATCH_DELAY);
    }

    /// Stores the records of the queue.
    fn store_batch(&mut self) {
        let inspector = Arc::clone(&self.inspector);
        let config = inspector.capture.load_full();
        // Records that arrive meanwhile wait for the next batch.
        let waiting = inspector.queue.len();
        let (mut time, mut batch) = (None, Vec::with_capacity(waiting));
        for _ in 0..waiting {
            let Some(finished) = inspector.queue.pop() else {
                break;
            };
            let Finished {
                mut record,
                capture,
            } = finished;
            record.seq = self.next_seq(&mut time);
            let class = inspector.class(&record);
            // Redacting a capture can take long, so it happens before the lock.
            let captured = match capture.is_some() || !config.redact.is_empty() {
                true => self.redact(&mut record, capture, class, &config),
                false => Ok(None),
            };
            let Ok(captured) = captured else {
                inspector.records_dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if inspector.disk.is_some() {
                self.keep_for_disk(class, &record);
            }
            batch.push((class, record, captured));
        }
        let mut state = inspector.state.lock();
        for (class, record, captured) in batch {
            state.store(class, record, captured, config.max_bytes, |evicted| {
                inspector.keep_spare(evicted);
            });
        }
        drop(state);
        self.write();
        inspector.newest.send_if_modified(|newest| {
            let is_newer = *newest != self.last_seq;
            *newest = self.last_seq;
            is_newer
        });
    }

    /// Redacts the record, and stores the redacted capture in a file.
    ///
    /// # Errors
    ///
    /// Returns an error if that panics. The request is hostile input, and its record must not be
    /// stored without the redaction.
    fn redact(
        &mut self,
        record: &mut CompactRecord,
        capture: Option<Box<RawCapture>>,
        class: Class,
        config: &CaptureConfig,
    ) -> thread::Result<Option<Arc<Captured>>> {
        let mut expanded = record.expand();
        redact_record(&mut expanded, record.fact_headers(), &config.redact);
        let tools = Tools {
            explainer: Some(&mut self.explainer),
            files: self.inspector.capture_files.as_ref(),
        };
        let redacting = AssertUnwindSafe(|| {
            capture.map(|raw| Captured::new(*raw, &mut expanded, config, tools))
        });
        let captured = catch_unwind(redacting)?;
        record.adopt(expanded);
        let captured = captured.map(Arc::new);
        if let (Some(files), Some(captured)) = (&mut self.files, &captured) {
            let group = self.inspector.group(record);
            files.write(class, group, captured);
        }
        Ok(captured)
    }

    /// Returns a number that is larger than all earlier ones, also after a restart: the time in
    /// microseconds. `time` is read once for each batch.
    fn next_seq(&mut self, time: &mut Option<u64>) -> u64 {
        let now = || self.clock.now().millis().saturating_mul(1000);
        let time = time.get_or_insert_with(|| u64::try_from(now()).unwrap_or(0));
        self.last_seq = (*time).max(self.last_seq + 1);
        self.last_seq
    }

    /// Keeps the record for the disk, unless its group has spent its budget.
    fn keep_for_disk(&mut self, class: Class, record: &CompactRecord) {
        let is_rate_limited = record.facts.reason == Some(Reason::RateLimited);
        let is_kept = class == Class::Verified
            || (!is_rate_limited && {
                let group = self.inspector.group(record);
                self.budgets.spend(group, Instant::now())
            });
        match is_kept && self.unwritten.len() < MAX_UNWRITTEN {
            true => self.unwritten.push(record.expand()),
            false => {
                let dropped = &self.inspector.history_dropped;
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes the records that the disk has not taken yet.
    fn write(&mut self) {
        if let (Some(disk), false) = (&self.inspector.disk, self.unwritten.is_empty()) {
            let result = disk.insert(&self.unwritten);
            if result.is_ok() {
                self.unwritten.clear();
            }
            self.log_disk(
                result,
                "cannot write records to the history of the inspector; trying again",
            );
        }
    }

    fn expire(&mut self) {
        let now: UnixTime = self.clock.now();
        let keep_for = self.inspector.capture.load().keep_for;
        self.inspector.state.lock().captures.expire(now, keep_for);
        let mut next = EXPIRY_INTERVAL;
        if let Some(disk) = &self.inspector.disk {
            let expired = disk.expire(now);
            if let Ok(Expired::Partly) = expired {
                next = BATCH_DELAY;
            }
            self.log_disk(
                expired.map(drop),
                "cannot remove old records from the history of the inspector",
            );
        }
        self.next_expiry = Instant::now() + next;
    }

    /// Logs the first of several failures of the disk.
    fn log_disk(&mut self, result: rusqlite::Result<()>, message: &str) {
        match result {
            Ok(()) => self.is_disk_failing = false,
            Err(error) if !self.is_disk_failing => {
                self.is_disk_failing = true;
                tracing::error!(error = %ErrorChain(&error), "{message}");
            }
            Err(_) => {}
        }
    }
}
