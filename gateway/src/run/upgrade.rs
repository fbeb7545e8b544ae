//! Replaces the running process by a new one without refusing a connection.
//!
//! The new process, started with `--upgrade`, waits at `server.upgrade_socket`. The old process
//! sends its listening sockets there on SIGQUIT. The new process prepares everything else, and
//! then confirms the takeover on a second socket, at the same path with `.ready` appended. The
//! old process acknowledges and stops accepting connections.
//!
//! Until the acknowledgement both processes hold the sockets and only the old one accepts, so a
//! new process that fails changes nothing.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pingora_core::server::{Fds, ListenFds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::time::timeout;

use crate::config::ShutdownConfig;
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
    sockets: ListenFds,
    before_sending: impl FnOnce(),
) -> io::Result<()> {
    wait_until(SUCCESSOR_START_TIMEOUT, || path.exists()).await;
    if !path.exists() {
        return Err(io::Error::other(format!(
            "no process waits at {}; start `hookgate run --upgrade` first, then send SIGQUIT",
            path.display()
        )));
    }
    let confirmation = ConfirmationSocket::listen(path)?;
    let send = {
        let path = path.to_owned();
        move || sockets.lock().send_to_sock(&*path.to_string_lossy())
    };
    before_sending();
    let sent = tokio::task::spawn_blocking(send).await;
    if let Err(error) = sent.map_err(io::Error::other)? {
        return Err(io::Error::other(format!(
            "cannot send the listening sockets to {}: {error}",
            path.display()
        )));
    }
    match timeout(CONFIRM_TIMEOUT, confirmation.confirmed()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(io::Error::other(format!(
            "the new process failed to start; see its log ({error})"
        ))),
        Err(_) => Err(io::Error::other(format!(
            "the new process was not ready within {CONFIRM_TIMEOUT:?}; see its log"
        ))),
    }
}

/// Receives the listening sockets of the old process, which sends them to `path` on SIGQUIT.
///
/// # Errors
///
/// Returns an error if the sockets do not arrive in time.
pub(crate) fn take_over(path: &Path) -> io::Result<(Fds, Predecessor)> {
    let shown = path.display();
    tracing::info!(path = %shown, "waiting for listening sockets from the old process");
    let start = Instant::now();
    let mut sockets = Fds::new();
    // Each attempt ends by itself after some seconds.
    while let Err(error) = sockets.get_from_sock(&*path.to_string_lossy()) {
        if start.elapsed() >= SOCKET_TRANSFER_TIMEOUT {
            return Err(io::Error::other(format!(
                "no listening sockets arrived at {shown}: {error}; send SIGQUIT to the old process"
            )));
        }
    }
    let stream = UnixStream::connect(confirmation_path(path))?;
    stream.set_read_timeout(Some(CONFIRM_TIMEOUT))?;
    Ok((sockets, Predecessor(stream)))
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

/// The socket on which the old process waits for the confirmation.
struct ConfirmationSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConfirmationSocket {
    fn listen(upgrade_socket: &Path) -> io::Result<Self> {
        let path = confirmation_path(upgrade_socket);
        // A process that was killed during an upgrade leaves its socket behind.
        let _: io::Result<()> = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|error| {
            let path = path.display();
            io::Error::new(error.kind(), format!("cannot listen on {path}: {error}"))
        })?;
        Ok(Self { listener, path })
    }

    /// Waits for the confirmation, and acknowledges it.
    async fn confirmed(&self) -> io::Result<()> {
        let (mut stream, _) = self.listener.accept().await?;
        stream.read_u8().await?;
        stream.write_all(&[ACKNOWLEDGED]).await
    }
}

impl Drop for ConfirmationSocket {
    fn drop(&mut self) {
        let _: io::Result<()> = std::fs::remove_file(&self.path);
    }
}

fn confirmation_path(upgrade_socket: &Path) -> PathBuf {
    let mut path = OsString::from(upgrade_socket);
    path.push(".ready");
    path.into()
}
