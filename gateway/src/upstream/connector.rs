//! Connects to backends, runs exchanges, and keeps connections for later exchanges.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hookgate_gate::internal::OUTCOME;
use http::HeaderMap;
use pingora_core::connectors::http::v2;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::http::client;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{ErrorType, Result};
use pingora_http::ResponseHeader;

use super::backend::Backend;
use super::error::ResponseTruncated;
use super::exchange::{ExchangeError, Reuse, Timeouts};
use super::http1::Http1Connection;
use super::http2::Http2Stream;
use super::request::Request;
use crate::config::{HttpVersion, ServerAddress, UpstreamConfig};
use crate::stream::http1_connection;

/// Connects to the backends of one upstream.
pub(super) struct Connector {
    protocol: ProtocolConnector,
    /// How long an idle HTTP/2 connection is kept.
    idle_timeout: Duration,
    timeouts: Timeouts,
}

enum ProtocolConnector {
    Http1(TransportConnector),
    Http2(v2::Connector),
}

/// The connection that an attempt uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionChoice {
    /// A pooled connection, or a new one if the pool is empty.
    PoolOrNew,
    /// A new connection.
    New,
    /// A new connection for one exchange only.
    SingleUse,
}

impl ConnectionChoice {
    fn reuse(self) -> Reuse {
        match self {
            Self::PoolOrNew | Self::New => Reuse::Allowed,
            Self::SingleUse => Reuse::Forbidden,
        }
    }
}

/// An HTTP/1 connection or an HTTP/2 stream, for one exchange.
pub(super) enum UpstreamSession {
    Http1(Box<Http1Connection>),
    Http2(Box<Http2Stream>),
}

/// A file without certificates, for upstreams that do not use TLS.
const NO_CERTIFICATES: &str = "/dev/null";

/// The certificates of an upstream cannot be read.
#[derive(Debug)]
pub(super) struct CertificateError;

impl Connector {
    /// Creates a connector with the settings of `upstream`.
    ///
    /// # Errors
    ///
    /// Returns [`CertificateError`] if the certificates of the system, or files that have
    /// changed since they were checked, cannot be read. pingora panics in this case, and this
    /// function catches the panic.
    pub(super) fn new(upstream: &UpstreamConfig) -> Result<Self, CertificateError> {
        catch_unwind(AssertUnwindSafe(|| Self::read(upstream))).map_err(|_| CertificateError)
    }

    /// Reads the certificates and creates the connector.
    fn read(upstream: &UpstreamConfig) -> Self {
        let mut options = ConnectorOptions::new(upstream.max_idle);
        let path = |path: &Path| path.display().to_string();
        let is_secure = upstream.servers.iter().any(ServerAddress::is_secure);
        options.ca_file = match &upstream.tls.ca {
            Some(ca) => Some(path(ca)),
            // pingora reads the certificates of the system, which may have none.
            None if is_secure => None,
            None => Some(NO_CERTIFICATES.to_owned()),
        };
        let identity = upstream.tls.identity.as_ref();
        options.cert_key_file = identity.map(|(cert, key)| (path(cert), path(key)));
        let protocol = match upstream.protocol {
            HttpVersion::Http1 => ProtocolConnector::Http1(TransportConnector::new(Some(options))),
            HttpVersion::Http2 => ProtocolConnector::Http2(v2::Connector::new(Some(options))),
        };
        Self {
            protocol,
            idle_timeout: upstream.idle_timeout,
            timeouts: Timeouts {
                write: upstream.write_timeout,
                first_byte: upstream.first_byte_timeout,
            },
        }
    }

    /// Connects to `peer`. Returns the session, and whether its connection was used before.
    ///
    /// Only HTTP/2 connections are pooled here. HTTP/1 connections are pooled by their backend.
    pub(super) async fn connect(
        &self,
        peer: &HttpPeer,
        choice: ConnectionChoice,
    ) -> Result<(UpstreamSession, bool)> {
        match &self.protocol {
            ProtocolConnector::Http1(connector) => {
                let stream = connector.new_stream(peer).await?;
                let connection = Http1Connection::new(http1_connection(stream), choice.reuse());
                Ok((UpstreamSession::Http1(Box::new(connection)), false))
            }
            ProtocolConnector::Http2(connector) => {
                let session = |stream| {
                    UpstreamSession::Http2(Box::new(Http2Stream::new(stream, choice.reuse())))
                };
                // A pooled connection may have just ended. A new one is made in that case.
                if choice == ConnectionChoice::PoolOrNew
                    && let Ok(Some(stream)) = connector.reused_http_session(peer).await
                {
                    return Ok((session(stream), true));
                }
                let connected = match choice {
                    ConnectionChoice::PoolOrNew | ConnectionChoice::New => {
                        connector.new_http_session::<_, ()>(peer).await?
                    }
                    // With a maximum of one stream, pingora does not pool the connection.
                    ConnectionChoice::SingleUse => {
                        let mut peer = peer.clone();
                        peer.options.max_h2_streams = 1;
                        connector.new_http_session::<_, ()>(&peer).await?
                    }
                };
                match connected {
                    client::HttpSession::H2(stream) => Ok((session(stream), false)),
                    _ => pingora_core::Error::err(ErrorType::new(
                        "the server does not support HTTP/2",
                    )),
                }
            }
        }
    }

    /// Sends `request` with `body` and waits for the head of the response. Returns whether
    /// the backend received the whole request.
    pub(super) async fn exchange(
        &self,
        session: &mut UpstreamSession,
        request: &Request<'_>,
        body: &Bytes,
    ) -> Result<bool, ExchangeError> {
        match session {
            UpstreamSession::Http1(connection) => {
                connection.exchange(request, body, self.timeouts).await
            }
            UpstreamSession::Http2(stream) => stream.exchange(request, body, self.timeouts).await,
        }
    }

    /// Pools the connection of `session` if `reuse` allows it, and closes it otherwise. An
    /// HTTP/2 stream that did not end well is reset, which leaves its connection intact.
    pub(super) fn release(&self, session: UpstreamSession, backend: &Backend, reuse: Reuse) {
        match (session, &self.protocol) {
            (UpstreamSession::Http1(connection), _) if reuse == Reuse::Allowed => {
                backend.pool.checkin(connection);
            }
            (UpstreamSession::Http2(stream), ProtocolConnector::Http2(connector))
                if stream.reuse == Reuse::Allowed =>
            {
                let idle_timeout = Some(self.idle_timeout);
                connector.release_http_session(stream.stream, &backend.peer, idle_timeout);
            }
            _ => {}
        }
    }
}

impl UpstreamSession {
    /// Returns the head of the response, once it has been read.
    pub(super) fn response(&self) -> &ResponseHeader {
        match self {
            Self::Http1(connection) => connection.response(),
            Self::Http2(stream) => &stream.response,
        }
    }

    /// Removes `hookgate-outcome` from the head of the response: the field marks the responses of
    /// the gateway itself.
    pub(super) fn remove_outcome(&mut self) {
        let head = match self {
            Self::Http1(connection) => connection.response_mut(),
            Self::Http2(stream) => &mut stream.response,
        };
        head.remove_header(&OUTCOME);
    }

    /// Reads the next chunk of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ResponseTruncated> {
        match self {
            Self::Http1(connection) => Ok(connection.chunk().await?),
            Self::Http2(stream) => Ok(stream.stream.read_response_body().await?),
        }
    }

    /// Reads the trailers after the body.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, ResponseTruncated> {
        match self {
            // The gateway does not ask for trailers over HTTP/1.
            Self::Http1(_) => Ok(None),
            Self::Http2(stream) => stream.trailers().await,
        }
    }
}
