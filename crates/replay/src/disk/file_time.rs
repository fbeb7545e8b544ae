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
                // Another process may open the file before the first batch. On a full disk, the
                // first batch that succeeds writes the record.
                let _: rusqlite::Result<()> = write(database, clock.read());
                let file_time = Self {
                    recorded: last.time,
                };
                (file_time, clock)
            }
            None => {
                let reading = clock.read();
                write(database, reading)?;
                let file_time = Self {
                    recorded: reading.time,
                };
                (file_time, clock)
            }
        })
    }

    /// Records `reading` if the last record is older than [`INTERVAL`]. Returns the new value for
    /// the case that the transaction commits.
    pub(super) fn record(
        self,
        transaction: &Transaction<'_>,
        reading: Reading,
    ) -> rusqlite::Result<Self> {
        if reading.time.saturating_sub(self.recorded) < INTERVAL {
            return Ok(self);
        }
        write(transaction, reading)?;
        Ok(Self {
            recorded: reading.time,
        })
    }

    /// Records `reading` after the system clock was set. From an older record, a process that opens
    /// the file now could not tell how much time has passed.
    pub(super) fn record_step(&mut self, database: &Connection, reading: Reading) {
        // If it fails, the next batch writes the record.
        if write(database, reading).is_ok() {
            self.recorded = reading.time;
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
