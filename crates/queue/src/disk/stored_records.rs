//! Reads rows and contents as a damaged file can have them. Only fuzz targets need this.

use bytes::Bytes;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::clock::Moment;
use super::content::{Content, Read};
use super::format::FORMAT;
use super::row::EntryRow;
use crate::entry::{EntryInfo, NewEntry};

/// The number of columns in the query for rows.
const COLUMNS: usize = 21;

/// A file in memory, for one record at a time.
#[derive(Debug)]
pub struct StoredRecords(Connection);

/// A row of the table `entries`, as the queue reads it.
#[derive(Debug)]
pub struct StoredRow {
    /// The facts of the entry.
    pub info: EntryInfo,
    /// The space that the entry uses.
    pub size: i64,
    /// Whether the row has a value that it cannot have.
    pub is_damaged: bool,
}

/// The queue's clock, the system clock, and the queue's time at the start of this boot. All are
/// milliseconds.
pub type Clocks = [i64; 3];

impl StoredRecords {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// Returns an error if SQLite has no memory.
    pub fn new() -> rusqlite::Result<Self> {
        let database = Connection::open_in_memory()?;
        database.execute_batch(FORMAT.tables)?;
        Ok(Self(database))
    }

    /// Reads a row with these values, which can have any type, in the order of the query for rows.
    ///
    /// # Errors
    ///
    /// Returns an error if the number of the entry is no integer. SQLite stores no such number.
    pub fn read_row(
        &self,
        values: &[ValueRef<'_>; COLUMNS],
        [now, system_now, started]: Clocks,
    ) -> rusqlite::Result<StoredRow> {
        let moment = Moment {
            now,
            system_now,
            started,
        };
        let parameters = vec!["?"; COLUMNS].join(", ");
        let mut row = self.0.prepare_cached(&format!("SELECT {parameters}"))?;
        let values = values.iter().map(|value| ToSqlOutput::Borrowed(*value));
        row.query_row(params_from_iter(values), |row| {
            let row = EntryRow::read_any(row, moment)?;
            Ok(StoredRow {
                info: row.info,
                size: row.size,
                is_damaged: row.is_damaged,
            })
        })
    }

    /// Stores the content of `entry` with the number of `info`, in place of the last one. The
    /// bytes that the file has afterwards are `envelope` and `body`.
    ///
    /// # Errors
    ///
    /// Returns an error if SQLite has no memory.
    pub fn store(
        &self,
        info: &EntryInfo,
        entry: &NewEntry,
        [envelope, body]: [&[u8]; 2],
    ) -> rusqlite::Result<()> {
        self.0.execute("DELETE FROM contents", [])?;
        Content::insert(&self.0, info.id.0.cast_signed(), entry)?;
        let mut damage = self
            .0
            .prepare_cached("UPDATE contents SET envelope = ?1, body = ?2")?;
        damage.execute([envelope, body])?;
        Ok(())
    }

    /// Reads the envelope and the body of an entry. Returns `None` if the checksum of these bytes
    /// and of the facts in `info` is wrong.
    ///
    /// # Errors
    ///
    /// Returns an error if SQLite cannot read the table.
    pub fn content(&self, info: &EntryInfo) -> rusqlite::Result<Option<(Bytes, Bytes)>> {
        Ok(match Content::read(&self.0, info)? {
            Read::Intact(Content { envelope, body }) => Some((envelope, body)),
            Read::Damaged | Read::Missing => None,
        })
    }
}
