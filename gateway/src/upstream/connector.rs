//! Connections to servers: made, used for one exchange at a time (or a stream of
//! HTTP/2), and kept for the next.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::Scheme;
use pingora_core::connectors::http::v2;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::http::client;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::head::Request;
use super::{BrokenOff, http1};
use crate::config::{self, HttpVersion};
use crate::http1::Connection;
use crate::waiting::timeout;

pub(super) struct Connector {
    versioned: Versioned,
    /// How long a connection of HTTP/2 is kept.
    idle: Duration,
    write: Option<Duration>,
    first_byte: Option<Duration>,
}

enum Versioned {
    Http1(TransportConnector),
    Http2(v2::Connector),
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Kept,
    New,
}

/// A connection, or a stream of one, for one exchange.
pub(super) enum Session {
    Http1(Box<http1::Session>),
    Http2(Box<Http2Session>),
}

/// Why an exchange did not come to an answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// With the cause, for the log.
    Failed(String),
    Late(&'static str),
    /// The server has said that it did nothing with it (RFC 9113 §8.7).
    NotProcessed(String),
}

/// Nothing to trust.
const NO_CERTIFICATES: &str = "/dev/null";

/// The certificates cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable;

/// Of a success that nobody can have had yet: what is not read is lost if it counts.
const UNREAD: &str = "it answers with success before it has read everything";

impl Connector {
    /// One that connects as `upstream` says.
    ///
    /// # Errors
    ///
    /// pingora reads certificates by itself, and panics at those that it cannot read: those of
    /// the system, or files that have become bad since they were checked.
    pub(super) fn new(upstream: &config::Upstream) -> Result<Self, Unreadable> {
        catch_unwind(AssertUnwindSafe(|| Self::reading(upstream))).map_err(|_| Unreadable)
    }

    fn reading(upstream: &config::Upstream) -> Self {
        let mut options = ConnectorOptions::new(upstream.max_idle);
        let path = |path: &std::path::PathBuf| path.display().to_string();
        let is_secure = upstream.servers.iter().any(|server| server.secure);
        options.ca_file = match &upstream.tls.ca {
            Some(ca) => Some(path(ca)),
            // Those of the system, of which there may be none.
            None if is_secure => None,
            None => Some(NO_CERTIFICATES.to_owned()),
        };
        options.cert_key_file = upstream
            .tls
            .identity
            .as_ref()
            .map(|(cert, key)| (path(cert), path(key)));
        let versioned = match upstream.protocol {
            HttpVersion::Http1 => Versioned::Http1(TransportConnector::new(Some(options))),
            HttpVersion::Http2 => Versioned::Http2(v2::Connector::new(Some(options))),
        };
        Self {
            versioned,
            idle: upstream.idle_timeout,
            write: upstream.write_timeout,
            first_byte: upstream.first_byte_timeout,
        }
    }

    /// A connection to `peer`, and whether it has been used before: one of HTTP/2, those
    /// of HTTP/1 are kept by their server.
    pub(super) async fn connect(&self, peer: &HttpPeer, from: Use) -> Result<(Session, bool)> {
        match &self.versioned {
            Versioned::Http1(connector) => {
                let stream = connector.new_stream(peer).await?;
                Ok((Session::http1(Connection::new(stream)), false))
            }
            Versioned::Http2(connector) => {
                // One that has just ended is no reason not to make another.
                if from == Use::Kept
                    && let Ok(Some(session)) = connector.reused_http_session(peer).await
                {
                    return Ok((Session::Http2(Box::new(session)), true));
                }
                match connector.new_http_session::<_, ()>(peer).await? {
                    client::HttpSession::H2(session) => {
                        Ok((Session::Http2(Box::new(session)), false))
                    }
                    _ => Error::err(ErrorType::new("the server speaks no HTTP/2")),
                }
            }
        }
    }

    /// Sends `request` with `body` and waits for the head of the answer. With it comes
    /// whether the server has taken the whole request.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        request: &Request<'_>,
        body: &Bytes,
    ) -> Result<(ResponseHeader, bool), Broken> {
        match session {
            Session::Http1(session) => {
                let written = {
                    let writing = pin!(session.send(request, body));
                    within(self.write, "not written in time", writing).await
                };
                // A server may refuse before it has read everything, and close. Its
                // answer counts, not that the rest could not be written.
                if let Err(late @ Broken::Late(_)) = written {
                    return Err(late);
                }
                let reading = pin!(session.read_head());
                let read = within(self.first_byte, "no first byte in time", reading).await;
                match (read, written) {
                    (Ok(head), Ok(true)) => Ok((head, true)),
                    (Ok(head), _) if head.status.is_success() => Err(UNREAD.into()),
                    (Ok(head), _) => Ok((head, false)),
                    (Err(_), Err(unwritten)) => Err(unwritten),
                    (Err(unread), Ok(_)) => Err(unread),
                }
            }
            Session::Http2(session) => {
                let is_secure = session.digest().is_some_and(|d| d.ssl_digest.is_some());
                let scheme = if is_secure {
                    Scheme::HTTPS
                } else {
                    Scheme::HTTP
                };
                let request = request.as_http2(scheme);
                self.exchange_http2(session, request, body).await
            }
        }
    }

    async fn exchange_http2(
        &self,
        session: &mut Http2Session,
        request: RequestHeader,
        body: &Bytes,
    ) -> Result<(ResponseHeader, bool), Broken> {
        session
            .write_request_header(Box::new(request), body.is_empty())
            .map_err(Broken::from)?;
        let writer = session.take_request_body_writer();
        let mut whole = body.is_empty();
        let writing = pin!(async {
            match writer {
                Some(mut writer) => write_body(&mut writer, body.clone(), true, None).await,
                None => Ok(()),
            }
        });
        let mut writing = pin!(within(self.write, "not written in time", writing));
        let mut reading = pin!(async {
            session.read_response_header().await?;
            let head = session.response_header().cloned();
            head.ok_or_else(|| Broken::from("an answer without a head"))
        });
        // An answer may come before everything is written. One that tells of a success has to
        // have it all.
        let mut answer = None;
        while !whole {
            tokio::select! {
                written = &mut writing => match written {
                    Ok(()) => whole = true,
                    Err(late @ Broken::Late(_)) => return Err(late),
                    Err(_) if answer.is_some() => return Err(UNREAD.into()),
                    // Its answer counts, if there is one.
                    Err(_) => break,
                },
                read = &mut reading, if answer.is_none() => match read? {
                    head if head.status.is_success() => answer = Some(head),
                    head => return Ok((head, false)),
                }
            }
        }
        let head = match answer {
            Some(head) => head,
            None => within(self.first_byte, "no first byte in time", reading).await?,
        };
        if head.status.is_success() && !whole {
            return Err(UNREAD.into());
        }
        Ok((head, whole))
    }

    /// Keeps a connection of HTTP/2 for the next delivery. A stream that is not fit for
    /// one is reset, and leaves its connection as it was.
    pub(super) fn release(&self, session: Box<Http2Session>, peer: &HttpPeer) {
        if let Versioned::Http2(connector) = &self.versioned {
            connector.release_http_session(*session, peer, Some(self.idle));
        }
    }
}

impl Session {
    pub(super) fn http1(connection: Connection) -> Self {
        Self::Http1(Box::new(http1::Session::new(connection)))
    }

    /// The next chunk of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        match self {
            Self::Http1(session) => session.chunk().await.map_err(|_| BrokenOff),
            Self::Http2(session) => session.read_response_body().await.map_err(|_| BrokenOff),
        }
    }

    /// What comes after the body.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, BrokenOff> {
        match self {
            // Nobody has asked for any.
            Self::Http1(_) => Ok(None),
            Self::Http2(session) => session.read_trailers().await.map_err(|_| BrokenOff),
        }
    }
}

/// What went wrong, for the log: without what the other side has sent, which pingora
/// puts into what it says of an answer that it cannot read.
pub(super) fn told(error: &Error) -> String {
    let kind = error.etype().as_str();
    let root = error.root_cause();
    if root.is::<Error>() {
        kind.to_owned()
    } else {
        format!("{kind}: {root}")
    }
}

impl From<Box<Error>> for Broken {
    fn from(error: Box<Error>) -> Self {
        let cause = error.root_cause().downcast_ref::<h2::Error>();
        let is_refused = cause.is_some_and(|cause| {
            cause.is_remote()
                && match cause.reason() {
                    Some(h2::Reason::REFUSED_STREAM) => cause.is_reset(),
                    // Told to those streams only that the server has not seen.
                    Some(h2::Reason::NO_ERROR) => cause.is_go_away(),
                    _ => false,
                }
        });
        if is_refused {
            Self::NotProcessed(told(&error))
        } else {
            Self::Failed(told(&error))
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<&str> for Broken {
    fn from(cause: &str) -> Self {
        Self::Failed(cause.to_owned())
    }
}

async fn within<T, E: Into<Broken>>(
    limit: Option<Duration>,
    late: &'static str,
    work: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, Broken> {
    let done = match limit {
        Some(limit) => timeout(limit, work).await.map_err(|_| Broken::Late(late))?,
        None => work.await,
    };
    done.map_err(E::into)
}
