//! [`FileTime`]: keeps the time of the file in the file, for the next process.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::clock::{Clock, Reading};
use super::format::FORMAT;

/// The time between two records, in milliseconds. Less often than each batch, because a record
/// adds a page to the log.
const INTERVAL: i64 = 1000;

/// The time in the file, as far as this process has recorded it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileTime {
    recorded: i64,
    /// Whether the file lacks a record that must not wait for [`INTERVAL`].
    is_overdue: bool,
}

impl FileTime {
    /// Returns `clock` with the time of the file, or records its time in a file without one.
    pub(super) fn open(database: &Connection, clock: Clock) -> rusqlite::Result<(Self, Clock)> {
        // A file of an earlier version has no table for its time.
        database.execute_batch(FORMAT.tables)?;
        let last = database.query_row(
            "SELECT time, wall, boot FROM clock WHERE id = 1",
            [],
            |row| {
                Ok(Reading {
                    time: row.get(0)?,
                    wall: row.get(1)?,
                    boot: row.get(2)?,
                })
            },
        );
        Ok(match last.optional()? {
            Some(last) => {
                let clock = clock.continue_from(last);
                let mut file_time = Self {
                    recorded: last.time,
                    is_overdue: true,
                };
                // Another process may open the file before the first batch.
                file_time.write_overdue(database, &clock);
                (file_time, clock)
            }
            None => {
                let reading = clock.read();
                write(database, reading)?;
                let file_time = Self {
                    recorded: reading.time,
                    is_overdue: false,
                };
                (file_time, clock)
            }
        })
    }

    /// Records `reading` if a record is overdue, or if the last one is older than [`INTERVAL`].
    /// Returns the new value for the case that the transaction commits.
    pub(super) fn record(
        self,
        transaction: &Transaction<'_>,
        reading: Reading,
    ) -> rusqlite::Result<Self> {
        if !self.is_overdue && reading.time.saturating_sub(self.recorded) < INTERVAL {
            return Ok(self);
        }
        write(transaction, reading)?;
        Ok(Self {
            recorded: reading.time,
            is_overdue: false,
        })
    }

    /// Demands a record after the system clock was set. From an older record, a process that opens
    /// the file could not tell how much time has passed.
    pub(super) fn demand_record(&mut self) {
        self.is_overdue = true;
    }

    /// Writes the record that is overdue, if there is one. After a failure, for example on a full
    /// disk, the record stays overdue.
    pub(super) fn write_overdue(&mut self, database: &Connection, clock: &Clock) {
        if !self.is_overdue {
            return;
        }
        let reading = clock.read();
        if write(database, reading).is_ok() {
            self.recorded = reading.time;
            self.is_overdue = false;
        }
    }
}

/// Writes `reading`, unless another process has written a later one.
fn write(database: &Connection, reading: Reading) -> rusqlite::Result<()> {
    let mut write = database.prepare_cached(
        "INSERT INTO clock (id, time, wall, boot) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET
           time = excluded.time, wall = excluded.wall, boot = excluded.boot
         WHERE excluded.time >= time",
    )?;
    write.execute(params![reading.time, reading.wall, reading.boot])?;
    Ok(())
}
