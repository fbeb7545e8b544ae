//! A service with TCP sockets that are open before it starts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::ListenerConfig;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service as ServiceTrait;
use pingora_core::services::listening::Service;

use super::sockets::SocketOpener;

/// A service with bound sockets.
pub(crate) struct BoundService<A> {
    service: Service<A>,
    sockets: Vec<(SocketAddr, TcpListener)>,
    shutdown: Option<ShutdownWatch>,
}

/// Creates a service that runs `app` on `addresses`. `buffers` sets the buffers between each
/// socket and `app`.
///
/// # Errors
///
/// Returns the error of the system, with the address, if an address cannot be bound.
pub(crate) fn bind<A>(
    name: &str,
    addresses: impl IntoIterator<Item = SocketAddr>,
    app: A,
    buffers: L4BufferSettings,
    opener: &mut SocketOpener,
) -> io::Result<BoundService<A>> {
    let mut service = Service::new(name.to_owned(), app);
    let mut sockets = Vec::new();
    for address in addresses {
        let socket = opener.tcp(address)?;
        let actual = socket.local_addr()?;
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

impl<A: ServerApp + Send + Sync + 'static> BoundService<A> {
    /// Makes the service stop on this signal instead of pingora's.
    pub(crate) fn with_shutdown(mut self, shutdown: ShutdownWatch) -> Self {
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
                table.add(address.to_string(), socket.into_raw_fd());
            }
        }
        let shutdown = self.shutdown.clone().unwrap_or(shutdown);
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
