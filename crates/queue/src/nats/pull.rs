//! Fetches messages from the consumer of a source.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::{Message, StatusCode, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::error::CallError;
use super::names;
use super::server::Server;
use crate::store::{LeaseRequest, Order};

/// How long the server keeps a request that it cannot fulfil.
const EMPTY_WAIT: Duration = Duration::from_millis(20);

/// The time without a message after which the server is asked for another answer.
const SILENCE: Duration = Duration::from_millis(500);

/// The settings of a consumer that depend on its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConsumerSettings {
    pub(super) lease: Duration,
    pub(super) order: Order,
}

/// Where the messages of a source arrive, in answer to one request after the other.
///
/// It outlives a request, so a message that the server sends late reaches the next call. Otherwise
/// the message would wait until its lease ends, and count as a lost attempt.
#[derive(Debug)]
pub(super) struct Inbox {
    subject: String,
    subscription: Subscriber,
    /// The number of requests until now.
    requests: u64,
    expected: Expected,
}

/// The messages that may arrive in an inbox before the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    /// Messages of requests that were sent at this time or later.
    Late(Instant),
    /// Messages of earlier and of later requests. Their order does not tell them apart.
    Mixed,
}

/// The messages that a request has fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) messages: Vec<Message>,
    /// The server sent no message before this time.
    pub(super) earliest: Instant,
    /// Whether messages of an earlier request may be among them.
    pub(super) has_late: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestEnd {
    /// The server has said that no more messages come.
    Told,
    /// The request brought as many messages as it asked for.
    Full,
    /// The server has said nothing for some time.
    Unknown,
}

impl Inbox {
    /// Returns whether another request may use the inbox. A lease of `lease` must have time left if
    /// it began with an earlier request.
    pub(super) fn is_usable(&self, lease: Duration) -> bool {
        match self.expected {
            Expected::Nothing => true,
            Expected::Late(since) => since.elapsed() < lease / 2,
            Expected::Mixed => false,
        }
    }

    /// Returns the subject for the answers to the next request.
    fn next_subject(&mut self) -> String {
        self.requests += 1;
        format!("{}.{}", self.subject, self.requests)
    }
}

impl Server {
    /// Creates the consumer of `source`, or changes its settings.
    pub(super) async fn set_consumer(
        &self,
        source: &str,
        settings: ConsumerSettings,
    ) -> Result<(), CallError> {
        self.check_connected()?;
        let name = names::consumer(source, self.stream_number());
        let config = pull::Config {
            durable_name: Some(name.clone()),
            description: Some(format!("The workers of the source {source}")),
            ack_policy: AckPolicy::Explicit,
            ack_wait: settings.lease,
            max_deliver: -1,
            filter_subject: self.names.entries_of(source),
            // Entries that wait for their next attempt count here as well.
            max_ack_pending: match settings.order {
                Order::Any => -1,
                Order::Source => 1,
            },
            ..pull::Config::default()
        };
        let call = format!("CONSUMER.DURABLE.CREATE.{}.{name}", self.names.work);
        let request = json!({ "stream_name": self.names.work, "config": to_config(config) });
        self.api::<serde::de::IgnoredAny>(&call, &request).await?;
        Ok(())
    }

    /// Opens an inbox for the messages of one source.
    pub(super) async fn open_inbox(&self) -> Result<Inbox, CallError> {
        self.check_connected()?;
        let subject = self.client.new_inbox();
        let subscription = self.client.subscribe(format!("{subject}.*")).await;
        Ok(Inbox {
            subject,
            subscription: subscription.map_err(CallError::malformed)?,
            requests: 0,
            expected: Expected::Nothing,
        })
    }

    /// Fetches the messages that the server can deliver now.
    pub(super) async fn fetch(
        &self,
        request: &LeaseRequest<'_>,
        inbox: &mut Inbox,
    ) -> Result<Fetched, CallError> {
        self.check_connected()?;
        let asked = Instant::now();
        let (earliest, has_late) = match inbox.expected {
            Expected::Late(since) => (since, true),
            Expected::Nothing | Expected::Mixed => (asked, false),
        };
        let consumer = names::consumer(request.source, self.stream_number());
        // Without a time limit the server could keep the request, because an entry is in flight
        // in the order of its source or was deleted, and deliver it after the next request.
        let expires = u64::try_from(EMPTY_WAIT.as_nanos()).unwrap_or(u64::MAX);
        let body = json!({ "batch": request.max, "no_wait": true, "expires": expires });
        let call = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", self.names.work);
        let (reply, payload) = (inbox.next_subject(), body.to_string().into());
        inbox.expected = Expected::Late(earliest);
        let sent = self.client.publish_with_reply(call, reply.clone(), payload);
        sent.await.map_err(CallError::malformed)?;
        let (messages, end) = self.receive(request, inbox, &reply).await?;
        inbox.expected = match (end, has_late) {
            (RequestEnd::Told, _) | (RequestEnd::Full, false) => Expected::Nothing,
            (RequestEnd::Full, true) => Expected::Mixed,
            (RequestEnd::Unknown, _) => Expected::Late(earliest),
        };
        Ok(Fetched {
            messages,
            earliest,
            has_late,
        })
    }

    async fn receive(
        &self,
        request: &LeaseRequest<'_>,
        inbox: &mut Inbox,
        reply: &str,
    ) -> Result<(Vec<Message>, RequestEnd), CallError> {
        let silence = SILENCE.min(self.config.timeout / 2);
        let subscription = &mut inbox.subscription;
        let mut messages = Vec::new();
        while messages.len() < request.max {
            let message = match timeout(silence, subscription.next()).await {
                Ok(message) => message.ok_or(CallError::Disconnected)?,
                // NATS 2.9 sometimes forgets to end a request. An answer to another one mostly comes
                // after the messages that the server has sent. The next call finds later ones.
                Err(_elapsed) => match self.consumer_info(request.source).await {
                    Err(error) if messages.is_empty() => return Err(error),
                    _ => match subscription.next().now_or_never().flatten() {
                        Some(message) => message,
                        None => return Ok((messages, RequestEnd::Unknown)),
                    },
                },
            };
            match message.status {
                None | Some(StatusCode::OK) => messages.push(message),
                // It answers an earlier request.
                Some(_) if *message.subject != *reply => {}
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NO_RESPONDERS) => {
                    return Err(self.explain(CallError::NoResponders).await);
                }
                Some(_) => return Ok((messages, RequestEnd::Told)),
            }
        }
        Ok((messages, RequestEnd::Full))
    }
}

/// Returns the configuration of a consumer as the API expects it.
fn to_config(config: pull::Config) -> async_nats::jetstream::consumer::Config {
    use async_nats::jetstream::consumer::IntoConsumerConfig as _;
    config.into_consumer_config()
}
