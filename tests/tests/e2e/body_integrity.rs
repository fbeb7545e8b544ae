//! Ten thousand random bodies in random frames, over HTTP/1.1 and HTTP/2: the upstream receives
//! exactly the bytes that the sender signed.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::post;
use bytes::Bytes;
use hookgate_tests::{Gateway, TestProvider, now};
use http::{Request, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const BODIES: usize = 10_000;
const SENDERS: usize = 8;
const LARGEST: u64 = 1024 * 1024;

/// A deterministic random number generator (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> usize {
        usize::try_from(self.next() % end).expect("the number is small")
    }

    /// Returns a random body. Every order of magnitude is equally likely, from 0 B to 1 MiB.
    fn body(&mut self) -> Bytes {
        let bits = self.next() % 22;
        let len = match bits {
            0 => 0,
            21 => usize::try_from(LARGEST).expect("the number is small"),
            bits => self.below(1 << (bits - 1)) + (1 << (bits - 1)),
        };
        let mut body = Vec::with_capacity(len + 8);
        while body.len() < len {
            body.extend_from_slice(&self.next().to_le_bytes());
        }
        body.truncate(len);
        body.into()
    }

    /// Returns `body` with a declared length, or in frames of random lengths.
    fn frame(&mut self, mut body: Bytes) -> BoxBody<Bytes, std::io::Error> {
        if self.next().is_multiple_of(3) {
            return Full::new(body).map_err(|never| match never {}).boxed();
        }
        let mut frames = Vec::new();
        while !body.is_empty() {
            let max_len = if self.next().is_multiple_of(4) {
                100
            } else {
                60_000
            };
            let len = self.below(max_len).min(body.len() - 1) + 1;
            frames.push(body.split_to(len));
            // A large body in small frames would take too long.
            if frames.len() == 50 {
                frames.push(body.split_off(0));
            }
        }
        Frames(frames.into_iter()).boxed()
    }
}

/// A body of several frames without a declared length.
struct Frames(std::vec::IntoIter<Bytes>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}

/// A connection that carries many requests.
enum Sender {
    Http1(http1::SendRequest<BoxBody<Bytes, std::io::Error>>),
    Http2(http2::SendRequest<BoxBody<Bytes, std::io::Error>>),
}

impl Sender {
    async fn connect(address: SocketAddr, is_http2: bool) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        stream.set_nodelay(true).expect("the socket is TCP");
        let io = TokioIo::new(stream);
        if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .expect("the HTTP/2 handshake succeeds");
            tokio::spawn(connection);
            Self::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io)
                .await
                .expect("the HTTP/1.1 handshake succeeds");
            tokio::spawn(connection);
            Self::Http1(sender)
        }
    }

    async fn send(
        &mut self,
        request: Request<BoxBody<Bytes, std::io::Error>>,
    ) -> (StatusCode, Bytes) {
        let response = match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        };
        let (head, body) = response.expect("the server responds").into_parts();
        let body = body.collect().await.expect("the response is complete");
        (head.status, body.to_bytes())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_bodies_arrive_unchanged() {
    // The upstream responds with the digest of the body, so that no test task keeps the bodies.
    let digest = post(|body: Body| async {
        let body = to_bytes(body, usize::MAX)
            .await
            .expect("the body is complete");
        hex::encode(Sha256::digest(&body))
    });
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let upstream = listener.local_addr().expect("the listener is bound");
    let router = Router::new().fallback(digest);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let start = |protocol: &str| {
        Gateway::builder(upstream)
            .server("h2c = true")
            .upstream(&format!("protocol = \"{protocol}\""))
            .start()
    };
    let gateways = [start("http1"), start("h2c")];

    let provider = TestProvider::named("standard-webhooks");
    let bytes = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        // The senders cover every pair of protocols, to the gateway and to the upstream.
        let address = gateways[sender % 2].address();
        let is_http2 = sender / 2 % 2 == 1;
        let (provider, bytes) = (provider.clone(), Arc::clone(&bytes));
        senders.spawn(async move {
            let seed = u64::try_from(sender).expect("the number is small") + 1;
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut connection = Sender::connect(address, is_http2).await;
            for index in 0..BODIES / SENDERS {
                let body = random.body();
                let id = format!("evt_{sender}_{index}");
                let headers = provider.sign(&body, now(), &id);
                let mut request = Request::post(format!("http://{address}{}", provider.path()))
                    .header("host", address.to_string())
                    .body(random.frame(body.clone()))
                    .expect("the request is valid");
                request.headers_mut().extend(headers);
                if is_http2 {
                    request.headers_mut().remove("host");
                } else {
                    *request.uri_mut() = provider.path().parse().expect("the path is valid");
                }
                let (status, received) = connection.send(request).await;
                assert_eq!(status, StatusCode::OK, "{id}: {} B", body.len());
                let signed = hex::encode(Sha256::digest(&body));
                assert_eq!(received, signed, "{id}: {} B", body.len());
                bytes.fetch_add(body.len(), Ordering::Relaxed);
            }
        });
    }
    senders.join_all().await;
    // The control: the bodies were large enough on average.
    assert!(bytes.load(Ordering::Relaxed) > BODIES * 50_000);
    server.abort();
}
