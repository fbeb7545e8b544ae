//! An upstream that gives hostile answers. It records on which connection each event arrived.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use super::script::{Case, Step};
use crate::desync::sender::{GOOD, id_of_body};
use crate::desync::trial::{Arrival, Arrivals};
use crate::desync::verdict::fill;

/// The length of [`Step::Pause`].
const PAUSE: Duration = Duration::from_millis(50);
/// The size in bytes of the buffer for requests, so that a body that is not read fills it soon.
const RECEIVE_BUFFER: u32 = 64 * 1024;
/// The answer to an event that is delivered by [`GOOD`].
const GOOD_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nX-Id: {id}\r\nContent-Length: 10\r\n\r\n{id}";

/// A running upstream. Its answers are those of `cases`, by the number in the event id.
pub(super) struct HostileUpstream {
    pub(super) address: SocketAddr,
    pub(super) arrivals: Arrivals,
}

struct Shared {
    cases: Arc<Vec<Case>>,
    arrivals: Arrivals,
}

impl HostileUpstream {
    pub(super) fn start(cases: Arc<Vec<Case>>) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket is available");
        socket
            .set_recv_buffer_size(RECEIVE_BUFFER)
            .expect("the size is valid");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any_port).expect("a port is free");
        let listener = socket.listen(1024).expect("the socket can listen");
        let address = listener.local_addr().expect("the listener is bound");
        let arrivals = Arrivals::default();
        let shared = Arc::new(Shared {
            cases,
            arrivals: Arc::clone(&arrivals),
        });
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.serve(stream, connection).await });
                connection += 1;
            }
        });
        Self { address, arrivals }
    }
}

impl Shared {
    /// Serves a connection until one of its sides ends it.
    async fn serve(&self, stream: TcpStream, connection: usize) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut exchange = Exchange {
            stream,
            received: Vec::new(),
            unread: 0,
        };
        loop {
            let id = exchange.read_head().await?;
            let arrival = Arrival {
                id: id.clone(),
                connection,
            };
            self.arrivals.lock().expect("no panic").push(arrival);
            if id.contains(GOOD) {
                exchange.read_body().await?;
                exchange.write(&fill(GOOD_ANSWER, &id), None).await?;
                continue;
            }
            let index: usize = id[..4].parse().expect("the id has the number of its case");
            let case = &self.cases[index];
            if exchange.answer(&case.steps, &id).await?.is_break() {
                return None;
            }
        }
    }
}

/// A connection of the gateway, and the part of the current request that is not read yet.
struct Exchange {
    stream: TcpStream,
    received: Vec<u8>,
    unread: usize,
}

impl Exchange {
    /// Reads the head of a request and the start of its body, which has the event id.
    async fn read_head(&mut self) -> Option<String> {
        self.received.clear();
        loop {
            if !matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {
                return None;
            }
            let text = String::from_utf8_lossy(&self.received);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let Some(id) = id_of_body(body) else {
                continue;
            };
            let lines = head.lines().map(str::to_lowercase);
            let mut lengths = lines.filter_map(|line| {
                let length = line.strip_prefix("content-length:")?;
                length.trim().parse::<usize>().ok()
            });
            let length = lengths.next().expect("the gateway sends a length");
            self.unread = length.checked_sub(body.len()).expect("one request");
            return Some(id.to_owned());
        }
    }

    async fn read_body(&mut self) -> Option<()> {
        let mut part = vec![0; 64 * 1024];
        while self.unread > 0 {
            // Through a pipe, another request may follow.
            let wanted = self.unread.min(part.len());
            match self.stream.read(&mut part[..wanted]).await {
                Ok(length @ 1..) => self.unread -= length,
                _ => return None,
            }
        }
        Some(())
    }

    /// Gives an answer. Breaks if the connection carries no other request.
    async fn answer(&mut self, steps: &[Step], id: &str) -> Option<ControlFlow<()>> {
        let mut delay = None;
        for step in steps {
            match step {
                Step::ReadBody => self.read_body().await?,
                Step::Write(template) => self.write(&fill(template, id), delay).await?,
                Step::Delay(between) => delay = Some(*between),
                Step::Pause => sleep(PAUSE).await,
                Step::Close => return Some(ControlFlow::Break(())),
                Step::Reset => {
                    self.stream.set_zero_linger().ok()?;
                    return Some(ControlFlow::Break(()));
                }
                Step::Hang => std::future::pending().await,
            }
        }
        Some(ControlFlow::Continue(()))
    }

    /// Writes `bytes` at once, or one by one.
    async fn write(&mut self, bytes: &[u8], delay: Option<Duration>) -> Option<()> {
        let Some(delay) = delay else {
            return self.stream.write_all(bytes).await.ok();
        };
        for byte in bytes {
            self.stream.write_all(&[*byte]).await.ok()?;
            sleep(delay).await;
        }
        Some(())
    }
}
