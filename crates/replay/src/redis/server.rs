//! [`Server`]: the connection of a Redis store with everything that its tasks share.

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::call::Try;
use super::config::RedisConfig;
use super::connection_keeper::{ConnectionKeeper, LiveConnection};
use super::data_loss::DataLossDetector;
use super::error::ScriptError;
use crate::store::StoreError;

/// The server of a store: its configuration, connection and data-loss detector.
pub(super) struct Server {
    pub(super) config: Arc<RedisConfig>,
    pub(super) keeper: ConnectionKeeper,
    pub(super) data_loss: Arc<DataLossDetector>,
    /// One permit for each orphaned claim whose release is pending.
    pub(super) orphan_permits: Arc<Semaphore>,
}

impl Server {
    /// Returns the arguments of the settle script. Without a retention it releases the claim.
    pub(super) fn settle_arguments(
        &self,
        key: ReplayKey,
        token: &str,
        retention: Option<Duration>,
        this_try: Try,
    ) -> Vec<String> {
        vec![
            token.to_owned(),
            retention.map_or_else(|| "-1".to_owned(), millis),
            self.data_loss.clock_shift(),
            u8::from(this_try == Try::Second).to_string(),
            self.config.channel(),
            hex::encode(key.as_bytes()),
        ]
    }

    /// Returns the arguments of the script that records a done event.
    pub(super) fn record_arguments(
        &self,
        key: ReplayKey,
        token: &str,
        retention: Duration,
    ) -> Vec<String> {
        vec![
            token.to_owned(),
            millis(retention),
            self.data_loss.clock_shift(),
            self.config.channel(),
            hex::encode(key.as_bytes()),
        ]
    }

    /// Waits until the configured number of replicas has the writes that went over `live`.
    pub(super) async fn wait_for_replicas(
        &self,
        mut live: LiveConnection,
    ) -> Result<(), StoreError> {
        let Some(wait) = self.config.replicas else {
            return Ok(());
        };
        let mut command = ::redis::cmd("WAIT");
        command.arg(wait.replicas).arg(millis(wait.timeout));
        let limit = wait.timeout + self.config.timeout / 2;
        let reply = match timeout(limit, live.connection.query(&command)).await {
            Ok(reply) => reply.map_err(StoreError::new)?,
            Err(_elapsed) => {
                self.keeper.report_lost(&live);
                return Err(StoreError::new(ScriptError::Timeout(limit)));
            }
        };
        let replicas: u32 = ::redis::from_redis_value(reply).map_err(StoreError::new)?;
        match replicas >= wait.replicas {
            true => Ok(()),
            false => Err(StoreError::new(format!(
                "{replicas} replicas have it after {:?}; expected {}",
                wait.timeout, wait.replicas
            ))),
        }
    }
}

/// Returns the token as a script argument.
pub(super) fn token_text(token: u64) -> String {
    format!("{token:016x}")
}

/// Returns whole milliseconds as a script argument, rounded up so that no event is forgotten
/// early. Capped at ten years, so that sums of times do not overflow.
pub(super) fn millis(duration: Duration) -> String {
    const MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let nanos = duration.min(MAX).as_nanos();
    nanos.div_ceil(1_000_000).to_string()
}
