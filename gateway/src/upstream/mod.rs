//! The upstream side: forwards a delivery to one backend of an upstream.
//!
//! A delivery is sent to one backend at most. Another backend gets it only if the first one
//! certainly did not process it.

mod backend;
mod balance;
mod connector;
mod error;
mod exchange;
mod health;
mod http1;
mod http2;
mod maintenance;
mod pool;
mod request;
mod response;
pub(crate) mod tls;
mod unseen;

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use hookgate_core::Problems;
use hookgate_gate::{DeliveryGuarantee, Reason};
use hookgate_queue::UpstreamGate;
use parking_lot::RwLock;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::backend::{Backend, InFlight};
pub(crate) use self::balance::Event;
use self::connector::{CertificateError, ConnectionChoice, Connector, UpstreamSession};
use self::error::{ConnectError, Unavailable};
pub(crate) use self::error::{ForwardError, ResponseTruncated};
pub(crate) use self::exchange::Reuse;
use self::exchange::{ExchangeError, TimedOut};
pub(crate) use self::request::{ForwardContext, REQUEST_ID, Request, upstream_target};
pub(crate) use self::response::UpstreamResponse;
use crate::config::{ServerAddress, TransportAddress, UpstreamConfig};
use crate::poll::timeout_at;
use crate::stream::TransportError;

/// The backends of one upstream, and the connections to them.
pub(crate) struct Upstream {
    name: String,
    config: UpstreamConfig,
    /// The list is never empty. The maintenance thread replaces it when DNS addresses change.
    backends: RwLock<Arc<[Arc<Backend>]>>,
    turn: AtomicUsize,
    /// The host for requests without one.
    host: String,
    connector: Connector,
    /// The limits for the workers of the queue, and the breaker.
    gate: Arc<UpstreamGate>,
}

/// Maximum number of deliveries that the workers of the queue send to one upstream at the same time.
const MAX_WORKERS: usize = 64;

impl Upstream {
    /// Creates the upstream and starts its maintenance, which ends when it is dropped.
    ///
    /// # Errors
    ///
    /// Returns a problem if the certificates cannot be read.
    pub(crate) fn start(name: &str, config: &UpstreamConfig) -> Result<Arc<Self>, Problems> {
        let connector = Connector::new(config).map_err(|CertificateError| {
            let message = match &config.tls.ca {
                None => "the certificates of the system, or `cert` and `key`, cannot be read",
                Some(_) => "`ca`, or `cert` and `key`, have changed and cannot be read any more",
            };
            Problems::one(format!("upstreams.{name}.tls"), message)
        })?;
        let backends = config.servers.iter().flat_map(|server| {
            let backend = |address| Arc::new(Backend::new(address, server, config));
            server.addresses().into_iter().map(backend)
        });
        let upstream = Arc::new(Self {
            name: name.to_owned(),
            backends: RwLock::new(backends.collect()),
            turn: AtomicUsize::new(0),
            host: config
                .servers
                .first()
                .map(ServerAddress::authority)
                .unwrap_or_default(),
            connector,
            gate: Arc::new(UpstreamGate::new(worker_limit(config))),
            config: config.clone(),
        });
        if let Err(error) = maintenance::spawn(&upstream) {
            tracing::error!(
                upstream = name,
                %error,
                "cannot start health checks and DNS refresh"
            );
        }
        Ok(upstream)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the limits for the workers of the queue, with the breaker.
    pub(crate) fn gate(&self) -> &Arc<UpstreamGate> {
        &self.gate
    }

    /// Returns the host for requests without one.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns whether at least one healthy backend accepts connections.
    pub(crate) async fn is_usable(&self) -> bool {
        // All at once, so that a backend that drops packets does not delay the others.
        let mut connecting = JoinSet::new();
        for backend in self.backends().iter().filter(|b| !b.is_unhealthy()) {
            let address = backend.address.clone();
            connecting.spawn(timeout(self.config.connect_timeout, connect(address)));
        }
        while let Some(connected) = connecting.join_next().await {
            if matches!(connected, Ok(Ok(Ok(_)))) {
                return true;
            }
        }
        false
    }

    /// Returns the number of backends whose health checks fail.
    pub(crate) fn unhealthy_backends(&self) -> usize {
        let backends = self.backends();
        backends.iter().filter(|b| b.is_unhealthy()).count()
    }

    /// Returns the address of each backend, and whether it is healthy.
    pub(crate) fn backend_health(&self) -> Vec<(String, bool)> {
        let backends = self.backends();
        let all = backends.iter();
        all.map(|backend| (backend.address.to_string(), !backend.is_unhealthy()))
            .collect()
    }

    /// Returns the number of requests in progress.
    pub(crate) fn requests_in_flight(&self) -> usize {
        self.backends().iter().map(|b| b.in_flight()).sum()
    }

    fn backends(&self) -> Arc<[Arc<Backend>]> {
        Arc::clone(&self.backends.read())
    }

    /// Sends `request` with `body` and waits for the head of the response.
    ///
    /// If a backend cannot be connected to, the next one is tried. Once a byte may have been
    /// sent, there is no second attempt, because a POST must not be repeated without the
    /// sender's knowledge. The exception is a backend that declares that it did not process
    /// the request, which HTTP/2 provides for. If every backend has its maximum number of
    /// requests, this waits for one of them.
    ///
    /// # Errors
    ///
    /// Returns [`ForwardError`] if there is no response.
    pub(crate) async fn send(
        &self,
        request: &Request<'_>,
        body: &Bytes,
        event: Event<'_>,
    ) -> Result<UpstreamResponse<'_>, ForwardError> {
        let deadline = Instant::now() + self.config.timeout;
        let backends = self.backends();
        let order = balance::order(self.config.balance, &backends, &self.turn, event, body);
        let mut last_error = None;
        let mut busy = Vec::new();
        for backend in order {
            let Some(in_flight) = InFlight::start(&backend) else {
                busy.push(backend);
                continue;
            };
            let attempt = self.attempt_backend(in_flight, event.guarantee, request, body, deadline);
            match attempt.await {
                Ok(response) => return Ok(response),
                Err((error, decision)) => {
                    if decision == RetryDecision::Stop || Instant::now() >= deadline {
                        return Err(error);
                    }
                    last_error = Some(error);
                }
            }
        }
        if busy.is_empty() {
            return Err(last_error.unwrap_or_else(|| {
                ForwardError::unsent(Reason::UpstreamUnreachable, Unavailable::NoBackend)
            }));
        }
        let until = deadline.min(Instant::now() + self.config.connect_timeout);
        let in_flight = timeout_at(until, pin!(InFlight::start_on_first_free(busy))).await;
        let Ok(Some(in_flight)) = in_flight else {
            return Err(ForwardError::unsent(
                Reason::UpstreamBusy,
                Unavailable::AllBusy,
            ));
        };
        let attempt = self.attempt_backend(in_flight, event.guarantee, request, body, deadline);
        attempt.await.map_err(|(error, _)| error)
    }

    /// Tries one backend on a connection of the first choice. If the backend certainly did not
    /// process the request, and the connection may be the cause, tries a new connection once.
    async fn attempt_backend(
        &self,
        backend: InFlight,
        guarantee: DeliveryGuarantee,
        request: &Request<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<UpstreamResponse<'_>, (ForwardError, RetryDecision)> {
        let mut choice = match guarantee {
            DeliveryGuarantee::AtLeastOnce => ConnectionChoice::PoolOrNew,
            // If the backend closes a pooled connection at this moment, the outcome is
            // unknown, and the delivery would not be forwarded again.
            DeliveryGuarantee::AtMostOnce => ConnectionChoice::SingleUse,
        };
        let mut is_repeated = false;
        let (mut session, is_sent_whole) = loop {
            let attempt = self.attempt(&backend, choice, request, body, deadline);
            match attempt.await {
                Ok(exchanged) => break exchanged,
                Err((_, RetryDecision::NewConnection)) if !is_repeated => {
                    is_repeated = true;
                    if choice == ConnectionChoice::PoolOrNew {
                        choice = ConnectionChoice::New;
                    }
                }
                Err((error, RetryDecision::NewConnection)) => {
                    let error = error.at(backend.address.clone());
                    return Err((error, RetryDecision::NextBackend));
                }
                Err((error, decision)) => {
                    return Err((error.at(backend.address.clone()), decision));
                }
            }
        };
        session.remove_outcome();
        Ok(UpstreamResponse {
            connector: &self.connector,
            backend,
            session,
            deadline,
            is_begun: false,
            is_sent_whole,
        })
    }

    /// Tries one backend on one connection. Returns the session with its response, and
    /// whether the backend received the whole request.
    async fn attempt(
        &self,
        backend: &Backend,
        choice: ConnectionChoice,
        request: &Request<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<(UpstreamSession, bool), (ForwardError, RetryDecision)> {
        let (mut session, is_reused) = self
            .connect(backend, choice, deadline)
            .await
            .map_err(|error| (error, RetryDecision::NextBackend))?;
        let exchanged = {
            let exchange = pin!(self.connector.exchange(&mut session, request, body));
            timeout_at(deadline, exchange).await
        };
        let error = match exchanged {
            Ok(Ok(is_sent_whole)) => return Ok((session, is_sent_whole)),
            Ok(Err(error)) => error,
            Err(_) => ExchangeError::TimedOut(TimedOut::Total),
        };
        // An HTTP/2 backend can refuse any stream, for example while it restarts. Another backend
        // is the better choice then, if there is one.
        let may_repeat =
            is_reused || matches!(session, UpstreamSession::Http2(_)) && self.backends().len() == 1;
        self.connector.release(session, backend, Reuse::Forbidden);
        Err(match error {
            error @ ExchangeError::NotProcessed(_) => {
                let decision = match may_repeat {
                    true => RetryDecision::NewConnection,
                    false => RetryDecision::NextBackend,
                };
                let reason = Reason::UpstreamUnreachable;
                (ForwardError::unsent(reason, error), decision)
            }
            error @ ExchangeError::Failed(_) => {
                let error = ForwardError::sent(Reason::UpstreamFailed, error);
                (error, RetryDecision::Stop)
            }
            error @ ExchangeError::TimedOut(_) => {
                let error = ForwardError::sent(Reason::UpstreamTimeout, error);
                (error, RetryDecision::Stop)
            }
        })
    }

    /// Connects to a backend. Returns the session, and whether its connection was used before.
    async fn connect(
        &self,
        backend: &Backend,
        choice: ConnectionChoice,
        deadline: Instant,
    ) -> Result<(UpstreamSession, bool), ForwardError> {
        if choice == ConnectionChoice::PoolOrNew
            && let Some(connection) = backend.pool.checkout()
        {
            return Ok((UpstreamSession::Http1(connection), true));
        }
        // This includes the handshakes of TLS and of HTTP/2.
        let until = deadline.min(Instant::now() + self.config.connect_timeout);
        let connecting = pin!(self.connector.connect(&backend.peer, choice));
        let cause = match timeout_at(until, connecting).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => Some(TransportError::from(error)),
            Err(_) => None,
        };
        // The connector has a timeout too, which can end at the same time.
        let is_past_deadline = until == deadline && Instant::now() >= deadline;
        let error = ConnectError {
            address: backend.address.clone(),
            cause,
        };
        if is_past_deadline {
            return Err(ForwardError::unsent(Reason::UpstreamTimeout, error));
        }
        backend.mark_unreachable();
        Err(ForwardError::unsent(Reason::UpstreamUnreachable, error))
    }
}

/// Opens a connection to a backend, and closes it again.
async fn connect(address: TransportAddress) -> io::Result<()> {
    match address {
        TransportAddress::Tcp(address) => TcpStream::connect(address).await.map(drop),
        TransportAddress::Unix(path) => UnixStream::connect(path).await.map(drop),
    }
}

/// Returns the maximum number of deliveries that workers send at the same time. They leave half of
/// the connections to direct deliveries.
fn worker_limit(config: &UpstreamConfig) -> usize {
    let servers = config.servers.len();
    let most = config.max_connections;
    most.map_or(MAX_WORKERS, |most| {
        (most.saturating_mul(servers) / 2).clamp(1, MAX_WORKERS)
    })
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The next step after an attempt without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryDecision {
    /// Nothing: the backend may have processed the delivery.
    Stop,
    /// A new connection to the same backend: it did not process the delivery, and the
    /// connection may be the cause.
    NewConnection,
    NextBackend,
}
