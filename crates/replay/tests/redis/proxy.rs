//! Stands between a store and its server, and loses answers or the connection when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    next: Arc<AtomicU8>,
    /// Whether connections are refused.
    refuses: Arc<AtomicBool>,
    /// How often a server may be told since when it remembers, before it cannot be reached.
    tells: Arc<AtomicUsize>,
}

/// What telling it so contains.
const TELL: &[u8] = b"\r\nrecord\r\n";

const PASS: u8 = 0;
const SWALLOW: u8 = 1;
const CLOSE: u8 = 2;

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(AtomicU8::new(PASS));
        let refuses = Arc::new(AtomicBool::new(false));
        let tells = Arc::new(AtomicUsize::new(usize::MAX));
        let (shared, limit) = (Arc::clone(&next), Arc::clone(&tells));
        let is_away = Arc::clone(&refuses);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if is_away.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(ask(from_client, to_server, Arc::clone(&limit)));
                tokio::spawn(answer(from_server, to_client, Arc::clone(&shared)));
            }
        });
        Self {
            port,
            next,
            refuses,
            tells,
        }
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

    /// From now on there are no other connections than those that there are, or there are.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.next.load(Ordering::SeqCst) == PASS
    }

    /// Closes the connection once the server has been told so often since when it
    /// remembers.
    pub(crate) fn close_after_tells(&self, count: usize) {
        self.tells.store(count, Ordering::SeqCst);
    }

    pub(crate) fn has_closed_after_tells(&self) -> bool {
        self.tells.load(Ordering::SeqCst) == usize::MAX
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, tells: Arc<AtomicUsize>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let read = &buffer[..length];
        let limit = tells.load(Ordering::SeqCst);
        let mut found = tells_in(read).skip(limit);
        if limit == usize::MAX {
            // Nobody is to be kept from anything.
        } else if let Some(at) = found.next() {
            // The one after the last, and what comes behind it, is lost.
            let _: std::io::Result<()> = to.write_all(&read[..at]).await;
            tells.store(usize::MAX, Ordering::SeqCst);
            return;
        } else {
            tells.fetch_sub(tells_in(read).count(), Ordering::SeqCst);
        }
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}

/// Where `TELL` is.
fn tells_in(read: &[u8]) -> impl Iterator<Item = usize> {
    let windows = read.windows(TELL.len()).enumerate();
    windows.filter_map(|(at, window)| (window == TELL).then_some(at))
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, next: Arc<AtomicU8>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        match next.swap(PASS, Ordering::SeqCst) {
            SWALLOW => {}
            CLOSE => return,
            _ if to.write_all(&buffer[..length]).await.is_err() => return,
            _ => {}
        }
    }
}
