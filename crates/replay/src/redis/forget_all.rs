//! [`RedisStore::forget_all`]: an empty server for the next test.

use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::error::ScriptError;
use super::script::FORGET_ALL;
use super::store::RedisStore;
use crate::store::StoreError;

impl RedisStore {
    /// Forgets every event under the prefix of this store, so that the next test starts with an
    /// empty server.
    ///
    /// After `FLUSHALL`, a store refuses the deliveries that were signed before, because the
    /// server has lost its data. The first event of the next test is usually signed within the
    /// same second. After this call, nothing counts as lost. If several stores of a test use one
    /// server, call this on each of them.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the server cannot be reached, does not answer within the timeout
    /// of the store, or is a cluster.
    pub async fn forget_all(&self) -> Result<(), StoreError> {
        let server = self.server();
        let deadline = Instant::now() + server.config.timeout;
        let mut live = server.keeper.current(deadline).await?;
        if let Connection::Cluster(_) = live.connection {
            return Err(StoreError::new(
                "a cluster cannot forget all events; use a single server for tests",
            ));
        }
        server.data_loss.remove_witnesses();
        let arguments = [server.config.prefix.clone()];
        let reply = FORGET_ALL.run(&mut live.connection, &[], &arguments);
        match timeout_at(deadline, reply).await {
            Ok(reply) => reply.map(drop).map_err(StoreError::new),
            Err(_elapsed) => Err(StoreError::new(ScriptError::Timeout(server.config.timeout))),
        }
    }
}
