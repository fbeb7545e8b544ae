//! [`RedisStore`]: claims and settlements as calls of the scripts.

use std::fmt;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::call::ScriptCall;
use super::config::RedisConfig;
use super::connection::Connection;
use super::connection_keeper::{ConnectionKeeper, LiveConnection};
use super::data_loss::{DataLossDetector, ServerData};
use super::pending_claim::{OrphanedClaim, PendingClaim};
use super::script::{CLAIM, FORGET, RECORD, RENEW, Reply, SETTLE};
use super::server::{Server, millis, token_text};
use super::subscriber::SettlementSubscriber;
use crate::notifier::RECHECK_INTERVAL;
use crate::store::{Claim, ClaimOptions, Forgotten, Lease, ReplayStore, Settled, StoreError};

/// Remembers events in Redis or Valkey, for all gates that use the same server.
///
/// Cheap to clone; clones share the connection. The [module](super) says what each kind of
/// server promises. The store ignores [`ClaimOptions::quota`].
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    server: Arc<Server>,
    subscriber: Arc<SettlementSubscriber>,
    subscriber_task: AbortHandle,
}

impl RedisStore {
    /// Connects and checks the server. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the configuration contradicts itself, or if the server
    /// cannot be reached, is too old, is not a master, or would lose claims. The message says
    /// what to change.
    pub async fn connect(config: RedisConfig) -> Result<Self, StoreError> {
        Self::connect_with_clock_shift(config, Arc::default()).await
    }

    /// Connects a store whose clock is ahead of the server's clock by `clock_shift`
    /// milliseconds, for the suite in `conformance`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[doc(hidden)]
    pub async fn connect_with_clock_shift(
        config: RedisConfig,
        clock_shift: Arc<AtomicU64>,
    ) -> Result<Self, StoreError> {
        if let Some(problem) = config.problem() {
            return Err(StoreError::new(problem));
        }
        let config = Arc::new(config);
        let data_loss = Arc::new(DataLossDetector::new(Arc::clone(&config), clock_shift));
        let keeper = ConnectionKeeper::open(Arc::clone(&config), Arc::clone(&data_loss))
            .await
            .map_err(StoreError::new)?;
        let subscriber = Arc::new(SettlementSubscriber::new());
        let task = Arc::clone(&subscriber).run(Arc::clone(&config));
        let subscriber_task = tokio::spawn(task).abort_handle();
        let server = Arc::new(Server {
            config,
            keeper,
            data_loss,
            orphan_permits: Arc::new(Semaphore::new(OrphanedClaim::MAX_PENDING)),
        });
        Ok(Self(Arc::new(Inner {
            server,
            subscriber,
            subscriber_task,
        })))
    }

    #[cfg(feature = "test-util")]
    pub(super) fn server(&self) -> &Server {
        &self.0.server
    }

    /// Commits the lease, or releases it if there is no retention.
    async fn settle(
        &self,
        lease: &Lease,
        retention: Option<Duration>,
    ) -> Result<Settled, StoreError> {
        let server = &self.0.server;
        let (key, token) = (server.config.key(lease.key()), token_text(lease.token()));
        let call = ScriptCall {
            script: &SETTLE,
            keys: slice::from_ref(&key),
            token: &token,
            arguments: &|this_try| {
                server.settle_arguments(lease.key(), &token, retention, this_try)
            },
            timeout: server.config.timeout,
        };
        let (reply, live) = call.run(&server.keeper, &mut Vec::new()).await?;
        match reply {
            Reply::Committed(entry) => server.data_loss.set_witness(lease.key(), entry),
            Reply::Released => {}
            Reply::Stale => return Ok(Settled::Stale),
            reply => return Err(unexpected(reply)),
        }
        self.0.subscriber.notify(lease.key());
        server.wait_for_replicas(live).await?;
        Ok(Settled::Applied)
    }

    /// Handles the loss of data that a claim of `key` has found.
    async fn record_data_loss(
        &self,
        key: ReplayKey,
        live: &LiveConnection,
    ) -> Result<(), StoreError> {
        let server = &self.0.server;
        match &live.connection {
            // The connection works, but a reconnection makes the keeper check the server for
            // the loss. It happens once, however many claims find the loss.
            Connection::Node(_) => server.keeper.report_lost(live),
            Connection::Cluster(_) => {
                let first_byte = key.as_bytes()[0];
                let probe = server.data_loss.probe_slot(&live.connection, first_byte);
                if probe.await.map_err(StoreError::new)? == ServerData::Lost {
                    server.data_loss.log_data_loss();
                }
            }
        }
        Ok(())
    }
}

/// The keys and arguments of the claim script.
struct ClaimRequest {
    token: String,
    keys: Vec<String>,
    arguments: Vec<String>,
}

impl ClaimRequest {
    fn new(server: &Server, key: ReplayKey, token: u64, options: ClaimOptions) -> Self {
        let token = token_text(token);
        let evidence = server.data_loss.evidence(key.as_bytes()[0]);
        let mut keys = vec![server.config.key(key)];
        keys.extend(evidence.keys);
        let checksum = options
            .content_checksum
            .map(|checksum| checksum.to_string());
        let signed_at = options.signed_at.map(|time| time.secs().to_string());
        let mut arguments = vec![
            token.clone(),
            millis(options.lease),
            millis(options.attempt_retention),
            server.data_loss.clock_shift(),
            checksum.unwrap_or_default(),
            signed_at.unwrap_or_default(),
        ];
        arguments.extend(evidence.arguments);
        Self {
            token,
            keys,
            arguments,
        }
    }
}

impl ReplayStore for RedisStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        let server = &self.0.server;
        let token = getrandom::u64().map_err(StoreError::new)?;
        let mut pending = PendingClaim::new(server, Lease::new(key, token, 1), options.lease);
        let request = ClaimRequest::new(server, key, token, options);
        let call = ScriptCall {
            script: &CLAIM,
            keys: &request.keys,
            token: &request.token,
            // The script recognises its own token, so both tries have the same arguments.
            arguments: &|_| request.arguments.clone(),
            timeout: server.config.timeout,
        };
        let (mut reply, mut live) = call.run(&server.keeper, &mut pending.sent).await?;
        if reply == Reply::DataLost {
            self.record_data_loss(key, &live).await?;
            pending.not_granted();
            (reply, live) = call.run(&server.keeper, &mut pending.sent).await?;
        }
        let claim = claim_of(reply, key, token)?;
        match claim {
            Claim::Granted(_) => {
                server.wait_for_replicas(live).await?;
                pending.granted();
            }
            _ => pending.not_granted(),
        }
        Ok(claim)
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.settle(lease, Some(retention)).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.settle(lease, None).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        let server = &self.0.server;
        let (key, token) = (server.config.key(lease.key()), token_text(lease.token()));
        let call = ScriptCall {
            script: &RENEW,
            keys: slice::from_ref(&key),
            token: &token,
            // The second of two equal calls does no harm.
            arguments: &|_| {
                vec![
                    token.clone(),
                    millis(duration),
                    server.data_loss.clock_shift(),
                ]
            },
            timeout: server.config.timeout,
        };
        let (reply, live) = call.run(&server.keeper, &mut Vec::new()).await?;
        match reply {
            Reply::Renewed => {
                server.wait_for_replicas(live).await?;
                Ok(Settled::Applied)
            }
            Reply::Stale => Ok(Settled::Stale),
            reply => Err(unexpected(reply)),
        }
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        let server = &self.0.server;
        let token = token_text(getrandom::u64().map_err(StoreError::new)?);
        let first_byte = key.as_bytes()[0];
        let keys = [
            server.config.key(key),
            server.config.forgotten_key(first_byte),
        ];
        let call = ScriptCall {
            script: &FORGET,
            keys: &keys,
            token: &token,
            // The script recognises its own token, so both tries have the same arguments.
            arguments: &|_| vec![token.clone(), server.data_loss.clock_shift()],
            timeout: server.config.timeout,
        };
        let (reply, live) = call.run(&server.keeper, &mut Vec::new()).await?;
        match reply {
            Reply::Removed => {
                server.wait_for_replicas(live).await?;
                Ok(Forgotten::Removed)
            }
            Reply::Unknown => Ok(Forgotten::Unknown),
            Reply::InFlight(_) => Ok(Forgotten::InFlight),
            reply => Err(unexpected(reply)),
        }
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        let server = &self.0.server;
        let token = token_text(getrandom::u64().map_err(StoreError::new)?);
        let first_byte = key.as_bytes()[0];
        let keys = [
            server.config.key(key),
            server.config.forgotten_key(first_byte),
        ];
        let call = ScriptCall {
            script: &RECORD,
            keys: &keys,
            token: &token,
            // The script recognises its own token, so both tries have the same arguments.
            arguments: &|_| server.record_arguments(key, &token, retention),
            timeout: server.config.timeout,
        };
        let (reply, live) = call.run(&server.keeper, &mut Vec::new()).await?;
        let Reply::Committed(entry) = reply else {
            return Err(unexpected(reply));
        };
        server.data_loss.set_witness(key, entry);
        self.0.subscriber.notify(key);
        server.wait_for_replicas(live).await
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        let notified = self.0.subscriber.notified(key);
        let recheck = Instant::now() + RECHECK_INTERVAL;
        async move {
            let _ = timeout_at(recheck, notified).await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.subscriber_task.abort();
    }
}

/// Omits the credentials.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("config", &self.0.server.config)
            .field("connected", &self.0.server.keeper.is_connected())
            .finish_non_exhaustive()
    }
}

/// Converts the reply to a claim of `key` with `token`.
pub(super) fn claim_of(reply: Reply, key: ReplayKey, token: u64) -> Result<Claim, StoreError> {
    match reply {
        Reply::Granted(attempt) => Ok(Claim::Granted(Lease::new(key, token, attempt))),
        Reply::InFlight(remaining) => Ok(Claim::InFlight { remaining }),
        Reply::Done => Ok(Claim::Done),
        Reply::Conflict => Ok(Claim::Conflict),
        Reply::Full => Ok(Claim::Full),
        Reply::Forgotten => Ok(Claim::Forgotten),
        Reply::DataLost => Err(StoreError::new(
            "the server loses data at once: it evicts keys, or another client empties it; set \
             `maxmemory-policy noeviction`",
        )),
        reply => Err(unexpected(reply)),
    }
}

fn unexpected(reply: Reply) -> StoreError {
    match reply {
        Reply::Foreign => StoreError::new(
            "the key of the event holds data that is not hookgate's, or that a newer version \
             wrote; configure a prefix or a database that only hookgate uses",
        ),
        reply => StoreError::new(format!(
            "the server replied {reply:?}, which does not fit the command"
        )),
    }
}
