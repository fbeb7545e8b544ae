//! How a process takes the place of another one without a connection that is refused. The
//! one before sends its sockets; its successor says when it has all that it needs, and is
//! told to begin; from then on the one before takes nothing more. Until then both have the
//! sockets and only the one before accepts, so that a successor that fails changes nothing.

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
use crate::run::shutdown::within;

/// How long either waits for the other's next word.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a successor waits for the sockets.
const SOCKETS: Duration = Duration::from_secs(60);

/// Where a successor waits for the sockets, if anywhere.
pub(crate) fn socket(shutdown: &ShutdownConfig) -> io::Result<&Path> {
    shutdown.upgrade_socket.as_deref().ok_or_else(|| {
        io::Error::other("--upgrade: server.upgrade_socket is not set; expected it in both files")
    })
}

/// Hands `sockets` to the process that waits for them at `path`, and waits until it can do
/// without this one. `before` runs right before they are sent.
///
/// # Errors
///
/// Nobody waits, or the successor has failed: this process goes on.
pub(crate) async fn hand_over(
    path: &Path,
    sockets: ListenFds,
    before: impl FnOnce(),
) -> io::Result<()> {
    let wrong = |message: String| Err(io::Error::other(message));
    // One that has just been started may be about to wait.
    within(Duration::from_secs(2), || path.exists()).await;
    if !path.exists() {
        let path = path.display();
        return wrong(format!(
            "nobody waits at {path}; expected `hookgate run --upgrade` to be started first"
        ));
    }
    let answers = Answers::listen(path)?;
    let send = {
        let path = path.to_owned();
        move || sockets.lock().send_to_sock(&*path.to_string_lossy())
    };
    before();
    let sent = tokio::task::spawn_blocking(send).await;
    if let Err(error) = sent.map_err(io::Error::other)? {
        return wrong(format!("the sockets could not be handed over: {error}"));
    }
    match timeout(PATIENCE, answers.successor_is_ready()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => wrong("the successor has failed; its log says why".to_owned()),
        Err(_) => wrong("the successor has not said that it is ready".to_owned()),
    }
}

/// Takes over the sockets of the process that is upgraded from, which sends them to `path`
/// when it gets SIGQUIT.
///
/// # Errors
///
/// Nothing came in time.
pub(crate) fn take_over(path: &Path) -> io::Result<(Fds, Predecessor)> {
    let shown = path.display();
    tracing::info!(path = %shown, "waiting for the sockets of the process before");
    let start = Instant::now();
    let mut sockets = Fds::new();
    // Gives up by itself after some seconds.
    while let Err(error) = sockets.get_from_sock(&*path.to_string_lossy()) {
        if start.elapsed() >= SOCKETS {
            return Err(io::Error::other(format!(
                "no sockets came to {shown}: {error}; expected the process before to get SIGQUIT"
            )));
        }
    }
    let stream = UnixStream::connect(answers_at(path))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok((sockets, Predecessor(stream)))
}

/// The process before, which goes on for as long as it has not heard that it need not:
/// that this is dropped tells it.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Takes its place. Nothing may fail after that.
    ///
    /// # Errors
    ///
    /// It has given up waiting, and goes on.
    pub(crate) fn relieve(mut self) -> io::Result<()> {
        let mut relieve = || {
            self.0.write_all(b"r")?;
            self.0.read_exact(&mut [0])
        };
        relieve().map_err(|error| {
            io::Error::other(format!("the process before has not stepped back: {error}"))
        })
    }
}

/// Where a successor says that it is ready.
struct Answers {
    listener: UnixListener,
    path: PathBuf,
}

impl Answers {
    fn listen(upgrade: &Path) -> io::Result<Self> {
        let path = answers_at(upgrade);
        // One that was left behind by a process that was killed meanwhile.
        let _: io::Result<()> = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|error| {
            let path = path.display();
            io::Error::new(error.kind(), format!("cannot listen on {path}: {error}"))
        })?;
        Ok(Self { listener, path })
    }

    async fn successor_is_ready(&self) -> io::Result<()> {
        let (mut stream, _) = self.listener.accept().await?;
        stream.read_u8().await?;
        stream.write_all(b"g").await
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let _: io::Result<()> = std::fs::remove_file(&self.path);
    }
}

fn answers_at(upgrade: &Path) -> PathBuf {
    let mut path = OsString::from(upgrade);
    path.push(".ready");
    path.into()
}
