//! Forwarding: one delivery, one upstream, at most one server that sees it.

mod head;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hookgate_gate::{Outcome, Reason};
use http::StatusCode;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::v1::Connector;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::RoundRobin;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::head::{Context, request_head, response_head};
use crate::config;

/// Idle connections that are kept for an upstream.
const POOL: usize = 1024;
/// How long they are kept.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// The servers of one upstream, and the connections to them.
pub(crate) struct Upstream {
    name: String,
    servers: LoadBalancer<RoundRobin>,
    count: usize,
    connector: Connector,
    timeout: Duration,
    connect_timeout: Duration,
}

impl Upstream {
    pub(crate) fn new(name: &str, config: &config::Upstream) -> Self {
        let servers = LoadBalancer::try_from_iter(&config.servers)
            .expect("socket addresses resolve to themselves");
        Self {
            name: name.to_owned(),
            servers,
            count: config.servers.len(),
            connector: Connector::new(Some(ConnectorOptions::new(POOL))),
            timeout: config.timeout,
            connect_timeout: config.connect_timeout,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Sends `request` with `body` and waits for the head of the answer. A
    /// server that cannot be connected to passes the delivery on to the next
    /// one; once a byte may have been sent there is no second try, because a
    /// POST is not repeated behind the sender's back.
    pub(crate) async fn send(
        &self,
        request: RequestHeader,
        body: &Bytes,
    ) -> Result<Answer<'_>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let (mut session, peer) = self.connect(deadline).await?;
        let exchange = async {
            session.write_request_header(Box::new(request)).await?;
            session.write_body(body).await?;
            session.finish_body().await?;
            loop {
                session.read_response().await?;
                // RFC 9110 §15.2: interim answers come before the final one.
                match session.resp_header().map(|head| head.status) {
                    Some(status) if status == StatusCode::SWITCHING_PROTOCOLS => {
                        return pingora_core::Error::e_explain(
                            pingora_core::ErrorType::InvalidHTTPHeader,
                            "101 to a request that did not ask for it",
                        );
                    }
                    Some(status) if status.is_informational() => {}
                    _ => return Ok(()),
                }
            }
        };
        match timeout_at(deadline, exchange).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Failure::sent(Reason::UpstreamFailed, error)),
            Err(_) => return Err(Failure::sent(Reason::UpstreamTimeout, "no answer in time")),
        }
        let Some(head) = session.resp_header().cloned() else {
            return Err(Failure::sent(
                Reason::UpstreamFailed,
                "an answer without a head",
            ));
        };
        Ok(Answer {
            connector: &self.connector,
            session,
            peer,
            head,
            deadline,
        })
    }

    async fn connect(&self, deadline: Instant) -> Result<(HttpSession, HttpPeer), Failure> {
        let mut cause = "no server".to_owned();
        for _ in 0..self.count {
            let Some(server) = self.servers.select(b"", self.count) else {
                break;
            };
            let Some(address) = server.addr.as_inet() else {
                break;
            };
            let peer = self.peer(*address);
            match timeout_at(deadline, self.connector.get_http_session(&peer)).await {
                Ok(Ok((session, _reused))) => return Ok((session, peer)),
                Ok(Err(error)) => cause = format!("{address}: {error}"),
                Err(_) => {
                    return Err(Failure::unsent(
                        Reason::UpstreamTimeout,
                        "no connection in time",
                    ));
                }
            }
        }
        Err(Failure::unsent(Reason::UpstreamUnreachable, cause))
    }

    fn peer(&self, address: SocketAddr) -> HttpPeer {
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(self.connect_timeout);
        peer.options.total_connection_timeout = Some(self.connect_timeout);
        peer
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The answer of a server: its head, and its body as it arrives.
pub(crate) struct Answer<'u> {
    connector: &'u Connector,
    session: HttpSession,
    peer: HttpPeer,
    head: ResponseHeader,
    deadline: Instant,
}

impl Answer<'_> {
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn head(&self) -> &ResponseHeader {
        &self.head
    }

    /// The next chunk of the body, within the deadline of the whole delivery.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ()> {
        match timeout_at(self.deadline, self.session.read_body_bytes()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// Gives the connection back for the next delivery.
    pub(crate) async fn release(self) {
        let Self {
            connector,
            session,
            peer,
            ..
        } = self;
        connector
            .release_http_session(session, &peer, Some(POOL_IDLE))
            .await;
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) outcome: Outcome,
    /// For the log.
    pub(crate) cause: String,
}

impl Failure {
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
