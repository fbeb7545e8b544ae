//! A TCP proxy that loses responses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A TCP proxy in front of a server. It closes connections at random when a response arrives, so
/// that the client does not know whether the server has handled its request.
///
/// It stops when it is dropped.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    lost: Arc<AtomicUsize>,
    proxy: JoinHandle<()>,
}

impl ChaosProxy {
    /// Starts a proxy in front of `server` that loses the share `loss` of the responses.
    pub async fn start(server: SocketAddr, loss: f64, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let lost = Arc::<AtomicUsize>::default();
        let (counter, mut rng) = (Arc::clone(&lost), Rng::with_seed(seed));
        let proxy = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("the listener accepts");
                let (counter, rng) = (Arc::clone(&counter), rng.fork());
                connections.spawn(async move {
                    // An error ends the connection, as it does for a client without the proxy.
                    let _ = relay(client, server, loss, rng, &counter).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            lost,
            proxy,
        }
    }

    /// Returns the address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of lost responses so far.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

/// Relays a connection until it ends or a response is lost.
async fn relay(
    client: TcpStream,
    server: SocketAddr,
    loss: f64,
    mut rng: Rng,
    lost: &AtomicUsize,
) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let responses = async {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            if rng.f64() < loss {
                lost.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            to_client.write_all(&buffer[..read]).await?;
        }
    };
    // The end of either direction closes both connections.
    tokio::select! {
        ended = copy(&mut from_client, &mut to_server) => ended.map(drop),
        ended = responses => ended,
    }
}
