//! Limits the number of open connections of the admin address.
//!
//! A new connection always gets a slot: at the limit, the connection that has been without a new
//! request for longest is closed. So neither idle connections nor slow clients keep a health
//! check out. Event streams are limited apart, and stay open.
//!
//! A client that reads a response slowly loses its connection after [`RESPONSE_DEADLINE`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep_until};

/// Maximum number of open connections. It is much larger than the number of event streams.
const MAX_CONNECTIONS: usize = 512;
/// Maximum time for which a client may read a response, apart from an event stream.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(300);

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Counts connections and requests, and so orders them by time.
    clock: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Slot>>>,
}

/// One open connection. Dropping it frees its slot.
#[derive(Debug)]
pub(super) struct OpenConnection<'c> {
    connections: &'c Connections,
    id: u64,
    slot: Arc<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// When the connection was opened, or had its last request.
    used: AtomicU64,
    is_stream: AtomicBool,
    /// When the last response was ready. `None` while a request is handled.
    responded: Mutex<Option<Instant>>,
    evicted: Notify,
}

impl Connections {
    /// Adds a connection, and closes another one at the limit.
    pub(super) fn open(&self) -> OpenConnection<'_> {
        let id = self.clock.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot {
            used: id.into(),
            ..Slot::default()
        });
        let mut open = self.open.lock();
        if open.len() >= MAX_CONNECTIONS {
            let idle = open
                .iter()
                .filter(|(_, slot)| !slot.is_stream.load(Ordering::Relaxed))
                .min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed))
                .map(|(id, _)| *id);
            if let Some(evicted) = idle.and_then(|idle| open.remove(&idle)) {
                evicted.evicted.notify_one();
            }
        }
        open.insert(id, Arc::clone(&slot));
        OpenConnection {
            connections: self,
            id,
            slot,
        }
    }
}

impl OpenConnection<'_> {
    /// Notes that a request has arrived.
    pub(super) fn requested(&self) {
        let now = self.connections.clock.fetch_add(1, Ordering::Relaxed);
        self.slot.used.store(now, Ordering::Relaxed);
        *self.slot.responded.lock() = None;
    }

    /// Notes that a response is ready to be sent.
    pub(super) fn responded(&self) {
        *self.slot.responded.lock() = Some(Instant::now());
    }

    /// Waits until the client has taken too long to read a response.
    pub(super) async fn expired(&self) {
        loop {
            let now = Instant::now();
            let is_stream = self.slot.is_stream.load(Ordering::Relaxed);
            let responded = self.slot.responded.lock().filter(|_| !is_stream);
            let deadline = responded.unwrap_or(now) + RESPONSE_DEADLINE;
            if now >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    /// Keeps the connection open while it carries an event stream.
    pub(super) fn start_stream(&self) -> StreamMark {
        self.slot.is_stream.store(true, Ordering::Relaxed);
        StreamMark(Arc::clone(&self.slot))
    }

    /// Waits until the connection must be closed.
    pub(super) async fn evicted(&self) {
        self.slot.evicted.notified().await;
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.id);
    }
}

/// Marks a connection that carries an event stream until it is dropped.
#[derive(Debug)]
pub(super) struct StreamMark(Arc<Slot>);

impl Drop for StreamMark {
    fn drop(&mut self) {
        self.0.is_stream.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::now_or_never;
    use std::pin::pin;

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_of_a_response_loses_its_connection() {
        let connections = Connections::default();
        let slow = connections.open();
        slow.requested();
        slow.responded();
        let start = Instant::now();
        slow.expired().await;
        assert_eq!(start.elapsed(), RESPONSE_DEADLINE);
        // The controls: an event stream stays open, and so does a request that is handled.
        let stream = connections.open();
        let _mark = stream.start_stream();
        stream.responded();
        let handled = connections.open();
        handled.responded();
        handled.requested();
        for open in [stream, handled] {
            let expired = tokio::time::timeout(RESPONSE_DEADLINE * 3, open.expired()).await;
            assert!(expired.is_err());
        }
    }

    async fn is_evicted(connection: &OpenConnection<'_>) -> bool {
        now_or_never(pin!(connection.evicted())).await.is_some()
    }

    #[tokio::test]
    async fn a_full_table_closes_the_connection_that_was_idle_for_longest() {
        let connections = Connections::default();
        let open: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connections.open()).collect();
        assert!(!is_evicted(&open[1]).await);
        let stream = open[0].start_stream();
        open[1].requested();
        let _new = connections.open();
        let mut evicted = Vec::new();
        for (index, connection) in open.iter().enumerate() {
            if is_evicted(connection).await {
                evicted.push(index);
            }
        }
        assert_eq!(evicted, [2]);
        drop(stream);
        let _new = connections.open();
        assert!(is_evicted(&open[0]).await);
        assert_eq!(connections.open.lock().len(), MAX_CONNECTIONS);
    }

    #[test]
    fn a_closed_connection_frees_its_slot() {
        let connections = Connections::default();
        drop(connections.open());
        assert!(connections.open.lock().is_empty());
    }
}
