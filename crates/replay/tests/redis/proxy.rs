//! Stands between a store and its server, and loses an answer when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    next: Arc<AtomicU8>,
}

const PASS: u8 = 0;
const SWALLOW: u8 = 1;
const CLOSE: u8 = 2;

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(AtomicU8::new(PASS));
        let shared = Arc::clone(&next);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(copy(from_client, to_server, None));
                tokio::spawn(copy(from_server, to_client, Some(Arc::clone(&shared))));
            }
        });
        Self { port, next }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Swallows the next answer; the connection stays.
    pub(crate) fn swallow_next(&self) {
        self.next.store(SWALLOW, Ordering::SeqCst);
    }

    /// Closes the connection instead of the next answer.
    pub(crate) fn close_next(&self) {
        self.next.store(CLOSE, Ordering::SeqCst);
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.next.load(Ordering::SeqCst) == PASS
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, next: Option<Arc<AtomicU8>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let what = next.as_ref().map(|next| next.swap(PASS, Ordering::SeqCst));
        match what {
            Some(SWALLOW) => {}
            Some(CLOSE) => return,
            _ if to.write_all(&buffer[..length]).await.is_err() => return,
            _ => {}
        }
    }
}
