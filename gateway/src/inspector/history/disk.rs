//! The records on disk, in a file of SQLite.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookgate_core::{ReplayKey, UnixTime};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::Page;
use crate::config::HistoryConfig;
use crate::inspector::filter::Filter;
use crate::inspector::record::{DeliveryRecord, ReplayKeys};

/// Marks a SQLite file as a history of hookgate: "hkgh" in ASCII.
const APPLICATION_ID: i32 = 0x686b_6768;
const VERSION: i32 = 1;
/// How long to wait while another process writes, such as the old one during an upgrade.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long old records are deleted at once. New records wait meanwhile.
const MAX_EXPIRY: Duration = Duration::from_millis(50);
/// The number of records that one statement deletes.
const EXPIRED_AT_ONCE: u32 = 1000;
/// The number of bytes of a replay key.
const KEY_LEN: usize = 16;

/// The records on disk. The file has two connections, so that a search does not delay the writer.
#[derive(Debug)]
pub(crate) struct DiskHistory {
    keep_for: Duration,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

/// How many of the records that are too old were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    All,
    Partly,
}

/// Why the file of the history cannot be used.
#[derive(Debug)]
pub(crate) struct OpenHistoryError {
    path: PathBuf,
    cause: OpenErrorCause,
}

#[derive(Debug)]
enum OpenErrorCause {
    Folder(io::Error),
    Database(rusqlite::Error),
    Foreign,
    Version(i32),
}

impl DiskHistory {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder or the file cannot be used.
    pub(crate) fn open(config: &HistoryConfig) -> Result<Self, OpenHistoryError> {
        let path = config.path.join("history.db");
        let failed = |cause| OpenHistoryError {
            path: path.clone(),
            cause,
        };
        create_private(&config.path, &path)
            .map_err(|error| failed(OpenErrorCause::Folder(error)))?;
        let connections = connect(&path).and_then(|writer| Ok((writer, connect(&path)?)));
        let (writer, reader) = connections.map_err(|error| failed(error.into()))?;
        set_up(&writer).map_err(failed)?;
        Ok(Self {
            writer: writer.into(),
            reader: reader.into(),
            keep_for: config.keep_for,
        })
    }

    /// Writes records.
    ///
    /// # Errors
    ///
    /// Returns the error of SQLite. None of the records is written then.
    pub(crate) fn insert(&self, records: &[DeliveryRecord]) -> rusqlite::Result<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO deliveries (seq, request_id, time_ms, source, tenant, \
                 outcome, reason, texts, keys, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, \
                 ?9, ?10)",
            )?;
            for record in records {
                let texts = record.texts();
                let searchable: Vec<_> = texts.searchable(record.client).collect();
                let keys: Vec<u8> = record
                    .replay_keys
                    .iter()
                    .flat_map(|key| *key.as_bytes())
                    .collect();
                // This cannot fail: every field is a text or a number.
                let json = serde_json::to_string(record).unwrap_or_default();
                insert.execute(params![
                    record.seq.cast_signed(),
                    record.request_id,
                    record.time.0.millis(),
                    record.source,
                    record.tenant,
                    record.outcome,
                    record.reason,
                    searchable.join("\n"),
                    keys,
                    json,
                ])?;
            }
        }
        transaction.commit()
    }

    /// Deletes records that are too old, for a short time at once.
    ///
    /// # Errors
    ///
    /// Returns the error of SQLite.
    pub(crate) fn expire(&self, now: UnixTime) -> rusqlite::Result<Expired> {
        let oldest = now.minus(self.keep_for).millis();
        let writer = self.writer.lock();
        let mut delete = writer.prepare_cached(
            "DELETE FROM deliveries WHERE (seq, request_id) IN \
             (SELECT seq, request_id FROM deliveries WHERE time_ms < ?1 LIMIT ?2)",
        )?;
        let start = Instant::now();
        while start.elapsed() < MAX_EXPIRY {
            if delete.execute(params![oldest, EXPIRED_AT_ONCE])? < EXPIRED_AT_ONCE as usize {
                return Ok(Expired::All);
            }
        }
        Ok(Expired::Partly)
    }

    /// Returns the largest number of a record, or 0.
    ///
    /// # Errors
    ///
    /// Returns the error of SQLite.
    pub(crate) fn newest_seq(&self) -> rusqlite::Result<u64> {
        let newest = "SELECT coalesce(max(seq), 0) FROM deliveries";
        let newest: i64 = self.reader.lock().query_row(newest, [], |row| row.get(0))?;
        Ok(u64::try_from(newest).unwrap_or(0))
    }

    /// Returns the record of a request.
    ///
    /// # Errors
    ///
    /// Returns the error of SQLite.
    pub(crate) fn get(&self, request_id: &str) -> rusqlite::Result<Option<Arc<DeliveryRecord>>> {
        let reader = self.reader.lock();
        let mut query = reader.prepare_cached(
            "SELECT record, keys FROM deliveries WHERE request_id = ?1 ORDER BY seq DESC LIMIT 1",
        )?;
        let record = query.query_row([request_id], read_record).optional()?;
        Ok(record.flatten())
    }

    /// Returns at most `limit` records before the number `before`, the newest first.
    ///
    /// # Errors
    ///
    /// Returns the error of SQLite.
    pub(crate) fn find(
        &self,
        filter: &Filter,
        before: Option<u64>,
        limit: usize,
    ) -> rusqlite::Result<Page> {
        let reader = self.reader.lock();
        let mut query = reader.prepare_cached(
            "SELECT record, keys FROM deliveries WHERE seq < :before \
             AND (:source IS NULL OR source = :source) \
             AND (:tenant IS NULL OR tenant = :tenant) \
             AND (:outcome IS NULL OR outcome = :outcome) \
             AND (:reason IS NULL OR reason = :reason) \
             AND (:text IS NULL OR texts LIKE :text ESCAPE '\\') \
             ORDER BY seq DESC LIMIT :limit",
        )?;
        let parameters = named_params! {
            ":before": before.unwrap_or(u64::MAX >> 1).cast_signed(),
            ":source": filter.source,
            ":tenant": filter.tenant,
            ":outcome": filter.outcome,
            ":reason": filter.reason,
            ":text": filter.text.as_deref().map(containing),
            // One more record tells whether there is another page.
            ":limit": i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX),
        };
        let rows = query.query_map(parameters, read_record)?;
        let (mut records, mut read) = (Vec::new(), 0);
        for record in rows {
            records.extend(record?);
            read += 1;
        }
        let has_more = read > limit;
        records.truncate(limit);
        let last = records.last().map(|record| record.seq);
        let oldest = "SELECT min(time_ms) FROM deliveries";
        let since: Option<i64> = reader.query_row(oldest, [], |row| row.get(0))?;
        Ok(Page {
            records,
            next_before: last.filter(|_| has_more),
            since: since.map(UnixTime::from_millis),
        })
    }
}

fn create_private(folder: &Path, file: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // SQLite gives its other files the mode of this one.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(file)?;
    Ok(())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Checks that the file is a history, and creates the table if the file is new.
fn set_up(database: &Connection) -> Result<(), OpenErrorCause> {
    let integer = |query: &str| database.query_row(query, [], |row| row.get::<_, i32>(0));
    if integer("SELECT count(*) FROM sqlite_schema")? > 0 {
        if integer("PRAGMA application_id")? != APPLICATION_ID {
            return Err(OpenErrorCause::Foreign);
        }
        let found = integer("PRAGMA user_version")?;
        if found != VERSION {
            return Err(OpenErrorCause::Version(found));
        }
    }
    // A power loss may cost the newest records, but it does not damage the file.
    database.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; \
         CREATE TABLE IF NOT EXISTS deliveries (seq INTEGER NOT NULL, request_id TEXT NOT NULL, \
         time_ms INTEGER NOT NULL, source TEXT, tenant TEXT, outcome TEXT NOT NULL, reason TEXT, \
         texts TEXT NOT NULL, keys BLOB NOT NULL, record TEXT NOT NULL, \
         PRIMARY KEY (seq, request_id)) WITHOUT ROWID; \
         CREATE INDEX IF NOT EXISTS deliveries_request ON deliveries (request_id); \
         CREATE INDEX IF NOT EXISTS deliveries_time ON deliveries (time_ms);"
    ))?;
    Ok(())
}

/// Returns the pattern of `LIKE` for texts that contain `part`.
fn containing(part: &str) -> String {
    let escaped = part
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("%{escaped}%")
}

/// Reads a record. A row that another version has written in another form is left out.
fn read_record(row: &Row<'_>) -> rusqlite::Result<Option<Arc<DeliveryRecord>>> {
    let json: String = row.get(0)?;
    let keys: Vec<u8> = row.get(1)?;
    let Ok(record) = serde_json::from_str::<DeliveryRecord>(&json) else {
        return Ok(None);
    };
    let (keys, _) = keys.as_chunks::<KEY_LEN>();
    let replay_keys: ReplayKeys = keys.iter().copied().map(ReplayKey::from_bytes).collect();
    Ok(Some(Arc::new(DeliveryRecord {
        replay_keys,
        ..record
    })))
}

impl From<rusqlite::Error> for OpenErrorCause {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for OpenHistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            OpenErrorCause::Folder(_) => write!(f, "cannot create {path}; check its folder"),
            OpenErrorCause::Database(_) => write!(
                f,
                "cannot use {path}; if the file is damaged, move it away, and the gateway \
                 starts a new one"
            ),
            OpenErrorCause::Foreign => write!(
                f,
                "{path} belongs to another program; choose another folder"
            ),
            OpenErrorCause::Version(found) => write!(
                f,
                "{path} has version {found} of the format, and this gateway reads version \
                 {VERSION}; move the file away, and the gateway starts a new one"
            ),
        }
    }
}

impl std::error::Error for OpenHistoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            OpenErrorCause::Folder(error) => Some(error),
            OpenErrorCause::Database(error) => Some(error),
            OpenErrorCause::Foreign | OpenErrorCause::Version(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::inspector::compact::{CompactRecord, Facts};
    use crate::telemetry::access_log::Timestamp;

    fn config(folder: &TempDir) -> HistoryConfig {
        HistoryConfig {
            path: folder.path().join("history"),
            keep_for: Duration::from_secs(100),
        }
    }

    fn record(seq: u64, event_id: &str) -> DeliveryRecord {
        DeliveryRecord {
            seq,
            request_id: format!("request {seq}"),
            time: Timestamp(UnixTime::from_secs(seq.cast_signed())),
            outcome: "forwarded".into(),
            reason: Some("signature_mismatch".into()),
            event_id: Some(event_id.to_owned()),
            replay_keys: [[7; KEY_LEN], [8; KEY_LEN]]
                .map(ReplayKey::from_bytes)
                .into_iter()
                .collect(),
            ..DeliveryRecord::default()
        }
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.records.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn records_survive_a_restart() {
        let folder = TempDir::new().unwrap();
        let history = DiskHistory::open(&config(&folder)).unwrap();
        history
            .insert(&[record(1, "evt_1"), record(2, "evt_2")])
            .unwrap();
        drop(history);
        let history = DiskHistory::open(&config(&folder)).unwrap();
        let found = history.get("request 2").unwrap().unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", record(2, "evt_2")));
        assert!(history.get("request 3").unwrap().is_none());
        assert_eq!(history.newest_seq().unwrap(), 2);
    }

    #[test]
    fn a_search_finds_what_the_filter_of_the_memory_finds() {
        let folder = TempDir::new().unwrap();
        let history = DiskHistory::open(&config(&folder)).unwrap();
        let ids = ["evt_1", "evtx1", "EVT_12", "100%", "a\\b", "x"];
        let records: Vec<_> = (1..).zip(ids).map(|(seq, id)| record(seq, id)).collect();
        history.insert(&records).unwrap();
        for text in ["evt_1", "evt", "%", "\\", "request 4", "_", "", "y"] {
            let filter = Filter {
                text: Some(text.to_owned()),
                ..Filter::default()
            };
            let page = history.find(&filter, None, 50).unwrap();
            let matches = |record: &&DeliveryRecord| {
                let keys = ReplayKeys::new();
                let compact = CompactRecord::new(Facts::default(), None, &record.texts(), keys);
                filter.matches(&compact)
            };
            let expected = records.iter().rev().filter(matches);
            let expected: Vec<_> = expected.map(|record| record.seq).collect();
            assert_eq!(numbers(&page), expected, "{text}");
        }
    }

    #[test]
    fn pages_follow_each_other_and_old_records_go() {
        let folder = TempDir::new().unwrap();
        let history = DiskHistory::open(&config(&folder)).unwrap();
        let records: Vec<_> = (1..=5).map(|seq| record(seq, "e")).collect();
        history.insert(&records).unwrap();
        let first = history.find(&Filter::default(), None, 2).unwrap();
        assert_eq!((numbers(&first), first.next_before), (vec![5, 4], Some(4)));
        let last = history.find(&Filter::default(), Some(2), 2).unwrap();
        assert_eq!((numbers(&last), last.next_before), (vec![1], None));
        let expired = history.expire(UnixTime::from_secs(103)).unwrap();
        assert_eq!(expired, Expired::All);
        let rest = history.find(&Filter::default(), None, 50).unwrap();
        assert_eq!(
            (numbers(&rest), rest.since),
            (vec![5, 4, 3], Some(UnixTime::from_secs(3)))
        );
    }

    #[test]
    fn only_the_owner_can_read_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().unwrap();
        let config = config(&folder);
        let history = DiskHistory::open(&config).unwrap();
        history.insert(&[record(1, "e")]).unwrap();
        for file in std::fs::read_dir(&config.path).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = TempDir::new().unwrap();
        let config = config(&folder);
        std::fs::create_dir(&config.path).unwrap();
        let file = config.path.join("history.db");
        let error = |text: &str| {
            let error = DiskHistory::open(&config).unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("history.db"),
                "{error}"
            );
        };
        std::fs::write(&file, [b'x'; 8192]).unwrap();
        error("move it away");
        std::fs::remove_file(&file).unwrap();
        let other = Connection::open(&file).unwrap();
        other.execute_batch("CREATE TABLE other (x)").unwrap();
        error("another program");
        other
            .execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99"
            ))
            .unwrap();
        error("version 99");
    }
}
