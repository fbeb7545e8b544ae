//! Connections to one backend that are kept between exchanges.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::http1::Http1Connection;

/// Connections to one server on which nothing is under way.
pub(super) struct IdlePool {
    /// The one that was used last comes last.
    pub(super) connections: Mutex<VecDeque<(Box<Http1Connection>, Instant)>>,
    most: usize,
    patience: Duration,
    /// Somebody closes those that get too old.
    is_swept: AtomicBool,
}

impl IdlePool {
    /// Keeps `most` connections, for `patience` each.
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self {
            connections: Mutex::default(),
            most,
            patience,
            is_swept: AtomicBool::new(false),
        }
    }

    /// The one that was used last, if its server has not closed it meanwhile.
    pub(super) fn take(&self) -> Option<Box<Http1Connection>> {
        let mut connections = self.connections.lock();
        while let Some((mut session, since)) = connections.pop_back() {
            if since.elapsed() < self.patience && session.connection.is_idle() {
                return Some(session);
            }
        }
        None
    }

    /// Keeps the connection of an exchange that has ended, if it is fit for another.
    pub(super) fn keep(self: &Arc<Self>, mut session: Box<Http1Connection>) {
        if self.most == 0 || !session.is_fit() {
            return;
        }
        session.rest();
        let mut connections = self.connections.lock();
        if connections.len() >= self.most {
            connections.pop_front();
        }
        connections.push_back((session, Instant::now()));
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self), self.patience));
        }
    }
}

impl fmt::Debug for IdlePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle")
            .field("connections", &self.connections.lock().len())
            .finish_non_exhaustive()
    }
}

/// Closes what has been idle for too long, until nothing is left or wanted.
async fn sweep(idle: Weak<IdlePool>, patience: Duration) {
    loop {
        sleep(patience).await;
        let Some(idle) = idle.upgrade() else {
            return;
        };
        let mut connections = idle.connections.lock();
        let is_old = |(_, since): &(Box<Http1Connection>, Instant)| since.elapsed() >= patience;
        while connections.front().is_some_and(is_old) {
            connections.pop_front();
        }
        if connections.is_empty() {
            idle.is_swept.store(false, Ordering::Relaxed);
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
    use crate::upstream::exchange::Reuse;

    /// A session whose exchange has ended, and its server.
    fn ended(keeps_alive: bool, body: Body) -> (Box<Http1Connection>, DuplexStream) {
        let (here, there) = duplex(64);
        let mut session = Http1Connection::new(
            Connection::new(Box::new(here) as Stream, Transport::Plain),
            Reuse::Allowed,
        );
        (session.keeps_alive, session.body) = (keeps_alive, body);
        (Box::new(session), there)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_is_fit_is_used_again() {
        let patience = Duration::from_secs(4);
        let idle = Arc::new(IdlePool::new(2, patience));
        for (keeps_alive, body, kept) in [
            (true, Body::Done, true),
            (false, Body::Done, false),
            (true, Body::Known(1), false),
        ] {
            let (session, _server) = ended(keeps_alive, body);
            idle.keep(session);
            assert_eq!(idle.take().is_some(), kept, "{keeps_alive} {body:?}");
        }

        let (session, server) = ended(true, Body::Done);
        idle.keep(session);
        drop(server);
        assert!(idle.take().is_none(), "its server has closed it");

        let (session, mut server) = ended(true, Body::Done);
        idle.keep(session);
        server.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        assert!(idle.take().is_none(), "what it says is no answer");

        let (session, _server) = ended(true, Body::Done);
        idle.keep(session);
        tokio::time::advance(patience).await;
        assert!(idle.take().is_none(), "it is too old");

        let none = Arc::new(IdlePool::new(0, patience));
        let (session, _server) = ended(true, Body::Done);
        none.keep(session);
        assert!(none.take().is_none(), "none are wanted");

        let servers: Vec<_> = (0..3)
            .map(|_| {
                let (session, server) = ended(true, Body::Done);
                idle.keep(session);
                server
            })
            .collect();
        assert_eq!(idle.connections.lock().len(), 2);
        // Nobody takes them, and they do not stay.
        sleep(patience * 2).await;
        assert!(idle.connections.lock().is_empty());
        drop(servers);
    }
}
