//! Replaces the running process by a new one without refusing a connection.
//!
//! The new process, started with `--upgrade`, waits at `server.upgrade_socket`. On SIGQUIT the old
//! process connects and sends its listening sockets. The new process prepares everything else, and
//! then confirms the takeover. The old process acknowledges and stops accepting connections.
//!
//! Until the acknowledgement both processes hold the sockets and only the old one accepts, so a
//! new process that fails changes nothing.

use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::config::{MAX_SOCKETS, ShutdownConfig, TransportAddress};
use crate::listener::{InheritedSocket, ListeningSockets};
use crate::run::wait::wait_until;

/// How long each process waits for a message of the other.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the new process waits for the sockets.
const SOCKET_TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the old process waits for a new process that was just started.
const SUCCESSOR_START_TIMEOUT: Duration = Duration::from_secs(2);

/// The message of the new process: it is ready.
const READY: u8 = b'r';
/// The message of the old process: it stops accepting connections.
const ACKNOWLEDGED: u8 = b'g';

/// A listening socket in the first message, a line of JSON. The descriptors are beside it, in the
/// same order.
#[derive(Debug, Serialize, Deserialize)]
struct SentSocket {
    address: String,
    owns_file: bool,
}

/// Returns the path of the upgrade socket.
///
/// # Errors
///
/// Returns an error if the configuration has none.
pub(crate) fn socket(config: &ShutdownConfig) -> io::Result<&Path> {
    config.upgrade_socket.as_deref().ok_or_else(|| {
        io::Error::other(
            "--upgrade: server.upgrade_socket is not set; set it to the same path in the \
             configurations of both processes",
        )
    })
}

/// Hands `sockets` to the process that waits at `path`, and waits until it has confirmed the
/// takeover. `before_sending` runs directly before the sockets are sent.
///
/// # Errors
///
/// Returns an error if no process waits, or if the new process fails. The old process then
/// continues to serve.
pub(crate) async fn hand_over(
    path: &Path,
    sockets: &ListeningSockets,
    before_sending: impl FnOnce(),
) -> io::Result<()> {
    let shown = path.display();
    wait_until(SUCCESSOR_START_TIMEOUT, || path.exists()).await;
    let stream = UnixStream::connect(path).map_err(|error| {
        io::Error::other(format!(
            "no process waits at {shown} ({error}); start `hookgate run --upgrade` first, then \
             send SIGQUIT"
        ))
    })?;
    stream.set_read_timeout(Some(CONFIRM_TIMEOUT))?;
    stream.set_write_timeout(Some(CONFIRM_TIMEOUT))?;
    before_sending();
    send(&stream, sockets).map_err(|error| {
        io::Error::other(format!(
            "cannot send the listening sockets to {shown}: {error}"
        ))
    })?;
    // The timeouts of the stream end this wait. A second timeout beside them could pass while the
    // new process gets its acknowledgement.
    let confirmed = tokio::task::spawn_blocking(move || confirmed(stream));
    match confirmed.await.map_err(io::Error::other)? {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::other(format!(
            "the new process was not ready within {CONFIRM_TIMEOUT:?}; see its log"
        ))),
        Err(error) => Err(io::Error::other(format!(
            "the new process failed to start; see its log ({error})"
        ))),
    }
}

/// Sends the sockets in one message.
fn send(mut stream: &UnixStream, sockets: &ListeningSockets) -> io::Result<()> {
    sockets.with_all(|sockets| {
        let mut descriptors: Vec<BorrowedFd<'_>> = Vec::new();
        let mut sent = Vec::new();
        for (address, owns_file, descriptor) in sockets {
            descriptors.push(descriptor);
            sent.push(SentSocket {
                address: address.to_string(),
                owns_file,
            });
        }
        let mut message = serde_json::to_vec(&sent)?;
        message.push(b'\n');
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other(format!(
                "more than {MAX_SOCKETS} listening sockets"
            )));
        }
        let data = [IoSlice::new(&message)];
        let written = sendmsg(stream, &data, &mut control, SendFlags::NOSIGNAL)?;
        stream.write_all(&message[written..])
    })
}

/// Waits for the confirmation of the new process, and acknowledges it.
fn confirmed(mut stream: UnixStream) -> io::Result<()> {
    let mut message = [0];
    stream.read_exact(&mut message)?;
    if message != [READY] {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    stream.write_all(&[ACKNOWLEDGED])
}

/// Receives the listening sockets of the old process, which sends them to `path` on SIGQUIT.
///
/// # Errors
///
/// Returns an error if the sockets do not arrive in time.
pub(crate) fn take_over(path: &Path) -> io::Result<(Vec<InheritedSocket>, Predecessor)> {
    let shown = path.display();
    let failed = |error: io::Error| {
        io::Error::other(format!(
            "no listening sockets arrived at {shown}: {error}; send SIGQUIT to the old process"
        ))
    };
    let waiting = WaitingSocket::listen(path)?;
    tracing::info!(path = %shown, "waiting for the running gateway; send it SIGQUIT");
    let stream = waiting.accept().map_err(failed)?;
    drop(waiting);
    stream.set_read_timeout(Some(CONFIRM_TIMEOUT))?;
    stream.set_write_timeout(Some(CONFIRM_TIMEOUT))?;
    let sockets = receive(&stream).map_err(failed)?;
    Ok((sockets, Predecessor(stream)))
}

/// Receives the message of [`send`].
fn receive(stream: &UnixStream) -> io::Result<Vec<InheritedSocket>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // The descriptors are beside the first byte.
    let mut first = [0; 1];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut first)],
        &mut control,
        flags,
    )?;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let mut line = first.to_vec();
    // Each socket adds at most one path and two JSON keys.
    let limit = MAX_SOCKETS as u64 * 256;
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut line)?;
    let sent: Vec<SentSocket> = serde_json::from_slice(&line)?;
    if sent.len() != descriptors.len() {
        return Err(io::Error::other("some sockets were lost on the way"));
    }
    let sockets = sent.into_iter().zip(descriptors).map(|(sent, socket)| {
        let address = TransportAddress::parse(&sent.address);
        Ok(InheritedSocket {
            address: address.ok_or(io::ErrorKind::InvalidData)?,
            socket,
            owns_file: sent.owns_file,
        })
    });
    sockets.collect()
}

/// The socket on which the new process waits for the old one. Dropping it removes its file.
struct WaitingSocket<'p> {
    listener: UnixListener,
    path: &'p Path,
}

impl<'p> WaitingSocket<'p> {
    fn listen(path: &'p Path) -> io::Result<Self> {
        // A process that was killed during an upgrade leaves its socket behind.
        let _: io::Result<()> = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).map_err(|error| {
            let path = path.display();
            io::Error::new(error.kind(), format!("cannot listen on {path}: {error}"))
        })?;
        // A process that connects can send any sockets.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Waits for the old process.
    fn accept(&self) -> io::Result<UnixStream> {
        let deadline = Instant::now() + SOCKET_TRANSFER_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut waiting = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut waiting, Some(&left)) {
                Ok(0) => {
                    return Err(io::Error::other(format!(
                        "no connection within {SOCKET_TRANSFER_TIMEOUT:?}"
                    )));
                }
                Ok(_) => return Ok(self.listener.accept()?.0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for WaitingSocket<'_> {
    fn drop(&mut self) {
        let _: io::Result<()> = std::fs::remove_file(self.path);
    }
}

/// The connection of the new process to the old one.
///
/// Dropping it without a confirmation tells the old process that the new one has failed.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Confirms that the new process is ready. After that, only the new process accepts
    /// connections, so no later step of the start may fail.
    ///
    /// # Errors
    ///
    /// Returns an error if the old process does not acknowledge in time. It then continues to
    /// serve.
    pub(crate) fn confirm_takeover(mut self) -> io::Result<()> {
        let mut exchange = || {
            self.0.write_all(&[READY])?;
            self.0.read_exact(&mut [0])
        };
        exchange().map_err(|error| {
            io::Error::other(format!(
                "the old process did not acknowledge the takeover: {error}"
            ))
        })
    }
}
