//! [`SettlementSubscriber`]: notifies waiters of settlements in this and other processes.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::PubSub;
use futures_util::StreamExt;
use hookgate_core::ReplayKey;
use hookgate_core::internal::ErrorChain;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{interval, sleep, timeout};

use super::config::RedisConfig;
use super::connect::subscribe;
use crate::notifier::SettlementNotifier;

/// Passes settlements from the server's channel to the waiters of this process.
///
/// A lost connection is no failure: each waiter claims again after a while by itself.
pub(super) struct SettlementSubscriber {
    notifier: SettlementNotifier,
    /// Notified by the first waiter. Until then no connection is opened.
    first_waiter: Notify,
}

/// How often the connection is checked. A connection without messages may be dead.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The pause before another attempt to subscribe.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

impl SettlementSubscriber {
    pub(super) fn new() -> Self {
        Self {
            notifier: SettlementNotifier::new(),
            first_waiter: Notify::const_new(),
        }
    }

    /// Returns a future that completes at the first notification for `key` after this call.
    pub(super) fn notified(&self, key: ReplayKey) -> Notified<'_> {
        let notified = self.notifier.notified(key);
        self.first_waiter.notify_one();
        notified
    }

    /// Wakes the waiters of this process.
    pub(super) fn notify(&self, key: ReplayKey) {
        self.notifier.notify(key);
    }

    /// Waits for the first waiter, then listens to the channel forever.
    pub(super) async fn run(self: Arc<Self>, config: Arc<RedisConfig>) {
        self.first_waiter.notified().await;
        loop {
            match subscribe(&config).await {
                Ok(channel) => {
                    // A claim may have been settled before the subscription.
                    self.notifier.notify_all();
                    self.forward_settlements(channel).await;
                }
                Err(error) => {
                    tracing::debug!(error = %ErrorChain(&error), "cannot subscribe to the settlements of other gates");
                }
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Notifies waiters until the connection is lost.
    async fn forward_settlements(&self, channel: PubSub) {
        let (mut commands, mut messages) = channel.split();
        let mut pings = interval(PING_INTERVAL);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return };
                    let mut key = [0; 16];
                    if hex::decode_to_slice(message.get_payload_bytes(), &mut key).is_ok() {
                        self.notify(ReplayKey::from_bytes(key));
                    }
                }
                _ = pings.tick() => {
                    let pong = timeout(PING_INTERVAL, commands.ping::<::redis::Value>()).await;
                    if !matches!(pong, Ok(Ok(_))) {
                        return;
                    }
                }
            }
        }
    }
}
