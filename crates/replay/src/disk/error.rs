//! The errors of the disk store: [`OpenError`] at the start, [`WriteError`] later.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// A disk store could not be opened.
#[derive(Debug)]
pub struct OpenError {
    path: PathBuf,
    kind: OpenErrorKind,
}

#[derive(Debug)]
pub(super) enum OpenErrorKind {
    CreateFolder(io::Error),
    Unwritable(io::Error),
    Thread(io::Error),
    /// The file is not a database of hookgate.
    Foreign,
    Version {
        found: i32,
        expected: i32,
    },
    Corrupt(rusqlite::Error),
    /// The integrity check failed with this report.
    FailedCheck(String),
    /// The file system does not support write-ahead logging. SQLite chose this journal mode.
    NoWriteAheadLog(String),
    Sqlite(rusqlite::Error),
}

/// A batch of claims and settlements could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The operating system does not allow writes to the folder. SQLite reports only that
    /// some operation failed; this error says why.
    Unwritable {
        folder: PathBuf,
        source: io::Error,
    },
    Sqlite(rusqlite::Error),
}

impl OpenError {
    pub(super) fn new(path: &Path, kind: impl Into<OpenErrorKind>) -> Self {
        Self {
            path: path.to_owned(),
            kind: kind.into(),
        }
    }
}

impl From<rusqlite::Error> for OpenErrorKind {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(error),
            _ => Self::Sqlite(error),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            OpenErrorKind::CreateFolder(_) => {
                write!(f, "{path}: the folder cannot be created")
            }
            OpenErrorKind::Unwritable(_) => write!(
                f,
                "{path}: cannot be written; expected a writable folder on a local disk"
            ),
            OpenErrorKind::Thread(_) => {
                write!(f, "{path}: cannot start a thread for the store")
            }
            OpenErrorKind::Foreign => write!(
                f,
                "{path}: not a file of hookgate's replay store; expected a folder that only \
                 hookgate uses"
            ),
            OpenErrorKind::Version { found, expected } => write!(
                f,
                "{path}: version {found}, written by another version of hookgate; expected \
                 {expected}. Start the hookgate that wrote it, or configure another folder. A new \
                 folder contains no events, so replays of recent deliveries pass once"
            ),
            OpenErrorKind::Corrupt(_) => write_damaged(f, &self.path),
            OpenErrorKind::FailedCheck(report) => {
                write_damaged(f, &self.path)?;
                write!(f, ": {report}")
            }
            OpenErrorKind::NoWriteAheadLog(mode) => write!(
                f,
                "{path}: the file system does not support a write-ahead log (journal mode \
                 {mode}); expected a local disk"
            ),
            OpenErrorKind::Sqlite(_) => write!(f, "{path}: cannot be opened"),
        }
    }
}

fn write_damaged(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write!(
        f,
        "{}: damaged; restore a copy, or move the folder away (a new folder contains no events, \
         so replays of recent deliveries pass once)",
        path.display()
    )
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            OpenErrorKind::CreateFolder(error)
            | OpenErrorKind::Unwritable(error)
            | OpenErrorKind::Thread(error) => Some(error),
            OpenErrorKind::Corrupt(error) | OpenErrorKind::Sqlite(error) => Some(error),
            OpenErrorKind::Foreign
            | OpenErrorKind::Version { .. }
            | OpenErrorKind::FailedCheck(_)
            | OpenErrorKind::NoWriteAheadLog(_) => None,
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable { folder, .. } => {
                write!(f, "{}: cannot be written", folder.display())
            }
            Self::Sqlite(error) => error.fmt(f),
        }
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unwritable { source, .. } => Some(source),
            Self::Sqlite(error) => error.source(),
        }
    }
}
