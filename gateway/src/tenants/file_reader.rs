//! Reads the files of many tenants in a thread that may hang.
//!
//! If the files of one tenant take too long, their thread is abandoned, and another thread reads the
//! files of the next tenants. The tenant has no keys until its thread ends. Then its files are read
//! again.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Tenants;
use super::open_reads::{MAX_READ, OpenRead};
use super::secrets::{Files, TenantError};

/// The pause between two calls of `between`.
const PAUSE: Duration = Duration::from_millis(20);
/// The number of threads that are abandoned at the same time. If more files hang, probably all do,
/// and lookups give up.
const MAX_ABANDONED: usize = 32;

/// Records the keys of the tenants `names`, and calls `between` from time to time.
///
/// `unreported` becomes the tenants whose files can change without a change in their directory.
/// Returns the time that was lost to files that hang.
pub(super) fn read_files(
    tenants: &Arc<Tenants>,
    files: &Arc<Files>,
    names: Vec<Box<str>>,
    unreported: &mut BTreeSet<Box<str>>,
    mut between: impl FnMut(),
) -> Duration {
    let progress = Arc::new(Progress {
        names,
        state: Mutex::new(State {
            position: 0,
            started: Instant::now(),
            unreported: mem::take(unreported),
            reader: 0,
            has_ended: false,
            abandoned: HashMap::new(),
            lost: Duration::ZERO,
        }),
        ended: Condvar::new(),
    });
    while let Some(reader) = progress.next_reader(tenants, files) {
        let thread = thread::Builder::new().name("hookgate-files".to_owned());
        let in_thread = reader.clone();
        if thread.spawn(move || in_thread.run()).is_err() {
            // The system has no thread left. A file that hangs stops the caller then.
            reader.run();
        }
        progress.wait(tenants, files, &mut between);
    }
    let mut state = progress.state.lock();
    *unreported = mem::take(&mut state.unreported);
    state.lost
}

/// The progress of reading the files.
struct Progress {
    names: Vec<Box<str>>,
    state: Mutex<State>,
    /// Notified when the reader ends.
    ended: Condvar,
}

struct State {
    /// The position of the tenant whose files are being read.
    position: usize,
    /// When the read of its files began.
    started: Instant,
    unreported: BTreeSet<Box<str>>,
    /// The number of the reader. An earlier one is abandoned, and records nothing: its tenant may have
    /// other files by now.
    reader: u64,
    has_ended: bool,
    /// The reads of abandoned readers, by their numbers.
    abandoned: HashMap<u64, OpenRead>,
    lost: Duration,
}

impl Progress {
    /// Returns a reader for the files that are left. `None` if there are none.
    fn next_reader(self: &Arc<Self>, tenants: &Arc<Tenants>, files: &Arc<Files>) -> Option<Reader> {
        let mut state = self.state.lock();
        if state.position >= self.names.len() {
            return None;
        }
        state.reader += 1;
        state.started = Instant::now();
        state.has_ended = false;
        Some(Reader {
            progress: Arc::clone(self),
            files: Arc::clone(files),
            tenants: Arc::downgrade(tenants),
            number: state.reader,
        })
    }

    /// Waits until the reader ends, or until a file hangs, whose tenant is then skipped.
    fn wait(&self, tenants: &Tenants, files: &Files, between: &mut impl FnMut()) {
        let mut state = self.state.lock();
        loop {
            let is_hung =
                state.started.elapsed() >= MAX_READ && files.abandoned.len() < MAX_ABANDONED;
            if state.has_ended || is_hung {
                break;
            }
            self.ended.wait_for(&mut state, PAUSE);
            MutexGuard::unlocked(&mut state, &mut *between);
        }
        // A reader that has panicked leaves names, too.
        let Some(name) = self.names.get(state.position) else {
            return;
        };
        if !state.has_ended {
            let reader = state.reader;
            state.reader += 1;
            let started = state.started;
            state.lost += started.elapsed();
            let read = files.abandoned.start(name, started);
            state.abandoned.extend(read.map(|read| (reader, read)));
            tenants.log_failure(name, &TenantError::Hung);
        }
        state.position += 1;
        tenants.record_read(name, Err(TenantError::Hung), &mut state.unreported);
    }
}

/// Reads the files in one thread.
#[derive(Clone)]
struct Reader {
    progress: Arc<Progress>,
    files: Arc<Files>,
    /// A reader that hangs does not keep the tenants alive.
    tenants: Weak<Tenants>,
    number: u64,
}

impl Reader {
    fn run(self) {
        // Its drop ends the reader, after a panic too.
        let _end = ReaderEnd(&self);
        let Progress { names, state, .. } = &*self.progress;
        let first = state.lock().position;
        for name in &names[first..] {
            let recorded = match self.tenants.upgrade() {
                Some(tenants) => tenants.recorded_files(name),
                None => return,
            };
            let read = self.files.read_changed(name, recorded);
            let mut state = state.lock();
            if state.reader != self.number {
                return;
            }
            if let (Some(read), Some(tenants)) = (read, self.tenants.upgrade()) {
                tenants.record_read(name, read, &mut state.unreported);
            }
            state.position += 1;
            state.started = Instant::now();
        }
    }
}

struct ReaderEnd<'r>(&'r Reader);

impl Drop for ReaderEnd<'_> {
    fn drop(&mut self) {
        let Reader {
            progress,
            tenants,
            number,
            ..
        } = self.0;
        let mut state = progress.state.lock();
        if state.reader == *number {
            state.has_ended = true;
            progress.ended.notify_one();
            return;
        }
        let read = state.abandoned.remove(number);
        drop(state);
        if let (Some(read), Some(tenants)) = (read, tenants.upgrade()) {
            // The files may have changed while they could not be read.
            tenants.scan.ask_for(read.end());
        }
    }
}
