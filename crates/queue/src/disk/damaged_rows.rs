//! [`DamagedRows`]: the entries whose rows cannot be used, because a page of the file is damaged.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, params};

use super::content::is_corrupt;
use super::row::COLUMNS;
use crate::entry::EntryState;
use crate::store::{EntryFilter, Order};

/// The entries whose rows SQLite cannot read or change.
///
/// SQLite can neither read, change nor delete a row on a damaged page. It cannot change some rows on
/// the pages beside it either, because it moves rows between neighbouring pages. The queue skips
/// these entries. The indexes are on other pages: they still have the number, the source and the
/// state of the entry.
///
/// Clones share the entries.
#[derive(Clone, Debug, Default)]
pub(super) struct DamagedRows(Arc<Mutex<HashMap<i64, DamagedRow>>>);

/// The parts of a damaged row that the indexes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DamagedRow {
    pub(super) source: i64,
    pub(super) state: i64,
}

/// An entry that waits, as the indexes have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitingRow {
    pub(super) id: i64,
    pub(super) due: i64,
}

/// The query of all entries that the indexes have: their numbers, sources and states. It reads no
/// page of the table.
pub(super) const INDEXED: [&str; 3] = [
    "SELECT id, source, 0 FROM entries INDEXED BY waiting WHERE state = 0",
    "SELECT id, source, 1 FROM entries INDEXED BY leased WHERE state = 1",
    "SELECT id, source, state FROM entries INDEXED BY ended WHERE state > 1",
];

/// The entries of a source in the order in which workers lease them.
const BY_TIME: &str = "SELECT id, source, 0, due FROM entries INDEXED BY waiting
     WHERE state = 0 AND source = ?1 ORDER BY due, id";
const BY_NUMBER: &str = "SELECT id, source, 0, due FROM entries INDEXED BY waiting
     WHERE state = 0 AND source = ?1 ORDER BY id";

/// The dead letters and the copies of a source in the order in which they are deleted.
const ENDED: &str = "SELECT id, source, state FROM entries INDEXED BY ended
     WHERE state > 1 AND source = ?1 ORDER BY state, due";

/// A search ends after this number of readable rows. A lease call reads fewer rows.
const READABLE_ROWS: usize = 1024;

impl DamagedRows {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        self.0.lock().contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Adds the entry of a call that failed with `error`, if a damaged page is the cause.
    pub(super) fn note<T>(
        &self,
        id: i64,
        row: DamagedRow,
        result: rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        if let Err(error) = &result
            && is_corrupt(error)
            && self.0.lock().insert(id, row).is_none()
        {
            tracing::error!(
                queue_id = id,
                "the row of an entry cannot be changed, because a page beside it is damaged; the \
                 entry is not sent again before the next start"
            );
        }
        result
    }

    /// Returns the number of damaged entries of the source in `state`.
    pub(super) fn count(&self, source: i64, state: i64) -> i64 {
        let rows = self.0.lock();
        let row = DamagedRow { source, state };
        let count = rows.values().filter(|damaged| **damaged == row).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// Returns the readable entry of the source that workers lease first.
    pub(super) fn first_waiting(
        &self,
        database: &Connection,
        source: i64,
        order: Order,
    ) -> rusqlite::Result<Option<WaitingRow>> {
        let mut rows = database.prepare_cached(match order {
            Order::Any => BY_TIME,
            Order::Source => BY_NUMBER,
        })?;
        let mut rows = rows.query([source])?;
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            if !self.contains(id) {
                let due = row.get(3)?;
                return Ok(Some(WaitingRow { id, due }));
            }
        }
        Ok(None)
    }

    /// Searches the rows that the next calls need for damaged ones. Returns the number of damaged
    /// rows that it has found.
    pub(super) fn find(&self, database: &Connection, file: &Path) -> rusqlite::Result<usize> {
        let mut found = HashMap::new();
        self.search(database, INDEXED[1], None, usize::MAX, &mut found)?;
        let sources: Vec<i64> = database
            .prepare_cached("SELECT id FROM sources WHERE waiting + dead + delivered > 0")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for source in sources {
            for (query, rows) in [
                (BY_TIME, READABLE_ROWS),
                (BY_NUMBER, 1),
                (ENDED, READABLE_ROWS),
            ] {
                self.search(database, query, Some(source), rows, &mut found)?;
            }
        }
        if let Some(first) = found.keys().min() {
            tracing::error!(
                file = %file.display(),
                entries = found.len(),
                first_entry = first,
                "a page of the queue is damaged; the entries on it are not sent, and the others are. \
                 Restore a copy of the file, or move the folder away after the queue has emptied"
            );
        }
        let count = found.len();
        self.0.lock().extend(found);
        Ok(count)
    }

    /// Adds the damaged rows of `query` to `found`, up to the readable row number `max`.
    fn search(
        &self,
        database: &Connection,
        query: &str,
        source: Option<i64>,
        max: usize,
        found: &mut HashMap<i64, DamagedRow>,
    ) -> rusqlite::Result<()> {
        let mut readable = 0;
        let mut rows = database.prepare_cached(query)?;
        let mut rows = match source {
            Some(source) => rows.query(params![source])?,
            None => rows.query([])?,
        };
        while readable < max
            && let Some(row) = rows.next()?
        {
            let id = row.get(0)?;
            let damaged = DamagedRow {
                source: row.get(1)?,
                state: row.get(2)?,
            };
            if is_readable(database, id)? {
                readable += 1;
            } else if !self.contains(id) {
                found.insert(id, damaged);
            }
        }
        Ok(())
    }
}

/// Returns whether SQLite can read the row of an entry that an index has.
fn is_readable(database: &Connection, id: i64) -> rusqlite::Result<bool> {
    let mut row =
        database.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?;
    match row.exists([id]) {
        // An index and the table differ if a page has an old content.
        Ok(exists) => Ok(exists),
        Err(error) if is_corrupt(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether a list with this filter shows a damaged entry of the source. A damaged entry
/// counts as a dead letter, and its other facts are not known.
pub(super) fn shows_damaged(filter: &EntryFilter, source: &str) -> bool {
    let EntryFilter {
        state,
        source: wanted,
        tenant,
        key_id,
        event_id,
    } = filter;
    matches!(state, None | Some(EntryState::Dead))
        && wanted.as_deref().is_none_or(|wanted| wanted == source)
        && [tenant, key_id, event_id].iter().all(|fact| fact.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::format::FORMAT;

    #[test]
    fn the_search_reads_no_page_of_the_table() {
        let database = Connection::open_in_memory().unwrap();
        database.execute_batch(FORMAT.tables).unwrap();
        for query in INDEXED.into_iter().chain([BY_TIME, BY_NUMBER, ENDED]) {
            let mut plan = database
                .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
                .unwrap();
            let source = match query.contains("?1") {
                true => vec![1],
                false => Vec::new(),
            };
            let plan = plan.query_row(rusqlite::params_from_iter(source), |row| {
                row.get::<_, String>(3)
            });
            let plan = plan.unwrap();
            assert!(plan.contains("USING COVERING INDEX"), "{query}: {plan}");
        }
    }
}
