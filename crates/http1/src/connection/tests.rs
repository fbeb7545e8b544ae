//! Tests of the stream below the messages: reuse of memory, idleness, and writes.

use std::collections::VecDeque;

use tokio::io::{DuplexStream, ReadBuf, duplex};

use super::*;
use crate::head::read_request;

fn pair(size: usize) -> (DuplexStream, Connection<DuplexStream>) {
    let (peer, stream) = duplex(size);
    (peer, Connection::new(stream, Transport::Plain))
}

fn fields(names: impl IntoIterator<Item = String>) -> HeaderMap {
    let name = |name: String| http::HeaderName::try_from(name).expect("a name");
    let value = HeaderValue::from_static("1");
    let fields = names.into_iter().map(|text| (name(text), value.clone()));
    fields.collect()
}

#[tokio::test]
async fn a_head_keeps_its_names_for_the_next_one_unless_they_are_many_or_long() {
    for (names, is_kept) in [
        (fields((0..20).map(|number| format!("x-{number}"))), true),
        (fields((0..200).map(|number| format!("x-{number}"))), false),
        (fields([format!("x-{}", "y".repeat(2046))]), true),
        (fields([format!("x-{}", "y".repeat(2047))]), false),
    ] {
        let (_peer, mut connection) = pair(64);
        let expected: Vec<_> = names.keys().cloned().collect();
        connection.recycle(names);
        let kept = connection.take_header_map();
        assert!(kept.values().all(HeaderValue::is_empty));
        let kept: Vec<_> = kept.keys().cloned().collect();
        match is_kept {
            true => assert_eq!(kept, expected),
            false => assert!(kept.is_empty(), "{} names", expected.len()),
        }
    }
    // A map with room for many fields is not kept, even if it has few.
    let (_peer, mut connection) = pair(64);
    connection.recycle(HeaderMap::with_capacity(200));
    assert_eq!(connection.take_header_map().capacity(), 0);
}

#[tokio::test]
async fn a_connection_releases_a_large_buffer_and_no_unread_byte() {
    for (capacity, unread, is_kept) in [
        (READ_SIZE, "", true),
        (READ_SIZE + 4, "", true),
        (2 * READ_SIZE, "", true),
        (2 * READ_SIZE + 1, "", false),
        // The buffer is too small for a read.
        (64, "", false),
        (4 * READ_SIZE, "GET", true),
        (64, "GET", true),
    ] {
        let (_peer, mut connection) = pair(64);
        connection.read = BytesMut::with_capacity(capacity);
        connection.read.extend_from_slice(unread.as_bytes());
        connection.recycle(HeaderMap::new());
        let expected = if is_kept { capacity } else { 0 };
        assert_eq!(connection.read.capacity(), expected, "{capacity} {unread}");
        assert_eq!(connection.read, unread, "{capacity}");
    }
}

#[tokio::test]
async fn a_read_has_room_for_a_common_message() {
    let (mut peer, mut connection) = pair(1024 * 1024);
    let sent = vec![b'a'; 100_000];
    peer.write_all(&sent).await.expect("the peer sends");
    assert_eq!(connection.fill().await.expect("bytes"), READ_SIZE);
    // The free part of the buffer is used first.
    connection.read.truncate(READ_SIZE - 10);
    assert_eq!(connection.fill().await.expect("bytes"), 10);
    assert_eq!(connection.read.capacity(), READ_SIZE);
}

#[tokio::test]
async fn a_connection_is_idle_until_its_peer_sends_or_closes() {
    let (mut peer, mut connection) = pair(64);
    assert!(connection.is_idle());
    peer.write_all(b"x").await.expect("the peer sends");
    assert!(!connection.is_idle());
    // The byte is in the buffer now, and nothing more arrives.
    assert_eq!(connection.read, "x");
    assert!(!connection.is_idle());
    connection.read.clear();
    assert!(connection.is_idle());
    drop(peer);
    assert!(!connection.is_idle());
}

#[tokio::test]
async fn the_response_to_a_head_request_has_no_body_even_if_the_head_is_invalid() {
    for (wire, expected) in [
        ("HEAD / HTTP/1.1\r\n\r\n", true),
        ("HEAD / HTTP/9\r\n\r\n", true),
        ("HEAD", false),
        ("HEADER / HTTP/1.1\r\n\r\n", false),
        ("POST / HTTP/1.1\r\n\r\n", false),
    ] {
        let (mut peer, mut connection) = pair(1024);
        // A request before this one decides nothing.
        connection.is_head_request = !expected;
        peer.write_all(wire.as_bytes())
            .await
            .expect("the peer sends");
        drop(peer);
        let _: Result<_, _> = read_request(&mut connection).await;
        assert_eq!(connection.is_head_request(), expected, "{wire:?}");
    }
}

/// A stream whose writes take these numbers of bytes, and that reads nothing.
struct Script {
    writes: VecDeque<io::Result<usize>>,
    /// The lengths of the slices of each write.
    offered: Vec<Vec<usize>>,
    written: Vec<u8>,
    flushed: bool,
}

impl Script {
    fn connection(
        writes: impl IntoIterator<Item = io::Result<usize>>,
        transport: Transport,
    ) -> Connection<Self> {
        let script = Self {
            writes: writes.into_iter().collect(),
            offered: Vec::new(),
            written: Vec::new(),
            flushed: false,
        };
        Connection::new(script, transport)
    }
}

impl AsyncRead for Script {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.offered
            .push(slices.iter().map(|slice| slice.len()).collect());
        let Some(accepted) = self.writes.pop_front() else {
            return Poll::Pending;
        };
        let accepted = accepted?;
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        self.written.extend_from_slice(&all[..accepted]);
        Poll::Ready(Ok(accepted))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_message_is_one_write_if_the_peer_accepts_it_and_continues_where_it_stopped() {
    for (accepted, offered) in [
        (&[11][..], &[&[5, 6][..]][..]),
        (&[3, 8], &[&[5, 6], &[2, 6]]),
        (&[5, 6], &[&[5, 6], &[6]]),
        (&[7, 4], &[&[5, 6], &[4]]),
        (&[10, 1], &[&[5, 6], &[1]]),
    ] {
        let accepted = accepted.iter().map(|len| Ok(*len));
        let mut connection = Script::connection(accepted, Transport::Plain);
        let sent = connection.send(b"head:", b"<body>", WriteMode::Wait).await;
        assert!(sent.expect("the stream accepts it"));
        assert_eq!(connection.stream().written, b"head:<body>");
        assert_eq!(connection.stream().offered, offered);
        assert!(connection.stream().flushed);
    }
    // A message without a body is a single slice.
    let mut connection = Script::connection([Ok(5)], Transport::Plain);
    let sent = connection.send(b"head:", b"", WriteMode::Wait).await;
    assert!(sent.expect("the stream accepts it"));
    assert_eq!(connection.stream().offered, [[5]]);
}

#[tokio::test]
async fn an_error_says_whether_the_peer_may_have_a_part_of_the_message() {
    let broken = || Err(io::ErrorKind::ConnectionReset.into());
    for (writes, transport, kind, maybe_sent) in [
        (
            vec![broken()],
            Transport::Plain,
            io::ErrorKind::ConnectionReset,
            false,
        ),
        (
            vec![Ok(1), broken()],
            Transport::Plain,
            io::ErrorKind::ConnectionReset,
            true,
        ),
        (
            vec![broken()],
            Transport::Tls,
            io::ErrorKind::ConnectionReset,
            true,
        ),
        (
            vec![Ok(0)],
            Transport::Plain,
            io::ErrorKind::WriteZero,
            false,
        ),
    ] {
        let mut connection = Script::connection(writes, transport);
        let error = connection
            .send(b"head:", b"<body>", WriteMode::Wait)
            .await
            .expect_err("the stream fails");
        assert_eq!((error.cause.kind(), error.maybe_sent), (kind, maybe_sent));
        let text = match maybe_sent {
            true => "the message may have been sent in part",
            false => "the message was not sent",
        };
        assert_eq!(error.to_string(), text);
        let source = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(kind));
    }
}

#[tokio::test]
async fn a_write_stops_at_a_refusal_and_waits_after_an_early_success() {
    let body = vec![b'a'; 1000];
    // The peer reads nothing, and responds.
    for (response, expected) in [
        ("HTTP/1.1 413 Content Too Large\r\n\r\n", Some(false)),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 X\r\n\r\n",
            Some(false),
        ),
        ("HTTP/1.1 100 Continue\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\n\r\n", None),
        ("", None),
    ] {
        for mode in [WriteMode::StopAtRefusal, WriteMode::Wait] {
            let (mut peer, mut connection) = pair(100);
            peer.write_all(response.as_bytes())
                .await
                .expect("the peer responds");
            let mut sending = pin!(connection.send(b"head:", &body, mode));
            let mut context = Context::from_waker(Waker::noop());
            let sent = match sending.as_mut().poll(&mut context) {
                Poll::Ready(sent) => Some(sent.expect("no error")),
                Poll::Pending => None,
            };
            let expected = expected.filter(|_| mode == WriteMode::StopAtRefusal);
            assert_eq!(sent, expected, "{response:?} {mode:?}");
            if sent.is_none() {
                // The peer reads the rest after all.
                let mut read = vec![0; 5 + body.len()];
                let (sent, all) = tokio::join!(sending, peer.read_exact(&mut read));
                assert!(sent.expect("no error"), "{response:?} {mode:?}");
                assert_eq!(all.expect("the whole message"), 1005);
            }
        }
    }
}

#[tokio::test]
async fn a_write_fails_if_the_peer_closes_without_a_response() {
    /// A stream that accepts no byte, and whose peer has closed.
    struct Closed;

    impl AsyncRead for Closed {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Closed {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    let mut connection = Connection::new(Closed, Transport::Plain);
    let sent = connection
        .send(b"head:", b"", WriteMode::StopAtRefusal)
        .await;
    let error = sent.expect_err("the peer has closed");
    assert_eq!(error.cause.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_shutdown_ends_the_stream_of_the_peer() {
    let (mut peer, mut connection) = pair(64);
    connection.shutdown().await.expect("the stream closes");
    let mut rest = Vec::new();
    assert_eq!(peer.read_to_end(&mut rest).await.expect("an end"), 0);
}

#[tokio::test]
async fn debug_output_shows_the_number_of_unread_bytes_alone() {
    let (mut peer, mut connection) = pair(64);
    peer.write_all(b"secret").await.expect("the peer sends");
    connection.fill().await.expect("bytes");
    let shown = format!("{connection:?}");
    assert!(
        shown.starts_with("Connection {") && shown.contains("read: 6"),
        "{shown}"
    );
    // Only the buffer of the connection itself is hidden; the peer's stream is empty by now.
    assert!(!shown.contains("secret"), "{shown}");
}
