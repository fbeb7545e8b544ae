//! [`Reader`]: a thread that reads the file, so that lists never delay the storing of deliveries.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hookgate_sqlite::{BUSY_TIMEOUT, SpaceReserve};
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction};
use tokio::sync::oneshot;

use super::clock::{Moment, QueueClock, millis};
use super::content::{Content, DamagedEntry, Read, is_corrupt};
use super::damaged_rows::{DamagedRows, INDEXED, shows_damaged};
use super::format::{FORMAT, state, state_number};
use super::row::{COLUMNS, EntryRow, unreadable};
use super::usage::Usage;
use crate::entry::{Entry, EntryId, EntryInfo, EntryState};
use crate::error::QueueError;
use crate::store::{Due, EntryFilter, Order, Page, QueueStats, SourceStats};

type Request = Box<dyn FnOnce(&mut Connection) + Send>;

/// Sends requests to the thread. The thread ends when the reader is dropped.
pub(super) struct Reader {
    requests: mpsc::Sender<Request>,
    folder: PathBuf,
    clock: QueueClock,
    keep_delivered: i64,
    damaged: DamagedRows,
}

/// The tables at one moment.
pub(super) struct Reading<'r> {
    database: Transaction<'r>,
    moment: Moment,
    /// Copies that were delivered up to this time are old. The writer deletes them soon.
    old_copies: i64,
    file: &'r Path,
    damaged: &'r DamagedRows,
}

/// Why a request has no result.
pub(super) enum ReadError {
    Sqlite(rusqlite::Error),
    Damaged(DamagedEntry),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Reader {
    pub(super) fn open(folder: &Path) -> rusqlite::Result<Connection> {
        let database = Connection::open(folder.join(FORMAT.file))?;
        database.busy_timeout(BUSY_TIMEOUT)?;
        database.execute_batch("PRAGMA query_only = 1")?;
        Ok(database)
    }

    /// Starts the thread.
    pub(super) fn spawn(
        mut database: Connection,
        folder: &Path,
        clock: QueueClock,
        keep_delivered: Duration,
        damaged: DamagedRows,
    ) -> io::Result<Self> {
        let (sender, requests) = mpsc::channel::<Request>();
        let run = move || {
            for request in requests {
                request(&mut database);
            }
        };
        thread::Builder::new()
            .name("hookgate-queue-read".to_owned())
            .spawn(run)?;
        Ok(Self {
            requests: sender,
            folder: folder.to_owned(),
            clock,
            keep_delivered: millis(keep_delivered),
            damaged,
        })
    }

    /// Runs `read` on the thread, and waits up to `limit` for its result.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        limit: Duration,
        read: impl FnOnce(&Reading<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (reply, replied) = oneshot::channel();
        let (clock, file) = (self.clock.clone(), self.folder.join(FORMAT.file));
        let (keep_delivered, damaged) = (self.keep_delivered, self.damaged.clone());
        let request = move |database: &mut Connection| {
            if reply.is_closed() {
                return;
            }
            let result = database.transaction().map_err(ReadError::from);
            let result = result.and_then(|database| {
                let moment = clock.moment();
                read(&Reading {
                    database,
                    moment,
                    old_copies: moment.now - keep_delivered,
                    file: &file,
                    damaged: &damaged,
                })
            });
            // The caller may have gone.
            drop(reply.send(result));
        };
        const ENDED: &str = "the thread that reads the queue has ended";
        let sent = self.requests.send(Box::new(request));
        sent.map_err(|_| QueueError::new(ENDED))?;
        match tokio::time::timeout(limit, replied).await {
            Ok(Ok(result)) => result.map_err(|error| match error {
                ReadError::Sqlite(error) => {
                    QueueError::new(FORMAT.write_error(&self.folder, error))
                }
                ReadError::Damaged(error) => QueueError::new(error),
            }),
            Ok(Err(_)) => Err(QueueError::new(ENDED)),
            Err(_) => Err(QueueError::new(format!(
                "reading took longer than {limit:?}"
            ))),
        }
    }
}

impl Reading<'_> {
    pub(super) fn due(&self, ordered: &[Box<str>]) -> Result<Due, ReadError> {
        let mut earliest = self
            .database
            .prepare_cached("SELECT min(due) FROM entries WHERE source = ?1 AND state = 0")?;
        let mut first = self.database.prepare_cached(
            "SELECT due FROM entries WHERE source = ?1 AND state < 2 ORDER BY id LIMIT 1",
        )?;
        // A lease that ends makes its entry due.
        let mut lease_ends = self
            .database
            .prepare_cached("SELECT id, due, source FROM entries WHERE state = 1")?;
        let lease_ends = lease_ends.query_map([], |row| {
            Ok::<(i64, i64, i64), _>((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let mut due: Vec<(i64, i64)> = Vec::new();
        for lease_end in lease_ends {
            let (id, end, source) = lease_end?;
            if !self.damaged.contains(id) {
                due.push((end, source));
            }
        }
        let usage = Usage::load(&self.database)?;
        for (source, usage) in usage.sources().filter(|(_, source)| source.entries[0] > 0) {
            let (query, order) = match ordered.contains(&usage.name) {
                false => (&mut earliest, Order::Any),
                // The end of the lease is in the list.
                true if due.iter().any(|(_, leased)| *leased == source) => continue,
                true => (&mut first, Order::Source),
            };
            let next = match self.damaged.is_empty() {
                true => query.query_row([source], |row| row.get(0)),
                false => {
                    let first = self.damaged.first_waiting(&self.database, source, order);
                    first.map(|first| first.map(|first| first.due))
                }
            };
            let next: Option<i64> = match next {
                // The call that leases an entry of the source finds the damaged row.
                Err(error) if is_corrupt(&error) => Some(self.moment.now),
                next => next?,
            };
            due.extend(next.map(|due| (due, source)));
        }
        let (mut now, mut next) = (Vec::new(), None::<i64>);
        for (due, source) in due {
            if due > self.moment.now {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else if let Some(source) = usage.get(source)
                && !now.contains(&source.name)
            {
                now.push(source.name.clone());
            }
        }
        let next = next.map(|due| {
            let wait = u64::try_from(due.saturating_sub(self.moment.now)).unwrap_or(0);
            Duration::from_millis(wait)
        });
        Ok(Due::Known { now, next })
    }

    pub(super) fn entry(&self, id: EntryId) -> Result<Option<Entry>, ReadError> {
        let query =
            format!("SELECT {COLUMNS} FROM entries WHERE id = ?1 AND (state < 3 OR due > ?2)");
        let row = self
            .database
            .prepare_cached(&query)?
            .query_row([id.0.cast_signed(), self.old_copies], |row| {
                EntryRow::read_any(row, self.moment)
            })
            .optional();
        let row = match row {
            Err(error) if is_corrupt(&error) => {
                return Err(ReadError::Damaged(DamagedEntry::new(id, self.file)));
            }
            row => row?,
        };
        let Some(EntryRow { info, .. }) = row else {
            return Ok(None);
        };
        match Content::read(&self.database, &info)? {
            Read::Intact(Content { envelope, body }) => Ok(Some(Entry {
                info,
                envelope,
                body,
            })),
            Read::Damaged | Read::Missing => {
                Err(ReadError::Damaged(DamagedEntry::new(id, self.file)))
            }
        }
    }

    pub(super) fn list(
        &self,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Vec<EntryInfo>, ReadError> {
        let after = page.after.map_or(0, |id| id.0.cast_signed());
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let mut query = " AND (state < 3 OR due > ?)".to_owned();
        let mut values: Vec<&dyn ToSql> = vec![&after, &self.old_copies];
        match filter.state {
            // A lease that has ended counts as waiting before the writer ends it.
            Some(EntryState::Waiting) => {
                query.push_str(" AND (state = 0 OR state = 1 AND due <= ?)");
                values.push(&self.moment.now);
            }
            Some(EntryState::InFlight) => {
                query.push_str(" AND state = 1 AND due > ?");
                values.push(&self.moment.now);
            }
            Some(state) => query.push_str(&format!(" AND state = {}", state_number(state))),
            None => {}
        }
        let source = "source = (SELECT id FROM sources WHERE name = ?)";
        for (condition, value) in [
            (source, &filter.source),
            ("tenant = ?", &filter.tenant),
            ("key_id = ?", &filter.key_id),
            ("event_id = ?", &filter.event_id),
        ] {
            if let Some(value) = value {
                query.push_str(" AND ");
                query.push_str(condition);
                values.push(value);
            }
        }
        let list = format!("SELECT {COLUMNS} FROM entries WHERE id > ?{query} ORDER BY id LIMIT ?");
        values.push(&limit);
        match self.select(&list, &values) {
            Err(error) if is_corrupt(&error) => {
                values.pop();
                let one = format!("SELECT {COLUMNS} FROM entries WHERE id = ?{query}");
                self.list_singly(&one, &values, filter, page)
            }
            entries => Ok(entries?),
        }
    }

    /// Lists the entries of a damaged table one by one. The query `one` selects the entry whose id is
    /// its first value.
    fn list_singly(
        &self,
        one: &str,
        values: &[&dyn ToSql],
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Vec<EntryInfo>, ReadError> {
        let after = page.after.map_or(0, |id| id.0.cast_signed());
        let mut entries = Vec::new();
        for (id, source) in self.indexed_after(after)? {
            let mut values = values.to_vec();
            values[0] = &id;
            match self.select(one, &values) {
                Ok(entry) => entries.extend(entry),
                Err(error) if is_corrupt(&error) && shows_damaged(filter, &source) => {
                    entries.push(unreadable(id, source, self.moment));
                }
                Err(error) if is_corrupt(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if entries.len() >= page.limit {
                break;
            }
        }
        Ok(entries)
    }

    fn select(&self, query: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Vec<EntryInfo>> {
        let mut entries = self.database.prepare_cached(query)?;
        let entries = entries.query_map(values, |row| EntryRow::read_any(row, self.moment))?;
        entries.map(|row| row.map(|row| row.info)).collect()
    }

    /// Returns the numbers and sources of the entries after `after`, as the indexes have them.
    fn indexed_after(&self, after: i64) -> rusqlite::Result<Vec<(i64, Box<str>)>> {
        let usage = Usage::load(&self.database)?;
        let mut entries = Vec::new();
        for query in INDEXED {
            let mut rows = self.database.prepare_cached(query)?;
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let (id, source) = (row.get(0)?, row.get(1)?);
                if id > after {
                    let source = usage.get(source).map(|usage| usage.name.clone());
                    entries.push((id, source.unwrap_or_default()));
                }
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    pub(super) fn unconfirmed(&self) -> Result<Vec<EntryInfo>, ReadError> {
        let is_free =
            format!("SELECT {COLUMNS} FROM entries WHERE id = ?1 AND NOT (state = 1 AND due > ?2)");
        let mut ids = self
            .database
            .prepare("SELECT DISTINCT entry FROM keys WHERE confirmed = 0 ORDER BY entry")?;
        let ids = ids.query_map([], |row| row.get::<_, i64>(0))?;
        let mut entries = Vec::new();
        for id in ids {
            match self.select(&is_free, &[&id?, &self.moment.now]) {
                // Nothing says which events the damaged entry has.
                Err(error) if is_corrupt(&error) => {}
                entry => entries.extend(entry?),
            }
        }
        Ok(entries)
    }

    /// Returns the numbers of the queue. `max_bytes` is the limit, and the disk may leave less.
    pub(super) fn stats(
        &self,
        max_bytes: i64,
        reserve: &SpaceReserve,
    ) -> Result<QueueStats, ReadError> {
        let usage = Usage::load(&self.database)?;
        let mut sources = Vec::new();
        for (id, source) in usage.sources() {
            if source.entries.iter().all(|entries| *entries == 0) {
                continue;
            }
            let ended = self.ended_leases(id)?;
            let [waiting, in_flight, dead, delivered] = source.entries;
            // A damaged entry is not sent, like a dead letter.
            let [lost_waiting, lost_in_flight] =
                [state::WAITING, state::IN_FLIGHT].map(|state| self.damaged.count(id, state));
            let [waiting, in_flight, dead, delivered] = [
                waiting - lost_waiting + ended,
                in_flight - lost_in_flight - ended,
                dead + lost_waiting + lost_in_flight,
                delivered,
            ]
            .map(|entries| entries.max(0).cast_unsigned());
            let stats = SourceStats {
                waiting,
                in_flight,
                dead,
                delivered,
                oldest: self.oldest(id)?,
                bytes: source.bytes.cast_unsigned(),
            };
            sources.push((source.name.clone(), stats));
        }
        sources.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let bytes = usage.bytes.cast_unsigned();
        let on_disk = bytes.saturating_add(reserve.free_space(&self.database)?.capacity());
        Ok(QueueStats {
            sources,
            bytes,
            max_bytes: max_bytes.cast_unsigned().min(on_disk),
        })
    }

    /// Returns the number of leases that have ended and that the writer has not ended yet.
    fn ended_leases(&self, source: i64) -> rusqlite::Result<i64> {
        let mut ended = self.database.prepare_cached(
            "SELECT id FROM entries WHERE state = 1 AND due <= ?2 AND source = ?1",
        )?;
        let ended = ended.query_map([source, self.moment.now], |row| row.get(0))?;
        let mut count = 0;
        for id in ended {
            count += i64::from(!self.damaged.contains(id?));
        }
        Ok(count)
    }

    /// Returns the age of the oldest entry of the source that waits or is in flight.
    fn oldest(&self, source: i64) -> rusqlite::Result<Option<Duration>> {
        // The age of a retried dead letter has started again, so its number does not show it.
        let queries = [
            "SELECT since, since_at FROM entries
             WHERE source = ?1 AND state < 2 AND revived = 0 ORDER BY id LIMIT 1",
            "SELECT since, since_at FROM entries
             WHERE source = ?1 AND state < 2 AND revived = 1 ORDER BY since LIMIT 1",
        ];
        let mut oldest = None;
        for query in queries {
            let age = self
                .database
                .prepare_cached(query)?
                .query_row([source], |row| {
                    Ok(self.moment.age(row.get(0)?, row.get(1)?))
                })
                .optional();
            oldest = oldest.max(match age {
                // The number of dead letters counts the damaged entry.
                Err(error) if is_corrupt(&error) => None,
                age => age?,
            });
        }
        Ok(oldest)
    }
}
