use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hookgate_core::ReplayKey;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{interval, sleep, timeout};

use super::config::RedisConfig;
use super::wire;

/// Tells those who wait for a settlement, here or in another process.
pub(super) struct Bells {
    here: crate::notifier::SettlementNotifier,
    wanted: Notify,
}

/// A connection that is silent may be dead; who waits looks again meanwhile.
const PING: Duration = Duration::from_secs(5);

/// Before another try to listen.
const PAUSE: Duration = Duration::from_millis(500);

impl Bells {
    pub(super) fn new() -> Self {
        Self {
            here: crate::notifier::SettlementNotifier::new(),
            wanted: Notify::const_new(),
        }
    }

    /// Completes when the bell of `key` rings after this call.
    pub(super) fn wait(&self, key: ReplayKey) -> Notified<'_> {
        let rings = self.here.notified(key);
        self.wanted.notify_one();
        rings
    }

    pub(super) fn ring(&self, key: ReplayKey) {
        self.here.notify(key);
    }
}

/// Rings the bells for what others settle, from when somebody first waits. Not
/// to hear is no failure: waiters look again by themselves.
pub(super) async fn listen(bells: Arc<Bells>, config: Arc<RedisConfig>) {
    bells.wanted.notified().await;
    loop {
        if let Ok(connection) = wire::listen(&config).await {
            // Something may have been settled while nobody listened.
            bells.here.notify_all();
            let (mut commands, mut messages) = connection.split();
            let mut pings = interval(PING);
            loop {
                tokio::select! {
                    message = messages.next() => {
                        let Some(message) = message else { break };
                        let mut key = [0; 16];
                        if hex::decode_to_slice(message.get_payload_bytes(), &mut key).is_ok() {
                            bells.ring(ReplayKey::from_bytes(key));
                        }
                    }
                    _ = pings.tick() => {
                        let answer = timeout(PING, commands.ping::<::redis::Value>()).await;
                        if !matches!(answer, Ok(Ok(_))) {
                            break;
                        }
                    }
                }
            }
        }
        sleep(PAUSE).await;
    }
}
