//! Serves one connection of a sender: applies the connection limits, reads the PROXY protocol
//! header, completes the TLS handshake, and starts HTTP/1 or HTTP/2.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::stream::Stream as TcpStream;
use pingora_core::protocols::{ALPN, Ssl, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::time::{Instant, timeout_at};

use super::{http1, http2};
use crate::client_address::ClientAddress;
use crate::gateway::Gateway;
use crate::listener::connection_limits::ConnectionGuard;
use crate::listener::proxy_protocol::ProxyProtocolPeers;
use crate::listener::refused_connection::ConnectionRefusal;
use crate::listener::timeouts::wait_for_shutdown;
use crate::listener::tls::ServerTls;
use crate::stream::TransportError;

/// Accepts deliveries on sockets of one kind.
pub(crate) struct Listener {
    pub(crate) gateway: Arc<Gateway>,
    /// The load balancers that speak the PROXY protocol, if the gateway is behind any.
    pub(crate) proxy_protocol: Option<ProxyProtocolPeers>,
    pub(crate) kind: ListenerKind,
}

/// Whether connections use TLS.
#[derive(Debug)]
pub(crate) enum ListenerKind {
    Plaintext {
        /// Whether a client may start with HTTP/2.
        h2c: bool,
    },
    Tls(Arc<ServerTls>),
}

enum Protocol {
    Http1,
    Http2,
}

#[async_trait]
impl ServerApp for Listener {
    async fn process_new(
        self: &Arc<Self>,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let gateway = &self.gateway;
        let limits = gateway.limits();
        // The count includes connections without a handshake, because a flood may send none.
        let open = ConnectionGuard::acquire(gateway.metrics().connections(), limits.connections);
        let Some(_open) = open else {
            let client = ClientAddress::of_peer(&stream);
            gateway.refuse_connection(ConnectionRefusal::TooMany, client, None);
            return None;
        };
        let deadline = Instant::now() + limits.head_timeout;
        let stream = match &self.proxy_protocol {
            None => stream,
            Some(balancers) => {
                let accepted = async {
                    wait_for_first_byte(&mut stream, shutdown).await?;
                    balancers.accept(gateway, stream).await
                };
                timeout_at(deadline, accepted).await.ok()??
            }
        };
        let _open_for_address = match limits.connections_per_address {
            // The connections of a proxy serve many senders.
            Some(_) if gateway.is_trusted_proxy(ClientAddress::of_peer(&stream)) => None,
            Some(limit) => match gateway.connections_by_address().acquire(&stream, limit) {
                guard @ Some(_) => guard,
                None => {
                    let client = ClientAddress::of_peer(&stream);
                    let refusal = ConnectionRefusal::TooManyFromAddress;
                    gateway.refuse_connection(refusal, client, None);
                    return None;
                }
            },
            None => None,
        };
        let (stream, protocol) = timeout_at(deadline, self.negotiate(stream, shutdown))
            .await
            .ok()??;
        match protocol {
            Protocol::Http1 => http1::serve(gateway, stream, shutdown).await,
            Protocol::Http2 => http2::serve(gateway, stream, shutdown).await,
        }
        None
    }
}

impl Listener {
    /// Completes the TLS handshake and determines the version of HTTP. Returns `None` if the
    /// connection is to be closed.
    async fn negotiate(
        &self,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<(Stream, Protocol)> {
        match &self.kind {
            ListenerKind::Plaintext { h2c: false } => Some((stream, Protocol::Http1)),
            ListenerKind::Plaintext { h2c: true } => {
                wait_for_first_byte(&mut stream, shutdown).await?;
                // The preface of HTTP/2 (RFC 9113 §3.4) starts like no HTTP/1 request, and
                // every HTTP/1 request is longer than four bytes.
                let mut start = [0; 4];
                log_lost(stream.try_peek(&mut start).await)?;
                let protocol = match &start {
                    b"PRI " => Protocol::Http2,
                    _ => Protocol::Http1,
                };
                Some((stream, protocol))
            }
            ListenerKind::Tls(tls) => {
                wait_for_first_byte(&mut stream, shutdown).await?;
                let client = ClientAddress::of_peer(&stream);
                let stream = stream.into_any().downcast::<TcpStream>().ok()?;
                let handshake = tls.acceptor();
                let stream = match handshake.tls_handshake(*stream).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        let error = TransportError::from(error);
                        let refusal = ConnectionRefusal::TlsFailed;
                        self.gateway
                            .refuse_connection(refusal, client, Some(&error));
                        return None;
                    }
                };
                if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
                    return Some((Box::new(stream), Protocol::Http2));
                }
                Some((Box::new(stream), Protocol::Http1))
            }
        }
    }
}

/// Waits until the peer sends a byte, without consuming it. Returns `None` if the connection
/// ends first, or if the gateway shuts down.
async fn wait_for_first_byte(stream: &mut Stream, shutdown: &ShutdownWatch) -> Option<()> {
    let mut first = [0];
    tokio::select! {
        peeked = stream.try_peek(&mut first) => log_lost(peeked).map(drop),
        () = wait_for_shutdown(shutdown) => None,
    }
}

/// Logs the error of a connection that was lost before its first byte.
fn log_lost<T>(result: io::Result<T>) -> Option<T> {
    result
        .inspect_err(|error| tracing::debug!(%error, "connection lost before its first byte"))
        .ok()
}
