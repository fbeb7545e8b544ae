//! One connection of a sender: counted, made secure, and served in the protocol
//! that it speaks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::stream::Stream as TcpStream;
use pingora_core::protocols::{ALPN, Ssl, Stream};
use pingora_core::server::ShutdownWatch;
use prometheus::IntGauge;
use tokio::time::{Instant, sleep, timeout_at};

use super::{http1, http2};
use crate::gateway::Gateway;
use crate::limits::refusal_rate::network;
use crate::listener::proxy_protocol::Balancers;
use crate::listener::rejected_connection::TurnedAway;
use crate::tls::ServerTls;
use crate::upstream::told;

/// How long a connection may be idle between two requests.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// How long the last bytes of an answer may take.
pub(crate) const FINISH: Duration = Duration::from_secs(10);

/// How long a connection on which nothing has begun stays open once the gateway is about
/// to end: something may be on its way already, and closing would lose it.
const LINGER: Duration = Duration::from_secs(1);

/// The listening side of the gateway, at one kind of socket.
pub(crate) struct Front {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) balancers: Option<Balancers>,
    pub(crate) entrance: Entrance,
}

/// How connections come in.
#[derive(Debug)]
pub(crate) enum Entrance {
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
impl ServerApp for Front {
    async fn process_new(
        self: &Arc<Self>,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let gateway = &self.gateway;
        let limits = gateway.limits();
        // Counted before the handshake, which is what a flood would consist of.
        let Some(_open) = Open::count(gateway.metrics.connections(), limits.connections) else {
            gateway.turn_away(TurnedAway::Full, client(&stream), None);
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
                    gateway.turn_away(TurnedAway::FullOfAddress, client(&stream), None);
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

impl Front {
    /// Shakes hands and finds out what is spoken.
    async fn open(
        &self,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<(Stream, Protocol)> {
        match &self.entrance {
            Entrance::Clear { h2c: false } => Some((stream, Protocol::Http1)),
            Entrance::Clear { h2c: true } => {
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
            Entrance::Tls(tls) => {
                begins(&mut stream, shutdown).await?;
                let client = client(&stream);
                let stream = stream.into_any().downcast::<TcpStream>().ok()?;
                let handshake = tls.acceptor();
                let stream = match handshake.tls_handshake(*stream).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        let cause = told(&error);
                        self.gateway
                            .turn_away(TurnedAway::NoTls, client, Some(&cause));
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

/// Whose a connection is, as far as is known.
pub(crate) fn client(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip())
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

/// Returns when a connection on which nothing has begun is closed, because the gateway ends.
pub(crate) async fn ended(shutdown: &ShutdownWatch) {
    // The end of the signal's sender is the end of the process.
    let _: Result<_, _> = shutdown.clone().wait_for(|ends| *ends).await;
    sleep(LINGER).await;
}

/// Counts a connection while it is open.
struct Open<'m>(&'m IntGauge);

impl<'m> Open<'m> {
    /// `None` above the limit: the connection is closed unanswered, because
    /// answering it is what there is no room for.
    fn count(gauge: &'m IntGauge, limit: usize) -> Option<Self> {
        gauge.inc();
        let open = Self(gauge);
        let within = usize::try_from(gauge.get()).is_ok_and(|count| count <= limit);
        within.then_some(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Connections that are open, by the address of the client, of IPv6 its /64. Bounded by how many there
/// may be at all.
#[derive(Debug, Default)]
pub(crate) struct OpenByAddress(Mutex<HashMap<IpAddr, usize>>);

/// Counts a connection of an address while it is open.
struct OpenOf<'o> {
    all: &'o OpenByAddress,
    address: Option<IpAddr>,
}

impl OpenByAddress {
    /// `None` above the limit.
    fn count(&self, stream: &Stream, most: usize) -> Option<OpenOf<'_>> {
        let address = client(stream).map(network);
        if let Some(address) = address {
            let mut open = self.0.lock();
            let open = open.entry(address).or_default();
            if *open >= most {
                return None;
            }
            *open += 1;
        }
        Some(OpenOf { all: self, address })
    }
}

impl Drop for OpenOf<'_> {
    fn drop(&mut self) {
        let Some(address) = self.address else {
            return;
        };
        if let Entry::Occupied(mut open) = self.all.0.lock().entry(address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}
