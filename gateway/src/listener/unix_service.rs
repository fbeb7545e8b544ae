//! Accepts the connections of Unix sockets.
//!
//! pingora's own service would set the mode of each file, which fails for the sockets of systemd.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::sockets::SocketOpener;
use crate::config::TransportAddress;

/// The pause after an error of accepting a connection, such as too many open files.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// A service on Unix sockets.
pub(crate) struct UnixService<A> {
    name: String,
    app: Arc<A>,
    sockets: Vec<(Arc<Path>, UnixListener)>,
    shutdown: Option<ShutdownWatch>,
}

impl<A> UnixService<A> {
    /// Opens the sockets of a service that runs `app`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, with the path, if a socket cannot be opened.
    pub(crate) fn bind<'p>(
        name: &str,
        paths: impl Iterator<Item = &'p Arc<Path>>,
        app: A,
        opener: &mut SocketOpener,
    ) -> io::Result<Self> {
        let sockets = paths.map(|path| Ok((Arc::clone(path), opener.unix(path)?)));
        Ok(Self {
            name: name.to_owned(),
            app: Arc::new(app),
            sockets: sockets.collect::<io::Result<_>>()?,
            shutdown: None,
        })
    }

    /// Makes the service stop on this signal instead of pingora's.
    pub(crate) fn with_shutdown(mut self, shutdown: ShutdownWatch) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    /// Logs the paths.
    pub(crate) fn log_addresses(&self) {
        for (path, _) in &self.sockets {
            let address = TransportAddress::Unix(Arc::clone(path));
            tracing::info!(role = self.name, %address, "listening");
        }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for UnixService<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, shutdown: ShutdownWatch, _: usize) {
        let shutdown = self.shutdown.clone().unwrap_or(shutdown);
        let mut sockets = JoinSet::new();
        for (path, socket) in self.sockets.drain(..) {
            sockets.spawn(accept_all(
                path,
                socket,
                Arc::clone(&self.app),
                shutdown.clone(),
            ));
        }
        sockets.join_all().await;
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Accepts connections until the shutdown.
async fn accept_all<A: ServerApp + Send + Sync + 'static>(
    path: Arc<Path>,
    socket: UnixListener,
    app: Arc<A>,
    mut shutdown: ShutdownWatch,
) {
    // The path was read from a configuration, and the socket is open, so neither call fails.
    let (Ok(peer), Ok(socket)) = (
        SocketAddr::from_pathname(&path),
        tokio::net::UnixListener::from_std(socket),
    ) else {
        tracing::error!(path = %path.display(), "cannot accept connections");
        return;
    };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = shutdown.wait_for(|is_shutdown| *is_shutdown) => return,
        };
        match accepted {
            Ok((connection, _)) => {
                let (app, shutdown) = (Arc::clone(&app), shutdown.clone());
                let connection = stream(connection, &peer);
                tokio::spawn(async move {
                    app.process_new(Box::new(connection), &shutdown).await;
                });
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot accept a connection");
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Returns a stream of pingora whose peer is a Unix socket. The peer itself has no name, so `peer`
/// is the address of the listening socket.
fn stream(connection: UnixStream, peer: &SocketAddr) -> Stream {
    let digest = SocketDigest::from_raw_fd(connection.as_raw_fd());
    // The digest is new, so its address is unset.
    let _: Result<(), _> = digest.peer_addr.set(Some(PeerAddr::Unix(peer.clone())));
    let mut stream = Stream::from(connection);
    stream.set_socket_digest(digest);
    stream
}
