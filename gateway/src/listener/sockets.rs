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

use super::socket_file::{self, Owner, SocketFile};
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

impl InheritedSocket {
    /// Returns the process that removes the file of this socket, unless systemd does.
    fn file_owner(&self) -> Option<Owner> {
        self.owns_file.then_some(Owner::Predecessor)
    }
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
pub(crate) struct ListeningSockets {
    open: Mutex<Vec<OpenSocket>>,
    /// The files of inherited Unix sockets that nothing uses.
    unused: Mutex<Vec<SocketFile>>,
}

#[derive(Debug)]
struct OpenSocket {
    address: TransportAddress,
    socket: OwnedFd,
    /// The file of a Unix socket, unless systemd removes it.
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
        let (owner, opened) = match self.take(&address) {
            Some(inherited) => (inherited.file_owner(), Ok(inherited.socket.into())),
            None => (Some(Owner::ThisProcess), socket_file::listen(path)),
        };
        let listener: UnixListener = opened.map_err(|error| cannot_listen(&address, &error))?;
        listener.set_nonblocking(true)?;
        let file = owner.map(|owner| SocketFile::existing(path, owner));
        let file = file.transpose()?;
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
        let unused = self.inherited.iter().filter_map(|inherited| {
            let owner = inherited.file_owner()?;
            match &inherited.address {
                TransportAddress::Unix(path) => SocketFile::existing(path, owner).ok(),
                TransportAddress::Tcp(_) => None,
            }
        });
        ListeningSockets {
            unused: Mutex::new(unused.collect()),
            open: Mutex::new(self.open),
        }
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
    /// Takes over the files of inherited Unix sockets, because the process before an upgrade
    /// accepts no connections any more. Removes the files of unused sockets.
    ///
    /// Until then, a start that fails leaves the files to that process.
    pub(crate) fn take_over_files(&self) {
        for open in self.open.lock().iter_mut() {
            if let Some(file) = &mut open.file {
                file.take_over();
            }
        }
        for mut file in self.unused.lock().drain(..) {
            file.take_over();
        }
    }

    /// Closes the sockets, and removes the files of Unix sockets.
    pub(crate) fn close(&self) {
        self.open.lock().clear();
    }

    /// Closes the descriptors of this process, because another process uses the sockets.
    pub(crate) fn release(&self) {
        for open in self.open.lock().drain(..) {
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
        let open = self.open.lock();
        let mut sockets = open
            .iter()
            .map(|open| (&open.address, open.file.is_some(), open.socket.as_fd()));
        send(&mut sockets)
    }
}
