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
    shards: [Notify; SHARDS],
    wanted: Notify,
}

/// Waiters share a bell with others; more bells, fewer false alarms.
const SHARDS: usize = 64;

/// A connection that is silent may be dead; who waits looks again meanwhile.
const PING: Duration = Duration::from_secs(5);

/// Before another try to listen.
const PAUSE: Duration = Duration::from_millis(500);

impl Bells {
    pub(super) fn new() -> Self {
        Self {
            shards: [const { Notify::const_new() }; SHARDS],
            wanted: Notify::const_new(),
        }
    }

    /// Completes when the bell of `key` rings after this call.
    pub(super) fn wait(&self, key: ReplayKey) -> Notified<'_> {
        let rings = self.of(key.as_bytes()[0]).notified();
        self.wanted.notify_one();
        rings
    }

    pub(super) fn ring(&self, key: ReplayKey) {
        self.of(key.as_bytes()[0]).notify_waiters();
    }

    fn of(&self, byte: u8) -> &Notify {
        // The key is a hash already: any byte of it spreads evenly.
        &self.shards[usize::from(byte) % SHARDS]
    }
}

/// Rings the bells for what others settle, from when somebody first waits. Not
/// to hear is no failure: waiters look again by themselves.
pub(super) async fn listen(bells: Arc<Bells>, config: Arc<RedisConfig>) {
    bells.wanted.notified().await;
    loop {
        if let Ok(connection) = wire::listen(&config).await {
            // Something may have been settled while nobody listened.
            bells.shards.iter().for_each(Notify::notify_waiters);
            let (mut commands, mut messages) = connection.split();
            let mut pings = interval(PING);
            loop {
                tokio::select! {
                    message = messages.next() => {
                        let Some(message) = message else { break };
                        let mut byte = [0];
                        let text = message.get_payload_bytes().get(..2).unwrap_or_default();
                        if hex::decode_to_slice(text, &mut byte).is_ok() {
                            bells.of(byte[0]).notify_waiters();
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
