//! [`Database`]: opens and checks the SQLite file of a disk store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::Durability;
use super::error::{OpenError, OpenErrorKind};

/// Marks a SQLite file as a replay store of hookgate: "hkgt" in ASCII.
const APPLICATION_ID: i32 = 0x686b_6774;

/// The version of the table.
const VERSION: i32 = 2;

/// How long to wait for the lock while another process writes.
const BUSY_TIMEOUT: Duration = Duration::from_millis(400);

/// The behaviour of every writing transaction: it takes the write lock at its start.
pub(super) const IMMEDIATE: TransactionBehavior = TransactionBehavior::Immediate;

/// The open file. It has two connections, because a checkpoint takes long and must not
/// delay the claims.
pub(super) struct Database {
    pub(super) writer: Connection,
    pub(super) checkpointer: Connection,
    /// The path of the write-ahead log.
    pub(super) log: PathBuf,
}

impl Database {
    /// Opens the file in `folder`, or creates it.
    pub(super) fn open(folder: &Path, durability: Durability) -> Result<Self, OpenError> {
        create_private(folder)
            .map_err(|error| OpenError::new(folder, OpenErrorKind::CreateFolder(error)))?;
        check_writable(folder)
            .map_err(|error| OpenError::new(folder, OpenErrorKind::Unwritable(error)))?;
        let path = folder.join("replay.db");
        Self::connect(folder, &path, durability).map_err(|kind| OpenError::new(&path, kind))
    }

    fn connect(folder: &Path, path: &Path, durability: Durability) -> Result<Self, OpenErrorKind> {
        let writer = Connection::open(path)?;
        writer.busy_timeout(BUSY_TIMEOUT)?;
        check_owner_and_version(&writer)?;
        set_up(&writer, durability)?;
        create_table(&writer)?;
        let report: String = writer.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if report != "ok" {
            return Err(OpenErrorKind::FailedCheck(report));
        }
        writer.set_prepared_statement_cache_capacity(16);
        let checkpointer = Connection::open(path)?;
        checkpointer.busy_timeout(BUSY_TIMEOUT)?;
        Ok(Self {
            writer,
            checkpointer,
            log: folder.join("replay.db-wal"),
        })
    }
}

/// Refuses the file of another program or of another version, before the first write.
fn check_owner_and_version(database: &Connection) -> Result<(), OpenErrorKind> {
    let integer = |query: &str| database.query_row(query, [], |row| row.get::<_, i32>(0));
    let tables = integer("SELECT count(*) FROM sqlite_schema")?;
    if tables == 0 {
        return Ok(());
    }
    if integer("PRAGMA application_id")? != APPLICATION_ID {
        return Err(OpenErrorKind::Foreign);
    }
    match integer("PRAGMA user_version")? {
        VERSION => Ok(()),
        found => Err(OpenErrorKind::Version {
            found,
            expected: VERSION,
        }),
    }
}

fn set_up(database: &Connection, durability: Durability) -> Result<(), OpenErrorKind> {
    database.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA cache_size = -16384; PRAGMA mmap_size = 268435456;
         PRAGMA wal_autocheckpoint = 0;",
    )?;
    let mode: String = database.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenErrorKind::NoWriteAheadLog(mode));
    }
    database.execute_batch(match durability {
        Durability::Process => "PRAGMA synchronous = NORMAL",
        Durability::Power => "PRAGMA synchronous = FULL",
    })?;
    Ok(())
}

fn create_table(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         CREATE TABLE IF NOT EXISTS entries (
           -- AUTOINCREMENT never reuses an id: a greater id is a newer entry.
           id        INTEGER PRIMARY KEY AUTOINCREMENT,
           key       BLOB    NOT NULL,
           token     INTEGER NOT NULL,
           attempt   INTEGER NOT NULL,
           lease_end INTEGER,          -- NULL: the event is done
           forget_at INTEGER NOT NULL,
           source    INTEGER NOT NULL,
           content   INTEGER           -- checksum; NULL: not compared
         ) STRICT;
         COMMIT;"
    ))
}

/// Creates the folder. Only its owner may read it, because the file shows which events
/// were delivered.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a new file to `folder`, to learn why the operating system does not allow it.
/// SQLite's own errors do not say so.
///
/// This cannot open the database file itself: closing it would end the locks that SQLite
/// has on it in this process.
pub(super) fn check_writable(folder: &Path) -> io::Result<()> {
    let path = folder.join("replay.probe");
    fs::write(&path, "")?;
    // The removal fails if another process has removed the file first.
    let _: io::Result<()> = fs::remove_file(path);
    Ok(())
}
