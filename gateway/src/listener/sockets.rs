//! The listening sockets of the process: opens them, takes over those of another process, and
//! closes them.
//!
//! All sockets are open before any service starts. An address in use is thus an error at start, and
//! the port that the system chose for port 0 is known before the first connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::socket_file::{self, SocketFile};
use crate::config::TransportAddress;

/// A listening socket that another process opened: the process before an upgrade, or systemd.
#[derive(Debug)]
pub(crate) struct InheritedSocket {
    pub(crate) address: TransportAddress,
    pub(crate) socket: OwnedFd,
    /// Whether this process removes the file of a Unix socket at its end. systemd removes the
    /// files of its own sockets.
    pub(crate) owns_file: bool,
}

/// Opens the listening sockets.
#[derive(Debug)]
pub(crate) struct SocketOpener {
    inherited: Vec<InheritedSocket>,
    open: Vec<OpenSocket>,
}

/// The open listening sockets. Each service has a descriptor of its sockets; this value has a
/// second one, for an upgrade.
#[derive(Debug)]
pub(crate) struct ListeningSockets(Mutex<Vec<OpenSocket>>);

#[derive(Debug)]
struct OpenSocket {
    address: TransportAddress,
    socket: OwnedFd,
    /// The file of a Unix socket, if this process removes it.
    file: Option<SocketFile>,
}

impl SocketOpener {
    /// Creates an opener that uses an inherited socket in place of a new one with its address.
    pub(crate) fn new(inherited: Vec<InheritedSocket>) -> Self {
        Self {
            inherited,
            open: Vec::new(),
        }
    }

    /// Opens a TCP socket.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, with the address.
    pub(crate) fn tcp(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        let shown = TransportAddress::Tcp(address);
        let opened = match self.take(&shown) {
            Some(inherited) => Ok(TcpListener::from(inherited.socket)),
            None => TcpListener::bind(address),
        };
        let listener = opened.map_err(|error| cannot_listen(&shown, &error))?;
        listener.set_nonblocking(true)?;
        self.open.push(OpenSocket {
            address: listener.local_addr()?.into(),
            socket: listener.try_clone()?.into(),
            file: None,
        });
        Ok(listener)
    }

    /// Opens a Unix socket. A file that a killed process left behind is replaced.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, with the address.
    pub(crate) fn unix(&mut self, path: &Arc<Path>) -> io::Result<UnixListener> {
        let address = TransportAddress::Unix(Arc::clone(path));
        let (owns_file, opened) = match self.take(&address) {
            Some(inherited) => (inherited.owns_file, Ok(inherited.socket.into())),
            None => (true, socket_file::listen(path)),
        };
        let listener: UnixListener = opened.map_err(|error| cannot_listen(&address, &error))?;
        listener.set_nonblocking(true)?;
        let file = owns_file.then(|| SocketFile::existing(path)).transpose()?;
        self.open.push(OpenSocket {
            address,
            socket: listener.try_clone()?.into(),
            file,
        });
        Ok(listener)
    }

    /// Returns the open sockets. Inherited sockets that nothing has used are closed: connections to
    /// them would wait forever.
    pub(crate) fn finish(self) -> ListeningSockets {
        ListeningSockets(Mutex::new(self.open))
    }

    fn take(&mut self, address: &TransportAddress) -> Option<InheritedSocket> {
        let mut inherited = self.inherited.iter();
        let index = inherited.position(|inherited| inherited.address == *address)?;
        Some(self.inherited.swap_remove(index))
    }
}

fn cannot_listen(address: &TransportAddress, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
}

impl ListeningSockets {
    /// Closes the sockets, and removes the files of Unix sockets.
    pub(crate) fn close(&self) {
        self.0.lock().clear();
    }

    /// Closes the descriptors of this process, because another process uses the sockets.
    pub(crate) fn release(&self) {
        for open in self.0.lock().drain(..) {
            if let Some(file) = open.file {
                file.keep();
            }
        }
    }

    /// Calls `send` with the address of each socket, whether its file belongs to this process, and
    /// its descriptor.
    pub(crate) fn with_all<T>(
        &self,
        send: impl FnOnce(&mut dyn Iterator<Item = (&TransportAddress, bool, BorrowedFd<'_>)>) -> T,
    ) -> T {
        let open = self.0.lock();
        let mut sockets = open
            .iter()
            .map(|open| (&open.address, open.file.is_some(), open.socket.as_fd()));
        send(&mut sockets)
    }
}
