//! Forwarding: one delivery, one upstream, at most one server that sees it.

mod backend;
mod balance;
mod connector;
mod discovery;
mod exchange;
mod health;
mod http1;
mod http2;
mod pool;
mod request;
pub(crate) mod tls;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use hookgate_core::Problems;
use hookgate_gate::internal::is_grpc_response;
use hookgate_gate::{DeliveryGuarantee, Outcome, Reason};
use http::{HeaderMap, StatusCode};
use parking_lot::RwLock;
use pingora_http::ResponseHeader;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::backend::{Backend, InFlight};
pub(crate) use self::balance::Event;
use self::connector::{CertificateError, ConnectionChoice, Connector, UpstreamSession};
use self::exchange::ExchangeError;
pub(crate) use self::request::{ForwardContext, REQUEST_ID, Request, response_head};
use crate::config;
use crate::poll::timeout_at;
use crate::stream::error_for_log;

/// The servers of one upstream, and the connections to them.
pub(crate) struct Upstream {
    name: String,
    config: config::UpstreamConfig,
    /// One or more. Names may come to mean others.
    servers: RwLock<Arc<[Arc<Backend>]>>,
    turn: AtomicUsize,
    /// What senders that name no host are taken to mean.
    host: String,
    connector: Connector,
}

impl Upstream {
    /// What `config` says, tended for as long as somebody holds it.
    ///
    /// # Errors
    ///
    /// Its certificates cannot be read.
    pub(crate) fn start(
        name: &str,
        config: &config::UpstreamConfig,
    ) -> Result<Arc<Self>, Problems> {
        let connector = Connector::new(config).map_err(|CertificateError| {
            let wrong = match &config.tls.ca {
                None => "the certificates of the system, or those to show, cannot be read",
                Some(_) => "a certificate or key has changed since it was read",
            };
            Problems::one(format!("upstreams.{name}.tls"), wrong)
        })?;
        let servers = config.servers.iter().flat_map(|name| {
            let server = |address| Arc::new(Backend::new(address, name, config));
            name.addresses.iter().copied().map(server)
        });
        let upstream = Arc::new(Self {
            name: name.to_owned(),
            servers: RwLock::new(servers.collect()),
            turn: AtomicUsize::new(0),
            host: config
                .servers
                .first()
                .map(config::ServerAddress::authority)
                .unwrap_or_default(),
            connector,
            config: config.clone(),
        });
        if let Err(error) = discovery::start(&upstream) {
            tracing::error!(upstream = name, %error, "nobody looks after its servers");
        }
        Ok(upstream)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether a server takes connections, and passes its health checks.
    pub(crate) async fn is_usable(&self) -> bool {
        // At once: one that swallows what it is sent must not hide the next.
        let mut connecting = JoinSet::new();
        for server in self.servers().iter().filter(|server| !server.is_out()) {
            let connect = TcpStream::connect(server.address);
            connecting.spawn(timeout(self.config.connect_timeout, connect));
        }
        while let Some(connected) = connecting.join_next().await {
            if matches!(connected, Ok(Ok(Ok(_)))) {
                return true;
            }
        }
        false
    }

    /// How many of its servers fail their health checks.
    pub(crate) fn servers_out(&self) -> usize {
        let servers = self.servers();
        servers.iter().filter(|server| server.is_out()).count()
    }

    /// How many requests are under way.
    pub(crate) fn requests(&self) -> usize {
        self.servers().iter().map(|server| server.requests()).sum()
    }

    fn servers(&self) -> Arc<[Arc<Backend>]> {
        Arc::clone(&self.servers.read())
    }

    /// Sends `request` with `body` and waits for the head of the answer. A
    /// server that cannot be connected to passes the delivery on to the next
    /// one; once a byte may have been sent there is no second try, because a
    /// POST is not repeated behind the sender's back. Unless the server says that it
    /// did nothing with it: HTTP/2 lets one that is about to end say so. If all have as many
    /// as they may, it waits for one that has room.
    pub(crate) async fn send(
        &self,
        request: &Request<'_>,
        body: &Bytes,
        event: Event<'_>,
    ) -> Result<UpstreamResponse<'_>, ForwardError> {
        let deadline = Instant::now() + self.config.timeout;
        let servers = self.servers();
        let order = balance::order(self.config.balance, &servers, &self.turn, event, body);
        let ways = match event.promise {
            DeliveryGuarantee::AtLeastOnce => {
                &[ConnectionChoice::PoolOrNew, ConnectionChoice::New][..]
            }
            // A connection that the server is just closing leaves it unknown what became
            // of the delivery, and this one would not be forwarded again.
            DeliveryGuarantee::AtMostOnce => &[ConnectionChoice::SingleUse],
        };
        let mut failure = ForwardError::unsent(Reason::UpstreamUnreachable, "no server");
        let mut full = Vec::new();
        for server in order {
            let Some(busy) = InFlight::with(&server) else {
                full.push(server);
                continue;
            };
            let tried = self.attempt_each(busy, ways, request, body, deadline);
            failure = match tried.await {
                Ok(answer) => return Ok(answer),
                Err((cause, RetryDecision::Nothing)) => return Err(cause),
                Err((cause, _)) => cause,
            };
            if Instant::now() >= deadline {
                return Err(failure);
            }
        }
        if full.is_empty() {
            return Err(failure);
        }
        let until = deadline.min(Instant::now() + self.config.connect_timeout);
        let Ok(Some(busy)) = timeout_at(until, pin!(InFlight::with_first(full))).await else {
            let cause = "every connection is in use";
            return Err(ForwardError::unsent(Reason::UpstreamBusy, cause));
        };
        let tried = self.attempt_each(busy, ways, request, body, deadline);
        tried.await.map_err(|(cause, _)| cause)
    }

    /// Tries one server in these ways, one after the other.
    async fn attempt_each(
        &self,
        server: InFlight,
        ways: &[ConnectionChoice],
        request: &Request<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<UpstreamResponse<'_>, (ForwardError, RetryDecision)> {
        let none = ForwardError::unsent(Reason::UpstreamUnreachable, "no connection");
        let mut answered = Err((none, RetryDecision::Backend));
        for &from in ways {
            answered = self.attempt(&server, from, request, body, deadline).await;
            if !matches!(answered, Err((_, RetryDecision::Connection))) {
                break;
            }
        }
        let (session, is_fit) = answered?;
        Ok(UpstreamResponse {
            upstream: self,
            server,
            session,
            deadline,
            is_begun: false,
            is_fit,
        })
    }

    /// Tries one server, on a new connection or on one that is there. With its answer comes
    /// whether it has taken the whole request.
    async fn attempt(
        &self,
        server: &Backend,
        from: ConnectionChoice,
        request: &Request<'_>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<(UpstreamSession, bool), (ForwardError, RetryDecision)> {
        let (mut session, reused) = self
            .connect(server, from, deadline)
            .await
            .map_err(|failure| (failure, RetryDecision::Backend))?;
        let sent = |reason, cause: &dyn fmt::Display| {
            (ForwardError::sent(reason, cause), RetryDecision::Nothing)
        };
        let exchanged = {
            let exchange = pin!(self.connector.exchange(&mut session, request, body));
            timeout_at(deadline, exchange).await
        };
        let missed = match exchanged {
            Ok(Ok(whole)) => return Ok((session, whole)),
            Ok(Err(ExchangeError::NotProcessed(cause))) => {
                let next = if reused {
                    RetryDecision::Connection
                } else {
                    RetryDecision::Backend
                };
                (
                    ForwardError::unsent(Reason::UpstreamUnreachable, cause),
                    next,
                )
            }
            Ok(Err(ExchangeError::Failed(cause))) => sent(Reason::UpstreamFailed, &cause),
            Ok(Err(ExchangeError::Late(cause))) => sent(Reason::UpstreamTimeout, &cause),
            Err(_) => sent(Reason::UpstreamTimeout, &"no answer in time"),
        };
        self.release(session, server, false);
        Err(missed)
    }

    async fn connect(
        &self,
        server: &Backend,
        from: ConnectionChoice,
        deadline: Instant,
    ) -> Result<(UpstreamSession, bool), ForwardError> {
        if from == ConnectionChoice::PoolOrNew
            && let Some(session) = server.idle.take()
        {
            return Ok((UpstreamSession::Http1(session), true));
        }
        // With the handshakes of TLS and of HTTP/2.
        let until = deadline.min(Instant::now() + self.config.connect_timeout);
        let connecting = pin!(self.connector.connect(&server.peer, from));
        let cause = match timeout_at(until, connecting).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => format!("{}: {}", server.address, error_for_log(&error)),
            Err(_) if until == deadline => {
                let cause = "no connection in time";
                return Err(ForwardError::unsent(Reason::UpstreamTimeout, cause));
            }
            Err(_) => format!("{}: no connection in time", server.address),
        };
        server.was_unreachable();
        Err(ForwardError::unsent(Reason::UpstreamUnreachable, cause))
    }

    /// Keeps a connection for the next delivery, if it is fit for one.
    fn release(&self, session: UpstreamSession, server: &Backend, is_fit: bool) {
        match session {
            UpstreamSession::Http1(session) if is_fit => server.idle.keep(session),
            UpstreamSession::Http1(_) => {}
            UpstreamSession::Http2(session) => self.connector.release(*session, &server.peer),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What may be tried after a server that gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryDecision {
    /// It may have seen the delivery.
    Nothing,
    /// It has not, and says so on a connection that was there: another one to it.
    Connection,
    Backend,
}

/// The answer of a server: its head, and its body as it arrives.
pub(crate) struct UpstreamResponse<'u> {
    upstream: &'u Upstream,
    server: InFlight,
    session: UpstreamSession,
    deadline: Instant,
    /// Something of the body was asked for.
    is_begun: bool,
    /// Whether the connection is in a state that is known.
    is_fit: bool,
}

impl UpstreamResponse<'_> {
    pub(crate) fn status(&self) -> StatusCode {
        self.head().status
    }

    pub(crate) fn head(&self) -> &ResponseHeader {
        self.session.answer()
    }

    /// Whether it is the answer to a gRPC call, so that its status says nothing.
    pub(crate) fn is_grpc(&self) -> bool {
        is_grpc_response(self.status(), &self.head().headers)
    }

    /// The next chunk of the body, within the deadline of the whole delivery.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ResponseTruncated> {
        // Of an answer without end there is always more.
        if self.is_begun && Instant::now() >= self.deadline {
            return Err(ResponseTruncated);
        }
        self.is_begun = true;
        let chunk = timeout_at(self.deadline, pin!(self.session.chunk())).await;
        chunk.unwrap_or(Err(ResponseTruncated))
    }

    /// What comes after the body, within that deadline.
    pub(crate) async fn trailers(&mut self) -> Result<Option<HeaderMap>, ResponseTruncated> {
        let trailers = timeout_at(self.deadline, pin!(self.session.trailers())).await;
        trailers.unwrap_or(Err(ResponseTruncated))
    }

    /// Gives the connection back for the next delivery, if it is fit for one and the
    /// answer was `read` to its end.
    pub(crate) fn release(self, read: bool) {
        let is_fit = self.is_fit && read;
        self.upstream.release(self.session, &self.server, is_fit);
    }
}

/// The answer ended before its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseTruncated;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct ForwardError {
    pub(crate) reason: Reason,
    pub(crate) outcome: Outcome,
    /// For the log.
    pub(crate) cause: String,
}

impl ForwardError {
    /// Nothing was sent: a retry may be forwarded at once.
    fn unsent(reason: Reason, cause: impl fmt::Display) -> Self {
        Self {
            reason,
            outcome: Outcome::Failed,
            cause: cause.to_string(),
        }
    }

    /// Something may have arrived.
    fn sent(reason: Reason, cause: impl fmt::Display) -> Self {
        Self {
            reason,
            outcome: Outcome::Unknown,
            cause: cause.to_string(),
        }
    }
}
