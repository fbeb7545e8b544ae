//! Connections that wait for the next request to their host.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::task::JoinHandle;

use crate::address::Address;

/// The most connections that wait.
const MAX_IDLE: usize = 64;
/// How long a connection is used. The addresses of the host can change.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A connection to a host.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    host: Host,
    opened: Instant,
    task: JoinHandle<()>,
}

/// The host of a connection: whether it uses TLS, and its authority.
type Host = (bool, String);

/// The connections that wait.
#[derive(Debug, Default)]
pub(super) struct IdleConnections(Mutex<Vec<Connection>>);

impl Connection {
    /// `task` runs the connection. It ends with the connection.
    pub(super) fn new(
        sender: SendRequest<Full<Bytes>>,
        address: &Address,
        task: JoinHandle<()>,
    ) -> Self {
        Self {
            sender,
            host: host(address),
            opened: Instant::now(),
            task,
        }
    }

    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && self.opened.elapsed() < MAX_AGE
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl IdleConnections {
    /// Returns a connection to the host of `address`.
    pub(super) fn take(&self, address: &Address) -> Option<Connection> {
        let host = host(address);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_usable);
        let found = idle
            .iter()
            .rposition(|connection| connection.host == host)?;
        Some(idle.swap_remove(found))
    }

    /// Keeps a connection, unless [`MAX_IDLE`] connections wait.
    pub(super) fn put(&self, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_usable);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }
}

fn host(address: &Address) -> Host {
    (address.is_tls(), address.authority())
}
