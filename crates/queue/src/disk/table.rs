//! [`Table`]: the tables of the file within one transaction.

use std::collections::HashMap;
use std::path::Path;

use hookgate_core::ReplayKey;
use hookgate_sqlite::{FreeSpace, KeyIndex, SpaceReserve};
use rusqlite::{Connection, OptionalExtension, params};
use smallvec::SmallVec;

use super::clock::Moment;
use super::damaged_rows::{DamagedRow, DamagedRows};
use super::format::{state, state_number};
use super::limits::Limits;
use super::row::{COLUMNS, EntryRow, failure_columns, lost, read_keys};
use super::usage::Usage;
use crate::entry::EntryId;

/// The tables while a batch is written. The other files of this folder have its operations.
pub(super) struct Table<'t> {
    pub(super) database: &'t Connection,
    pub(super) state: &'t mut TableState,
    pub(super) moment: Moment,
    pub(super) limits: &'t Limits,
    pub(super) path: &'t Path,
    pub(super) reserve: &'t SpaceReserve,
    /// The space on the disk for new entries. `None`: not known yet.
    pub(super) free_space: Option<FreeSpace>,
    /// The size of the largest new entry that the disk has no space for, in bytes.
    pub(super) refused: u64,
    /// Reads contents. A damaged page would end the transaction of `database`.
    pub(super) reader: &'t Connection,
    /// Leaves contents in the file, because their pages are damaged and cannot be freed.
    pub(super) keeps_contents: bool,
    /// Whether an entry may have become due.
    pub(super) has_made_due: bool,
}

/// The knowledge of this process about the tables, so that it reads little.
#[derive(Debug, Default)]
pub(super) struct TableState {
    pub(super) usage: Usage,
    /// Finds the rows of the table `keys`.
    pub(super) index: KeyIndex,
    /// The entries that no call can read. All calls skip them.
    pub(super) damaged: DamagedRows,
    /// The key rows of entries that this process has stored and not confirmed.
    pub(super) unconfirmed: HashMap<i64, SmallVec<[i64; 1]>>,
    /// Changes when another process has written to the file. `None`: read everything anew.
    data_version: Option<i64>,
}

impl TableState {
    pub(super) fn new(damaged: DamagedRows) -> Self {
        Self {
            damaged,
            ..Self::default()
        }
    }

    /// Reads what other processes have written. Called at the start of each transaction.
    pub(super) fn catch_up(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let version = database
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if self.data_version == Some(version) {
            return Ok(());
        }
        self.usage = Usage::load(database)?;
        let mut rows =
            database.prepare_cached("SELECT id, key FROM keys WHERE id > ?1 ORDER BY id")?;
        let mut rows = rows.query([self.index.last_id])?;
        while let Some(row) = rows.next()? {
            let key = ReplayKey::from_bytes(row.get(1)?);
            self.index.insert(key, row.get(0)?);
        }
        self.data_version = Some(version);
        Ok(())
    }

    /// Makes the changes of a transaction permanent.
    pub(super) fn accept(&mut self) {
        self.index.confirm();
    }

    /// Reverts the changes of a transaction that failed.
    pub(super) fn roll_back(&mut self) {
        self.index.roll_back();
        self.data_version = None;
    }

    /// Removes index entries whose rows other processes have removed, if there are many.
    pub(super) fn prune_index(
        &mut self,
        database: &Connection,
        turn: usize,
    ) -> rusqlite::Result<()> {
        let held = self.usage.sources().map(|(_, source)| {
            let [waiting, in_flight, dead, _] = source.entries;
            waiting + in_flight + dead
        });
        let held = usize::try_from(held.sum::<i64>()).unwrap_or(0);
        if self.index.len() <= held.saturating_mul(2).saturating_add(1024) {
            return Ok(());
        }
        let mut row_exists = database.prepare_cached("SELECT 1 FROM keys WHERE id = ?1")?;
        self.index.prune(turn, |id| row_exists.exists([id]))
    }
}

impl Table<'_> {
    /// Returns the entry that holds `key`.
    pub(super) fn holder(&self, key: ReplayKey) -> rusqlite::Result<Option<i64>> {
        let Some(row) = self.state.index.get(key) else {
            return Ok(None);
        };
        // The row is missing if another process has removed it.
        self.database
            .prepare_cached("SELECT entry FROM keys WHERE id = ?1")?
            .query_row([row], |row| row.get(0))
            .optional()
    }

    /// Adds the keys that an entry holds, and returns their rows.
    pub(super) fn add_keys(
        &mut self,
        entry: i64,
        keys: &[ReplayKey],
        is_confirmed: bool,
    ) -> rusqlite::Result<SmallVec<[i64; 1]>> {
        let mut insert = self
            .database
            .prepare_cached("INSERT INTO keys (key, entry, confirmed) VALUES (?1, ?2, ?3)")?;
        let mut rows = SmallVec::new();
        for key in keys {
            let row = insert.insert(params![key.as_bytes(), entry, is_confirmed])?;
            self.state.index.insert(*key, row);
            rows.push(row);
        }
        Ok(rows)
    }

    /// Removes the keys that an entry holds.
    pub(super) fn remove_keys(&mut self, entry: i64, keys: &[ReplayKey]) -> rusqlite::Result<()> {
        self.state.unconfirmed.remove(&entry);
        let mut delete = self
            .database
            .prepare_cached("DELETE FROM keys WHERE id = ?1 AND entry = ?2")?;
        for key in keys {
            if let Some(row) = self.state.index.get(*key)
                && delete.execute([row, entry])? > 0
            {
                self.state.index.remove(*key);
            }
        }
        Ok(())
    }

    pub(super) fn entry(&self, id: i64) -> rusqlite::Result<Option<EntryRow>> {
        self.database
            .prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?
            .query_row([id], |row| EntryRow::read(row, self.moment))
            .optional()
    }

    /// Returns an entry that may be damaged. See [`EntryRow::read_any`].
    pub(super) fn any_entry(&self, id: i64) -> rusqlite::Result<Option<EntryRow>> {
        self.database
            .prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?
            .query_row([id], |row| EntryRow::read_any(row, self.moment))
            .optional()
    }

    /// Deletes an entry.
    pub(super) fn remove(&mut self, row: &EntryRow) -> rusqlite::Result<()> {
        let id = row.info.id.0.cast_signed();
        self.remove_keys(id, &row.held_keys())?;
        if row.is_damaged {
            // Its row may not name all keys that it holds.
            self.database
                .execute("DELETE FROM keys WHERE entry = ?1", [id])?;
        }
        self.database
            .prepare_cached("DELETE FROM entries WHERE id = ?1")?
            .execute([id])?;
        if !self.keeps_contents {
            self.database
                .prepare_cached("DELETE FROM contents WHERE id = ?1")?
                .execute([id])?;
        }
        match row.is_damaged {
            true => self.state.usage.recount(self.database)?,
            false => {
                let state = state_number(row.info.state);
                self.state.usage.removed(row.source, state, row.size);
            }
        }
        Ok(())
    }

    /// Ends the leases whose time is over. Their entries wait again. The tokens stay, so that a late
    /// settlement applies if no other worker has leased its entry meanwhile.
    pub(super) fn end_leases(&mut self) -> rusqlite::Result<()> {
        self.end_leases_until(self.moment.now)
    }

    /// Ends every lease, because the machine has restarted.
    pub(super) fn end_all_leases(&mut self) -> rusqlite::Result<()> {
        self.end_leases_until(i64::MAX)
    }

    fn end_leases_until(&mut self, latest: i64) -> rusqlite::Result<()> {
        let mut ended = self.database.prepare_cached(
            "SELECT id, source, due FROM entries WHERE state = 1 AND due <= ?1 ORDER BY due",
        )?;
        let ended = ended.query_map([latest], |row| {
            Ok::<(i64, i64, i64), _>((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let ended = ended.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut update = self.database.prepare_cached(
            "UPDATE entries SET state = 0, due = ?2, failure_kind = ?3, failure_status = ?4,
               failure_at = ?5
             WHERE id = ?1",
        )?;
        // A row that grows moves rows between pages, and one of these pages may be damaged. So the
        // failure is not recorded then.
        let mut update_in_place = self
            .database
            .prepare_cached("UPDATE entries SET state = 0, due = ?2 WHERE id = ?1")?;
        for (id, source, end) in ended {
            if self.state.damaged.contains(id) {
                continue;
            }
            let end = end.min(self.moment.now);
            let (kind, status, at) = failure_columns(Some(lost(self.moment, end)));
            let updated = match self.state.damaged.is_empty() {
                true => update.execute(params![id, end, kind, status, at]),
                false => update_in_place.execute([id, end]),
            };
            let state = state::IN_FLIGHT;
            let damaged = DamagedRow { source, state };
            self.state.damaged.note(id, damaged, updated)?;
            let usage = &mut self.state.usage;
            usage.moved(source, state::IN_FLIGHT, state::WAITING);
            self.has_made_due = true;
        }
        Ok(())
    }

    /// Records that the claims of entries are done in the replay store.
    pub(super) fn confirm(&mut self, ids: &[EntryId]) -> rusqlite::Result<()> {
        let mut rows: Vec<i64> = Vec::with_capacity(ids.len());
        for EntryId(id) in ids {
            let id = id.cast_signed();
            match self.state.unconfirmed.remove(&id) {
                Some(known) => rows.extend(known),
                None => rows.extend(self.key_rows(id)?),
            }
        }
        rows.sort_unstable();
        let mut update = self.database.prepare_cached(
            "UPDATE keys SET confirmed = 1 WHERE id BETWEEN ?1 AND ?2 AND confirmed = 0",
        )?;
        // Neighbours were stored together, so most calls need few statements.
        for run in rows.chunk_by(|one, next| next - one <= 1) {
            if let [first, .., last] | [first @ last] = run {
                update.execute([first, last])?;
            }
        }
        Ok(())
    }

    /// Returns the rows of the keys that an entry holds.
    fn key_rows(&self, entry: i64) -> rusqlite::Result<SmallVec<[i64; 1]>> {
        let keys = self
            .database
            .prepare_cached("SELECT keys FROM entries WHERE id = ?1")?
            .query_row([entry], |row| Ok(read_keys(row.get_ref(0)?.as_blob()?)))
            .optional()?;
        let keys = keys.unwrap_or_default();
        Ok(keys
            .into_iter()
            .filter_map(|key| self.state.index.get(key))
            .collect())
    }
}
