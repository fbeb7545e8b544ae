//! One connection of a sender: counted, made secure, and served in the protocol
//! that it speaks.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::stream::Stream as TcpStream;
use pingora_core::protocols::{ALPN, Ssl, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::time::{Instant, timeout_at};

use super::{http1, http2};
use crate::gateway::Gateway;
use crate::listener::connection_limits::ConnectionGuard;
use crate::listener::proxy_protocol::ProxyProtocolPeers;
use crate::listener::rejected_connection::ConnectionRejection;
use crate::listener::timeouts::ended;
use crate::listener::tls::ServerTls;
use crate::stream::{client, error_for_log};

/// The listening side of the gateway, at one kind of socket.
pub(crate) struct Listener {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) balancers: Option<ProxyProtocolPeers>,
    pub(crate) entrance: ListenerKind,
}

/// How connections come in.
#[derive(Debug)]
pub(crate) enum ListenerKind {
    Clear {
        /// Whether HTTP/2 is spoken to those who begin with it.
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
        // Counted before the handshake, which is what a flood would consist of.
        let Some(_open) = ConnectionGuard::count(gateway.metrics.connections(), limits.connections)
        else {
            gateway.turn_away(ConnectionRejection::Full, client(&stream), None);
            return None;
        };
        let deadline = Instant::now() + limits.head_timeout;
        let stream = match &self.balancers {
            None => stream,
            Some(balancers) => {
                let passed_on = async {
                    begins(&mut stream, shutdown).await?;
                    balancers.pass_on(gateway, stream).await
                };
                timeout_at(deadline, passed_on).await.ok()??
            }
        };
        let _of_address = match limits.connections_per_address {
            Some(most) => match gateway.open.count(&stream, most) {
                open @ Some(_) => open,
                None => {
                    gateway.turn_away(ConnectionRejection::FullOfAddress, client(&stream), None);
                    return None;
                }
            },
            None => None,
        };
        let (stream, protocol) = timeout_at(deadline, self.open(stream, shutdown))
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
    /// Shakes hands and finds out what is spoken.
    async fn open(
        &self,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<(Stream, Protocol)> {
        match &self.entrance {
            ListenerKind::Clear { h2c: false } => Some((stream, Protocol::Http1)),
            ListenerKind::Clear { h2c: true } => {
                // What every HTTP/2 connection begins with (RFC 9113 §3.4) begins
                // like no request of HTTP/1, and no request is shorter than this.
                begins(&mut stream, shutdown).await?;
                let mut start = [0; 4];
                stream.try_peek(&mut start).await.ok()?;
                let protocol = match &start {
                    b"PRI " => Protocol::Http2,
                    _ => Protocol::Http1,
                };
                Some((stream, protocol))
            }
            ListenerKind::Tls(tls) => {
                begins(&mut stream, shutdown).await?;
                let client = client(&stream);
                let stream = stream.into_any().downcast::<TcpStream>().ok()?;
                let handshake = tls.acceptor();
                let stream = match handshake.tls_handshake(*stream).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        let cause = error_for_log(&error);
                        self.gateway
                            .turn_away(ConnectionRejection::NoTls, client, Some(&cause));
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

/// Waits for the first byte of what comes next. `None` if nobody is there any more, or if
/// nothing has come by the time the gateway ends.
async fn begins(stream: &mut Stream, shutdown: &ShutdownWatch) -> Option<()> {
    let mut first = [0];
    tokio::select! {
        peeked = stream.try_peek(&mut first) => peeked.ok().map(drop),
        () = ended(shutdown) => None,
    }
}
