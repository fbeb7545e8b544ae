//! [`PendingClaim`]: releases a claim that the server may have granted to no delivery.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::call::Try;
use super::connection::Connection;
use super::connection_keeper::LiveConnection;
use super::error::ScriptError;
use super::script::{Reply, SETTLE};
use super::server::{Server, token_text};
use crate::backoff::Backoff;
use crate::store::{Lease, StoreError};

/// A claim whose reply has not arrived yet.
///
/// Dropping it makes the claim an orphan: the reply was lost or late, or the delivery was
/// dropped. A task then releases the orphan. Otherwise the event would be refused until its
/// lease ends, which can be as long as its retention.
pub(super) struct PendingClaim {
    server: Arc<Server>,
    /// The lease that the claim has if the server grants it.
    lease: Lease,
    lease_duration: Duration,
    /// The connections over which the claim was sent.
    pub(super) sent: Vec<LiveConnection>,
}

impl PendingClaim {
    pub(super) fn new(server: &Arc<Server>, lease: Lease, lease_duration: Duration) -> Self {
        Self {
            server: Arc::clone(server),
            lease,
            lease_duration,
            sent: Vec::new(),
        }
    }

    /// Ends the watch, because a delivery holds the lease now.
    pub(super) fn granted(mut self) {
        self.sent.clear();
    }

    /// Records that the last try was not granted. An earlier try may still arrive at the
    /// server.
    pub(super) fn not_granted(&mut self) {
        self.sent.pop();
    }
}

impl Drop for PendingClaim {
    fn drop(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Ok(permit) = Arc::clone(&self.server.orphan_permits).try_acquire_owned() else {
            tracing::warn!("too many pending claim releases; waiting for the lease to expire");
            return;
        };
        let orphan = OrphanedClaim {
            server: Arc::downgrade(&self.server),
            lease: self.lease.clone(),
            _permit: permit,
        };
        runtime.spawn(orphan.release(std::mem::take(&mut self.sent), self.lease_duration));
    }
}

/// A claim that no delivery holds. The server may have granted it, or may still do so when it
/// reads the command.
pub(super) struct OrphanedClaim {
    server: Weak<Server>,
    lease: Lease,
    _permit: OwnedSemaphorePermit,
}

impl OrphanedClaim {
    /// The maximum number of orphans whose release is pending. The leases of others expire.
    pub(super) const MAX_PENDING: usize = 4096;

    const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

    async fn release(self, sent: Vec<LiveConnection>, lease_duration: Duration) {
        let mut backoff = Backoff::until_lease_ends(lease_duration);
        let mut last_error = None;
        let mut may_be_claimed = false;
        for live in sent.into_iter().rev() {
            // A node reads the commands of one connection in order, so the release cannot
            // overtake the claim. A cluster connection may have replaced the connection.
            let is_in_order = matches!(live.connection, Connection::Node(_));
            match self.release_over(live).await {
                Ok(Reply::Stale) => may_be_claimed |= !is_in_order,
                Ok(_) => {}
                Err(error) => {
                    may_be_claimed = true;
                    last_error = Some(error);
                }
            }
        }
        let mut was_stale = false;
        while may_be_claimed && self.server.strong_count() > 0 {
            if !backoff.wait().await {
                if let Some(error) = last_error {
                    tracing::warn!(error = %ErrorChain(&error), "a claim could not be released; its lease has expired");
                }
                return;
            }
            match self.release_over_new_connection().await {
                // The server may read the claim from a broken connection after a new one was
                // opened, but not much later: a server that answers reads all connections. So
                // the second stale reply is final.
                Ok(Reply::Stale) if !was_stale => was_stale = true,
                Ok(_) => may_be_claimed = false,
                Err(error) => last_error = Some(error),
            }
        }
    }

    async fn release_over_new_connection(&self) -> Result<Reply, StoreError> {
        let server = self.server()?;
        let deadline = Instant::now() + Self::REPLY_TIMEOUT;
        let live = server.keeper.current(deadline).await?;
        drop(server);
        self.release_over(live).await
    }

    /// Sends a release over one connection and returns the reply.
    ///
    /// The release is sent as [`Try::First`]. The server then replies [`Reply::Stale`] if the
    /// claim is missing, because the claim may still arrive. With [`Try::Second`], the script
    /// would treat a missing claim as released by an earlier try.
    async fn release_over(&self, mut live: LiveConnection) -> Result<Reply, StoreError> {
        let server = self.server()?;
        let keys = [server.config.key(self.lease.key())];
        let token = token_text(self.lease.token());
        let arguments = server.settle_arguments(self.lease.key(), &token, None, Try::First);
        // A dropped store must close its connections, however long this task waits.
        drop(server);
        let reply = SETTLE.run(&mut live.connection, &keys, &arguments);
        let reply = match timeout(Self::REPLY_TIMEOUT, reply).await {
            Ok(reply) => reply.map_err(StoreError::new)?,
            Err(_elapsed) => {
                return Err(StoreError::new(ScriptError::Timeout(Self::REPLY_TIMEOUT)));
            }
        };
        Reply::read(reply, &token).map_err(StoreError::new)
    }

    fn server(&self) -> Result<Arc<Server>, StoreError> {
        self.server
            .upgrade()
            .ok_or_else(|| StoreError::new("the store was dropped"))
    }
}
