//! The idle HTTP/1 connections to one backend.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::http1::Http1Connection;

/// Connections on which no exchange is in progress.
pub(super) struct IdlePool {
    /// The connections with the time of their last use, which is in ascending order.
    connections: Mutex<VecDeque<(Box<Http1Connection>, Instant)>>,
    max_idle: usize,
    idle_timeout: Duration,
    /// Whether a task closes the connections that have been idle for too long.
    is_swept: AtomicBool,
}

impl IdlePool {
    /// Creates a pool that keeps `max_idle` connections, each for `idle_timeout`.
    pub(super) fn new(max_idle: usize, idle_timeout: Duration) -> Self {
        Self {
            connections: Mutex::default(),
            max_idle,
            idle_timeout,
            is_swept: AtomicBool::new(false),
        }
    }

    /// Returns the connection that was used last. Connections that the backend has closed are
    /// dropped.
    pub(super) fn checkout(&self) -> Option<Box<Http1Connection>> {
        let mut connections = self.connections.lock();
        while let Some((mut connection, since)) = connections.pop_back() {
            if since.elapsed() < self.idle_timeout && connection.is_idle() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps the connection of an exchange that has ended, if the connection is reusable.
    pub(super) fn checkin(self: &Arc<Self>, mut connection: Box<Http1Connection>) {
        if self.max_idle == 0 || !connection.is_reusable() {
            return;
        }
        connection.recycle();
        let mut connections = self.connections.lock();
        if connections.len() >= self.max_idle {
            connections.pop_front();
        }
        connections.push_back((connection, Instant::now()));
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
        }
    }
}

impl fmt::Debug for IdlePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdlePool")
            .field("connections", &self.connections.lock().len())
            .finish_non_exhaustive()
    }
}

/// Closes connections that have been idle for too long, until the pool is empty or dropped.
async fn sweep(pool: Weak<IdlePool>, idle_timeout: Duration) {
    loop {
        sleep(idle_timeout).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let mut connections = pool.connections.lock();
        let is_old = |(_, since): &(Box<Http1Connection>, Instant)| since.elapsed() >= idle_timeout;
        while connections.front().is_some_and(is_old) {
            connections.pop_front();
        }
        if connections.is_empty() {
            pool.is_swept.store(false, Ordering::Relaxed);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use hookgate_http1::{Body, Connection, Transport};
    use pingora_core::protocols::Stream;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Returns a connection whose exchange has ended, and the stream of its backend.
    fn connection(keeps_alive: bool, body: Body) -> (Box<Http1Connection>, DuplexStream) {
        let (here, there) = duplex(64);
        let connection = Connection::new(Box::new(here) as Stream, Transport::Plain);
        let connection = Http1Connection::after_exchange(connection, keeps_alive, body);
        (Box::new(connection), there)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_reusable_connection_is_kept() {
        let idle_timeout = Duration::from_secs(4);
        let pool = Arc::new(IdlePool::new(2, idle_timeout));
        for (keeps_alive, body, is_kept) in [
            (true, Body::Done, true),
            (false, Body::Done, false),
            (true, Body::Known(1), false),
        ] {
            let (idle, _backend) = connection(keeps_alive, body);
            pool.checkin(idle);
            assert_eq!(pool.checkout().is_some(), is_kept, "{keeps_alive} {body:?}");
        }

        let (idle, backend) = connection(true, Body::Done);
        pool.checkin(idle);
        drop(backend);
        assert!(pool.checkout().is_none(), "the backend has closed it");

        let (idle, mut backend) = connection(true, Body::Done);
        pool.checkin(idle);
        backend.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        assert!(pool.checkout().is_none(), "it has unrequested bytes");

        let (idle, _backend) = connection(true, Body::Done);
        pool.checkin(idle);
        tokio::time::advance(idle_timeout).await;
        assert!(pool.checkout().is_none(), "it is too old");

        let disabled = Arc::new(IdlePool::new(0, idle_timeout));
        let (idle, _backend) = connection(true, Body::Done);
        disabled.checkin(idle);
        assert!(disabled.checkout().is_none(), "the pool is disabled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_keeps_its_maximum_and_closes_unused_connections() {
        let idle_timeout = Duration::from_secs(4);
        let pool = Arc::new(IdlePool::new(2, idle_timeout));
        let backends: Vec<_> = (0..3)
            .map(|_| {
                let (idle, backend) = connection(true, Body::Done);
                pool.checkin(idle);
                backend
            })
            .collect();
        assert_eq!(pool.connections.lock().len(), 2);
        sleep(idle_timeout * 2).await;
        assert!(pool.connections.lock().is_empty());
        drop(backends);
    }
}
