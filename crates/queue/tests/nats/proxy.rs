//! A proxy between a queue and its server, which loses answers on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The start of a command that stores an entry.
const STORE: &[u8] = b"HPUB hookgate.";

pub(crate) struct Proxy {
    pub(crate) port: u16,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// Whether every answer is lost from the next entry on.
    is_armed: AtomicBool,
    is_mute: AtomicBool,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Faults::default());
        let proxy = Self {
            port,
            faults: Arc::clone(&faults),
        };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(commands(from_client, to_server, Arc::clone(&faults)));
                tokio::spawn(answers(from_server, to_client, Arc::clone(&faults)));
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Loses every answer after the next entry, until [`heal`](Self::heal).
    pub(crate) fn lose_answers_to_next_entry(&self) {
        self.faults.is_armed.store(true, Ordering::SeqCst);
    }

    /// Passes on answers again. The connection that lost some is closed.
    pub(crate) fn heal(&self) {
        assert!(
            self.faults.is_mute.swap(false, Ordering::SeqCst),
            "an answer was lost"
        );
    }
}

async fn commands(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, faults: Arc<Faults>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let read = &buffer[..length];
        let stores = read.windows(STORE.len()).any(|window| window == STORE);
        if stores && faults.is_armed.swap(false, Ordering::SeqCst) {
            faults.is_mute.store(true, Ordering::SeqCst);
        }
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, faults: Arc<Faults>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut has_lost = false;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if faults.is_mute.load(Ordering::SeqCst) {
            has_lost = true;
            continue;
        }
        // The bytes after a lost answer are no valid protocol.
        if has_lost || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
