//! The access log: one line for each request, except for refusals by the rate limit (429).
//!
//! A thread of its own writes the lines, so a slow or missing reader never delays a delivery.
//! Lines that cannot be written, or not in time, are dropped and counted.

mod batch;
mod file;
mod line;
mod request;
mod timestamp;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use tracing_appender::non_blocking::NonBlocking;

use self::batch::Batch;
pub(crate) use self::batch::FlushGuard;
use self::file::LogFile;
pub(crate) use self::line::Line;
pub(crate) use self::request::{RequestFacts, SenderText, SignedHeaders};
pub(crate) use self::timestamp::Timestamp;

/// Initial size in bytes of the buffer for one line. Most lines are shorter.
const LINE_CAPACITY: usize = 768;

/// The format of both logs: the access log and the diagnostic log on standard error.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Text,
    /// One JSON object per line
    Json,
}

/// The output of the access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum AccessLogTarget {
    #[default]
    Stdout,
    /// Standard error, together with the diagnostic log.
    Stderr,
    Off,
    /// A file that lines are appended to, and that a request to reload opens anew.
    File(PathBuf),
}

impl AccessLogTarget {
    /// Parses the value of `access_log`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "stdout" => Some(Self::Stdout),
            "stderr" => Some(Self::Stderr),
            "off" => Some(Self::Off),
            _ => match text.strip_prefix("file:") {
                None | Some("") => None,
                Some(path) => Some(Self::File(path.into())),
            },
        }
    }
}

/// Displays the output for an operator.
impl fmt::Display for AccessLogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::Off => f.write_str("off"),
            Self::File(path) => write!(
                f,
                "{}, opened anew on SIGHUP and by `hookgate reload`",
                path.display()
            ),
        }
    }
}

/// The access log of the process.
#[derive(Debug)]
pub(crate) struct AccessLog {
    sink: Sink,
    format: Format,
}

#[derive(Debug)]
enum Sink {
    Stdout(Batch),
    File(Batch),
    /// The writer of the diagnostic log.
    Shared(NonBlocking),
    None,
}

impl AccessLog {
    /// Creates the log for `target`. `stderr` is the writer of the diagnostic log.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it cannot start the writer thread or open the file.
    pub(crate) fn new(
        target: &AccessLogTarget,
        format: Format,
        stderr: &NonBlocking,
    ) -> io::Result<(Self, Option<FlushGuard>)> {
        let (sink, flush) = match target {
            AccessLogTarget::Stdout => {
                let (batch, flush) = Batch::start(io::stdout())?;
                (Sink::Stdout(batch), Some(flush))
            }
            AccessLogTarget::Stderr => (Sink::Shared(stderr.clone()), None),
            AccessLogTarget::Off => (Sink::None, None),
            AccessLogTarget::File(path) => {
                let (batch, flush) = Batch::start(LogFile::open(path)?)?;
                (Sink::File(batch), Some(flush))
            }
        };
        Ok((Self { sink, format }, flush))
    }

    /// Whether lines are written.
    pub(crate) fn is_on(&self) -> bool {
        !matches!(self.sink, Sink::None)
    }

    /// Opens the file of the log anew, because another program has renamed it. Returns whether
    /// the log goes to a file.
    ///
    /// The writer thread opens the file. It writes all earlier lines to one of the two files.
    pub(crate) fn reopen(&self) -> bool {
        match &self.sink {
            Sink::File(batch) => {
                batch.reopen();
                true
            }
            Sink::Stdout(_) | Sink::Shared(_) | Sink::None => false,
        }
    }

    /// Returns the number of lines that were dropped.
    pub(crate) fn dropped(&self) -> usize {
        match &self.sink {
            Sink::Stdout(batch) | Sink::File(batch) => batch.dropped(),
            Sink::Shared(log) => log.error_counter().dropped_lines(),
            Sink::None => 0,
        }
    }

    /// Writes `line`, or drops and counts it if the output is too slow.
    pub(crate) fn write(&self, line: &Line<'_>) {
        if !self.is_on() {
            return;
        }
        let mut bytes = Vec::with_capacity(LINE_CAPACITY);
        line.write(self.format, &mut bytes);
        match &self.sink {
            Sink::Stdout(batch) | Sink::File(batch) => batch.push(&bytes),
            Sink::Shared(log) => {
                // The writer counts the lines that it drops.
                let _: io::Result<()> = log.clone().write_all(&bytes);
            }
            Sink::None => {}
        }
    }
}
