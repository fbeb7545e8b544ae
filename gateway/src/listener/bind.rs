//! Binds the listening sockets before any service starts.
//!
//! An address in use is thus an error at start, and the port that the system chose for
//! port 0 is known before the first connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::ListenerConfig;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::{Fds, ListenFds, ShutdownWatch};
use pingora_core::services::Service as ServiceTrait;
use pingora_core::services::listening::Service;

use crate::run::shutdown::ShutdownListener;

/// A service with bound sockets.
pub(crate) struct BoundService<A> {
    service: Service<A>,
    sockets: Vec<(SocketAddr, Socket)>,
    shutdown: Option<ShutdownListener>,
}

enum Socket {
    Own(TcpListener),
    /// A descriptor that the old process passed on during an upgrade.
    Inherited(RawFd),
}

/// Creates a service that runs `app` on `addresses`. It uses the inherited socket of an
/// address if there is one, and binds a new socket otherwise. `buffers` sets the buffers
/// between each socket and `app`.
///
/// # Errors
///
/// Returns the error of the system, with the address, if an address cannot be bound.
pub(crate) fn bind<A>(
    name: &str,
    addresses: &[SocketAddr],
    app: A,
    buffers: L4BufferSettings,
    inherited: &Fds,
) -> io::Result<BoundService<A>> {
    let mut service = Service::new(name.to_owned(), app);
    let mut sockets = Vec::with_capacity(addresses.len());
    for address in addresses {
        let (actual, socket) = match inherited.get(&address.to_string()) {
            Some(socket) => (*address, Socket::Inherited(*socket)),
            None => bind_one(*address)?,
        };
        let listener = ListenerConfig::tcp(actual.to_string());
        service.add_listener(listener.l4_buffer(buffers));
        sockets.push((actual, socket));
    }
    Ok(BoundService {
        service,
        sockets,
        shutdown: None,
    })
}

fn bind_one(address: SocketAddr) -> io::Result<(SocketAddr, Socket)> {
    let socket = TcpListener::bind(address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    socket.set_nonblocking(true)?;
    Ok((socket.local_addr()?, Socket::Own(socket)))
}

impl<A: ServerApp + Send + Sync + 'static> BoundService<A> {
    /// Makes the service stop on the signal of `shutdown` instead of pingora's. The service
    /// also stores the table of sockets there, for an upgrade.
    pub(crate) fn with_shutdown(mut self, shutdown: ShutdownListener) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    /// Returns the bound addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address)
    }

    /// Logs the bound addresses.
    pub(crate) fn log_addresses(&self) {
        let role = self.service.name();
        for address in self.addresses() {
            tracing::info!(role, %address, "listening");
        }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServiceTrait for BoundService<A> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        // pingora looks for a socket in this table before it binds one itself, and owns
        // the descriptor from then on.
        if let Some(fds) = &fds {
            let mut table = fds.lock();
            for (address, socket) in self.sockets.drain(..) {
                let socket = match socket {
                    Socket::Own(socket) => socket.into_raw_fd(),
                    Socket::Inherited(socket) => socket,
                };
                table.add(address.to_string(), socket);
            }
            if let Some(shutdown) = &self.shutdown {
                // All services share one table, so the first one stores it.
                shutdown.sockets.get_or_init(|| Arc::clone(fds));
            }
        }
        let shutdown = self
            .shutdown
            .as_ref()
            .map_or(shutdown, |own| own.stop.clone());
        self.service
            .start_service(fds, shutdown, listeners_per_fd)
            .await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.service.listen_addresses()
    }
}
