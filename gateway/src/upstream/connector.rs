//! Connections to servers: made, used for one exchange at a time (or a stream of
//! HTTP/2), and kept for the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use pingora_core::connectors::http::v2;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::http::client;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

use super::exchange::{After, Broken, Patience};
use super::head::Request;
use super::{BrokenOff, http1, http2};
use crate::config::{self, HttpVersion};
use crate::listener::http1::connection;

pub(super) struct Connector {
    versioned: Versioned,
    /// How long a connection of HTTP/2 is kept.
    idle: Duration,
    patience: Patience,
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
    /// New, and for one exchange.
    Once,
}

impl Use {
    fn after(self) -> After {
        match self {
            Self::Kept | Self::New => After::Kept,
            Self::Once => After::Ends,
        }
    }
}

/// A connection, or a stream of one, for one exchange.
pub(super) enum Session {
    Http1(Box<http1::Session>),
    Http2(Box<http2::Session>),
}

/// Nothing to trust.
const NO_CERTIFICATES: &str = "/dev/null";

/// The certificates cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Connector {
    /// One that connects as `upstream` says.
    ///
    /// # Errors
    ///
    /// pingora reads certificates by itself, and panics at those that it cannot read: those of
    /// the system, or files that have become bad since they were checked.
    pub(super) fn new(upstream: &config::UpstreamConfig) -> Result<Self, Unreadable> {
        catch_unwind(AssertUnwindSafe(|| Self::reading(upstream))).map_err(|_| Unreadable)
    }

    fn reading(upstream: &config::UpstreamConfig) -> Self {
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
            patience: Patience {
                write: upstream.write_timeout,
                first_byte: upstream.first_byte_timeout,
            },
        }
    }

    /// A connection to `peer`, and whether it has been used before: one of HTTP/2, those
    /// of HTTP/1 are kept by their server.
    pub(super) async fn connect(&self, peer: &HttpPeer, from: Use) -> Result<(Session, bool)> {
        match &self.versioned {
            Versioned::Http1(connector) => {
                let stream = connector.new_stream(peer).await?;
                let session = http1::Session::new(connection(stream), from.after());
                Ok((Session::Http1(Box::new(session)), false))
            }
            Versioned::Http2(connector) => {
                let session =
                    |stream| Session::Http2(Box::new(http2::Session::new(stream, from.after())));
                // One that has just ended is no reason not to make another.
                if from == Use::Kept
                    && let Ok(Some(stream)) = connector.reused_http_session(peer).await
                {
                    return Ok((session(stream), true));
                }
                let made = match from {
                    Use::Kept | Use::New => connector.new_http_session::<_, ()>(peer).await?,
                    // Of more streams the library would keep it for others.
                    Use::Once => {
                        let mut peer = peer.clone();
                        peer.options.max_h2_streams = 1;
                        connector.new_http_session::<_, ()>(&peer).await?
                    }
                };
                match made {
                    client::HttpSession::H2(stream) => Ok((session(stream), false)),
                    _ => Error::err(ErrorType::new("the server speaks no HTTP/2")),
                }
            }
        }
    }

    /// Sends `request` with `body` and waits for the head of the answer. Whether the server
    /// has taken the whole request.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        request: &Request<'_>,
        body: &Bytes,
    ) -> Result<bool, Broken> {
        match session {
            Session::Http1(session) => session.exchange(request, body, self.patience).await,
            Session::Http2(session) => session.exchange(request, body, self.patience).await,
        }
    }

    /// Keeps a connection of HTTP/2 for the next delivery. A stream that is not fit for
    /// one is reset, and leaves its connection as it was.
    pub(super) fn release(&self, session: http2::Session, peer: &HttpPeer) {
        if let (Versioned::Http2(connector), After::Kept) = (&self.versioned, session.after) {
            connector.release_http_session(session.stream, peer, Some(self.idle));
        }
    }
}

impl Session {
    /// The head of the answer, once it has been read.
    pub(super) fn answer(&self) -> &ResponseHeader {
        match self {
            Self::Http1(session) => session.answer(),
            Self::Http2(session) => &session.answer,
        }
    }

    /// The next chunk of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        match self {
            Self::Http1(session) => session.chunk().await.map_err(|_| BrokenOff),
            Self::Http2(session) => {
                let chunk = session.stream.read_response_body();
                chunk.await.map_err(|_| BrokenOff)
            }
        }
    }

    /// What comes after the body.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, BrokenOff> {
        match self {
            // Nobody has asked for any.
            Self::Http1(_) => Ok(None),
            Self::Http2(session) => {
                let trailers = session.stream.read_trailers();
                trailers.await.map_err(|_| BrokenOff)
            }
        }
    }
}
