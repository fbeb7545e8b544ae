//! [`TableState`]: what this process knows about the table without reading it, and the
//! sweep that removes expired rows.

use std::collections::HashMap;

use hookgate_core::ReplayKey;
use hookgate_sqlite::{IMMEDIATE, KeyIndex, has_many_free_pages, return_free_pages};
use rusqlite::{Connection, Row, params};

use crate::store::SourceQuota;

/// The number of pages that a pass returns to the file system, and the number of free pages that
/// stay in the file.
const PAGES_PER_PASS: u32 = 512;
const MIN_FREE_PAGES: u32 = 256;

/// The index, the row counts and the position of the sweep.
#[derive(Debug)]
pub(super) struct TableState {
    pub(super) index: KeyIndex,
    pub(super) counts: RowCounts,
    sweep: Sweep,
}

/// The number of rows, in total and by source, as far as this process knows. Another process
/// may have removed rows; each complete sweep corrects the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct RowCounts {
    pub(super) total: u64,
    by_source: HashMap<i64, u64>,
}

/// The progress of the search for expired rows, which reads the table in small parts. A pass
/// also counts the live rows and prunes the index.
#[derive(Debug, Default)]
struct Sweep {
    /// The id of the last row that the current pass has read.
    position: i64,
    /// The live rows that the current pass has found.
    live: RowCounts,
    /// The part of the index to prune next.
    prune_turn: usize,
}

/// The counts before a transaction.
pub(super) struct CountsBefore {
    counts: RowCounts,
    live: RowCounts,
}

struct ExpiredRow {
    id: i64,
    key: ReplayKey,
    source: i64,
}

impl TableState {
    /// Reads the index and the counts from the table.
    pub(super) fn load(database: &Connection) -> rusqlite::Result<Self> {
        let mut state = Self {
            index: KeyIndex::new(),
            counts: RowCounts::default(),
            sweep: Sweep::default(),
        };
        state.read_new_rows(database)?;
        state.index.confirm();
        Ok(state)
    }

    /// Adds the rows that other processes have added since the last call.
    pub(super) fn read_new_rows(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let mut new_rows =
            database.prepare_cached("SELECT id, key, source FROM entries WHERE id > ?1")?;
        let mut rows = new_rows.query([self.index.last_id])?;
        while let Some(row) = rows.next()? {
            self.index.insert(key_of(row)?, row.get(0)?);
            self.counts.add(row.get(2)?, 1);
        }
        Ok(())
    }

    /// Counts added (positive) or removed (negative) rows of `source`. A row behind the
    /// position of the sweep also changes the sweep's count.
    pub(super) fn count(&mut self, id: i64, source: i64, change: i64) {
        self.counts.add(source, change);
        if id <= self.sweep.position {
            self.sweep.live.add(source, change);
        }
    }

    /// Returns the counts, for [`roll_back`](Self::roll_back).
    pub(super) fn counts_before(&self) -> CountsBefore {
        CountsBefore {
            counts: self.counts.clone(),
            live: self.sweep.live.clone(),
        }
    }

    /// Reverts the changes of a transaction that failed.
    pub(super) fn roll_back(&mut self, before: CountsBefore) {
        self.counts = before.counts;
        self.sweep.live = before.live;
        self.index.roll_back();
    }

    /// Reads the next `max_rows` rows and deletes the expired ones.
    pub(super) fn sweep(
        &mut self,
        database: &mut Connection,
        max_rows: u32,
        now: i64,
    ) -> rusqlite::Result<()> {
        self.read_new_rows(database)?;
        self.index.confirm();
        let (expired, is_complete) = self.find_expired(database, max_rows, now)?;
        if !expired.is_empty() {
            self.delete(database, expired, now)?;
        }
        if is_complete {
            // The pass has counted the live rows, so it also corrects the counts for rows that
            // other processes have removed. A row that another process claimed again during
            // the pass may be missing until the next pass.
            self.counts = std::mem::take(&mut self.sweep.live);
            self.sweep.position = 0;
            if has_many_free_pages(database, MIN_FREE_PAGES)? {
                return_free_pages(database, PAGES_PER_PASS)?;
            }
        }
        self.prune_index(database)
    }

    /// Reads the next `max_rows` rows. Returns the expired ones, and whether the pass has
    /// reached the end of the table.
    fn find_expired(
        &mut self,
        database: &Connection,
        max_rows: u32,
        now: i64,
    ) -> rusqlite::Result<(Vec<ExpiredRow>, bool)> {
        let mut expired = Vec::new();
        let mut rows_read = 0_u32;
        let mut next = database.prepare_cached(
            "SELECT id, key, source, forget_at FROM entries
             WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = next.query(params![self.sweep.position, self.index.last_id, max_rows])?;
        while let Some(row) = rows.next()? {
            rows_read += 1;
            let (id, source) = (row.get(0)?, row.get(2)?);
            if row.get::<_, i64>(3)? <= now {
                let key = key_of(row)?;
                expired.push(ExpiredRow { id, key, source });
            } else {
                self.sweep.live.add(source, 1);
            }
            self.sweep.position = id;
        }
        Ok((expired, rows_read < max_rows))
    }

    fn delete(
        &mut self,
        database: &mut Connection,
        expired: Vec<ExpiredRow>,
        now: i64,
    ) -> rusqlite::Result<()> {
        let transaction = database.transaction_with_behavior(IMMEDIATE)?;
        let mut deleted = Vec::new();
        {
            // Another process may have claimed the key again since the row was read.
            let mut delete = transaction
                .prepare_cached("DELETE FROM entries WHERE id = ?1 AND forget_at <= ?2")?;
            for row in expired {
                if delete.execute([row.id, now])? > 0 {
                    deleted.push(row);
                }
            }
        }
        transaction.commit()?;
        for row in deleted {
            self.index.remove(row.key);
            self.counts.add(row.source, -1);
        }
        self.index.confirm();
        Ok(())
    }

    /// Removes index entries whose rows other processes have removed, if there are many.
    fn prune_index(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let rows = usize::try_from(self.counts.total).unwrap_or(usize::MAX);
        if self.index.len() <= rows.saturating_add(rows / 8).saturating_add(1024) {
            return Ok(());
        }
        let mut row_exists = database.prepare_cached("SELECT 1 FROM entries WHERE id = ?1")?;
        self.sweep.prune_turn = self.sweep.prune_turn.wrapping_add(1);
        let turn = self.sweep.prune_turn;
        self.index.prune(turn, |id| row_exists.exists([id]))
    }
}

impl RowCounts {
    fn add(&mut self, source: i64, change: i64) {
        self.total = self.total.saturating_add_signed(change);
        let of_source = self.by_source.entry(source).or_default();
        *of_source = of_source.saturating_add_signed(change);
    }

    /// Returns whether the store and the source may have another row.
    pub(super) fn allow_another(&self, max_entries: u64, quota: Option<SourceQuota>) -> bool {
        let is_within = |quota: SourceQuota| {
            let rows = self.by_source.get(&quota.source.cast_signed());
            rows.copied().unwrap_or(0) < quota.max_entries
        };
        self.total < max_entries && quota.is_none_or(is_within)
    }
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<ReplayKey> {
    row.get(1).map(ReplayKey::from_bytes)
}

#[cfg(test)]
mod tests {
    use hookgate_sqlite::{Database, Durability};

    use super::*;
    use crate::disk::format::FORMAT;

    /// Opens a file with `count` rows that expire at the time 1000.
    fn file_with_rows(count: u32) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let file = Database::open(folder.path(), &FORMAT, Durability::Process, 0).unwrap();
        let rows = format!(
            "WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows LIMIT {count})
             INSERT INTO entries (key, token, attempt, lease_end, forget_at, source)
             SELECT randomblob(16), random(), 1, NULL, 1000, 0 FROM rows"
        );
        file.writer.execute_batch(&rows).unwrap();
        (folder, file.writer)
    }

    /// Otherwise this process would grant the key a second time.
    #[test]
    fn a_key_that_another_process_claims_during_a_sweep_is_not_forgotten() {
        let (_folder, mut database) = file_with_rows(1);
        let mut state = TableState::load(&database).unwrap();
        let (expired, _) = state.find_expired(&database, 10, 1000).unwrap();
        let key = expired[0].key;
        let claim = "UPDATE entries SET forget_at = 2000";
        database.execute_batch(claim).unwrap();
        state.delete(&mut database, expired, 1000).unwrap();
        assert!(state.index.get(key).is_some());
        assert_eq!(state.counts.total, 1);
        // The control: the row expires again.
        state.sweep.position = 0;
        let (expired, _) = state.find_expired(&database, 10, 2000).unwrap();
        state.delete(&mut database, expired, 2000).unwrap();
        assert!(state.index.get(key).is_none());
        assert_eq!(state.counts.total, 0);
    }

    #[test]
    fn a_sweep_reaches_each_row_of_a_table_that_it_reads_in_parts() {
        let (_folder, mut database) = file_with_rows(10);
        let live = "UPDATE entries SET forget_at = 2000 WHERE id < 9";
        database.execute_batch(live).unwrap();
        let mut state = TableState::load(&database).unwrap();
        for _ in 0..4 {
            state.sweep(&mut database, 3, 1000).unwrap();
        }
        assert_eq!(state.counts.total, 8);
        assert_eq!(state.index.len(), 8);
    }

    #[test]
    fn the_index_forgets_rows_that_another_process_has_removed() {
        const ROWS: u32 = 5_000;
        let (_folder, mut database) = file_with_rows(ROWS);
        let mut state = TableState::load(&database).unwrap();
        for _ in 0..3 {
            state.sweep(&mut database, 10_000, 0).unwrap();
        }
        assert_eq!(state.index.len(), ROWS as usize, "the control");
        database.execute_batch("DELETE FROM entries").unwrap();
        for _ in 0..1_000 {
            state.sweep(&mut database, 10_000, 0).unwrap();
        }
        assert!(state.index.len() <= 1_024, "{}", state.index.len());
    }

    #[test]
    fn a_pass_returns_the_pages_of_expired_rows() {
        const ROWS: u32 = 80_000;
        let (_folder, mut database) = file_with_rows(ROWS);
        let pages = |database: &Connection| {
            let count = database.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0));
            count.unwrap()
        };
        let full = pages(&database);
        assert!(full > i64::from(PAGES_PER_PASS), "{full}");
        let mut state = TableState::load(&database).unwrap();
        // The control: live rows stay.
        state.sweep(&mut database, ROWS + 1, 999).unwrap();
        assert_eq!(
            (state.counts.total, pages(&database)),
            (u64::from(ROWS), full)
        );

        state.sweep(&mut database, ROWS + 1, 1000).unwrap();
        assert_eq!(state.counts.total, 0);
        assert_eq!(full - pages(&database), i64::from(PAGES_PER_PASS));
        // Some pages stay for later rows.
        state.sweep(&mut database, ROWS + 1, 1000).unwrap();
        assert!(
            pages(&database) <= i64::from(MIN_FREE_PAGES),
            "{}",
            pages(&database)
        );
    }
}
