//! Fetches messages from the consumer of a source.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::{Message, StatusCode, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio::time::timeout;

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

    /// Fetches the messages that the server can deliver now.
    pub(super) async fn fetch(
        &self,
        request: &LeaseRequest<'_>,
    ) -> Result<Vec<Message>, CallError> {
        self.check_connected()?;
        let consumer = names::consumer(request.source, self.stream_number());
        let inbox = self.client.new_inbox();
        let subscription = self.client.subscribe(inbox.clone()).await;
        let mut subscription = subscription.map_err(CallError::malformed)?;
        // Without a time limit the server could keep the request, because an entry is in flight
        // in the order of its source or was deleted, and deliver to a subscription that no longer
        // exists.
        let expires = u64::try_from(EMPTY_WAIT.as_nanos()).unwrap_or(u64::MAX);
        let body = json!({ "batch": request.max, "no_wait": true, "expires": expires });
        let call = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", self.names.work);
        let payload = body.to_string().into();
        let sent = self.client.publish_with_reply(call, inbox, payload).await;
        sent.map_err(CallError::malformed)?;
        self.receive(request, &mut subscription).await
    }

    async fn receive(
        &self,
        request: &LeaseRequest<'_>,
        subscription: &mut Subscriber,
    ) -> Result<Vec<Message>, CallError> {
        let silence = SILENCE.min(self.config.timeout / 2);
        let mut messages = Vec::new();
        while messages.len() < request.max {
            let message = match timeout(silence, subscription.next()).await {
                Ok(message) => message.ok_or(CallError::Disconnected)?,
                // NATS 2.9 sometimes forgets to end a request. An answer to another one comes after
                // the messages that the server has sent. If the server sends one later, it
                // repeats that when the lease ends.
                Err(_elapsed) => match self.consumer_info(request.source).await {
                    Err(error) if messages.is_empty() => return Err(error),
                    _ => match subscription.next().now_or_never().flatten() {
                        Some(message) => message,
                        None => break,
                    },
                },
            };
            match message.status {
                None | Some(StatusCode::OK) => messages.push(message),
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NO_RESPONDERS) => {
                    return Err(self.explain(CallError::NoResponders).await);
                }
                Some(_) => break,
            }
        }
        Ok(messages)
    }
}

/// Returns the configuration of a consumer as the API expects it.
fn to_config(config: pull::Config) -> async_nats::jetstream::consumer::Config {
    use async_nats::jetstream::consumer::IntoConsumerConfig as _;
    config.into_consumer_config()
}
