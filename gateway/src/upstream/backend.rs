//! One backend of an upstream: an address, its idle connections, and its health.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora_core::upstreams::peer::HttpPeer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::pool::IdlePool;
use crate::config::{HttpVersion, ServerAddress, TransportAddress, UpstreamConfig};

/// Time for which an unreachable backend is tried after the others.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Maximum number of concurrent requests on one HTTP/2 connection.
const MAX_STREAMS: usize = 100;
/// Interval of the pings that detect a dead HTTP/2 connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Flow-control window in bytes of the responses on one HTTP/2 stream.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window in bytes of the responses on one HTTP/2 connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// An address that deliveries are sent to.
#[derive(Debug)]
pub(super) struct Backend {
    /// The configured server that this address belongs to.
    pub(super) server: ServerAddress,
    pub(super) address: TransportAddress,
    pub(super) peer: HttpPeer,
    /// Idle HTTP/1 connections.
    pub(super) pool: Arc<IdlePool>,
    in_flight: AtomicUsize,
    /// Permits for concurrent requests, if their number is limited.
    permits: Option<Arc<Semaphore>>,
    is_unhealthy: AtomicBool,
    /// Number of consecutive health checks that contradict `is_unhealthy`.
    pub(super) contradicting_checks: AtomicUsize,
    /// When the last attempt to connect failed.
    unreachable_at: Mutex<Option<Instant>>,
}

/// Rank of a backend in the order of attempts. A lower rank is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fitness {
    Good,
    /// A recent attempt to connect failed.
    Unreachable,
    /// The health checks fail. Such a backend is tried if no other is left, because a vain
    /// attempt is better than a lost delivery.
    Unhealthy,
}

impl Backend {
    pub(super) fn new(
        address: TransportAddress,
        server: &ServerAddress,
        upstream: &UpstreamConfig,
    ) -> Self {
        // An empty name would disable the verification of certificates.
        let sni = upstream.tls.name.as_deref().unwrap_or(server.host());
        let mut peer = peer(&address, server, sni);
        let options = &mut peer.options;
        options.connection_timeout = Some(upstream.connect_timeout);
        options.total_connection_timeout = Some(upstream.connect_timeout);
        options.write_timeout = upstream.write_timeout;
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        let requests_per_connection = match upstream.protocol {
            HttpVersion::Http1 => {
                options.set_http_version(1, 1);
                1
            }
            HttpVersion::Http2 => {
                options.set_http_version(2, 2);
                options.max_h2_streams = MAX_STREAMS;
                options.h2_ping_interval = Some(PING_INTERVAL);
                MAX_STREAMS
            }
        };
        let permits = |connections| Arc::new(Semaphore::new(connections * requests_per_connection));
        Self {
            server: server.clone(),
            address,
            peer,
            pool: Arc::new(IdlePool::new(upstream.max_idle, upstream.idle_timeout)),
            in_flight: AtomicUsize::new(0),
            permits: upstream.max_connections.map(permits),
            is_unhealthy: AtomicBool::new(false),
            contradicting_checks: AtomicUsize::new(0),
            unreachable_at: Mutex::new(None),
        }
    }

    pub(super) fn fitness(&self) -> Fitness {
        if self.is_unhealthy() {
            return Fitness::Unhealthy;
        }
        let unreachable_at = *self.unreachable_at.lock();
        match unreachable_at {
            Some(at) if at.elapsed() < RETRY_AFTER_FAILURE => Fitness::Unreachable,
            _ => Fitness::Good,
        }
    }

    /// Returns the number of requests in progress.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        self.is_unhealthy.load(Ordering::Relaxed)
    }

    pub(super) fn set_unhealthy(&self, is_unhealthy: bool) {
        self.is_unhealthy.store(is_unhealthy, Ordering::Relaxed);
    }

    /// Records that an attempt to connect failed now.
    pub(super) fn mark_unreachable(&self) {
        *self.unreachable_at.lock() = Some(Instant::now());
    }
}

/// Returns the peer of pingora's connectors for a backend.
fn peer(address: &TransportAddress, server: &ServerAddress, sni: &str) -> HttpPeer {
    match address {
        TransportAddress::Tcp(address) => {
            HttpPeer::new(address, server.is_secure(), sni.to_owned())
        }
        TransportAddress::Unix(path) => {
            let path = path.to_string_lossy();
            HttpPeer::new_uds(&path, false, sni.to_owned())
                .expect("the configuration accepts only paths that a socket address can hold")
        }
    }
}

/// A backend with a request in progress. Counts the request until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    backend: Arc<Backend>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    /// Starts a request. Returns `None` if the backend has its maximum number of requests.
    pub(super) fn start(backend: &Arc<Backend>) -> Option<Self> {
        let permit = match &backend.permits {
            None => None,
            Some(permits) => Some(Arc::clone(permits).try_acquire_owned().ok()?),
        };
        Some(Self::new(Arc::clone(backend), permit))
    }

    /// Waits until one of `backends` accepts another request.
    pub(super) async fn start_on_first_free(backends: Vec<Arc<Backend>>) -> Option<Self> {
        let mut waiting = JoinSet::new();
        for backend in backends {
            let permits = Arc::clone(backend.permits.as_ref()?);
            waiting.spawn(async move {
                let permit = permits.acquire_owned().await;
                // This fails for a closed semaphore only, and no code closes it.
                permit.ok().map(|permit| Self::new(backend, Some(permit)))
            });
        }
        waiting.join_next().await?.ok()?
    }

    fn new(backend: Arc<Backend>, permit: Option<OwnedSemaphorePermit>) -> Self {
        backend.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            backend,
            _permit: permit,
        }
    }
}

impl Deref for InFlight {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.backend
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.backend.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
