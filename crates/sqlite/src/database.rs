//! [`Database`]: opens and checks a SQLite file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::durability::Durability;
use crate::error::{OpenError, OpenErrorKind, WriteError};
use crate::file_system::refuse_network_file_system;
use crate::private_files::{create_private_file, create_private_folder, make_private};
use crate::reserve::{SpaceReserve, is_no_space};
use crate::write_turn::BUSY_TIMEOUT;

/// How long to wait while the last connection of another process copies the log and deletes it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The behaviour of every writing transaction: it takes the write lock at its start.
pub const IMMEDIATE: TransactionBehavior = TransactionBehavior::Immediate;

/// The name, the marks and the tables of a file.
#[derive(Debug)]
pub struct FileFormat {
    /// The name of the store in messages: "replay store".
    pub name: &'static str,
    /// The name of the file.
    pub file: &'static str,
    /// The number that marks a SQLite file as one of this format.
    pub application_id: i32,
    /// The version of the tables.
    pub version: i32,
    /// The settings of each connection that writes.
    pub settings: &'static str,
    /// The statements that create the tables of a new file.
    pub tables: &'static str,
    /// Files up to this size are checked completely when they are opened.
    pub max_checked_bytes: u64,
    /// The file systems on which the file may be.
    pub file_systems: FileSystems,
    /// The consequence of a new folder for the operator, as a sentence.
    pub loss: &'static str,
}

/// The file systems on which a file may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystems {
    /// Any file system.
    Any,
    /// Every file system that is not known as a network file system.
    Local,
}

/// The open file. It has two connections, because a checkpoint takes long and must not
/// delay the writes.
#[derive(Debug)]
pub struct Database {
    /// The connection of the thread that writes.
    pub writer: Connection,
    /// The connection of the checkpointer.
    pub checkpointer: Connection,
    /// The path of the file.
    pub path: PathBuf,
    /// The path of the write-ahead log.
    pub log: PathBuf,
    /// The space for work on stored data.
    pub reserve: SpaceReserve,
}

impl Database {
    /// Opens the file in `folder`, or creates it. Keeps `reserve` bytes of the file system for work
    /// on stored data.
    ///
    /// # Errors
    ///
    /// Returns [`OpenError`] if the folder cannot be created or written, or if the file in it
    /// is damaged, was written by another version, or belongs to another program.
    pub fn open(
        folder: &Path,
        format: &'static FileFormat,
        durability: Durability,
        reserve: u64,
    ) -> Result<Self, OpenError> {
        prepare_folder(folder, format).map_err(|kind| OpenError::new(folder, format, kind))?;
        let path = folder.join(format.file);
        let mut reserve = SpaceReserve::new(format.name, &path, reserve);
        let connected = match connect(&path, format, durability) {
            Err(OpenErrorKind::Sqlite(error)) if lacks_space(&error) && reserve.release() => {
                connect(&path, format, durability)
            }
            connected => connected,
        };
        let [writer, checkpointer] =
            connected.map_err(|kind| OpenError::new(&path, format, kind))?;
        reserve.shrink();
        reserve.restore();
        Ok(Self {
            writer,
            checkpointer,
            log: path.with_extension("db-wal"),
            path,
            reserve,
        })
    }
}

impl FileFormat {
    /// Returns the message about the damaged file `path`.
    pub fn damaged(&self, path: &Path) -> String {
        let path = path.display();
        format!(
            "{path}: damaged; restore a copy, or move the folder away. {}",
            self.loss
        )
    }

    /// Adds the operating system's reason to `error` if the system does not allow writes, and
    /// what to do if the file in `folder` is damaged.
    pub fn write_error(&self, folder: &Path, error: rusqlite::Error) -> WriteError {
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
                match check_writable(folder, self) {
                    Ok(()) => WriteError::Sqlite(error),
                    Err(source) => {
                        let folder = folder.to_owned();
                        WriteError::Unwritable { folder, source }
                    }
                }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => WriteError::Corrupt {
                advice: self.damaged(&folder.join(self.file)),
                source: error,
            },
            _ => WriteError::Sqlite(error),
        }
    }
}

/// Opens the connections of the writer and of the checkpointer.
fn connect(
    path: &Path,
    format: &'static FileFormat,
    durability: Durability,
) -> Result<[Connection; 2], OpenErrorKind> {
    match create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => make_private(path),
        created => created.map_err(OpenErrorKind::Unwritable)?,
    }
    let writer = Connection::open(path)?;
    writer.busy_timeout(OPEN_TIMEOUT)?;
    let is_new = is_new(&writer)?;
    if !is_new {
        check_owner_and_version(&writer, format)?;
        check(&writer, path, format)?;
    }
    set_up(&writer, format, durability)?;
    if is_new {
        create_tables(&writer, format)?;
    }
    writer.busy_timeout(BUSY_TIMEOUT)?;
    writer.set_prepared_statement_cache_capacity(64);
    let checkpointer = Connection::open(path)?;
    checkpointer.busy_timeout(BUSY_TIMEOUT)?;
    Ok([writer, checkpointer])
}

fn prepare_folder(folder: &Path, format: &FileFormat) -> Result<(), OpenErrorKind> {
    create_private_folder(folder).map_err(OpenErrorKind::CreateFolder)?;
    if format.file_systems == FileSystems::Local {
        refuse_network_file_system(folder)?;
    }
    match check_writable(folder, format) {
        // A queue on a full disk must open, because only its work makes space.
        Err(error) if is_full(&error) => Ok(()),
        checked => checked.map_err(OpenErrorKind::Unwritable),
    }
}

/// Returns whether a file could not be created for lack of space, or of file system metadata.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Returns whether SQLite may not have opened the file for lack of space. It cannot create the log
/// on a full disk, and does not say why.
fn lacks_space(error: &rusqlite::Error) -> bool {
    is_no_space(error) || error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
}

/// Returns whether the file has no tables.
fn is_new(database: &Connection) -> rusqlite::Result<bool> {
    let tables = "SELECT count(*) FROM sqlite_schema";
    database.query_row(tables, [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Refuses the file of another program or of another version, before the first write.
fn check_owner_and_version(
    database: &Connection,
    format: &FileFormat,
) -> Result<(), OpenErrorKind> {
    let integer = |query: &str| database.query_row(query, [], |row| row.get::<_, i32>(0));
    if integer("PRAGMA application_id")? != format.application_id {
        return Err(OpenErrorKind::Foreign);
    }
    let found = integer("PRAGMA user_version")?;
    match found == format.version {
        true => Ok(()),
        false => Err(OpenErrorKind::Version {
            found,
            expected: format.version,
        }),
    }
}

fn set_up(
    database: &Connection,
    format: &FileFormat,
    durability: Durability,
) -> Result<(), OpenErrorKind> {
    database.execute_batch(format.settings)?;
    database.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA wal_autocheckpoint = 0;")?;
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

fn create_tables(database: &Connection, format: &FileFormat) -> rusqlite::Result<()> {
    database.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         PRAGMA application_id = {};
         PRAGMA user_version = {};
         {}
         COMMIT;",
        format.application_id, format.version, format.tables
    ))
}

/// Checks the structure of the whole file, unless that takes too long.
fn check(database: &Connection, path: &Path, format: &FileFormat) -> Result<(), OpenErrorKind> {
    let size = fs::metadata(path).map_or(0, |file| file.len());
    if size > format.max_checked_bytes {
        return Ok(());
    }
    let report: String = database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match report == "ok" {
        true => Ok(()),
        false => Err(OpenErrorKind::FailedCheck(report)),
    }
}

/// Writes a new file to `folder`, to learn why the operating system does not allow it.
/// SQLite's own errors do not say so.
///
/// This cannot open the database file itself: closing it would end the locks that SQLite
/// has on it in this process.
///
/// # Errors
///
/// Returns the error of the operating system.
pub fn check_writable(folder: &Path, format: &FileFormat) -> io::Result<()> {
    let path = folder.join(format.file).with_extension("probe");
    fs::write(&path, "")?;
    // The removal fails if another process has removed the file first.
    let _: io::Result<()> = fs::remove_file(path);
    Ok(())
}
