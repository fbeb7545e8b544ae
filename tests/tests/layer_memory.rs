//! Memory use of the layer under huge unsigned bodies. The suite runs alone in its process, so that
//! the peak memory of the process is that of this test.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::join_all;
use hookgate_tests::{TestProvider, Upstream, now};
use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const GIGABYTE: u64 = 1 << 30;
static CHUNK: [u8; 65_536] = [b' '; 65_536];

/// A body of blanks with one gigabyte.
struct GigabyteBody {
    left: u64,
    is_declared: bool,
}

impl Body for GigabyteBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= CHUNK.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK)))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_declared {
            SizeHint::with_exact(self.left)
        } else {
            SizeHint::default()
        }
    }
}

/// Returns the peak memory of this process in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let line = line.expect("the status has VmHWM");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("the value is a number")
        .parse()
        .expect("the value is a number");
    kib * 1024
}

/// Sends a huge body. Returns the status, or `None` if the server closed the connection.
async fn send(upstream: &Upstream, headers: HeaderMap, is_declared: bool) -> Option<StatusCode> {
    let stream = TcpStream::connect(upstream.address())
        .await
        .expect("the server listens");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .expect("the HTTP/1.1 handshake succeeds");
    tokio::spawn(connection);
    let body = GigabyteBody {
        left: GIGABYTE,
        is_declared,
    };
    let mut request = http::Request::post("/hooks/beatapi")
        .header("host", "hooks.example")
        .body(body)
        .expect("the request is valid");
    request.headers_mut().extend(headers);
    sender
        .send_request(request)
        .await
        .ok()
        .map(|response| response.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn gigabyte_bodies_are_refused_in_bounded_memory() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start_with(|router| router.layer(provider.layer())).await;
    let signed_headers = |is_wrong: bool| {
        if is_wrong {
            provider.sign(b"something else", now(), "evt_1")
        } else {
            HeaderMap::new()
        }
    };
    // The first request allocates memory that later ones reuse.
    send(&upstream, signed_headers(true), false).await;
    let before = peak();
    use StatusCode as S;
    for (name, is_wrong, is_declared, expected) in [
        // Refused by the head alone.
        ("unsigned and declared", false, true, S::UNAUTHORIZED),
        ("unsigned and chunked", false, false, S::UNAUTHORIZED),
        ("declared", true, true, S::PAYLOAD_TOO_LARGE),
        ("chunked", true, false, S::PAYLOAD_TOO_LARGE),
    ] {
        let all = (0..8).map(|_| send(&upstream, signed_headers(is_wrong), is_declared));
        for status in join_all(all).await {
            // A client that is still writing may miss the response.
            assert!(
                status.is_none_or(|status| status == expected),
                "{name}: {status:?}"
            );
        }
    }
    assert!(upstream.take_received().is_empty());
    // Eight concurrent bodies of at most 1 MiB each, and their buffers.
    let grown = peak() - before;
    assert!(grown < 32 << 20, "memory grew by {grown} B");
}
