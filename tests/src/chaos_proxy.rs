//! A TCP proxy that loses responses, delays messages, and breaks connections.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// A TCP proxy in front of a server. Its fault holds for every connection, and it can change at any
/// time.
///
/// It stops when it is dropped.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    proxy: JoinHandle<()>,
}

/// A fault of a network. It strikes the pieces of messages that arrive at the proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NetworkFault {
    /// Closes the connection in place of this share of the pieces of responses.
    LostResponses(f64),
    /// Holds up every piece for this time.
    Delay(Duration),
    /// Passes the first bytes of every second piece, and resets both connections.
    Reset,
    /// Passes the first bytes of every second piece, and ends its direction of the connection. The
    /// other direction stays open.
    HalfClose,
    /// Passes the first bytes of every second piece, and closes both connections.
    Cut,
    /// Passes nothing, and closes both connections at the end of the fault.
    Blackhole,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    fault: watch::Sender<Option<NetworkFault>>,
    broken: AtomicUsize,
    watched: Vec<Watched>,
}

/// A text, and whether a client has sent it to the server.
#[derive(Debug)]
struct Watched {
    text: &'static str,
    has_passed: AtomicBool,
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

/// The end of a relayed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

impl NetworkFault {
    /// Returns after how many bytes the fault breaks a piece of `length` bytes, if it does.
    fn cut(self, direction: Direction, length: usize, rng: &mut Rng) -> Option<usize> {
        match self {
            Self::Delay(_) => None,
            Self::LostResponses(share) => {
                (direction == Direction::Response && rng.f64() < share).then_some(0)
            }
            Self::Blackhole => Some(0),
            Self::Reset | Self::HalfClose | Self::Cut => rng.bool().then(|| rng.usize(..length)),
        }
    }
}

impl ChaosProxy {
    /// Starts a proxy without a fault in front of `server`. It watches the requests for `texts`.
    pub async fn start(server: SocketAddr, seed: u64, texts: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let watched = texts.iter().map(|&text| Watched {
            text,
            has_passed: AtomicBool::new(false),
        });
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            fault: watch::Sender::new(None),
            broken: AtomicUsize::new(0),
            watched: watched.collect(),
        });
        let (relays, mut rng) = (Arc::clone(&shared), Rng::with_seed(seed));
        let proxy = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("the listener accepts");
                let (shared, rng) = (Arc::clone(&relays), rng.fork());
                connections.spawn(async move {
                    // An error ends the connection, as it does for a client without the proxy.
                    let _ = shared.relay(client, rng).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            shared,
            proxy,
        }
    }

    /// Returns the address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the server of connections that begin from now on.
    pub fn set_server(&self, server: SocketAddr) {
        *self.shared.server.lock().expect("no relay panics") = server;
    }

    /// Begins a fault, or ends it.
    pub fn set_fault(&self, fault: Option<NetworkFault>) {
        self.shared.fault.send_replace(fault);
    }

    /// Returns how many pieces of messages were lost, as a whole or in part.
    pub fn broken(&self) -> usize {
        self.shared.broken.load(Ordering::SeqCst)
    }

    /// Returns whether a client has sent `text` to the server.
    ///
    /// # Panics
    ///
    /// Panics if the proxy does not watch for the text.
    pub fn has_passed(&self, text: &str) -> bool {
        let mut watched = self.shared.watched.iter();
        let watched = watched.find(|watched| watched.text == text);
        let watched = watched.expect("the proxy watches for the text");
        watched.has_passed.load(Ordering::SeqCst)
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

impl Shared {
    /// Relays a connection until one direction ends, or a fault breaks it.
    async fn relay(&self, mut client: TcpStream, mut rng: Rng) -> io::Result<()> {
        let address = *self.server.lock().expect("no relay panics");
        let mut server = TcpStream::connect(address).await?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let other = rng.fork();
        let end = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            // The end of either direction closes both connections.
            tokio::select! {
                end = self.pass(Direction::Request, from_client, to_server, rng) => end?,
                end = self.pass(Direction::Response, from_server, to_client, other) => end?,
            }
        };
        if end == End::Reset {
            for stream in [&client, &server] {
                stream.set_zero_linger()?;
            }
        }
        Ok(())
    }

    /// Passes one direction of a connection.
    async fn pass(
        &self,
        direction: Direction,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        mut rng: Rng,
    ) -> io::Result<End> {
        let mut faults = self.fault.subscribe();
        let mut buffer = vec![0; 16 * 1024];
        let mut tail = Vec::new();
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(End::Closed);
            }
            let fault = *faults.borrow_and_update();
            if let Some(NetworkFault::Delay(time)) = fault {
                sleep(time).await;
            }
            let cut = fault.and_then(|fault| fault.cut(direction, read, &mut rng));
            let passed = &buffer[..cut.unwrap_or(read)];
            if direction == Direction::Request {
                self.look_for_texts(&mut tail, passed);
            }
            to.write_all(passed).await?;
            if cut.is_none() {
                continue;
            }
            self.broken.fetch_add(1, Ordering::SeqCst);
            match fault {
                Some(NetworkFault::Reset) => return Ok(End::Reset),
                Some(NetworkFault::HalfClose) => {
                    to.shutdown().await?;
                    return pending().await;
                }
                Some(NetworkFault::Blackhole) => {
                    // An error means that the proxy was dropped.
                    let _ = faults.changed().await;
                    return Ok(End::Closed);
                }
                _ => return Ok(End::Closed),
            }
        }
    }

    /// Notes the watched texts in a piece of a connection. `tail` has its last bytes before.
    fn look_for_texts(&self, tail: &mut Vec<u8>, piece: &[u8]) {
        let longest = self.watched.iter().map(|watched| watched.text.len()).max();
        let Some(longest) = longest else {
            return;
        };
        tail.extend_from_slice(piece);
        for Watched { text, has_passed } in &self.watched {
            let mut windows = tail.windows(text.len());
            if !has_passed.load(Ordering::Relaxed) && windows.any(|part| part == text.as_bytes()) {
                has_passed.store(true, Ordering::SeqCst);
            }
        }
        tail.drain(..tail.len().saturating_sub(longest - 1));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A time in which no byte arrives at a blackhole.
    const QUIET: Duration = Duration::from_millis(50);
    const REQUEST: &[u8] = b"a request of some bytes";

    /// A server behind a proxy with a fault, and a client.
    struct Connection {
        proxy: ChaosProxy,
        client: TcpStream,
        server: TcpStream,
    }

    async fn connect(fault: Option<NetworkFault>) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = ChaosProxy::start(address, 7, &["request of", "forged"]).await;
        proxy.set_fault(fault);
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        Connection {
            proxy,
            client,
            server,
        }
    }

    /// Sends requests until the fault strikes. Returns how many bytes do not arrive, and the end of
    /// the connection.
    async fn send_until_broken(connection: &mut Connection) -> (usize, io::Result<usize>) {
        let (mut buffer, mut sent, mut arrived) = ([0; 100], 0, 0);
        loop {
            if arrived == sent && connection.proxy.broken() == 0 {
                // The fault may already have closed the connection.
                let _ = connection.client.write_all(REQUEST).await;
                sent += REQUEST.len();
            }
            match connection.server.read(&mut buffer).await {
                Ok(read @ 1..) => arrived += read,
                end => return (sent - arrived, end),
            }
        }
    }

    #[tokio::test]
    async fn without_a_fault_all_bytes_pass_and_watched_texts_are_found() {
        let mut connection = connect(None).await;
        // The text is split between two pieces.
        for part in [&REQUEST[..6], &REQUEST[6..]] {
            connection.client.write_all(part).await.unwrap();
            let mut received = vec![0; part.len()];
            connection.server.read_exact(&mut received).await.unwrap();
            assert_eq!(received, part);
        }
        assert!(connection.proxy.has_passed("request of"));
        assert!(!connection.proxy.has_passed("forged"));
        assert_eq!(connection.proxy.broken(), 0);
    }

    #[tokio::test]
    async fn a_cut_or_reset_connection_ends_in_the_middle_of_a_request() {
        for (fault, is_reset) in [(NetworkFault::Cut, false), (NetworkFault::Reset, true)] {
            let mut connection = connect(Some(fault)).await;
            let (missing, end) = send_until_broken(&mut connection).await;
            assert!(
                (1..=REQUEST.len()).contains(&missing),
                "{fault:?}: {missing}"
            );
            assert_eq!(end.is_err(), is_reset, "{fault:?}: {end:?}");
            assert_eq!(connection.proxy.broken(), 1);
        }
    }

    #[tokio::test]
    async fn a_half_closed_connection_still_passes_responses() {
        let mut connection = connect(Some(NetworkFault::HalfClose)).await;
        let (_, end) = send_until_broken(&mut connection).await;
        assert_eq!(end.unwrap(), 0);
        connection.proxy.set_fault(None);
        connection.server.write_all(b"bye").await.unwrap();
        let mut response = [0; 3];
        connection.client.read_exact(&mut response).await.unwrap();
        assert_eq!(&response, b"bye");
    }

    #[tokio::test]
    async fn a_blackhole_passes_nothing_and_closes_at_its_end() {
        let mut connection = connect(Some(NetworkFault::Blackhole)).await;
        connection.client.write_all(REQUEST).await.unwrap();
        let mut buffer = [0; 1];
        let nothing = timeout(QUIET, connection.server.read(&mut buffer)).await;
        assert!(nothing.is_err(), "{nothing:?}");
        connection.proxy.set_fault(None);
        assert_eq!(connection.server.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(connection.proxy.broken(), 1);
    }
}
