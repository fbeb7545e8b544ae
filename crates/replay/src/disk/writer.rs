//! The thread that writes: what is asked at the same time, in one transaction.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use hookgate_core::ReplayKey;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::file::{Files, Kind, OpenError, try_to_write};
use super::table::{Known, Table};
use crate::notifier::SettlementNotifier;
use crate::store::{Claim, ClaimOptions, Lease, Settled, StoreError};

/// What the store is asked, and where the answer goes.
pub(super) enum Ask {
    Claim {
        key: ReplayKey,
        options: ClaimOptions,
        reply: Reply<Claim>,
    },
    Settle {
        lease: Lease,
        /// None gives the event back.
        retention: Option<Duration>,
        reply: Reply<Settled>,
    },
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// How a transaction begins: nobody else writes until it ends.
pub(super) const AT_ONCE: TransactionBehavior = TransactionBehavior::Immediate;

/// Most asks that are written together.
const BATCH: usize = 256;

/// How often a few entries are looked at, whether they are due.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// How many at a time; more if there is no room.
const SWEEP: u32 = 512;
const SWEEP_WHEN_FULL: u32 = 8192;

/// How often what was written is kept from the loss of power.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// So many commits, and what was written is carried from the log into the file. The log
/// begins anew then, for which the next writer waits for the disk: few deliveries do, however
/// slowly they come.
const CARRY_AFTER: u64 = 512;

/// Size of the log, in bytes, from which on writers wait until it has been emptied.
const LONG_LOG: u64 = 64 << 20;

/// How many entries there are.
#[derive(Debug, Default)]
pub(super) struct Counts(AtomicU64);

impl Counts {
    pub(super) fn entries(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, entries: u64) {
        self.0.store(entries, Ordering::Relaxed);
    }
}

pub(super) struct Settings {
    pub(super) max_entries: u64,
    pub(super) clock: Clock,
    pub(super) notifier: Arc<SettlementNotifier>,
    pub(super) counts: Arc<Counts>,
}

pub(super) struct Writer {
    file: Connection,
    log: PathBuf,
    settings: Settings,
    known: Known,
    commits: Arc<AtomicU64>,
}

/// An answer, to be given once it has been written.
enum Answer {
    Claim(Claim),
    Settled(Settled),
}

impl Writer {
    /// Starts the thread, and the one that keeps the file. They end when the store is
    /// dropped: the first sees that nobody can ask any more, the second that nobody
    /// holds `alive`.
    pub(super) fn start(
        files: Files,
        settings: Settings,
        asks: mpsc::Receiver<Ask>,
        alive: Weak<()>,
    ) -> Result<(), OpenError> {
        let Files {
            writer,
            keeper,
            log,
        } = files;
        let path = log.clone();
        let failed = |kind: Kind| OpenError::new(&path, kind);
        let mut this = Self {
            file: writer,
            log: log.clone(),
            settings,
            known: Known::new(),
            commits: Arc::default(),
        };
        let commits = Arc::clone(&this.commits);
        this.known
            .learn(&this.file)
            .map_err(|error| failed(error.into()))?;
        this.known.index.keep();
        this.settings.counts.set(this.known.held.all);
        let keep = move || keep(&keeper, &log, &commits, &alive);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        named("hookgate-disk-keep")
            .spawn(keep)
            .and_then(|_| named("hookgate-disk").spawn(move || this.run(asks)))
            .map_err(|error| failed(Kind::Thread(error)))?;
        Ok(())
    }

    fn run(&mut self, mut asks: mpsc::Receiver<Ask>) {
        // A runtime for nothing but to wait with a time limit.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let Ok(runtime) = runtime else {
            return;
        };
        let mut batch = Vec::with_capacity(BATCH);
        let mut swept = Instant::now();
        loop {
            let received = runtime.block_on(async {
                tokio::time::timeout(SWEEP_EVERY, asks.recv_many(&mut batch, BATCH)).await
            });
            match received {
                // Nobody holds the store any more.
                Ok(0) => return,
                Ok(_) => self.write(&mut batch),
                Err(_) => {}
            }
            if swept.elapsed() >= SWEEP_EVERY {
                // It is tried again soon; those who ask are told of errors.
                let _: rusqlite::Result<()> = self.sweep(SWEEP);
                swept = Instant::now();
            }
        }
    }

    /// Writes a batch, and answers when it is written.
    fn write(&mut self, batch: &mut Vec<Ask>) {
        if self.known.held.all.saturating_add(BATCH as u64) > self.settings.max_entries {
            // Some may be due.
            let _: rusqlite::Result<()> = self.sweep(SWEEP_WHEN_FULL);
        }
        let counted = self.known.counted();
        let answers = self.answer(batch);
        match &answers {
            Ok(_) => self.known.index.keep(),
            Err(_) => self.known.undo(counted),
        }
        self.settings.counts.set(self.known.held.all);
        match answers {
            Ok(answers) => {
                for (ask, answer) in batch.drain(..).zip(answers) {
                    self.tell(ask, answer);
                }
            }
            Err(error) => {
                let text = self.explain(&error);
                for ask in batch.drain(..) {
                    ask.fail(&text);
                }
            }
        }
    }

    /// What an operator can do something about, if the system says it.
    fn explain(&self, error: &rusqlite::Error) -> String {
        let folder = self.log.parent().unwrap_or(&self.log);
        let of_the_system = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly)
        );
        match of_the_system.then(|| try_to_write(folder)) {
            Some(Err(cause)) => format!("{}: cannot be written: {cause}", folder.display()),
            _ => error.to_string(),
        }
    }

    fn answer(&mut self, batch: &[Ask]) -> rusqlite::Result<Vec<Answer>> {
        let (now, latest) = (self.settings.clock.now(), self.settings.clock.latest());
        let transaction = self.file.transaction_with_behavior(AT_ONCE)?;
        self.known.learn(&transaction)?;
        let mut table = Table {
            file: &transaction,
            known: &mut self.known,
            max_entries: self.settings.max_entries,
            now,
            latest,
        };
        let answers = batch
            .iter()
            .map(|ask| match ask {
                Ask::Claim { key, options, .. } => table.claim(*key, *options).map(Answer::Claim),
                Ask::Settle {
                    lease, retention, ..
                } => table.settle(lease, *retention).map(Answer::Settled),
            })
            .collect::<rusqlite::Result<Vec<_>>>()?;
        transaction.commit()?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(answers)
    }

    fn tell(&mut self, ask: Ask, answer: Answer) {
        match (ask, answer) {
            (Ask::Claim { reply, .. }, Answer::Claim(claim)) => {
                // Whoever asked has gone: nobody would settle what was granted.
                if let Err(Ok(Claim::Granted(lease))) = reply.send(Ok(claim)) {
                    let (reply, _) = oneshot::channel();
                    self.write(&mut vec![Ask::Settle {
                        lease,
                        retention: None,
                        reply,
                    }]);
                }
            }
            (Ask::Settle { lease, reply, .. }, Answer::Settled(settled)) => {
                if settled == Settled::Applied {
                    self.settings.notifier.notify(lease.key());
                }
                // Whoever asked may have gone; it is settled all the same.
                let _: Result<(), _> = reply.send(Ok(settled));
            }
            // Answers are made one for each ask, of its kind.
            (Ask::Claim { .. }, Answer::Settled(_)) | (Ask::Settle { .. }, Answer::Claim(_)) => {}
        }
    }

    /// Looks at the next `most` entries and forgets those that are due.
    fn sweep(&mut self, most: u32) -> rusqlite::Result<()> {
        let now = self.settings.clock.now();
        let before = self.known.held.all;
        let swept = self.known.sweep(&mut self.file, most, now);
        self.settings.counts.set(self.known.held.all);
        if self.known.held.all != before {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        swept
    }
}

impl Ask {
    fn fail(self, text: &str) {
        // Whoever asked may have gone.
        match self {
            Self::Claim { reply, .. } => drop(reply.send(Err(StoreError::new(text)))),
            Self::Settle { reply, .. } => drop(reply.send(Err(StoreError::new(text)))),
        }
    }
}

/// Has the disk keep what was written, and now and then carries it from the log into the
/// file, until the store is dropped.
fn keep(file: &Connection, log: &Path, commits: &AtomicU64, alive: &Weak<()>) {
    // Whether everything was carried. If it cannot be now, because others read or write, it
    // is next time.
    let checkpoint = |mode: &str| {
        let pragma = format!("PRAGMA wal_checkpoint({mode})");
        let told: rusqlite::Result<(i64, i64, i64)> = file.query_row(&pragma, [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        });
        matches!(told, Ok((0, in_log, carried)) if carried == in_log)
    };
    let (mut kept, mut carried) = (None, None);
    while alive.strong_count() > 0 {
        thread::sleep(KEEP_EVERY);
        let written = commits.load(Ordering::Relaxed);
        let log_now = fs::metadata(log).ok();
        // Another process may have written, too.
        let now = (
            written,
            log_now.as_ref().and_then(|log| log.modified().ok()),
        );
        let is_kept = kept == Some(now) || sync(log).is_ok();
        if is_kept {
            kept = Some(now);
        }
        let is_long = log_now.is_some_and(|log| log.len() > LONG_LOG);
        // What the log has of an earlier process is carried at once. Carrying keeps it, too.
        let is_due = carried.is_none_or(|carried| written - carried >= CARRY_AFTER);
        if (is_due || is_long || !is_kept) && checkpoint("PASSIVE") {
            carried = Some(written);
        }
        // Writers wait for this one, which has little left to carry.
        if is_long {
            checkpoint("TRUNCATE");
        }
    }
}

/// SQLite has no locks on the log, which would end when it is closed here.
fn sync(log: &Path) -> io::Result<()> {
    fs::File::open(log)?.sync_data()
}
