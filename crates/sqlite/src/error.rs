//! The errors of a file: [`OpenError`] at the start, [`WriteError`] later.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::database::FileFormat;

/// A replay store or a queue on the disk could not be opened.
#[derive(Debug)]
pub struct OpenError {
    path: PathBuf,
    format: &'static FileFormat,
    kind: OpenErrorKind,
}

/// Why a file could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The folder cannot be created.
    CreateFolder(io::Error),
    /// The folder cannot be written.
    Unwritable(io::Error),
    /// The folder is on a network file system of this name.
    NetworkFileSystem(&'static str),
    /// A thread cannot be started.
    Thread(io::Error),
    /// The file is not a database of hookgate.
    Foreign,
    /// Another version of hookgate has written the file.
    Version {
        /// The version of the file.
        found: i32,
        /// The version that this hookgate writes.
        expected: i32,
    },
    /// SQLite found a damaged page.
    Corrupt(rusqlite::Error),
    /// The integrity check failed with this report.
    FailedCheck(String),
    /// The file system does not support write-ahead logging. SQLite chose this journal mode.
    NoWriteAheadLog(String),
    /// Another error of SQLite.
    Sqlite(rusqlite::Error),
}

/// A batch could not be written.
#[derive(Debug)]
pub enum WriteError {
    /// The operating system does not allow writes to the folder. SQLite reports only that
    /// some operation failed; this error says why.
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// SQLite found a damaged page.
    Corrupt {
        /// The message with the next steps of the operator.
        advice: String,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// Another error of SQLite.
    Sqlite(rusqlite::Error),
}

impl OpenError {
    /// Creates the error of the file or folder `path`.
    pub fn new(path: &Path, format: &'static FileFormat, kind: impl Into<OpenErrorKind>) -> Self {
        Self {
            path: path.to_owned(),
            format,
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
        let FileFormat { name, loss, .. } = self.format;
        match &self.kind {
            OpenErrorKind::CreateFolder(_) => {
                write!(f, "{path}: the folder cannot be created")
            }
            OpenErrorKind::Unwritable(_) => write!(
                f,
                "{path}: cannot be written; expected a writable folder on a local disk"
            ),
            OpenErrorKind::NetworkFileSystem(file_system) => write!(
                f,
                "{path}: on the network file system {file_system}, where the locks of a {name} do \
                 not work; expected a folder on a local disk"
            ),
            OpenErrorKind::Thread(_) => {
                write!(f, "{path}: cannot start a thread for the {name}")
            }
            OpenErrorKind::Foreign => write!(
                f,
                "{path}: not a file of hookgate's {name}; expected a folder that only hookgate uses"
            ),
            OpenErrorKind::Version { found, expected } => write!(
                f,
                "{path}: version {found}, written by another version of hookgate; expected \
                 {expected}. Start the hookgate that wrote it, or configure another folder. {loss}"
            ),
            OpenErrorKind::Corrupt(_) => f.write_str(&self.format.damaged(&self.path)),
            OpenErrorKind::FailedCheck(report) => {
                write!(f, "{}: {report}", self.format.damaged(&self.path))
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

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            OpenErrorKind::CreateFolder(error)
            | OpenErrorKind::Unwritable(error)
            | OpenErrorKind::Thread(error) => Some(error),
            OpenErrorKind::Corrupt(error) | OpenErrorKind::Sqlite(error) => Some(error),
            OpenErrorKind::NetworkFileSystem(_)
            | OpenErrorKind::Foreign
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
            Self::Corrupt { advice, .. } => f.write_str(advice),
            Self::Sqlite(error) => error.fmt(f),
        }
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unwritable { source, .. } => Some(source),
            Self::Corrupt { source, .. } => Some(source),
            Self::Sqlite(error) => error.source(),
        }
    }
}
