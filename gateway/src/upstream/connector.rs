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

use super::exchange::{ExchangeError, Reuse, Timeouts};
use super::request::Request;
use super::{ResponseTruncated, http1, http2};
use crate::config::{self, HttpVersion};
use crate::stream::connection;

pub(super) struct Connector {
    versioned: ProtocolConnector,
    /// How long a connection of HTTP/2 is kept.
    idle: Duration,
    patience: Timeouts,
}

enum ProtocolConnector {
    Http1(TransportConnector),
    Http2(v2::Connector),
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionChoice {
    PoolOrNew,
    New,
    /// New, and for one exchange.
    SingleUse,
}

impl ConnectionChoice {
    fn after(self) -> Reuse {
        match self {
            Self::PoolOrNew | Self::New => Reuse::Allowed,
            Self::SingleUse => Reuse::Forbidden,
        }
    }
}

/// A connection, or a stream of one, for one exchange.
pub(super) enum UpstreamSession {
    Http1(Box<http1::Http1Connection>),
    Http2(Box<http2::Http2Stream>),
}

/// Nothing to trust.
const NO_CERTIFICATES: &str = "/dev/null";

/// The certificates cannot be read.
#[derive(Debug)]
pub(super) struct CertificateError;

impl Connector {
    /// One that connects as `upstream` says.
    ///
    /// # Errors
    ///
    /// pingora reads certificates by itself, and panics at those that it cannot read: those of
    /// the system, or files that have become bad since they were checked.
    pub(super) fn new(upstream: &config::UpstreamConfig) -> Result<Self, CertificateError> {
        catch_unwind(AssertUnwindSafe(|| Self::reading(upstream))).map_err(|_| CertificateError)
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
            HttpVersion::Http1 => ProtocolConnector::Http1(TransportConnector::new(Some(options))),
            HttpVersion::Http2 => ProtocolConnector::Http2(v2::Connector::new(Some(options))),
        };
        Self {
            versioned,
            idle: upstream.idle_timeout,
            patience: Timeouts {
                write: upstream.write_timeout,
                first_byte: upstream.first_byte_timeout,
            },
        }
    }

    /// A connection to `peer`, and whether it has been used before: one of HTTP/2, those
    /// of HTTP/1 are kept by their server.
    pub(super) async fn connect(
        &self,
        peer: &HttpPeer,
        from: ConnectionChoice,
    ) -> Result<(UpstreamSession, bool)> {
        match &self.versioned {
            ProtocolConnector::Http1(connector) => {
                let stream = connector.new_stream(peer).await?;
                let session = http1::Http1Connection::new(connection(stream), from.after());
                Ok((UpstreamSession::Http1(Box::new(session)), false))
            }
            ProtocolConnector::Http2(connector) => {
                let session = |stream| {
                    UpstreamSession::Http2(Box::new(http2::Http2Stream::new(stream, from.after())))
                };
                // One that has just ended is no reason not to make another.
                if from == ConnectionChoice::PoolOrNew
                    && let Ok(Some(stream)) = connector.reused_http_session(peer).await
                {
                    return Ok((session(stream), true));
                }
                let made = match from {
                    ConnectionChoice::PoolOrNew | ConnectionChoice::New => {
                        connector.new_http_session::<_, ()>(peer).await?
                    }
                    // Of more streams the library would keep it for others.
                    ConnectionChoice::SingleUse => {
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
        session: &mut UpstreamSession,
        request: &Request<'_>,
        body: &Bytes,
    ) -> Result<bool, ExchangeError> {
        match session {
            UpstreamSession::Http1(session) => session.exchange(request, body, self.patience).await,
            UpstreamSession::Http2(session) => session.exchange(request, body, self.patience).await,
        }
    }

    /// Keeps a connection of HTTP/2 for the next delivery. A stream that is not fit for
    /// one is reset, and leaves its connection as it was.
    pub(super) fn release(&self, session: http2::Http2Stream, peer: &HttpPeer) {
        if let (ProtocolConnector::Http2(connector), Reuse::Allowed) =
            (&self.versioned, session.after)
        {
            connector.release_http_session(session.stream, peer, Some(self.idle));
        }
    }
}

impl UpstreamSession {
    /// The head of the answer, once it has been read.
    pub(super) fn answer(&self) -> &ResponseHeader {
        match self {
            Self::Http1(session) => session.answer(),
            Self::Http2(session) => &session.answer,
        }
    }

    /// The next chunk of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ResponseTruncated> {
        match self {
            Self::Http1(session) => session.chunk().await.map_err(|_| ResponseTruncated),
            Self::Http2(session) => {
                let chunk = session.stream.read_response_body();
                chunk.await.map_err(|_| ResponseTruncated)
            }
        }
    }

    /// What comes after the body.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, ResponseTruncated> {
        match self {
            // Nobody has asked for any.
            Self::Http1(_) => Ok(None),
            Self::Http2(session) => {
                let trailers = session.stream.read_trailers();
                trailers.await.map_err(|_| ResponseTruncated)
            }
        }
    }
}
