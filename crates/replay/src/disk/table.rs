//! The table of events, in the order in which they came.

use std::collections::HashMap;
use std::time::Duration;

use hookgate_core::ReplayKey;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::clock::millis;
use super::index::Index;
use crate::store::{Claim, ClaimOptions, Lease, Settled, SourceQuota};

/// What this process knows of the table without reading it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) index: Index,
    pub(super) held: Held,
    pub(super) sweep: Sweep,
}

/// Entries in the file, as far as this process knows: another one may have removed
/// some. Corrected whenever the sweep has been through.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub(super) all: u64,
    by_source: HashMap<i64, u64>,
}

/// Where the search for entries that are due has come to.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    after: i64,
    seen: Held,
    /// Which part of the index is to be pruned next.
    turn: usize,
}

/// The table, while a batch is written.
pub(super) struct Table<'t> {
    pub(super) file: &'t Transaction<'t>,
    pub(super) known: &'t mut Known,
    pub(super) max_entries: u64,
    pub(super) now: i64,
    /// By whatever clock is ahead.
    pub(super) latest: i64,
}

/// An entry that is to be forgotten.
struct Due {
    number: i64,
    key: ReplayKey,
    source: i64,
}

struct Entry {
    attempt: u32,
    /// None: it is done.
    lease_end: Option<i64>,
    forget_at: i64,
    source: i64,
    content: Option<u32>,
}

// === impl Known ===

impl Known {
    pub(super) fn new() -> Self {
        Self {
            index: Index::new(),
            held: Held::default(),
            sweep: Sweep::default(),
        }
    }

    /// Learns of what was added since the last time, by other processes.
    pub(super) fn learn(&mut self, file: &Connection) -> rusqlite::Result<()> {
        let mut added = file.prepare_cached("SELECT id, key, source FROM entries WHERE id > ?1")?;
        let mut rows = added.query([self.index.last])?;
        while let Some(row) = rows.next()? {
            self.index.put(key_of(row)?, row.get(0)?);
            self.held.add(row.get(2)?, 1);
        }
        Ok(())
    }

    /// Looks at the next `most` entries; those that are due.
    /// Whether that was the last of them.
    fn due(
        &mut self,
        file: &Connection,
        most: u32,
        now: i64,
    ) -> rusqlite::Result<(Vec<Due>, bool)> {
        let mut due = Vec::new();
        let mut looked_at = 0_u32;
        let mut next = file.prepare_cached(
            "SELECT id, key, source, forget_at FROM entries
             WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = next.query(params![self.sweep.after, self.index.last, most])?;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            let (number, source) = (row.get(0)?, row.get(2)?);
            match row.get::<_, i64>(3)? <= now {
                true => due.push(Due {
                    number,
                    key: key_of(row)?,
                    source,
                }),
                false => self.sweep.seen.add(source, 1),
            }
            self.sweep.after = number;
        }
        Ok((due, looked_at < most))
    }

    /// Looks at the next `most` entries and forgets those that are due.
    pub(super) fn sweep(
        &mut self,
        file: &mut Connection,
        most: u32,
        now: i64,
    ) -> rusqlite::Result<()> {
        self.learn(file)?;
        self.index.keep();
        let (due, is_through) = self.due(file, most, now)?;
        if !due.is_empty() {
            let transaction = file.transaction_with_behavior(super::writer::AT_ONCE)?;
            let mut forgotten = Vec::new();
            {
                // Another process may have put it anew.
                let mut forget = transaction
                    .prepare_cached("DELETE FROM entries WHERE id = ?1 AND forget_at <= ?2")?;
                for entry in due {
                    if forget.execute([entry.number, now])? > 0 {
                        forgotten.push(entry);
                    }
                }
            }
            transaction.commit()?;
            for entry in forgotten {
                self.index.remove(entry.key);
                self.held.add(entry.source, -1);
            }
            self.index.keep();
        }
        if is_through {
            // What it saw is what there is, whoever has removed the rest.
            self.held = std::mem::take(&mut self.sweep.seen);
            self.sweep.after = 0;
            file.execute_batch("PRAGMA incremental_vacuum(512)")?;
        }
        self.prune(file)
    }

    /// Drops what others have removed from the index, if there is much of it.
    fn prune(&mut self, file: &Connection) -> rusqlite::Result<()> {
        let held = usize::try_from(self.held.all).unwrap_or(usize::MAX);
        if self.index.len() <= held.saturating_add(held / 8).saturating_add(1024) {
            return Ok(());
        }
        let mut is_there = file.prepare_cached("SELECT 1 FROM entries WHERE id = ?1")?;
        self.sweep.turn = self.sweep.turn.wrapping_add(1);
        let turn = self.sweep.turn;
        self.index.prune(turn, |number| is_there.exists([number]))
    }

    /// The counts, to go back to.
    pub(super) fn counted(&self) -> (Held, Held) {
        (self.held.clone(), self.sweep.seen.clone())
    }

    /// What happened since [`counted`](Self::counted) was not written.
    pub(super) fn undo(&mut self, counted: (Held, Held)) {
        (self.held, self.sweep.seen) = counted;
        self.index.undo();
    }

    /// Counts what comes or goes, also for the sweep if it has been past it.
    fn add(&mut self, number: i64, source: i64, entries: i64) {
        self.held.add(source, entries);
        if number <= self.sweep.after {
            self.sweep.seen.add(source, entries);
        }
    }
}

// === impl Held ===

impl Held {
    fn add(&mut self, source: i64, entries: i64) {
        self.all = self.all.saturating_add_signed(entries);
        let of_source = self.by_source.entry(source).or_default();
        *of_source = of_source.saturating_add_signed(entries);
    }

    fn has_room(&self, max_entries: u64, share: Option<SourceQuota>) -> bool {
        let of_source =
            |share: SourceQuota| self.by_source.get(&share.source.cast_signed()).copied();
        let fits = |share: SourceQuota| of_source(share).unwrap_or(0) < share.max_entries;
        self.all < max_entries && share.is_none_or(fits)
    }
}

// === impl Table ===

impl Table<'_> {
    pub(super) fn claim(
        &mut self,
        key: ReplayKey,
        options: ClaimOptions,
    ) -> rusqlite::Result<Claim> {
        let Some((number, entry)) = self.entry(key)? else {
            return match self.known.held.has_room(self.max_entries, options.quota) {
                true => self.put(key, options).map(Claim::Granted),
                false => Ok(Claim::Full),
            };
        };
        match entry.lease_end {
            // It is due, and has its place already.
            _ if entry.forget_at <= self.now => self.take(key, number, &entry, 1, options),
            None => Ok(Claim::done_or_conflict(
                options.content_checksum,
                entry.content,
            )),
            Some(end) if self.now < end => {
                let remaining = u64::try_from(end - self.now).unwrap_or(0);
                let remaining = Duration::from_millis(remaining);
                Ok(Claim::InFlight { remaining })
            }
            Some(_) => {
                let attempt = entry.attempt.saturating_add(1);
                self.take(key, number, &entry, attempt, options)
            }
        }
    }

    /// Adds an entry for `key`, which has none.
    fn put(&mut self, key: ReplayKey, options: ClaimOptions) -> rusqlite::Result<Lease> {
        let (source, lease_end, forget_at) = self.until(options);
        // The token is one that no other process gives either.
        let (number, token) = self
            .file
            .prepare_cached(
                "INSERT INTO entries (key, token, attempt, lease_end, forget_at, source, content)
                 VALUES (?1, random(), 1, ?2, ?3, ?4, ?5) RETURNING id, token",
            )?
            .query_row(
                params![
                    key.as_bytes(),
                    lease_end,
                    forget_at,
                    source,
                    options.content_checksum
                ],
                |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)),
            )?;
        self.known.index.put(key, number);
        self.known.add(number, source, 1);
        Ok(Lease::new(key, token.cast_unsigned(), 1))
    }

    /// Claims `key` where it was before.
    fn take(
        &mut self,
        key: ReplayKey,
        number: i64,
        before: &Entry,
        attempt: u32,
        options: ClaimOptions,
    ) -> rusqlite::Result<Claim> {
        let (source, lease_end, forget_at) = self.until(options);
        let token: i64 = self
            .file
            .prepare_cached(
                "UPDATE entries SET attempt = ?2, token = random(), lease_end = ?3,
                   forget_at = ?4, source = ?5, content = ?6
                 WHERE id = ?1 RETURNING token",
            )?
            .query_row(
                params![
                    number,
                    attempt,
                    lease_end,
                    forget_at,
                    source,
                    options.content_checksum
                ],
                |row| row.get(0),
            )?;
        self.known.add(number, before.source, -1);
        self.known.add(number, source, 1);
        let lease = Lease::new(key, token.cast_unsigned(), attempt);
        Ok(Claim::Granted(lease))
    }

    /// Whose an entry is, when its lease ends, and when it is forgotten.
    fn until(&self, options: ClaimOptions) -> (i64, i64, i64) {
        let source = options.quota.map_or(0, |share| share.source.cast_signed());
        // A lease that is all that is remembered is one for a successor, too.
        let from = match options.attempt_retention {
            Duration::ZERO => self.latest,
            _ => self.now,
        };
        let lease_end = from.saturating_add(millis(options.lease));
        let memory = millis(options.lease).saturating_add(millis(options.attempt_retention));
        (source, lease_end, self.latest.saturating_add(memory))
    }

    pub(super) fn settle(
        &mut self,
        lease: &Lease,
        retention: Option<Duration>,
    ) -> rusqlite::Result<Settled> {
        let Some(number) = self.known.index.get(lease.key()) else {
            return Ok(Settled::Stale);
        };
        let token = lease.token().cast_signed();
        let is_current = match retention {
            Some(retention) => {
                let forget_at = self.latest.saturating_add(millis(retention));
                let mut commit = self.file.prepare_cached(
                    "UPDATE entries SET lease_end = NULL, forget_at = ?4
                     WHERE id = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3",
                )?;
                commit.execute(params![number, token, self.now, forget_at])? > 0
            }
            None => {
                // Leases before it ended with nobody knowing; that is still so.
                let mut keep = self.file.prepare_cached(
                    "UPDATE entries SET attempt = attempt - 1, token = random(), lease_end = ?3
                     WHERE id = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3
                       AND attempt > 1",
                )?;
                let mut forget = self.file.prepare_cached(
                    "DELETE FROM entries
                     WHERE id = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3
                     RETURNING source",
                )?;
                let current = params![number, token, self.now];
                if keep.execute(current)? > 0 {
                    true
                } else {
                    let source = forget.query_row(current, |row| row.get(0)).optional()?;
                    if let Some(source) = source {
                        self.known.index.remove(lease.key());
                        self.known.add(number, source, -1);
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

    /// The entry of `key`, due or not, and its number.
    fn entry(&mut self, key: ReplayKey) -> rusqlite::Result<Option<(i64, Entry)>> {
        let Some(number) = self.known.index.get(key) else {
            return Ok(None);
        };
        let mut entry = self.file.prepare_cached(
            "SELECT attempt, lease_end, forget_at, source, content FROM entries WHERE id = ?1",
        )?;
        let entry = entry.query_row([number], |row| {
            Ok(Entry {
                attempt: row.get(0)?,
                lease_end: row.get(1)?,
                forget_at: row.get(2)?,
                source: row.get(3)?,
                content: row.get(4)?,
            })
        });
        // None if another process has removed it.
        Ok(entry.optional()?.map(|entry| (number, entry)))
    }
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<ReplayKey> {
    row.get(1).map(ReplayKey::from_bytes)
}
