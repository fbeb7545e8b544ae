//! Runs a checkpoint, and returns what SQLite reports about it.

use rusqlite::{Connection, ErrorCode};

/// The size of a page in the log, in bytes, with its header.
const FRAME_SIZE: u64 = 4096 + 24;

/// What SQLite reports about the log after a checkpoint, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogReport {
    pub(super) is_busy: bool,
    pub(super) in_log: u64,
    pub(super) copied: u64,
}

impl LogReport {
    /// Returns whether the whole log was copied, which other readers and writers can prevent for a
    /// while.
    pub(crate) fn is_copied(self) -> bool {
        !self.is_busy && self.copied == self.in_log
    }

    /// Returns the size of the log in bytes.
    pub(super) fn size(self) -> u64 {
        self.in_log * FRAME_SIZE
    }
}

/// Runs a checkpoint, which copies the log into the database file.
pub(crate) fn checkpoint_log(database: &Connection, mode: &str) -> rusqlite::Result<LogReport> {
    let pragma = format!("PRAGMA wal_checkpoint({mode})");
    let report = database.query_row(&pragma, [], |row| {
        let pages = |index| {
            row.get(index)
                .map(|pages: i64| pages.try_into().unwrap_or(0))
        };
        Ok(LogReport {
            is_busy: row.get::<_, i64>(0)? != 0,
            in_log: pages(1)?,
            copied: pages(2)?,
        })
    });
    match report {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(LogReport {
            is_busy: true,
            ..LogReport::default()
        }),
        report => report,
    }
}
