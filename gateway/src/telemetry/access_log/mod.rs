//! The access log: one line for each request, except for refusals by the rate limit (429).
//!
//! A thread of its own writes the lines, so a slow or missing reader never delays a delivery.
//! Lines that cannot be written in time are dropped and counted.

mod batch;
mod refused_request;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use hookgate_core::UnixTime;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing_appender::non_blocking::NonBlocking;

use self::batch::Batch;
pub(crate) use self::batch::FlushGuard;
pub(crate) use self::refused_request::RefusedRequest;

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
        let mut bytes = Vec::with_capacity(512);
        match self.format {
            Format::Json => {
                // Serialising a `Line` into memory cannot fail: every field is text or a number.
                let _: serde_json::Result<()> = serde_json::to_writer(&mut bytes, line);
            }
            Format::Text => bytes.extend(line.to_string().into_bytes()),
        }
        bytes.push(b'\n');
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

/// The fields of one line.
///
/// No field contains a secret or a signature. Only the event id can come from a body, and it
/// consists of visible ASCII characters.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'l> {
    pub(crate) time: Timestamp,
    pub(crate) request_id: &'l str,
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<&'l str>,
    /// Method, host and path of a request that belongs to no source.
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
    /// The facts about a refused request.
    #[serde(flatten)]
    pub(crate) refused: Option<&'l RefusedRequest>,
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
        if let Some(refused) = self.refused {
            field("signed_headers", Some(&Quoted(&refused.signed_headers)))?;
            field("age_s", refused.age_s.as_ref().map(|v| v as _))?;
            field(
                "content_length",
                refused.content_length.as_ref().map(|v| v as _),
            )?;
            for (name, text) in [
                ("content_type", &refused.content_type),
                ("user_agent", &refused.user_agent),
                ("delivery_id", &refused.delivery_id),
            ] {
                field(name, text.as_deref().map(Quoted).as_ref().map(|v| v as _))?;
            }
        }
        field("verify_us", self.verify_us.as_ref().map(|v| v as _))?;
        field("claim_us", self.claim_us.as_ref().map(|v| v as _))?;
        field("upstream_us", self.upstream_us.as_ref().map(|v| v as _))?;
        field("total_us", Some(&self.total_us))?;
        field("request_id", Some(&self.request_id))
    }
}

/// Displays a text from the sender in quotes and escaped, so that it cannot end the line or imitate
/// another field.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Displays a time such as `2026-11-21T18:00:00.123Z`. A time before 1970 shows as 1970, and
/// one that is out of range as `-`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp(pub(crate) UnixTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_millis(u64::try_from(self.0.millis()).unwrap_or(0));
        match UNIX_EPOCH.checked_add(since) {
            Some(time) => humantime::format_rfc3339_millis(time).fmt(f),
            None => f.write_char('-'),
        }
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self(UnixTime::from_secs(0))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let time = hookgate_diagnose::parse_time(&text);
        let expected = || D::Error::custom("expected a time in RFC 3339");
        time.map(Self).ok_or_else(expected)
    }
}

/// Displays a duration as a whole number of microseconds.
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
