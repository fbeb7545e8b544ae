//! Sockets are bound here, before anything starts: an address that is taken is
//! an error at once, and port 0 gets a port that can be told.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service as ServiceTrait;
use pingora_core::services::listening::Service;

/// A service whose sockets are bound.
pub(crate) struct Bound<A> {
    service: Service<A>,
    sockets: Vec<(SocketAddr, TcpListener)>,
}

/// Binds `addresses` for a service that runs `app`.
pub(crate) fn bind<A>(name: &str, addresses: &[SocketAddr], app: A) -> io::Result<Bound<A>> {
    let mut service = Service::new(name.to_owned(), app);
    let mut sockets = Vec::with_capacity(addresses.len());
    for address in addresses {
        let socket = TcpListener::bind(address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })?;
        socket.set_nonblocking(true)?;
        let actual = socket.local_addr()?;
        service.add_tcp(&actual.to_string());
        sockets.push((actual, socket));
    }
    Ok(Bound { service, sockets })
}

impl<A> Bound<A> {
    /// The addresses that were bound.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address)
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServiceTrait for Bound<A> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        // pingora takes a socket from this table before it binds one itself. It
        // owns the descriptor from then on.
        if let Some(fds) = &fds {
            let mut table = fds.lock();
            for (address, socket) in self.sockets.drain(..) {
                table.add(address.to_string(), socket.into_raw_fd());
            }
        }
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
