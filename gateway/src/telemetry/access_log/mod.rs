//! The access log: one line a delivery, written by a thread of its own. A reader that is
//! slow or gone holds up no delivery; lines are dropped then, and counted.

mod batch;

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use hookgate_core::UnixTime;
use serde::{Serialize, Serializer};
use tracing_appender::non_blocking::NonBlocking;

use self::batch::Batch;
pub(crate) use self::batch::Flush;

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
pub(crate) enum AccessLogTarget {
    #[default]
    Stdout,
    /// To the other log.
    Stderr,
    Off,
}

#[derive(Debug)]
pub(crate) struct AccessLog {
    sink: Sink,
    format: Format,
}

#[derive(Debug)]
enum Sink {
    Own(Batch),
    /// That of the other log.
    Shared(NonBlocking),
    None,
}

impl AccessLog {
    /// The log that goes to `target`, of which standard error is written by `stderr`.
    ///
    /// # Errors
    ///
    /// Its thread could not be started.
    pub(crate) fn new(
        target: AccessLogTarget,
        format: Format,
        stderr: &NonBlocking,
    ) -> io::Result<(Self, Option<Flush>)> {
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

    /// Whether lines are written at all.
    pub(crate) fn is_on(&self) -> bool {
        !matches!(self.sink, Sink::None)
    }

    /// How many lines nobody read in time.
    pub(crate) fn dropped(&self) -> usize {
        match &self.sink {
            Sink::Own(batch) => batch.dropped(),
            Sink::Shared(log) => log.error_counter().dropped_lines(),
            Sink::None => 0,
        }
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        if !self.is_on() {
            return;
        }
        let mut bytes = Vec::with_capacity(512);
        match self.format {
            Format::Json => {
                // Writing to memory fails for nothing that a line holds.
                let _: serde_json::Result<()> = serde_json::to_writer(&mut bytes, line);
            }
            Format::Text => bytes.extend(line.to_string().into_bytes()),
        }
        bytes.push(b'\n');
        match &self.sink {
            Sink::Own(batch) => batch.push(&bytes),
            Sink::Shared(log) => {
                // What is dropped is counted there.
                let _: io::Result<()> = log.clone().write_all(&bytes);
            }
            Sink::None => {}
        }
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
    /// What was asked for, if no source has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_target: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_bytes: Option<usize>,
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
        field(
            "request_target",
            self.request_target.map(Quoted).as_ref().map(|v| v as _),
        )?;
        field("client", self.client.as_ref().map(|v| v as _))?;
        field("key_id", self.key_id.as_ref().map(|v| v as _))?;
        field("event_id", self.event_id.as_ref().map(|v| v as _))?;
        field("attempt", self.attempt.as_ref().map(|v| v as _))?;
        field("upstream", self.upstream.as_ref().map(|v| v as _))?;
        field("body_bytes", self.body_bytes.as_ref().map(|v| v as _))?;
        field("verify_us", self.verify_us.as_ref().map(|v| v as _))?;
        field("claim_us", self.claim_us.as_ref().map(|v| v as _))?;
        field("upstream_us", self.upstream_us.as_ref().map(|v| v as _))?;
        field("total_us", Some(&self.total_us))?;
        field("request_id", Some(&self.request_id))
    }
}

/// A text of the sender's, in which nothing can end the line or look like another field.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
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
