//! [`Table`]: claims and settlements as SQL statements, within one transaction.

use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_sqlite::{FreeSpace, SpaceReserve};
use rusqlite::{OptionalExtension, Transaction, params};

use super::clock::millis;
use super::table_state::TableState;
use crate::store::{Claim, ClaimOptions, Forgotten, Lease, Settled};

/// The space that a new row takes in the log at most: a page.
const MAX_ROW_BYTES: u64 = 4096;

/// The table while a batch is written.
pub(super) struct Table<'t> {
    pub(super) transaction: &'t Transaction<'t>,
    pub(super) state: &'t mut TableState,
    pub(super) max_entries: u64,
    pub(super) reserve: &'t SpaceReserve,
    /// The space on the disk for new rows. `None`: not known yet.
    pub(super) free_space: Option<FreeSpace>,
    pub(super) now: i64,
}

/// A row of the table.
struct Entry {
    id: i64,
    attempt: u32,
    /// `None` if the event is done.
    lease_end: Option<i64>,
    forget_at: i64,
    source: i64,
    content_checksum: Option<u32>,
}

/// The values that a claim writes to its row.
struct ClaimedRow {
    source: i64,
    lease_end: i64,
    forget_at: i64,
}

impl Table<'_> {
    pub(super) fn claim(
        &mut self,
        key: ReplayKey,
        options: ClaimOptions,
    ) -> rusqlite::Result<Claim> {
        let Some(entry) = self.entry(key)? else {
            let counts = &self.state.counts;
            let is_allowed = counts.allow_another(self.max_entries, options.quota);
            return match is_allowed && self.reserve_space()? {
                true => self.insert(key, options),
                false => Ok(Claim::Full),
            };
        };
        match entry.lease_end {
            // The sweep has not deleted this expired row yet. The claim takes it over.
            _ if entry.forget_at <= self.now => self.reclaim(key, &entry, 1, options),
            None => Ok(Claim::done_or_conflict(
                options.content_checksum,
                entry.content_checksum,
            )),
            Some(end) if self.now < end => {
                let remaining = u64::try_from(end - self.now).unwrap_or(0);
                let remaining = Duration::from_millis(remaining);
                Ok(Claim::InFlight { remaining })
            }
            Some(_) => {
                let attempt = entry.attempt.saturating_add(1);
                self.reclaim(key, &entry, attempt, options)
            }
        }
    }

    /// Takes the space of a new row on the disk.
    fn reserve_space(&mut self) -> rusqlite::Result<bool> {
        let mut free_space = match self.free_space {
            Some(free_space) => free_space,
            None => self.reserve.free_space(self.transaction)?,
        };
        let fits = free_space.reserve(MAX_ROW_BYTES);
        self.free_space = Some(free_space);
        Ok(fits)
    }

    /// Adds a row for a key that has none.
    fn insert(&mut self, key: ReplayKey, options: ClaimOptions) -> rusqlite::Result<Claim> {
        let row = self.claimed_row(options);
        // A random token also differs from the tokens of other processes.
        let (id, token) = self
            .transaction
            .prepare_cached(
                "INSERT INTO entries (key, token, attempt, lease_end, forget_at, source, content)
                 VALUES (?1, random(), 1, ?2, ?3, ?4, ?5) RETURNING id, token",
            )?
            .query_row(
                params![
                    key.as_bytes(),
                    row.lease_end,
                    row.forget_at,
                    row.source,
                    options.content_checksum
                ],
                |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)),
            )?;
        self.state.index.insert(key, id);
        self.state.count(id, row.source, 1);
        Ok(Claim::Granted(Lease::new(key, token.cast_unsigned(), 1)))
    }

    /// Claims a key whose row exists and is expired or has no open lease.
    fn reclaim(
        &mut self,
        key: ReplayKey,
        previous: &Entry,
        attempt: u32,
        options: ClaimOptions,
    ) -> rusqlite::Result<Claim> {
        let row = self.claimed_row(options);
        let token: i64 = self
            .transaction
            .prepare_cached(
                "UPDATE entries SET attempt = ?2, token = random(), lease_end = ?3,
                   forget_at = ?4, source = ?5, content = ?6
                 WHERE id = ?1 RETURNING token",
            )?
            .query_row(
                params![
                    previous.id,
                    attempt,
                    row.lease_end,
                    row.forget_at,
                    row.source,
                    options.content_checksum
                ],
                |row| row.get(0),
            )?;
        self.state.count(previous.id, previous.source, -1);
        self.state.count(previous.id, row.source, 1);
        let lease = Lease::new(key, token.cast_unsigned(), attempt);
        Ok(Claim::Granted(lease))
    }

    fn claimed_row(&self, options: ClaimOptions) -> ClaimedRow {
        let retention = millis(options.lease).saturating_add(millis(options.attempt_retention));
        ClaimedRow {
            source: options.quota.map_or(0, |quota| quota.source.cast_signed()),
            lease_end: self.now.saturating_add(millis(options.lease)),
            forget_at: self.now.saturating_add(retention),
        }
    }

    /// Commits the lease, or releases it if there is no retention.
    pub(super) fn settle(
        &mut self,
        lease: &Lease,
        retention: Option<Duration>,
    ) -> rusqlite::Result<Settled> {
        let Some(id) = self.state.index.get(lease.key()) else {
            return Ok(Settled::Stale);
        };
        let is_current = match retention {
            Some(retention) => self.commit(id, lease, retention)?,
            None => self.release(id, lease)?,
        };
        Ok(match is_current {
            true => Settled::Applied,
            false => Settled::Stale,
        })
    }

    /// Marks the row as done. Returns whether the lease is the current one.
    fn commit(&self, id: i64, lease: &Lease, retention: Duration) -> rusqlite::Result<bool> {
        let forget_at = self.now.saturating_add(millis(retention));
        let mut commit = self.transaction.prepare_cached(
            "UPDATE entries SET lease_end = NULL, forget_at = ?4
             WHERE id = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3",
        )?;
        let token = lease.token().cast_signed();
        Ok(commit.execute(params![id, token, self.now, forget_at])? > 0)
    }

    /// Moves the end of the lease to `duration` from now, unless it is later already.
    pub(super) fn renew(&mut self, lease: &Lease, duration: Duration) -> rusqlite::Result<Settled> {
        let entry = self.entry(lease.key())?;
        let Some((entry, lease_end)) = entry
            .filter(|entry| entry.forget_at > self.now)
            .and_then(|entry| entry.lease_end.map(|end| (entry, end)))
        else {
            return Ok(Settled::Stale);
        };
        let new_end = self.now.saturating_add(millis(duration));
        let extension = new_end.saturating_sub(lease_end).max(0);
        let mut renew = self.transaction.prepare_cached(
            "UPDATE entries SET lease_end = lease_end + ?3, forget_at = forget_at + ?3
             WHERE id = ?1 AND token = ?2",
        )?;
        let token = lease.token().cast_signed();
        let renewed = renew.execute(params![entry.id, token, extension])?;
        Ok(match renewed {
            0 => Settled::Stale,
            _ => Settled::Applied,
        })
    }

    /// Ends the lease and deletes the row, unless earlier leases ended unsettled: their
    /// outcome is still unknown. Returns whether the lease is the current one.
    fn release(&mut self, id: i64, lease: &Lease) -> rusqlite::Result<bool> {
        let mut end_lease = self.transaction.prepare_cached(
            "UPDATE entries SET attempt = attempt - 1, token = random(), lease_end = ?3
             WHERE id = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3
               AND attempt > 1",
        )?;
        let mut delete = self.transaction.prepare_cached(
            "DELETE FROM entries
             WHERE id = ?1 AND token = ?2 AND lease_end IS NOT NULL AND forget_at > ?3
             RETURNING source",
        )?;
        let current_lease = params![id, lease.token().cast_signed(), self.now];
        if end_lease.execute(current_lease)? > 0 {
            return Ok(true);
        }
        let deleted = delete.query_row(current_lease, |row| row.get(0));
        let Some(source) = deleted.optional()? else {
            return Ok(false);
        };
        self.state.index.remove(lease.key());
        self.state.count(id, source, -1);
        Ok(true)
    }

    /// Makes the key done for at least `retention`, whatever its state is.
    pub(super) fn record_done(
        &mut self,
        key: ReplayKey,
        retention: Duration,
    ) -> rusqlite::Result<()> {
        let forget_at = self.now.saturating_add(millis(retention));
        let Some(entry) = self.entry(key)? else {
            return self.insert_done(key, forget_at);
        };
        let is_live = entry.forget_at > self.now;
        if is_live && entry.lease_end.is_none() && entry.forget_at >= forget_at {
            return Ok(());
        }
        // The checksum of an expired row belongs to a delivery that is forgotten.
        let checksum = entry.content_checksum.filter(|_| is_live);
        self.transaction
            .prepare_cached(
                "UPDATE entries SET lease_end = NULL, forget_at = ?2, content = ?3 WHERE id = ?1",
            )?
            .execute(params![entry.id, forget_at, checksum])?;
        Ok(())
    }

    /// Adds the row of an event that is done without a claim.
    fn insert_done(&mut self, key: ReplayKey, forget_at: i64) -> rusqlite::Result<()> {
        /// The row counts for the quota of no source.
        const NO_SOURCE: i64 = 0;
        self.transaction
            .prepare_cached(
                "INSERT INTO entries (key, token, attempt, lease_end, forget_at, source, content)
                 VALUES (?1, random(), 1, NULL, ?2, ?3, NULL)",
            )?
            .execute(params![key.as_bytes(), forget_at, NO_SOURCE])?;
        let id = self.transaction.last_insert_rowid();
        self.state.index.insert(key, id);
        self.state.count(id, NO_SOURCE, 1);
        Ok(())
    }

    /// Deletes the row of `key`, unless a lease on the key is open.
    pub(super) fn forget(&mut self, key: ReplayKey) -> rusqlite::Result<Forgotten> {
        let entry = self.entry(key)?;
        // The sweep deletes an expired row.
        let Some(entry) = entry.filter(|entry| entry.forget_at > self.now) else {
            return Ok(Forgotten::Unknown);
        };
        if entry.lease_end.is_some_and(|end| self.now < end) {
            return Ok(Forgotten::InFlight);
        }
        self.transaction
            .prepare_cached("DELETE FROM entries WHERE id = ?1")?
            .execute([entry.id])?;
        self.state.index.remove(key);
        self.state.count(entry.id, entry.source, -1);
        Ok(Forgotten::Removed)
    }

    /// Returns the row of `key`, expired or not.
    fn entry(&mut self, key: ReplayKey) -> rusqlite::Result<Option<Entry>> {
        let Some(id) = self.state.index.get(key) else {
            return Ok(None);
        };
        let mut entry = self.transaction.prepare_cached(
            "SELECT attempt, lease_end, forget_at, source, content FROM entries WHERE id = ?1",
        )?;
        let entry = entry.query_row([id], |row| {
            Ok(Entry {
                id,
                attempt: row.get(0)?,
                lease_end: row.get(1)?,
                forget_at: row.get(2)?,
                source: row.get(3)?,
                content_checksum: row.get(4)?,
            })
        });
        // The row is missing if another process has removed it.
        entry.optional()
    }
}
