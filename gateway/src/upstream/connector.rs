//! Connections to servers: made, used for one exchange at a time (or a stream of
//! HTTP/2), and kept for the next.

use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, StatusCode};
use pingora_core::connectors::http::v2;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::http::client;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::timeout;

use super::head;
use crate::config::{self, HttpVersion};
use crate::wire::{ReadAhead, Writing};

pub(super) struct Connector {
    versioned: Versioned,
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
pub(super) enum From {
    Pool,
    Nothing,
}

/// A connection, or a stream of one, for one exchange.
pub(super) enum Session {
    Http1(Box<HttpSession>),
    Http2(Box<Http2Session>),
}

/// Why an exchange did not come to an answer.
#[derive(Debug)]
pub(super) enum Broken {
    Failed(Box<Error>),
    Late(&'static str),
    /// The server has said that it did nothing with it (RFC 9113 §8.7).
    NotProcessed(Box<Error>),
}

impl Connector {
    pub(super) fn new(upstream: &config::Upstream) -> Self {
        let mut options = ConnectorOptions::new(upstream.max_idle);
        let path = |path: &std::path::PathBuf| path.display().to_string();
        options.ca_file = upstream.tls.ca.as_ref().map(path);
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

    /// A connection to `peer`, and whether it has been used before.
    pub(super) async fn connect(&self, peer: &HttpPeer, from: From) -> Result<(Session, bool)> {
        match &self.versioned {
            Versioned::Http1(connector) => {
                let (stream, reused) = match from {
                    From::Pool => connector.get_stream(peer).await?,
                    From::Nothing => (connector.new_stream(peer).await?, false),
                };
                let stream = ReadAhead::new(stream, Writing::EndsAtAnswer);
                let session = HttpSession::new_with_options(Box::new(stream), peer);
                Ok((Session::Http1(Box::new(session)), reused))
            }
            Versioned::Http2(connector) => {
                // One that has just ended is no reason not to make another.
                if from == From::Pool
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

    /// Sends `request` with `body` and waits for the head of the answer. Whether the
    /// server has taken the whole request.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        mut request: RequestHeader,
        body: &Bytes,
    ) -> Result<bool, Broken> {
        match session {
            Session::Http1(session) => {
                let written = within(self.write, "not written in time", async {
                    session.write_request_header(Box::new(request)).await?;
                    session.write_body(body).await?;
                    session.finish_body().await?;
                    Ok(())
                });
                // A server may answer before it has read everything, and close. Its
                // answer counts, not that the rest could not be written.
                let written = match written.await {
                    Err(late @ Broken::Late(_)) => return Err(late),
                    written => written,
                };
                let read = within(self.first_byte, "no first byte in time", read_head(session));
                match (read.await, written) {
                    (Ok(()), written) => Ok(written.is_ok()),
                    (Err(_), Err(unwritten)) => Err(unwritten),
                    (Err(unread), Ok(())) => Err(unread),
                }
            }
            Session::Http2(session) => {
                let is_secure = session.digest().is_some_and(|d| d.ssl_digest.is_some());
                let scheme = if is_secure {
                    Scheme::HTTPS
                } else {
                    Scheme::HTTP
                };
                head::as_http2(&mut request, scheme);
                self.exchange_http2(session, request, body).await
            }
        }
    }

    async fn exchange_http2(
        &self,
        session: &mut Http2Session,
        request: RequestHeader,
        body: &Bytes,
    ) -> Result<bool, Broken> {
        session
            .write_request_header(Box::new(request), body.is_empty())
            .map_err(Broken::of)?;
        let writer = session.take_request_body_writer();
        let mut whole = body.is_empty();
        let mut writing = std::pin::pin!(within(self.write, "not written in time", async {
            match writer {
                Some(mut writer) => write_body(&mut writer, body.clone(), true, None).await,
                None => Ok(()),
            }
        }));
        let mut reading = std::pin::pin!(session.read_response_header());
        // An answer may come before everything is written.
        while !whole {
            tokio::select! {
                written = &mut writing => match written {
                    Ok(()) => whole = true,
                    Err(late @ Broken::Late(_)) => return Err(late),
                    // Its answer counts, if there is one.
                    Err(_) => break,
                },
                read = &mut reading => {
                    return read.map(|()| false).map_err(Broken::of);
                }
            }
        }
        within(self.first_byte, "no first byte in time", reading).await?;
        Ok(whole)
    }

    /// Keeps a connection for the next delivery, if it is fit for one. A stream of
    /// HTTP/2 that is not is reset, and leaves its connection as it was.
    pub(super) async fn release(&self, session: Session, peer: &HttpPeer, is_fit: bool) {
        match (&self.versioned, session) {
            (Versioned::Http1(connector), Session::Http1(mut session)) if is_fit => {
                session.respect_keepalive();
                let stream = session.reuse().await;
                let stream = stream.and_then(|s| s.into_any().downcast::<ReadAhead>().ok());
                if let Some(stream) = stream.and_then(|stream| stream.into_inner()) {
                    connector.release_stream(stream, peer.reuse_hash(), Some(self.idle));
                }
            }
            (Versioned::Http2(connector), Session::Http2(session)) => {
                connector.release_http_session(*session, peer, Some(self.idle));
            }
            _ => {}
        }
    }
}

impl Session {
    /// The head of the answer, once an exchange has come to one whose body has an end
    /// that can be found.
    pub(super) fn head(&self) -> Option<&ResponseHeader> {
        match self {
            Self::Http1(session) => session
                .resp_header()
                .filter(|answer| head::is_framing_known(answer)),
            Self::Http2(session) => session.response_header(),
        }
    }

    /// The next chunk of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Http1(session) => session.read_body_bytes().await,
            Self::Http2(session) => session.read_response_body().await,
        }
    }

    /// What comes after the body.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>> {
        match self {
            // The parser has dropped them: nobody has asked for any.
            Self::Http1(_) => Ok(None),
            Self::Http2(session) => session.read_trailers().await,
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

impl Broken {
    fn of(error: Box<Error>) -> Self {
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
            Self::NotProcessed(error)
        } else {
            Self::Failed(error)
        }
    }
}

async fn within(
    limit: Option<Duration>,
    late: &'static str,
    work: impl Future<Output = Result<()>>,
) -> Result<(), Broken> {
    let done = match limit {
        Some(limit) => timeout(limit, work).await.map_err(|_| Broken::Late(late))?,
        None => work.await,
    };
    done.map_err(Broken::of)
}

/// Reads up to the head of the final answer: interim ones come before it
/// (RFC 9110 §15.2).
async fn read_head(session: &mut HttpSession) -> Result<()> {
    loop {
        session.read_response().await?;
        match session.resp_header().map(|head| head.status) {
            Some(StatusCode::SWITCHING_PROTOCOLS) => {
                let asked = "101 to a request that did not ask for it";
                return Error::err(ErrorType::new(asked));
            }
            Some(status) if status.is_informational() => {}
            _ => return Ok(()),
        }
    }
}
