use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::Durability;

/// Says whose file it is: "hkgt".
const APPLICATION_ID: i32 = 0x686b_6774;

/// Version of the table.
const VERSION: i32 = 2;

/// How long to wait for another process to finish writing.
const BUSY: Duration = Duration::from_millis(400);

/// The open file: one connection writes, the other carries what was written from the
/// log into the file, which takes long and keeps nobody waiting so.
pub(super) struct Files {
    pub(super) writer: Connection,
    pub(super) keeper: Connection,
    pub(super) log: PathBuf,
}

impl Files {
    pub(super) fn open(folder: &Path, durability: Durability) -> Result<Self, OpenError> {
        make_private(folder).map_err(|error| OpenError::new(folder, Kind::Folder(error)))?;
        try_to_write(folder).map_err(|error| OpenError::new(folder, Kind::Unwritable(error)))?;
        let path = folder.join("replay.db");
        let open = || -> Result<Self, Kind> {
            let writer = Connection::open(&path)?;
            writer.busy_timeout(BUSY)?;
            check_whose(&writer)?;
            writer.execute_batch(
                "PRAGMA auto_vacuum = INCREMENTAL;
                 PRAGMA cache_size = -16384; PRAGMA mmap_size = 268435456;
                 PRAGMA wal_autocheckpoint = 0;",
            )?;
            let mode: String =
                writer.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
            if mode != "wal" {
                return Err(Kind::NoLog(mode));
            }
            writer.execute_batch(match durability {
                Durability::Process => "PRAGMA synchronous = NORMAL",
                Durability::Power => "PRAGMA synchronous = FULL",
            })?;
            writer.execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 PRAGMA application_id = {APPLICATION_ID};
                 PRAGMA user_version = {VERSION};
                 CREATE TABLE IF NOT EXISTS entries (
                   -- None is given twice: what has a greater one is newer.
                   id        INTEGER PRIMARY KEY AUTOINCREMENT,
                   key       BLOB    NOT NULL,
                   token     INTEGER NOT NULL,
                   attempt   INTEGER NOT NULL,
                   lease_end INTEGER,          -- none: it is done
                   forget_at INTEGER NOT NULL,
                   source    INTEGER NOT NULL,
                   content   INTEGER           -- none: nothing is compared
                 ) STRICT;
                 COMMIT;"
            ))?;
            let verdict: String =
                writer.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if verdict != "ok" {
                return Err(Kind::Damaged(verdict));
            }
            writer.set_prepared_statement_cache_capacity(16);
            let keeper = Connection::open(&path)?;
            keeper.busy_timeout(BUSY)?;
            Ok(Self {
                writer,
                keeper,
                log: folder.join("replay.db-wal"),
            })
        };
        open().map_err(|kind| OpenError::new(&path, kind))
    }
}

/// Refuses a file of somebody else, or of another version, before anything is
/// written to it.
fn check_whose(file: &Connection) -> Result<(), Kind> {
    let number = |pragma: &str| file.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let tables: i32 = number("SELECT count(*) FROM sqlite_schema")?;
    if tables == 0 {
        return Ok(());
    }
    if number("PRAGMA application_id")? != APPLICATION_ID {
        return Err(Kind::Foreign);
    }
    match number("PRAGMA user_version")? {
        VERSION => Ok(()),
        other => Err(Kind::Version(other)),
    }
}

/// The file says which events there were; that is nobody else's business.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// What the system says to a new file in `folder`: SQLite knows only that something went
/// wrong. Not the file itself: to close it would end the locks that SQLite has on it.
pub(super) fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join("replay.probe");
    fs::write(&path, "")?;
    // Another process may have been faster.
    let _: io::Result<()> = fs::remove_file(path);
    Ok(())
}

/// Why a store could not be opened.
#[derive(Debug)]
pub struct OpenError {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Folder(io::Error),
    Unwritable(io::Error),
    Thread(io::Error),
    Foreign,
    Version(i32),
    Damaged(String),
    NoLog(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Kind {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign,
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}

impl OpenError {
    pub(super) fn new(path: &Path, kind: Kind) -> Self {
        Self {
            path: path.to_owned(),
            kind,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            Kind::Folder(error) => write!(f, "{path}: the folder cannot be made: {error}"),
            Kind::Unwritable(error) => write!(
                f,
                "{path}: cannot be written: {error}; expected a folder on a local disk that may be \
                 written to"
            ),
            Kind::Thread(error) => write!(f, "{path}: no thread for the store: {error}"),
            Kind::Foreign => write!(
                f,
                "{path}: not a file of hookgate's; expected a folder of its own"
            ),
            Kind::Version(found) => write!(
                f,
                "{path}: version {found}, written by another hookgate; expected {VERSION}. Start the \
                 one that wrote it, or another folder, which forgets what this one remembers"
            ),
            Kind::Damaged(what) => write!(
                f,
                "{path}: damaged ({what}). Put back a copy, or move the folder away: a new one \
                 forgets what this one remembers, so that deliveries of the last minutes can come \
                 once more"
            ),
            Kind::NoLog(mode) => write!(
                f,
                "{path}: the file system does not allow a write-ahead log (journal mode {mode}); \
                 expected a local disk"
            ),
            Kind::Sqlite(error) => write!(f, "{path}: cannot be opened: {error}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Folder(error) | Kind::Unwritable(error) | Kind::Thread(error) => Some(error),
            Kind::Sqlite(error) => Some(error),
            _ => None,
        }
    }
}
