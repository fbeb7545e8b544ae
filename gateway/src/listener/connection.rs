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
use crate::listener::connection_table::Slot;
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
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let gateway = &self.gateway;
        let client = ClientAddress::of_peer(&stream);
        // The limit includes connections without a handshake, because a flood may send none.
        let Some(open) = gateway.open_connection(client) else {
            gateway.refuse_connection(ConnectionRefusal::TooMany, client, None);
            return None;
        };
        tokio::select! {
            biased;
            // A connection whose request has arrived is not evicted.
            () = open.slot().evicted() => {}
            () = self.serve(stream, open.slot(), shutdown) => {}
        }
        None
    }
}

impl Listener {
    /// Serves a connection that counts towards the connection limit.
    async fn serve(&self, mut stream: Stream, slot: &Arc<Slot>, shutdown: &ShutdownWatch) {
        let gateway = &self.gateway;
        let limits = gateway.limits();
        let deadline = Instant::now() + limits.head_timeout;
        if let Some(balancers) = &self.proxy_protocol {
            let accepted = async {
                wait_for_first_byte(&mut stream, shutdown).await?;
                balancers.accept(gateway, stream).await
            };
            let Ok(Some(accepted)) = timeout_at(deadline, accepted).await else {
                return;
            };
            stream = accepted;
        }
        let client = ClientAddress::of_peer(&stream);
        // The connections of a proxy serve many senders.
        let serves_many = gateway.is_trusted_proxy(client);
        slot.set_client(client.filter(|_| !serves_many));
        let _open_for_address = match limits.connections_per_address {
            Some(limit) if !serves_many => {
                match gateway.connections_by_address().acquire(&stream, limit) {
                    guard @ Some(_) => guard,
                    None => {
                        let refusal = ConnectionRefusal::TooManyFromAddress;
                        return gateway.refuse_connection(refusal, client, None);
                    }
                }
            }
            _ => None,
        };
        let negotiated = timeout_at(deadline, self.negotiate(stream, shutdown)).await;
        match negotiated {
            Ok(Some((stream, Protocol::Http1))) => {
                http1::serve(gateway, stream, slot, shutdown).await;
            }
            Ok(Some((stream, Protocol::Http2))) => {
                http2::serve(gateway, stream, slot, shutdown).await;
            }
            Ok(None) | Err(_) => {}
        }
    }

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
