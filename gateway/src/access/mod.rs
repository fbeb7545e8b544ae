//! The access log: one line a delivery, written by a thread of its own. A reader that is
//! slow or gone holds up no delivery; lines are dropped then, and counted.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use hookgate_core::UnixTime;
use serde::{Serialize, Serializer};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait for the thread: about 5 MB.
const WAITING: usize = 16_384;

/// How lines are written, those of this log and of the other.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Where the access log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Target {
    #[default]
    Stdout,
    /// To the other log.
    Stderr,
    Off,
}

#[derive(Debug)]
pub(crate) struct AccessLog {
    sink: Option<NonBlocking>,
    format: Format,
}

/// A writer on a thread of its own, which writes what is left when the guard goes.
pub(crate) fn on_a_thread(
    output: impl Write + Send + 'static,
    name: &str,
) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .thread_name(name)
        // Written when there is nothing more to write.
        .finish(BufWriter::with_capacity(64 * 1024, output))
}

impl AccessLog {
    /// The log that goes to `target`, of which standard error is written by `stderr`.
    pub(crate) fn new(
        target: Target,
        format: Format,
        stderr: &NonBlocking,
    ) -> (Self, Option<WorkerGuard>) {
        let (sink, guard) = match target {
            Target::Stdout => {
                let (sink, guard) = on_a_thread(io::stdout(), "hookgate-access");
                (Some(sink), Some(guard))
            }
            Target::Stderr => (Some(stderr.clone()), None),
            Target::Off => (None, None),
        };
        (Self { sink, format }, guard)
    }

    /// Whether lines are written at all.
    pub(crate) fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// How many lines nobody read in time.
    pub(crate) fn dropped(&self) -> usize {
        let counter = self.sink.as_ref().map(NonBlocking::error_counter);
        counter.as_ref().map_or(0, ErrorCounter::dropped_lines)
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let Some(sink) = &self.sink else {
            return;
        };
        let mut bytes = Vec::with_capacity(512);
        match self.format {
            Format::Json => {
                // Writing to memory fails for nothing that a line holds.
                let _: serde_json::Result<()> = serde_json::to_writer(&mut bytes, line);
            }
            Format::Text => bytes.extend(line.to_string().into_bytes()),
        }
        bytes.push(b'\n');
        // What is dropped is counted by the sink.
        let _: io::Result<()> = sink.clone().write_all(&bytes);
    }
}

/// One delivery. No field of it is a secret or of a body, but for the event's id, which
/// is visible ASCII.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'l> {
    pub(crate) time: Moment,
    pub(crate) request_id: &'l str,
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verify_us: Option<Microseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claim_us: Option<Microseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_us: Option<Microseconds>,
    pub(crate) total_us: Microseconds,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.time, self.outcome)?;
        let mut field = |name: &str, value: Option<&dyn fmt::Display>| match value {
            Some(value) => write!(f, " {name}={value}"),
            None => Ok(()),
        };
        field("reason", self.reason.as_ref().map(|v| v as _))?;
        field("status", self.status.as_ref().map(|v| v as _))?;
        field("source", self.source.as_ref().map(|v| v as _))?;
        field("client", self.client.as_ref().map(|v| v as _))?;
        field("key", self.key.as_ref().map(|v| v as _))?;
        field("event", self.event.as_ref().map(|v| v as _))?;
        field("attempt", self.attempt.as_ref().map(|v| v as _))?;
        field("upstream", self.upstream.as_ref().map(|v| v as _))?;
        field("bytes", self.bytes.as_ref().map(|v| v as _))?;
        field("verify_us", self.verify_us.as_ref().map(|v| v as _))?;
        field("claim_us", self.claim_us.as_ref().map(|v| v as _))?;
        field("upstream_us", self.upstream_us.as_ref().map(|v| v as _))?;
        field("total_us", Some(&self.total_us))?;
        field("request_id", Some(&self.request_id))
    }
}

/// A moment, such as `2026-11-21T18:00:00.123Z`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) UnixTime);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_millis(u64::try_from(self.0.millis()).unwrap_or(0));
        match UNIX_EPOCH.checked_add(since) {
            Some(time) => humantime::format_rfc3339_millis(time).fmt(f),
            None => f.write_char('-'),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Microseconds(pub(crate) Duration);

impl fmt::Display for Microseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_micros().fmt(f)
    }
}

impl Serialize for Microseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX))
    }
}
