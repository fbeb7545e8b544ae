//! A proxy between a store and its server, which loses replies or connections on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// What happens to the next reply: [`PASS`], [`SWALLOW`] or [`CLOSE`].
    next_reply: Arc<AtomicU8>,
    refuses_connections: Arc<AtomicBool>,
    /// How many records of a data loss still pass. `usize::MAX` means no limit.
    records_left: Arc<AtomicUsize>,
}

/// The argument of the epoch script that records a data loss.
const RECORD: &[u8] = b"\r\nrecord\r\n";

const PASS: u8 = 0;
const SWALLOW: u8 = 1;
const CLOSE: u8 = 2;

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            next_reply: Arc::new(AtomicU8::new(PASS)),
            refuses_connections: Arc::new(AtomicBool::new(false)),
            records_left: Arc::new(AtomicUsize::new(usize::MAX)),
        };
        let next_reply = Arc::clone(&proxy.next_reply);
        let refuses_connections = Arc::clone(&proxy.refuses_connections);
        let records_left = Arc::clone(&proxy.records_left);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if refuses_connections.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let records_left = Arc::clone(&records_left);
                tokio::spawn(forward_commands(from_client, to_server, records_left));
                let next_reply = Arc::clone(&next_reply);
                tokio::spawn(forward_replies(from_server, to_client, next_reply));
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Drops the next reply and keeps the connection.
    pub(crate) fn swallow_next(&self) {
        self.next_reply.store(SWALLOW, Ordering::SeqCst);
    }

    /// Closes the connection instead of passing the next reply.
    pub(crate) fn close_next(&self) {
        self.next_reply.store(CLOSE, Ordering::SeqCst);
    }

    /// Returns whether the reply was lost as requested.
    pub(crate) fn has_lost(&self) -> bool {
        self.next_reply.load(Ordering::SeqCst) == PASS
    }

    /// Sets whether new connections are closed at once. Open connections stay.
    pub(crate) fn refuse_connections(&self, refuses: bool) {
        self.refuses_connections.store(refuses, Ordering::SeqCst);
    }

    /// Closes the connection after `count` records of a data loss.
    pub(crate) fn close_after_records(&self, count: usize) {
        self.records_left.store(count, Ordering::SeqCst);
    }

    pub(crate) fn has_closed_after_records(&self) -> bool {
        self.records_left.load(Ordering::SeqCst) == usize::MAX
    }
}

async fn forward_commands(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    records_left: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let read = &buffer[..length];
        let limit = records_left.load(Ordering::SeqCst);
        if limit != usize::MAX {
            if let Some(position) = records_in(read).nth(limit) {
                // The first record above the limit is cut off, and all that follows is lost.
                let _: std::io::Result<()> = to.write_all(&read[..position]).await;
                records_left.store(usize::MAX, Ordering::SeqCst);
                return;
            }
            records_left.fetch_sub(records_in(read).count(), Ordering::SeqCst);
        }
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}

/// Returns the positions of [`RECORD`].
fn records_in(read: &[u8]) -> impl Iterator<Item = usize> {
    let windows = read.windows(RECORD.len()).enumerate();
    windows.filter_map(|(position, window)| (window == RECORD).then_some(position))
}

async fn forward_replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    next_reply: Arc<AtomicU8>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        match next_reply.swap(PASS, Ordering::SeqCst) {
            SWALLOW => {}
            CLOSE => return,
            _ if to.write_all(&buffer[..length]).await.is_err() => return,
            _ => {}
        }
    }
}
