//! [`Server`]: calls to the NATS servers, with a time limit.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{DirectGetErrorKind, Info, LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, HeaderMap, Request};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::clock::ServerClock;
use super::config::NatsConfig;
use super::error::CallError;
use super::names::Names;

/// The connection to the servers, with the streams of a queue.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) jetstream: Context,
    pub(super) config: NatsConfig,
    pub(super) names: Names,
    pub(super) work: Stream<()>,
    pub(super) dead: Stream<()>,
    pub(super) state: Stream<()>,
    pub(super) clock: ServerClock,
    /// Differs for each stream that had the name of the stream of entries.
    pub(super) stream_number: AtomicU32,
}

/// A message was not stored, or the server did not say so.
#[derive(Debug)]
pub(super) struct PublishError {
    pub(super) error: CallError,
    /// Whether the server may have stored the message.
    pub(super) may_be_stored: bool,
}

/// The message that a read asks for.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'w> {
    Number(u64),
    /// The first message of the subject from the number on.
    Next {
        subject: &'w str,
        from: u64,
    },
    Last {
        subject: &'w str,
    },
}

impl Server {
    /// The part of the time limit after which the first try is abandoned.
    const FIRST_TRY: f32 = 0.6;

    /// Stores a message, and sends it again if the answer is lost. The headers or the subject
    /// ensure that the server stores it once.
    pub(super) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAck, PublishError> {
        let start = Instant::now();
        let deadlines = [
            start + self.config.timeout.mul_f32(Self::FIRST_TRY),
            start + self.config.timeout,
        ];
        let mut may_be_stored = false;
        let mut last_error = CallError::TimedOut;
        for deadline in deadlines {
            let request = Request::new()
                .payload(payload.clone())
                .headers(headers.clone());
            match self.request(&subject, request, deadline).await {
                Ok(ack) => return Ok(ack),
                Err(error) => {
                    may_be_stored |= error.may_have_happened();
                    let again = error.may_have_happened() || is_busy(&error);
                    last_error = error;
                    if !again {
                        break;
                    }
                }
            }
        }
        Err(PublishError {
            error: self.explain(last_error).await,
            may_be_stored,
        })
    }

    /// Calls the API of JetStream.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let payload = serde_json::to_vec(body).map_err(CallError::malformed)?;
        let request = Request::new().payload(payload.into());
        let deadline = Instant::now() + self.config.timeout;
        match self
            .request(&format!("$JS.API.{call}"), request, deadline)
            .await
        {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Settles a delivery of a consumer, and waits until the server has done so.
    pub(super) async fn settle(&self, subject: &str, kind: Bytes) -> Result<(), CallError> {
        self.check_connected()?;
        let start = Instant::now();
        let deadlines = [
            start + self.config.timeout.mul_f32(Self::FIRST_TRY),
            start + self.config.timeout,
        ];
        let mut last_error = CallError::TimedOut;
        for deadline in deadlines {
            let request = Request::new().payload(kind.clone()).timeout(None);
            let answer = self.client.send_request(subject.to_owned(), request);
            match timeout_at(deadline, answer).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => {
                    last_error = error.into();
                    break;
                }
                Err(_elapsed) => {}
            }
        }
        Err(self.explain(last_error).await)
    }

    async fn request<T: DeserializeOwned>(
        &self,
        subject: &str,
        request: Request,
        deadline: Instant,
    ) -> Result<T, CallError> {
        self.check_connected()?;
        let request = request.timeout(None);
        let answer = self.client.send_request(subject.to_owned(), request);
        let answer = timeout_at(deadline, answer).await;
        let answer = answer.map_err(|_elapsed| CallError::TimedOut)??;
        match serde_json::from_slice(&answer.payload) {
            Ok(Response::Ok(value)) => Ok(value),
            Ok(Response::Err { error }) => Err(CallError::Refused(error)),
            Err(error) => Err(CallError::malformed(error)),
        }
    }

    /// Returns an error while the connection is down. The client library would otherwise keep
    /// the request, and send it long after the caller has given up.
    pub(super) fn check_connected(&self) -> Result<(), CallError> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => Err(CallError::Disconnected),
        }
    }

    /// Finds out whether the stream is gone, if that is a possible reason for `error`.
    pub(super) async fn explain(&self, error: CallError) -> CallError {
        let is_gone = |code: ErrorCode| {
            code == ErrorCode::STREAM_NOT_FOUND || code == ErrorCode::CONSUMER_NOT_FOUND
        };
        match &error {
            CallError::NoResponders => {}
            CallError::Refused(refusal) if is_gone(refusal.error_code()) => {}
            _ => return error,
        }
        for name in [&self.names.work, &self.names.dead, &self.names.state] {
            let request = Request::new().payload("{}".into());
            let deadline = Instant::now() + self.config.timeout;
            let call = format!("$JS.API.STREAM.INFO.{name}");
            let info = self.request::<Info>(&call, request, deadline).await;
            if let Err(CallError::Refused(refusal)) = info
                && refusal.error_code() == ErrorCode::STREAM_NOT_FOUND
            {
                return CallError::StreamGone(name.clone());
            }
        }
        error
    }

    /// Reads a message from any server that stores the stream.
    pub(super) async fn read(
        &self,
        stream: &Stream<()>,
        wanted: Wanted<'_>,
    ) -> Result<Option<StreamMessage>, CallError> {
        self.check_connected()?;
        let request = stream.direct_get_builder();
        let request = match wanted {
            Wanted::Number(number) => request.sequence(number),
            Wanted::Next { subject, from } => request.next_by_subject(subject).sequence(from),
            Wanted::Last { subject } => request.last_by_subject(subject),
        };
        match request.send().await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                DirectGetErrorKind::NotFound => Ok(None),
                DirectGetErrorKind::TimedOut => Err(CallError::TimedOut),
                DirectGetErrorKind::ErrorResponse(async_nats::StatusCode::NO_RESPONDERS, _) => {
                    Err(self.explain(CallError::NoResponders).await)
                }
                _ => Err(CallError::malformed(error)),
            },
        }
    }

    /// Reads the last message of `subject` from the leader of the stream of the state.
    pub(super) async fn last_of_state(
        &self,
        subject: &str,
    ) -> Result<Option<StreamMessage>, CallError> {
        self.check_connected()?;
        let request = self.state.raw_message_builder().last_by_subject(subject);
        match request.send().await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(refusal) => {
                    Err(self.explain(CallError::Refused(refusal)).await)
                }
                _ => Err(self.explain(CallError::NoResponders).await),
            },
        }
    }

    pub(super) fn stream_number(&self) -> u32 {
        self.stream_number.load(Ordering::Relaxed)
    }
}

impl From<PublishError> for CallError {
    fn from(error: PublishError) -> Self {
        error.error
    }
}

/// Whether the server asks to send the message again.
fn is_busy(error: &CallError) -> bool {
    let CallError::Refused(error) = error else {
        return false;
    };
    let busy = [
        ErrorCode::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_NOT_READY,
        ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT,
    ];
    busy.contains(&error.error_code())
}

/// The time between two looks at the streams and at the clock of the server.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(30);
