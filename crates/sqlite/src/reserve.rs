//! [`SpaceReserve`]: space on the file system that is kept for work on stored data.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hookgate_core::internal::ErrorChain;
use rusqlite::{Connection, ErrorCode, ffi};

use crate::allocation::{allocate, allocated};
use crate::checkpointer::{LogReport, checkpoint_log};
use crate::free_space::free_space;
use crate::write_turn::BUSY_TIMEOUT;

/// Keeps space for work on stored data, so that a full disk empties again.
///
/// SQLite needs space for every change, even for a deletion: it appends the changed pages to its
/// log, and a checkpoint adds new pages to the file. On a full disk a queue could neither send
/// nor delete its entries, so it would stay full. Two measures prevent that:
///
/// * **A limit for new data.** [`free_space`](Self::free_space) leaves out the last `size` bytes of the file
///   system, and the space that the next checkpoint needs. This process never fills the disk.
/// * **A reserve file** of `size` bytes beside the database. Free space does not suffice, because
///   another program can use it up. The blocks of a file belong to the file until
///   [`recover`](Self::recover) removes it. The log then has space for the changes and the file
///   for the checkpoint. After a complete checkpoint SQLite writes its log from the beginning, so
///   [`after_write`](Self::after_write) runs one after each change. [`restore`](Self::restore) creates the file again when the
///   disk has space.
///
/// Blocks that are reserved for the log itself would not do. SQLite truncates and deletes its log,
/// and the checkpoint also needs space for the file.
#[derive(Clone, Debug)]
pub struct SpaceReserve {
    /// The name of the store, for the log.
    name: &'static str,
    size: u64,
    database: PathBuf,
    file: PathBuf,
    /// Whether this process has created the file. Some file systems count blocks late.
    is_created: bool,
    /// Whether the log has a line about the missing file.
    is_reported: bool,
    /// The busy handler of the writer. `None`: its busy timeout is [`BUSY_TIMEOUT`].
    busy_handler: Option<fn(i32) -> bool>,
}

/// How long [`SpaceReserve::recover`] waits for readers of the log, and how often it tries again.
/// Callers wait for their replies meanwhile.
const READER_WAIT: Duration = Duration::from_millis(50);
const READER_INTERVAL: Duration = Duration::from_millis(2);

/// The space for new data, at one moment of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct FreeSpace {
    /// The free bytes above the reserve.
    pub free: u64,
    /// The bytes of free pages in the database.
    pub reusable: u64,
    /// The bytes that the next checkpoint adds to the file.
    pub unwritten: u64,
}

impl SpaceReserve {
    /// Creates the reserve of a database. [`restore`](Self::restore) creates its file.
    pub(crate) fn new(name: &'static str, database: &Path, size: u64) -> Self {
        Self {
            name,
            size,
            database: database.to_owned(),
            file: database.with_extension("reserve"),
            is_created: false,
            is_reported: false,
            busy_handler: None,
        }
    }

    /// Sets the busy handler of the connection that writes.
    ///
    /// # Errors
    ///
    /// Returns the error of SQLite.
    pub fn set_busy_handler(
        &mut self,
        writer: &mut Connection,
        handler: fn(i32) -> bool,
    ) -> rusqlite::Result<()> {
        self.busy_handler = Some(handler);
        writer.busy_handler(Some(handler))
    }

    /// Returns the size of the reserve in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns whether the reserve file has its whole size.
    pub fn is_held(&self) -> bool {
        self.held() >= self.size
    }

    /// Returns the space for new data.
    ///
    /// # Errors
    ///
    /// Returns the error of SQLite if it cannot read the size of the database.
    pub fn free_space(&self, database: &Connection) -> rusqlite::Result<FreeSpace> {
        self.free_space_of(free_space(&self.file), database)
    }

    /// Returns the space for new data on a file system with `free` free bytes.
    fn free_space_of(&self, free: u64, database: &Connection) -> rusqlite::Result<FreeSpace> {
        let integer = |pragma: &str| {
            let mut pragma = database.prepare_cached(pragma)?;
            pragma.query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
        };
        let page_size = integer("PRAGMA page_size")?;
        let length = integer("PRAGMA page_count")?.saturating_mul(page_size);
        let reusable = integer("PRAGMA freelist_count")?.saturating_mul(page_size);
        let in_file = fs::metadata(&self.database).map_or(0, |file| file.len());
        let unwritten = length.saturating_sub(in_file);
        // The rest of a file that is larger than the reserve is no free space.
        let free = free.saturating_add(self.held().min(self.size));
        Ok(FreeSpace {
            free: free.saturating_sub(self.size).saturating_sub(unwritten),
            reusable,
            unwritten,
        })
    }

    /// Makes space after SQLite found none: removes the reserve file, and runs a checkpoint, so
    /// that SQLite can write its log from the beginning. Waits a moment for readers of the log.
    pub fn recover(&mut self, database: &Connection) {
        self.release();
        let start = Instant::now();
        while !copy_log(database) && start.elapsed() < READER_WAIT {
            std::thread::sleep(READER_INTERVAL);
        }
    }

    /// Runs a checkpoint after a transaction if the disk is nearly full and the reserve file is
    /// missing. SQLite then reuses its log. A log that grows would take the space that the next
    /// checkpoint needs for the file.
    ///
    /// The checkpoint waits for no reader. Call this after the callers have their replies, because
    /// a checkpoint also waits for the disk.
    pub fn after_write(&self, database: &Connection) {
        if self.size > 0 && !self.is_held() && free_space(&self.file) < self.size / 2 {
            copy_log(database);
        }
    }

    /// Returns the space of the log to the file system, if the reserve file exists or can be created
    /// with that space. Waits for no reader of the log, because callers wait for the connection.
    pub fn truncate_log(&mut self, database: &mut Connection) {
        let mut truncate = || {
            database.busy_timeout(Duration::ZERO)?;
            self.truncate(database);
            match self.busy_handler {
                Some(handler) => database.busy_handler(Some(handler)),
                None => database.busy_timeout(BUSY_TIMEOUT),
            }
        };
        let truncated: rusqlite::Result<()> = truncate();
        if let Err(error) = truncated {
            tracing::debug!(error = %ErrorChain(&error), "cannot set the busy handler");
        }
    }

    fn truncate(&self, database: &Connection) {
        let log = fs::metadata(self.database.with_extension("db-wal"));
        let log = log.map_or(0, |log| log.len());
        if !self.is_held() && free_space(&self.file).saturating_add(log) < self.needed() {
            return;
        }
        if let Err(error) = checkpoint_log(database, "TRUNCATE") {
            tracing::debug!(error = %ErrorChain(&error), "the checkpoint of a short disk failed");
        }
    }

    /// Creates the reserve file again before the database is closed, with the space of the log if
    /// need be. The next process to open the database may find a full disk.
    pub fn close(&mut self, database: &Connection) {
        self.truncate(database);
        self.restore();
    }

    /// Returns the free bytes with which the reserve file is created: its size and a quarter more.
    fn needed(&self) -> u64 {
        self.size.saturating_add(self.size / 4)
    }

    /// Removes the reserve file. Returns whether it existed.
    pub(crate) fn release(&mut self) -> bool {
        self.is_created = false;
        let is_released = fs::remove_file(&self.file).is_ok();
        if is_released {
            tracing::warn!(
                file = %self.file.display(),
                "the disk is full; the {} continues with the space of its reserve file. Free \
                 space on the disk",
                self.name
            );
            self.is_reported = true;
        }
        is_released
    }

    /// Creates the reserve file if it is missing, and if the disk has its size and a quarter more.
    pub fn restore(&mut self) {
        if self.is_held() {
            return;
        }
        let needed = self.needed();
        let free = free_space(&self.file).saturating_add(self.held());
        let created = match free >= needed {
            true => allocate(&self.file, self.size),
            false => Err(io::Error::from(io::ErrorKind::StorageFull)),
        };
        match created {
            Ok(()) => {
                self.is_created = true;
                if std::mem::take(&mut self.is_reported) {
                    tracing::info!(
                        file = %self.file.display(),
                        "the disk has space again for the reserve file of the {}",
                        self.name
                    );
                }
            }
            Err(error) if !self.is_reported => {
                self.is_reported = true;
                tracing::warn!(
                    file = %self.file.display(),
                    free,
                    needed,
                    error = %ErrorChain(&error),
                    "the disk has no space for the reserve file of the {}. Free space; new data \
                     may be refused until then",
                    self.name
                );
            }
            Err(_) => {}
        }
    }

    /// Truncates a reserve file that is larger than the reserve, because the configuration has made
    /// the reserve smaller. Call this only when the database is opened: during an upgrade, the
    /// other process may have the larger reserve.
    pub(crate) fn shrink(&self) {
        let Ok(file) = fs::metadata(&self.file) else {
            return;
        };
        let truncate = || {
            fs::OpenOptions::new()
                .write(true)
                .open(&self.file)?
                .set_len(self.size)
        };
        let shrunk = match self.size {
            size if file.len() <= size => return,
            0 => fs::remove_file(&self.file),
            _ => truncate(),
        };
        if let Err(error) = shrunk {
            tracing::warn!(
                file = %self.file.display(),
                error = %ErrorChain(&error),
                "cannot make the reserve file of the {} smaller; it holds more space than configured",
                self.name
            );
        }
    }

    /// Returns the bytes that the reserve file holds.
    fn held(&self) -> u64 {
        let Ok(file) = fs::metadata(&self.file) else {
            return 0;
        };
        // A copied file can have holes.
        match self.is_created {
            true => file.len(),
            false => allocated(&file).min(file.len()),
        }
    }
}

impl FreeSpace {
    /// Returns the most bytes that [`reserve`](Self::reserve) accepts.
    pub fn capacity(&self) -> u64 {
        let reused = self.reusable.min(self.free);
        reused + (self.free - reused) / 2
    }

    /// Reserves the space of `bytes` new bytes. Returns `false` if they do not fit.
    ///
    /// They are written to the log first, and then to free pages or to the end of the file.
    pub fn reserve(&mut self, bytes: u64) -> bool {
        let reused = bytes.min(self.reusable);
        let needed = bytes.saturating_add(bytes - reused);
        if needed > self.free {
            return false;
        }
        self.free -= needed;
        self.reusable -= reused;
        true
    }
}

/// Copies the log into the file without waiting for readers or writers. After a complete copy, the
/// next writer starts the log from its beginning. Returns `false` if the copy is incomplete because
/// another connection uses the log.
fn copy_log(database: &Connection) -> bool {
    let report = checkpoint_log(database, "PASSIVE").map(LogReport::is_copied);
    report.unwrap_or_else(|error| {
        tracing::debug!(error = %ErrorChain(&error), "the checkpoint on a full disk failed");
        // The disk has no space for the copy, and a wait makes none.
        true
    })
}

/// Returns whether SQLite found no space on the disk for a write.
///
/// A quota and a limit of file sizes appear as a failed write.
pub fn is_no_space(error: &rusqlite::Error) -> bool {
    let Some(error) = error.sqlite_error() else {
        return false;
    };
    error.code == ErrorCode::DiskFull
        || matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_counts_the_reserve_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let database = Connection::open(&path).unwrap();
        let mut reserve = SpaceReserve::new("store", &path, 1 << 20);
        let free_space =
            |reserve: &SpaceReserve, free| reserve.free_space_of(free, &database).unwrap().free;
        assert_eq!(free_space(&reserve, 10 << 20), 9 << 20);
        // The file takes its size from the free space, and the space for new data stays the same.
        reserve.restore();
        assert!(reserve.is_held());
        let file = fs::metadata(folder.path().join("store.reserve")).unwrap();
        assert_eq!(file.len(), 1 << 20);
        assert_eq!(free_space(&reserve, 9 << 20), 9 << 20);
        // Without the file, the reserve comes off the free space again.
        assert!(reserve.release());
        assert!(!reserve.is_held() && !reserve.release());
        assert_eq!(free_space(&reserve, 9 << 20), 8 << 20);
        assert_eq!(free_space(&reserve, 1 << 20), 0);
        // The control: a reserve that is larger than the disk leaves no space.
        let huge = SpaceReserve::new("store", &path, u64::MAX);
        assert_eq!(huge.free_space(&database).unwrap().free, 0);
    }

    #[test]
    fn the_next_checkpoint_needs_space_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let database = Connection::open(&path).unwrap();
        database
            .execute_batch(
                "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; CREATE TABLE entries (body)",
            )
            .unwrap();
        let reserve = SpaceReserve::new("store", &path, 1 << 20);
        let pages: i64 = database
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        let unwritten = pages.cast_unsigned() * 4096 - fs::metadata(&path).unwrap().len();
        assert!(unwritten > 0, "the table is in the log");
        let space = reserve.free_space_of(10 << 20, &database).unwrap();
        assert_eq!(
            (space.free, space.unwritten),
            ((9 << 20) - unwritten, unwritten)
        );
    }

    #[test]
    fn a_reserve_larger_than_the_disk_creates_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let mut reserve = SpaceReserve::new("store", &path, 1 << 60);
        reserve.restore();
        assert!(!reserve.is_held());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_reserve_that_was_made_smaller_truncates_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let database = Connection::open(&path).unwrap();
        SpaceReserve::new("store", &path, 4 << 20).restore();
        let length = || fs::metadata(folder.path().join("store.reserve")).map(|file| file.len());
        assert_eq!(length().unwrap(), 4 << 20);

        let smaller = SpaceReserve::new("store", &path, 1 << 20);
        // The rest of the file is not free as long as the file has it.
        let free = smaller.free_space_of(9 << 20, &database).unwrap().free;
        assert_eq!(free, 9 << 20);
        smaller.shrink();
        assert_eq!(length().unwrap(), 1 << 20);
        assert!(smaller.is_held());
        // A reserve that was made larger grows its file.
        let mut larger = SpaceReserve::new("store", &path, 2 << 20);
        larger.shrink();
        larger.restore();
        assert_eq!(length().unwrap(), 2 << 20);
        // Without a reserve, no file remains.
        SpaceReserve::new("store", &path, 0).shrink();
        length().unwrap_err();
    }

    #[test]
    fn new_bytes_need_space_in_the_log_and_in_the_file() {
        let mut space = FreeSpace {
            free: 100,
            reusable: 30,
            unwritten: 0,
        };
        assert_eq!(space.capacity(), 65);
        assert!(space.reserve(20));
        assert_eq!((space.free, space.reusable), (80, 10));
        assert!(space.reserve(40));
        assert_eq!((space.free, space.reusable), (10, 0));
        assert!(!space.reserve(6) && space.reserve(5));
    }
}
