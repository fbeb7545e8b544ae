//! The listening sockets that systemd opened for this process (sd_listen_fds(3)).
//!
//! A socket belongs to the listener with the same address, so one configuration works with and
//! without socket activation.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::config::TransportAddress;
use crate::listener::InheritedSocket;

/// The number of the first descriptor.
const FIRST: usize = 3;

/// Returns the sockets. The environment variables of systemd are removed.
///
/// This must be called before the process starts a thread, and once.
///
/// # Errors
///
/// Returns an error for a descriptor that is no listening stream socket.
pub(crate) fn sockets() -> io::Result<Vec<InheritedSocket>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut descriptors = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..descriptors.len() {
        let name = names.next().unwrap_or_default();
        let socket = take(&mut descriptors, index).ok_or_else(|| {
            io::Error::other(format!(
                "the service manager passed descriptor {} ({name:?}), which is no listening \
                 socket; expected sockets of ListenStream= with Accept=no",
                FIRST + index
            ))
        })?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn take(descriptors: &mut ListenFd, index: usize) -> Option<InheritedSocket> {
    let (address, socket): (_, OwnedFd) = match descriptors.take_tcp_listener(index) {
        Ok(Some(socket)) => (socket.local_addr().ok()?.into(), socket.into()),
        _ => {
            let socket = descriptors.take_unix_listener(index).ok()??;
            let address = socket.local_addr().ok()?;
            let path = address.as_pathname()?.display();
            let address = TransportAddress::parse(&format!("unix:{path}"))?;
            (address, socket.into())
        }
    };
    let is_listening = socket_acceptconn(socket.as_fd()).is_ok_and(|listens| listens);
    is_listening.then_some(InheritedSocket {
        address,
        socket,
        owns_file: false,
    })
}
