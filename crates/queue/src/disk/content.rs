//! The envelope and the body of an entry, and their checksum.

use std::error::Error;
use std::fmt;
use std::path::Path;

use bytes::Bytes;
use hookgate_core::ReplayKey;
use rusqlite::{Connection, ErrorCode, OptionalExtension, ffi, params};

use crate::entry::{EntryId, EntryInfo, NewEntry};

/// The row of an entry in the table `contents`.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) envelope: Bytes,
    pub(super) body: Bytes,
}

/// The result of reading a content.
pub(super) enum Read {
    Intact(Content),
    Damaged,
    Missing,
}

/// Error of an entry whose bytes differ from the stored delivery.
#[derive(Debug)]
pub(super) struct DamagedEntry {
    id: EntryId,
    file: Box<Path>,
}

impl DamagedEntry {
    pub(super) fn new(id: EntryId, file: &Path) -> Self {
        let file = file.into();
        Self { id, file }
    }
}

impl fmt::Display for DamagedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: entry {} is damaged and cannot be sent; restore a copy of the file and retry the \
             entry, or drop it and let its provider send the event again",
            self.file.display(),
            self.id
        )
    }
}

impl Error for DamagedEntry {}

impl Content {
    /// Stores the content of a new entry.
    pub(super) fn insert(database: &Connection, id: i64, entry: &NewEntry) -> rusqlite::Result<()> {
        let checksum = Facts {
            id,
            source: &entry.source,
            tenant: entry.tenant.as_deref(),
            event_id: entry.event_id.as_deref(),
            key_id: &entry.key_id,
            request_id: &entry.request_id,
            keys: &entry.keys,
        }
        .checksum(&entry.envelope, &entry.body);
        database
            .prepare_cached(
                "INSERT INTO contents (id, checksum, envelope, body) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id, checksum, &entry.envelope[..], &entry.body[..]])?;
        Ok(())
    }

    /// Reads the content of an entry.
    pub(super) fn read(database: &Connection, info: &EntryInfo) -> rusqlite::Result<Read> {
        let id = info.id.0.cast_signed();
        let content = database
            .prepare_cached("SELECT checksum, envelope, body FROM contents WHERE id = ?1")?
            .query_row([id], |row| {
                let content = Self {
                    envelope: row.get::<_, Vec<u8>>(1)?.into(),
                    body: row.get::<_, Vec<u8>>(2)?.into(),
                };
                Ok((row.get::<_, u32>(0)?, content))
            })
            .optional();
        let (checksum, content) = match content {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Read::Missing),
            Err(error) if is_corrupt(&error) => return Ok(Read::Damaged),
            Err(error) if is_damaged_value(&error) => return Ok(Read::Damaged),
            Err(error) => return Err(error),
        };
        let facts = Facts {
            id,
            source: &info.source,
            tenant: info.tenant.as_deref(),
            event_id: info.event_id.as_deref(),
            key_id: &info.key_id,
            request_id: &info.request_id,
            keys: &info.keys,
        };
        Ok(match facts.checksum(&content.envelope, &content.body) {
            actual if actual == checksum => Read::Intact(content),
            _ => Read::Damaged,
        })
    }
}

/// Returns whether SQLite found a damaged page.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}

/// Returns the error of an index that has an entry without a row.
pub(super) fn missing_row() -> rusqlite::Error {
    let message = "an index has an entry that the table entries lacks";
    let code = ffi::Error::new(ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(message.to_owned()))
}

/// Returns whether a row has a value that it cannot have. The transaction continues.
pub(super) fn is_damaged_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::FromSqlConversionFailure(..)
            | Error::Utf8Error(..)
    )
}

/// The facts of an entry that never change.
struct Facts<'e> {
    id: i64,
    source: &'e str,
    tenant: Option<&'e str>,
    event_id: Option<&'e str>,
    key_id: &'e str,
    request_id: &'e str,
    keys: &'e [ReplayKey],
}

impl Facts<'_> {
    /// Returns a checksum of the facts and the content. Each part is delimited by its length.
    fn checksum(&self, envelope: &[u8], body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.id.to_le_bytes());
        for text in [
            Some(self.source),
            self.tenant,
            self.event_id,
            Some(self.key_id),
            Some(self.request_id),
        ] {
            hasher.update(&length(text.map(str::len)));
            hasher.update(text.unwrap_or_default().as_bytes());
        }
        hasher.update(&length(Some(self.keys.len())));
        for key in self.keys {
            hasher.update(key.as_bytes());
        }
        for part in [envelope, body] {
            hasher.update(&length(Some(part.len())));
            hasher.update(part);
        }
        hasher.finalize()
    }
}

/// Encodes a length, so that an absent text differs from an empty one.
fn length(length: Option<usize>) -> [u8; 8] {
    length
        .map_or(u64::MAX, |length| length as u64)
        .to_le_bytes()
}
