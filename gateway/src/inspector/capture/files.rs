//! The captures on disk: one folder each, in the format that `hookgate verify` reads.
//!
//! A thread of its own writes them, so that a slow disk delays neither deliveries nor records.
//! The size of all captures together is limited with the same fairness as in memory, and
//! captures of an earlier process count.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use arc_swap::ArcSwap;
use hookgate_core::UnixTime;
use hookgate_gate::Clock;
use rustix::fs::Access;

use super::{Captured, folder};
use crate::config::CaptureConfig;
use crate::inspector::fair_queue::{Class, FairQueue};
use crate::inspector::rate_budget::GroupBudgets;
use crate::telemetry::log_throttle::LogThrottle;

/// Maximum number of captures that wait for the thread.
const MAX_WAITING: usize = 256;
/// How often old captures are removed.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);
/// How often the folder is read for captures of other processes.
const SCAN_INTERVAL: Duration = Duration::from_secs(60);
/// Number of captures of one source, outcome and reason that the disk takes at once, if their
/// deliveries claimed no event. A flood must not keep it busy.
const UNVERIFIED_BURST: f64 = 100.0;
/// Number of these captures that the disk takes for each second after a burst.
const UNVERIFIED_PER_SECOND: f64 = 2.0;

/// The folder of all captures, and the way to its thread.
#[derive(Debug)]
pub(crate) struct CaptureFiles {
    dir: PathBuf,
    errors: Arc<AtomicU64>,
    /// The number of captures that the disk did not keep up with.
    dropped: Arc<AtomicU64>,
}

/// Hands captures to the thread that writes them.
#[derive(Debug)]
pub(crate) struct CaptureWriter {
    waiting: Option<SyncSender<Waiting>>,
    thread: Option<JoinHandle<()>>,
    budgets: GroupBudgets,
    dropped: Arc<AtomicU64>,
}

/// A capture that waits for the thread. A capture that is evicted meanwhile is not written.
type Waiting = (Class, Weak<Captured>);

/// Error of a folder that cannot hold captures.
#[derive(Debug)]
pub(crate) struct OpenCaptureDirError {
    dir: PathBuf,
    cause: io::Error,
}

impl fmt::Display for OpenCaptureDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        write!(f, "cannot write to the folder {dir}")
    }
}

impl std::error::Error for OpenCaptureDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl CaptureFiles {
    /// Opens the folder `dir`, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be created, or cannot be written to.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenCaptureDirError> {
        let failed = |cause| OpenCaptureDirError {
            dir: dir.to_owned(),
            cause,
        };
        create_dir(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::access(&dir, access).map_err(|error| failed(error.into()))?;
        if is_open_to_others(&dir).map_err(failed)? {
            tracing::warn!(
                path = %dir.display(),
                "other users may open the folder `inspector.capture_dir`; run `chmod 700` on it"
            );
        }
        Ok(Self {
            dir,
            errors: Arc::default(),
            dropped: Arc::default(),
        })
    }

    /// Returns the folder for the capture of a request.
    pub(crate) fn folder(&self, arrived: UnixTime, request_id: &str) -> PathBuf {
        self.dir.join(folder::name(arrived, request_id))
    }

    /// Returns the number of captures that could not be written or removed.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Returns the number of captures that the disk did not keep up with.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Starts the thread that writes captures.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it cannot start a thread.
    pub(crate) fn start(
        &self,
        config: Arc<ArcSwap<CaptureConfig>>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<CaptureWriter> {
        let (waiting, captures) = sync_channel(MAX_WAITING);
        let files = Files {
            dir: self.dir.clone(),
            errors: Arc::clone(&self.errors),
            config,
            clock,
            order: FairQueue::new(0),
            hasher: RandomState::new(),
            warnings: LogThrottle::default(),
        };
        let thread = thread::Builder::new()
            .name("hookgate-captures".to_owned())
            .spawn(move || files.run(&captures))?;
        Ok(CaptureWriter {
            waiting: Some(waiting),
            thread: Some(thread),
            budgets: GroupBudgets::new(UNVERIFIED_BURST, UNVERIFIED_PER_SECOND),
            dropped: Arc::clone(&self.dropped),
        })
    }
}

/// Creates the folder `dir`, which only its owner can read, unless it exists.
fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether users other than the owner of `dir` have a permission for it.
fn is_open_to_others(dir: &Path) -> io::Result<bool> {
    Ok(fs::metadata(dir)?.permissions().mode() & 0o077 != 0)
}

impl CaptureWriter {
    /// Writes a capture, if the thread and the disk keep up. This call never waits. `group` is that
    /// of the record.
    pub(crate) fn write(&mut self, class: Class, group: u64, captured: &Arc<Captured>) {
        let is_allowed = class == Class::Verified || self.budgets.spend(group, Instant::now());
        let sent = match (is_allowed, &self.waiting) {
            (true, Some(waiting)) => waiting.try_send((class, Arc::downgrade(captured))).is_ok(),
            _ => false,
        };
        if !sent {
            // The capture stays in memory.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits until the captures that wait are written.
impl Drop for CaptureWriter {
    fn drop(&mut self) {
        self.waiting.take();
        if let Some(thread) = self.thread.take() {
            // Fails only if the thread panicked; the panic hook has reported that.
            let _: Result<(), _> = thread.join();
        }
    }
}

/// A folder on disk.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    arrived: UnixTime,
}

/// The state of the thread.
struct Files {
    dir: PathBuf,
    errors: Arc<AtomicU64>,
    config: Arc<ArcSwap<CaptureConfig>>,
    clock: Arc<dyn Clock>,
    order: FairQueue<Folder>,
    hasher: RandomState,
    warnings: LogThrottle,
}

impl Files {
    /// Writes captures until the other end of the channel is dropped.
    fn run(mut self, captures: &Receiver<Waiting>) {
        let mut next_expiry = Instant::now();
        let mut next_scan = next_expiry;
        loop {
            if Instant::now() >= next_scan {
                self.add_unknown();
                next_scan = Instant::now() + SCAN_INTERVAL;
            }
            if Instant::now() >= next_expiry {
                self.expire();
                next_expiry = Instant::now() + EXPIRY_INTERVAL;
            }
            match captures.recv_timeout(EXPIRY_INTERVAL) {
                Ok((class, captured)) => {
                    if let Some(captured) = captured.upgrade() {
                        let write = AssertUnwindSafe(|| self.write(class, &captured));
                        // The panic hook has reported the fault. The thread goes on.
                        if catch_unwind(write).is_err() {
                            self.errors.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Counts the captures of other processes: of an earlier one, and of the old process during an
    /// upgrade. Other files in the folder are left alone.
    fn add_unknown(&mut self) {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            // The operator may have removed the folder. The next capture creates it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.failed("read", &self.dir.clone(), &error),
        };
        let known: HashSet<&OsStr> = self
            .order
            .iter()
            .filter_map(|folder| folder.path.file_name())
            .collect();
        let mut unknown: Vec<Folder> = entries
            .filter_map(Result::ok)
            .filter(|entry| !known.contains(&*entry.file_name()))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| {
                Some(Folder {
                    arrived: folder::time_of_name(entry.file_name().to_str()?)?,
                    path: entry.path(),
                })
            })
            .collect();
        unknown.sort_unstable_by_key(|folder| folder.arrived.millis());
        for folder in unknown {
            let class = match folder::source_and_reason(&folder.path) {
                Some((_, None)) => Class::Verified,
                refused => Class::Unverified(self.hasher.hash_one(refused)),
            };
            match folder::size(&folder.path) {
                Ok(size) => self.add(class, folder, size),
                Err(error) => self.failed("read", &folder.path, &error),
            }
        }
    }

    fn write(&mut self, class: Class, captured: &Captured) {
        let (Some(path), Some(arrived)) = (&captured.folder, captured.capture.arrived) else {
            return;
        };
        let write = || folder::write(path, &captured.capture, &captured.file_record());
        let written = match write() {
            // The operator may have removed the folder of all captures.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_dir(&self.dir).and_then(|()| write())
            }
            written => written,
        };
        match written {
            Ok(size) => {
                let path = path.clone();
                self.add(class, Folder { path, arrived }, size);
            }
            Err(error) => self.failed("write", path, &error),
        }
    }

    /// Counts a folder, and removes others if all together are too large.
    fn add(&mut self, class: Class, folder: Folder, size: u64) {
        self.order.set_limit(self.config.load().max_bytes);
        let mut evicted = Vec::new();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.order
            .push(class, folder, size, |folder| evicted.push(folder));
        self.remove(evicted);
    }

    /// Removes the captures that expired.
    fn expire(&mut self) {
        let keep_for = self.config.load().keep_for;
        let now = self.clock.now();
        let mut expired = Vec::new();
        self.order.expire(
            |folder| folder.arrived.plus(keep_for) <= now,
            |folder| expired.push(folder),
        );
        self.remove(expired);
    }

    fn remove(&mut self, folders: Vec<Folder>) {
        for folder in folders {
            if let Err(error) = folder::remove(&folder.path) {
                self.failed("remove", &folder.path, &error);
            }
        }
    }

    /// Counts a failure, and logs one of them each minute.
    fn failed(&self, action: &str, path: &Path, error: &io::Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if self.warnings.should_log() {
            tracing::warn!(
                path = %path.display(),
                %error,
                "cannot {action} a capture; check `inspector.capture_dir`"
            );
        }
    }
}

#[cfg(test)]
mod tests;
