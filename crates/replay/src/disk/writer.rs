//! The thread that writes: what is asked at the same time, in one transaction.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use hookgate_core::ReplayKey;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::clock::{Clock, millis};
use super::file::{Files, Kind, OpenError};
use crate::bells::Bells;
use crate::store::{Claim, Lease, Settled, Share, StoreError, Terms};

/// What the store is asked, and where the answer goes.
pub(super) enum Ask {
    Claim {
        key: ReplayKey,
        terms: Terms,
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

/// Most asks that are written together.
const BATCH: usize = 256;

/// How often a few entries are looked at, whether they are due.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// How many at a time; more if there is no room.
const SWEEP: u32 = 512;
const SWEEP_WHEN_FULL: u32 = 8192;

/// How often what was written is carried from the log into the file.
const KEEP_EVERY: Duration = Duration::from_secs(1);

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
    pub(super) bells: Arc<Bells>,
    pub(super) counts: Arc<Counts>,
}

pub(super) struct Writer {
    file: Connection,
    settings: Settings,
    held: Held,
    sweep: Sweep,
}

/// Entries in the file, as far as this process knows: another one may have added
/// some. Corrected whenever the sweep has been through.
#[derive(Clone, Debug, Default)]
struct Held {
    all: u64,
    by_source: HashMap<i64, u64>,
}

/// Where the search for entries that are due has come to.
#[derive(Default)]
struct Sweep {
    after: Vec<u8>,
    seen: Held,
}

struct Entry {
    /// None: it is done.
    lease_end: Option<i64>,
    forget_at: i64,
    content: Option<u32>,
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
            settings,
            held: Held::default(),
            sweep: Sweep::default(),
        };
        this.count().map_err(|error| failed(error.into()))?;
        let keep = move || keep(&keeper, &log, &alive);
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
        if self.held.all.saturating_add(BATCH as u64) > self.settings.max_entries {
            // Some may be due.
            let _: rusqlite::Result<()> = self.sweep(SWEEP_WHEN_FULL);
        }
        let (held, seen) = (self.held.clone(), self.sweep.seen.clone());
        let answers = self.answer(batch);
        self.settings.counts.set(self.held.all);
        match answers {
            Ok(answers) => {
                for (ask, answer) in batch.drain(..).zip(answers) {
                    self.tell(ask, answer);
                }
            }
            Err(error) => {
                (self.held, self.sweep.seen) = (held, seen);
                let text = error.to_string();
                for ask in batch.drain(..) {
                    ask.fail(&text);
                }
            }
        }
    }

    fn answer(&mut self, batch: &[Ask]) -> rusqlite::Result<Vec<Answer>> {
        let now = self.settings.clock.now();
        let transaction = self
            .file
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut table = Table {
            file: &transaction,
            held: &mut self.held,
            sweep: &mut self.sweep,
            max_entries: self.settings.max_entries,
            now,
        };
        let answers = batch
            .iter()
            .map(|ask| match ask {
                Ask::Claim { key, terms, .. } => table.claim(*key, *terms).map(Answer::Claim),
                Ask::Settle {
                    lease, retention, ..
                } => table.settle(lease, *retention).map(Answer::Settled),
            })
            .collect::<rusqlite::Result<Vec<_>>>()?;
        transaction.commit()?;
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
                    self.settings.bells.ring(lease.key());
                }
                // Whoever asked may have gone; it is settled all the same.
                let _: Result<(), _> = reply.send(Ok(settled));
            }
            // Answers are made one for each ask, of its kind.
            (Ask::Claim { .. }, Answer::Settled(_)) | (Ask::Settle { .. }, Answer::Claim(_)) => {}
        }
    }

    /// Counts what is in the file.
    fn count(&mut self) -> rusqlite::Result<()> {
        let mut counted = self
            .file
            .prepare("SELECT source, count(*) FROM entries GROUP BY source")?;
        let rows =
            counted.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        for row in rows {
            let (source, entries) = row?;
            self.held.add(source, entries);
        }
        self.settings.counts.set(self.held.all);
        Ok(())
    }

    /// Looks at the next `most` entries and forgets those that are due.
    fn sweep(&mut self, most: u32) -> rusqlite::Result<()> {
        let now = self.settings.clock.now();
        let mut due = Vec::new();
        let mut looked_at = 0_u32;
        {
            let mut next = self.file.prepare_cached(
                "SELECT key, forget_at, source FROM entries WHERE key > ?1 ORDER BY key LIMIT ?2",
            )?;
            let mut rows = next.query(params![self.sweep.after, most])?;
            while let Some(row) = rows.next()? {
                looked_at += 1;
                let key = row.get::<_, Vec<u8>>(0)?;
                let source = row.get::<_, i64>(2)?;
                if row.get::<_, i64>(1)? <= now {
                    due.push((key.clone(), source));
                } else {
                    self.sweep.seen.add(source, 1);
                }
                self.sweep.after = key;
            }
        }
        if !due.is_empty() {
            let transaction = self
                .file
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                // Another process may have put it anew.
                let mut forget = transaction
                    .prepare_cached("DELETE FROM entries WHERE key = ?1 AND forget_at <= ?2")?;
                for (key, source) in due {
                    if forget.execute(params![key, now])? > 0 {
                        self.held.add(source, -1);
                    }
                }
            }
            transaction.commit()?;
        }
        if looked_at < most {
            // Once through. What it saw is what there is, whoever has put it there.
            self.held = std::mem::take(&mut self.sweep.seen);
            self.sweep.after.clear();
            self.file.execute_batch("PRAGMA incremental_vacuum(512)")?;
        }
        self.settings.counts.set(self.held.all);
        Ok(())
    }
}

impl Held {
    fn add(&mut self, source: i64, entries: i64) {
        self.all = self.all.saturating_add_signed(entries);
        let of_source = self.by_source.entry(source).or_default();
        *of_source = of_source.saturating_add_signed(entries);
    }

    fn has_room(&self, max_entries: u64, share: Option<Share>) -> bool {
        let of_source = |share: Share| self.by_source.get(&share.source.cast_signed()).copied();
        let fits = |share: Share| of_source(share).unwrap_or(0) < share.max_entries;
        self.all < max_entries && share.is_none_or(fits)
    }
}

/// The table, while a batch is written.
struct Table<'t> {
    file: &'t Transaction<'t>,
    held: &'t mut Held,
    sweep: &'t mut Sweep,
    max_entries: u64,
    now: i64,
}

impl Table<'_> {
    fn claim(&mut self, key: ReplayKey, terms: Terms) -> rusqlite::Result<Claim> {
        // Most are new: one step does for them.
        if self.held.has_room(self.max_entries, terms.share)
            && let Some(lease) = self.take(key, terms)?
        {
            return Ok(Claim::Granted(lease));
        }
        let entry = self.entry(key)?.filter(|entry| self.now < entry.forget_at);
        let content = entry.as_ref().and_then(|entry| entry.content);
        match entry.map(|entry| entry.lease_end) {
            None => Ok(Claim::Full),
            Some(None) => Ok(Claim::done(terms.content, content)),
            Some(Some(end)) if self.now < end => {
                let remaining = u64::try_from(end - self.now).unwrap_or(0);
                let remaining = Duration::from_millis(remaining);
                Ok(Claim::InFlight { remaining })
            }
            // It has its place already.
            Some(Some(_)) => self
                .take(key, terms)
                .map(|lease| lease.map_or(Claim::Full, Claim::Granted)),
        }
    }

    /// Claims `key` if nobody holds it and it is not done.
    fn take(&mut self, key: ReplayKey, terms: Terms) -> rusqlite::Result<Option<Lease>> {
        let source = terms.share.map_or(0, |share| share.source.cast_signed());
        let lease_end = self.now.saturating_add(millis(terms.lease));
        let forget_at = lease_end.saturating_add(millis(terms.memory));
        // The token is one that no other process gives either.
        let taken = self
            .file
            .prepare_cached(
                "INSERT INTO entries VALUES (?1, random(), 1, ?3, ?4, ?5, ?6)
                 ON CONFLICT (key) DO UPDATE SET
                   attempt = CASE WHEN forget_at <= ?2 THEN 1 ELSE attempt + 1 END,
                   token = excluded.token, lease_end = excluded.lease_end,
                   forget_at = excluded.forget_at, source = excluded.source,
                   content = excluded.content
                 WHERE forget_at <= ?2 OR lease_end <= ?2
                 RETURNING token, attempt",
            )?
            .query_row(
                params![
                    key.as_bytes(),
                    self.now,
                    lease_end,
                    forget_at,
                    source,
                    terms.content
                ],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?)),
            )
            .optional()?;
        let Some((token, attempt)) = taken else {
            return Ok(None);
        };
        // One that was due and not yet gone counts twice until the sweep has been
        // through: better that than too few.
        if attempt == 1 {
            self.add(key, source, 1);
        }
        Ok(Some(Lease::new(key, token.cast_unsigned(), attempt)))
    }

    fn settle(&mut self, lease: &Lease, retention: Option<Duration>) -> rusqlite::Result<Settled> {
        let key = lease.key();
        let token = lease.token().cast_signed();
        let is_current = match retention {
            Some(retention) => {
                let forget_at = self.now.saturating_add(millis(retention));
                let mut commit = self.file.prepare_cached(
                    "UPDATE entries SET lease_end = NULL, forget_at = ?4
                     WHERE key = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3",
                )?;
                commit.execute(params![key.as_bytes(), token, self.now, forget_at])? > 0
            }
            None => {
                // Leases before it ended with nobody knowing; that is still so.
                let mut keep = self.file.prepare_cached(
                    "UPDATE entries SET attempt = attempt - 1, token = random(), lease_end = ?3
                     WHERE key = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3
                       AND attempt > 1",
                )?;
                let mut forget = self.file.prepare_cached(
                    "DELETE FROM entries
                     WHERE key = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3
                     RETURNING source",
                )?;
                let current = params![key.as_bytes(), token, self.now];
                if keep.execute(current)? > 0 {
                    true
                } else {
                    let source = forget.query_row(current, |row| row.get(0)).optional()?;
                    if let Some(source) = source {
                        self.add(key, source, -1);
                    }
                    source.is_some()
                }
            }
        };
        Ok(match is_current {
            true => Settled::Applied,
            false => Settled::Stale,
        })
    }

    fn entry(&self, key: ReplayKey) -> rusqlite::Result<Option<Entry>> {
        self.file
            .prepare_cached("SELECT lease_end, forget_at, content FROM entries WHERE key = ?1")?
            .query_row([key.as_bytes()], |row| {
                Ok(Entry {
                    lease_end: row.get(0)?,
                    forget_at: row.get(1)?,
                    content: row.get(2)?,
                })
            })
            .optional()
    }

    /// Counts entries of `source` that come or go, also for the sweep if it has been
    /// past them.
    fn add(&mut self, key: ReplayKey, source: i64, entries: i64) {
        self.held.add(source, entries);
        if key.as_bytes()[..] <= self.sweep.after[..] {
            self.sweep.seen.add(source, entries);
        }
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

/// Carries what was written from the log into the file, until the store is dropped.
fn keep(file: &Connection, log: &Path, alive: &Weak<()>) {
    let checkpoint = |mode: &str| {
        // If it cannot be done now, because others write, it is done next time.
        let _: rusqlite::Result<i64> =
            file.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                row.get(0)
            });
    };
    while alive.strong_count() > 0 {
        thread::sleep(KEEP_EVERY);
        checkpoint("PASSIVE");
        if fs::metadata(log).is_ok_and(|log| log.len() > LONG_LOG) {
            checkpoint("TRUNCATE");
        }
    }
}
