//! The access log: one line for each request, except for refusals by the rate limit (429).
//!
//! A thread of its own writes the lines, so a slow or missing reader never delays a delivery.
//! Lines that cannot be written in time are dropped and counted.

mod batch;
mod line;
mod request;
mod timestamp;

use std::io::{self, Write};

use tracing_appender::non_blocking::NonBlocking;

use self::batch::Batch;
pub(crate) use self::batch::FlushGuard;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AccessLogTarget {
    #[default]
    Stdout,
    /// Standard error, together with the diagnostic log.
    Stderr,
    Off,
}

/// The access log of the process.
#[derive(Debug)]
pub(crate) struct AccessLog {
    sink: Sink,
    format: Format,
}

#[derive(Debug)]
enum Sink {
    Own(Batch),
    /// The writer of the diagnostic log.
    Shared(NonBlocking),
    None,
}

impl AccessLog {
    /// Creates the log for `target`. `stderr` is the writer of the diagnostic log.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it cannot start the writer thread.
    pub(crate) fn new(
        target: AccessLogTarget,
        format: Format,
        stderr: &NonBlocking,
    ) -> io::Result<(Self, Option<FlushGuard>)> {
        let (sink, flush) = match target {
            AccessLogTarget::Stdout => {
                let (batch, flush) = Batch::start(io::stdout())?;
                (Sink::Own(batch), Some(flush))
            }
            AccessLogTarget::Stderr => (Sink::Shared(stderr.clone()), None),
            AccessLogTarget::Off => (Sink::None, None),
        };
        Ok((Self { sink, format }, flush))
    }

    /// Whether lines are written.
    pub(crate) fn is_on(&self) -> bool {
        !matches!(self.sink, Sink::None)
    }

    /// Returns the number of lines that were dropped.
    pub(crate) fn dropped(&self) -> usize {
        match &self.sink {
            Sink::Own(batch) => batch.dropped(),
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
            Sink::Own(batch) => batch.push(&bytes),
            Sink::Shared(log) => {
                // The writer counts the lines that it drops.
                let _: io::Result<()> = log.clone().write_all(&bytes);
            }
            Sink::None => {}
        }
    }
}
