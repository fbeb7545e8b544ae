//! Forwarding: one delivery, one upstream, at most one server that sees it.

mod head;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_gate::{Outcome, Reason};
use http::StatusCode;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::v1::Connector;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use self::head::{Context, request_head, response_head};
use crate::config;

/// Idle connections that are kept for an upstream.
const POOL: usize = 1024;
/// How long they are kept: less than the 5 s after which common servers close
/// them, because a delivery that meets the closing cannot be repeated.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The servers of one upstream, and the connections to them.
pub(crate) struct Upstream {
    name: String,
    /// One or more.
    servers: Vec<SocketAddr>,
    /// The server that the next delivery tries first.
    next: AtomicUsize,
    /// What senders that name no host are taken to mean.
    host: String,
    connector: Connector,
    timeout: Duration,
    connect_timeout: Duration,
}

impl Upstream {
    pub(crate) fn new(name: &str, config: &config::Upstream) -> Self {
        Self {
            name: name.to_owned(),
            servers: config.servers.clone(),
            next: AtomicUsize::new(0),
            host: config
                .servers
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            connector: Connector::new(Some(ConnectorOptions::new(POOL))),
            timeout: config.timeout,
            connect_timeout: config.connect_timeout,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether a server takes connections.
    pub(crate) async fn is_usable(&self) -> bool {
        for server in &self.servers {
            let connected = timeout(self.connect_timeout, TcpStream::connect(server)).await;
            if matches!(connected, Ok(Ok(_))) {
                return true;
            }
        }
        false
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
            // A server may answer before it has read everything, and close. Its
            // answer counts, not that the rest could not be written.
            let written = write(&mut session, request, body).await;
            match (read_head(&mut session).await, written) {
                (Ok(()), written) => Ok(written.is_ok()),
                (Err(_), Err(unwritten)) => Err(unwritten),
                (Err(unread), Ok(())) => Err(unread),
            }
        };
        let whole = match timeout_at(deadline, exchange).await {
            Ok(Ok(whole)) => whole,
            Ok(Err(cause)) => return Err(Failure::sent(Reason::UpstreamFailed, cause)),
            Err(_) => return Err(Failure::sent(Reason::UpstreamTimeout, "no answer in time")),
        };
        let head = session
            .resp_header()
            .cloned()
            .filter(head::is_framing_known);
        let Some(head) = head else {
            let cause = "an answer whose end cannot be found";
            return Err(Failure::sent(Reason::UpstreamFailed, cause));
        };
        let reusable = whole && !head::contradicts_itself(&head);
        Ok(Answer {
            connector: &self.connector,
            session,
            peer,
            head,
            deadline,
            reusable,
        })
    }

    async fn connect(&self, deadline: Instant) -> Result<(HttpSession, HttpPeer), Failure> {
        let mut cause = "no server".to_owned();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        for offset in 0..self.servers.len() {
            let address = self.servers[start.wrapping_add(offset) % self.servers.len()];
            let peer = self.peer(address);
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
    /// Whether the connection is in a state that is known.
    reusable: bool,
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

    /// Gives the connection back for the next delivery, if it is fit for one.
    pub(crate) async fn release(self) {
        let Self {
            connector,
            session,
            peer,
            reusable,
            ..
        } = self;
        if reusable {
            connector
                .release_http_session(session, &peer, Some(POOL_IDLE))
                .await;
        }
    }
}

async fn write(
    session: &mut HttpSession,
    request: RequestHeader,
    body: &Bytes,
) -> pingora_core::Result<()> {
    session.write_request_header(Box::new(request)).await?;
    session.write_body(body).await?;
    session.finish_body().await?;
    Ok(())
}

/// Reads up to the head of the final answer: interim ones come before it
/// (RFC 9110 §15.2).
async fn read_head(session: &mut HttpSession) -> pingora_core::Result<()> {
    loop {
        session.read_response().await?;
        match session.resp_header().map(|head| head.status) {
            Some(StatusCode::SWITCHING_PROTOCOLS) => {
                return pingora_core::Error::e_explain(
                    pingora_core::ErrorType::InvalidHTTPHeader,
                    "101 to a request that did not ask for it",
                );
            }
            Some(status) if status.is_informational() => {}
            _ => return Ok(()),
        }
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
