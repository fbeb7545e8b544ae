//! One server of an upstream: an address, and how it has been lately.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora_core::upstreams::peer::HttpPeer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::pool::IdlePool;
use crate::config::{self, HttpVersion, ServerAddress};

/// How long a server that could not be connected to is tried last.
const AVOIDED: Duration = Duration::from_secs(5);
/// Requests at once on one connection of HTTP/2.
const STREAMS: usize = 100;
/// How often a connection of HTTP/2 has to show that it is alive.
const PING: Duration = Duration::from_secs(10);
/// Bytes of an answer that may be under way on a stream, and on its connection.
const WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: ServerAddress,
    pub(super) address: SocketAddr,
    pub(super) peer: HttpPeer,
    /// Connections of HTTP/1.
    pub(super) idle: Arc<IdlePool>,
    requests: AtomicUsize,
    /// Room for requests, where there is a limit.
    room: Option<Arc<Semaphore>>,
    /// Health checks have taken it out.
    is_out: AtomicBool,
    /// Health checks in a row that were not what its state says.
    pub(super) contrary: AtomicUsize,
    unreachable: Mutex<Option<Instant>>,
}

/// Which servers come first, whatever the order among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fitness {
    Good,
    /// Could not be connected to a moment ago.
    Avoided,
    /// Fails its health checks. Tried when nothing else is left: losing a delivery
    /// is worse than trying in vain.
    Out,
}

impl Backend {
    pub(super) fn new(
        address: SocketAddr,
        name: &ServerAddress,
        upstream: &config::UpstreamConfig,
    ) -> Self {
        // An empty name would switch verification off.
        let sni = upstream.tls.name.as_ref().unwrap_or(&name.host);
        let mut peer = HttpPeer::new(address, name.secure, sni.clone());
        let options = &mut peer.options;
        options.connection_timeout = Some(upstream.connect_timeout);
        options.total_connection_timeout = Some(upstream.connect_timeout);
        options.write_timeout = upstream.write_timeout;
        options.h2_stream_window_size = Some(WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        let at_once = match upstream.protocol {
            HttpVersion::Http1 => {
                options.set_http_version(1, 1);
                1
            }
            HttpVersion::Http2 => {
                options.set_http_version(2, 2);
                options.max_h2_streams = STREAMS;
                options.h2_ping_interval = Some(PING);
                STREAMS
            }
        };
        let room = |connections| Arc::new(Semaphore::new(connections * at_once));
        Self {
            name: name.clone(),
            address,
            peer,
            idle: Arc::new(IdlePool::new(upstream.max_idle, upstream.idle_timeout)),
            requests: AtomicUsize::new(0),
            room: upstream.max_connections.map(room),
            is_out: AtomicBool::new(false),
            contrary: AtomicUsize::new(0),
            unreachable: Mutex::new(None),
        }
    }

    pub(super) fn fitness(&self) -> Fitness {
        if self.is_out() {
            return Fitness::Out;
        }
        let unreachable = *self.unreachable.lock();
        match unreachable {
            Some(at) if at.elapsed() < AVOIDED => Fitness::Avoided,
            _ => Fitness::Good,
        }
    }

    /// Requests that are under way.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    pub(super) fn set_out(&self, out: bool) {
        self.is_out.store(out, Ordering::Relaxed);
    }

    pub(super) fn was_unreachable(&self) {
        *self.unreachable.lock() = Some(Instant::now());
    }
}

/// A server while it works on a request.
#[derive(Debug)]
pub(super) struct InFlight {
    server: Arc<Backend>,
    _room: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    /// None if it has no room for another request.
    pub(super) fn with(server: &Arc<Backend>) -> Option<Self> {
        let room = match &server.room {
            None => None,
            Some(room) => Some(Arc::clone(room).try_acquire_owned().ok()?),
        };
        Some(Self::new(Arc::clone(server), room))
    }

    /// The first of `servers` that has room for another request.
    pub(super) async fn with_first(servers: Vec<Arc<Backend>>) -> Option<Self> {
        let mut waiting = JoinSet::new();
        for server in servers {
            let room = Arc::clone(server.room.as_ref()?);
            waiting.spawn(async move {
                let room = room.acquire_owned().await;
                // Nobody closes it.
                room.ok().map(|room| Self::new(server, Some(room)))
            });
        }
        waiting.join_next().await?.ok()?
    }

    fn new(server: Arc<Backend>, room: Option<OwnedSemaphorePermit>) -> Self {
        server.requests.fetch_add(1, Ordering::Relaxed);
        Self {
            server,
            _room: room,
        }
    }
}

impl Deref for InFlight {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.server
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.server.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
