//! The internal errors of the NATS queue. They end up as the source of a public error.

use std::error::Error;
use std::fmt;

use async_nats::RequestError;
use async_nats::jetstream;

type Cause = Box<dyn Error + Send + Sync>;

/// The queue could not be opened.
///
/// The message says what happened and what to do. It contains no credentials.
#[derive(Debug)]
pub struct NatsConnectError {
    message: String,
    source: Option<Cause>,
}

impl NatsConnectError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    pub(super) fn caused(message: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self {
            message: message.into(),
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for NatsConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for NatsConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A call to the server did not have a usable answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The connection is down, and nothing was sent.
    Disconnected,
    /// No server handles the request: JetStream has no leader, or the stream is gone.
    NoResponders,
    /// The server did not answer in time.
    TimedOut,
    /// The message is larger than the server accepts.
    TooLarge,
    Request(RequestError),
    /// The server refused the request.
    Refused(jetstream::Error),
    /// The stream was deleted.
    StreamGone(String),
    Malformed(Cause),
}

impl From<RequestError> for CallError {
    fn from(error: RequestError) -> Self {
        use async_nats::RequestErrorKind as Kind;
        match error.kind() {
            Kind::TimedOut => Self::TimedOut,
            Kind::NoResponders => Self::NoResponders,
            Kind::MaxPayloadExceeded => Self::TooLarge,
            _ => Self::Request(error),
        }
    }
}

impl CallError {
    pub(super) fn malformed(cause: impl Into<Cause>) -> Self {
        Self::Malformed(cause.into())
    }

    /// Whether the server may have carried out the request.
    pub(super) fn may_have_happened(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Request(_) | Self::Malformed(_))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the connection to NATS is down"),
            Self::NoResponders => f.write_str(
                "JetStream does not answer: it is not enabled, or its servers have no leader",
            ),
            Self::TimedOut => f.write_str("NATS did not answer in time"),
            Self::TooLarge => f.write_str("the message is larger than `max_payload` of the server"),
            Self::Request(error) => error.fmt(f),
            Self::Refused(error) => write!(f, "NATS refused the request: {error}"),
            Self::StreamGone(stream) => write!(
                f,
                "the stream {stream} does not exist any more; it was deleted with the deliveries \
                 in it. Restore its backup, or restart hookgate to create an empty stream"
            ),
            Self::Malformed(_) => f.write_str("the answer of NATS could not be read"),
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Request(error) => error.source(),
            Self::Malformed(error) => Some(&**error),
            _ => None,
        }
    }
}
