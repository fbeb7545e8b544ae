//! Tests of bodies, whole and in chunks.

use std::io::Cursor;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::connection::Transport;

/// Reads a body to its end. Returns its bytes and the bytes after it.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    mut body: Body,
    connection: &mut Connection<S>,
) -> Result<(Bytes, Bytes), BodyError> {
    let mut all = BytesMut::new();
    while let Some(piece) = body.next(connection).await? {
        assert!(!piece.is_empty());
        all.extend_from_slice(&piece);
    }
    assert!(body.is_done());
    Ok((all.freeze(), connection.read.split().freeze()))
}

/// Sends `wire` in pieces of `size` bytes. A piece is sent after the previous one was read.
async fn send(wire: &'static [u8], size: usize) -> Connection<DuplexStream> {
    let (mut sender, receiver) = duplex(size);
    tokio::spawn(async move { sender.write_all(wire).await });
    Connection::new(receiver, Transport::Plain)
}

fn from_memory(wire: &[u8]) -> Connection<Cursor<Vec<u8>>> {
    Connection::new(Cursor::new(wire.to_vec()), Transport::Plain)
}

#[tokio::test]
async fn a_body_is_the_same_however_it_is_cut() {
    let chunked = b"5\r\nhello\r\n01;a=\"b\"\r\n,\r\n6 ;x\r\n world\r\n0\r\nX: y\r\nZ: \r\n\r\nGET";
    let known = b"hello, worldGET";
    let bodies: [(Body, &'static [u8]); 2] = [
        (Body::chunked(Strictness::Strict), &chunked[..]),
        (Body::Known(12), &known[..]),
    ];
    for (body, wire) in bodies {
        for size in 1..=wire.len() {
            let mut connection = send(wire, size).await;
            let (read, rest) = read(body, &mut connection).await.expect("a whole body");
            assert_eq!(&read[..], b"hello, world", "{body:?} {size}");
            assert!(b"GET".starts_with(&rest), "{rest:?}");
        }
    }
    let mut connection = send(known, 4).await;
    let (read, _) = read(Body::UntilClose, &mut connection)
        .await
        .expect("an end");
    assert_eq!(&read[..], known);
}

#[tokio::test]
async fn a_body_that_ends_early_or_breaks_the_grammar_is_an_error() {
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(MAX_SIZE_LINE));
    let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(MAX_TRAILERS / 6 + 1));
    for wire in [
        "",
        "5",
        "5\r\nhell",
        "5\r\nhello",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
    ] {
        let mut connection = from_memory(wire.as_bytes());
        let outcome = read(Body::chunked(Strictness::Strict), &mut connection).await;
        assert!(
            matches!(outcome, Err(BodyError::Disconnected(_))),
            "{wire:?}"
        );
    }
    for wire in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
        "\r\n",
        ";a\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5\x0c;x\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
        "5,\r\nhello\r\n0\r\n\r\n",
        "5;\r\rhello\r\n0\r\n\r\n",
        "100000000\r\n",
        "000000005\r\nhello\r\n0\r\n\r\n",
        long.as_str(),
        trailers.as_str(),
    ] {
        let mut connection = from_memory(wire.as_bytes());
        let outcome = read(Body::chunked(Strictness::Strict), &mut connection).await;
        assert!(matches!(outcome, Err(BodyError::Malformed)), "{wire:?}");
    }
    for wire in [
        "5  \r\nhello\r\n0 \r\n\r\n",
        "0000000005\r\nhello\r\n00\r\nx\r\n\r\n",
    ] {
        let mut connection = from_memory(wire.as_bytes());
        let response = read(Body::chunked(Strictness::Lenient), &mut connection).await;
        let (body, _) = response.expect("a lenient parser accepts it");
        assert_eq!(body, "hello", "{wire:?}");
    }
    let mut connection = from_memory(b"hell");
    let outcome = read(Body::Known(5), &mut connection).await;
    assert!(matches!(outcome, Err(BodyError::Disconnected(_))));
}

#[tokio::test]
async fn a_body_lies_in_few_buffers_and_reserves_in_proportion_to_the_received_bytes() {
    static WIRE: [u8; 5_000_000] = [7; 5_000_000];
    for (declared, starts_with_head, most_parts) in [
        (1_000_000, true, 1),
        (1_000_000, false, 1),
        (5_000_000, true, 3),
    ] {
        let wire = &WIRE[..declared];
        let declared = declared as u64;
        let mut connection = send(wire, 10_000).await;
        if starts_with_head {
            connection.fill().await.expect("bytes");
        }
        let mut body = Body::Known(declared);
        let mut parts: Vec<BytesMut> = Vec::new();
        let mut taken = 0;
        loop {
            body.reserve(declared, &mut connection).await.unwrap();
            let capacity = connection.read.capacity();
            let received = taken + connection.read.len();
            let limit = (130 * received).min(1_100_000).max(5 * received);
            assert!(capacity <= limit.max(100_000), "{capacity}, {received}");
            let Some(piece) = body.next(&mut connection).await.unwrap() else {
                break;
            };
            taken += piece.len();
            match parts.last_mut() {
                Some(part) if part.as_ptr_range().end == piece.as_ptr() => part.unsplit(piece),
                _ => parts.push(piece),
            }
        }
        assert!(parts.len() <= most_parts, "{} of {declared}", parts.len());
        assert!(parts.concat() == wire);
    }
    // One byte reserves little memory, whatever length is declared.
    let mut connection = from_memory(b"7");
    let body = Body::Known(1_000_000);
    body.reserve(1_000_000, &mut connection).await.unwrap();
    assert!(connection.read.capacity() <= 32 * 1024);
}

#[tokio::test]
async fn a_discarded_body_takes_few_reads_and_little_memory() {
    static WIRE: [u8; 1_000_000] = [7; 1_000_000];
    for (declared, most_pieces) in [(60_000, 2), (1_000_000, 20)] {
        let mut connection = send(&WIRE[..declared], WIRE.len()).await;
        connection.fill().await.expect("bytes");
        let mut body = Body::Known(declared as u64);
        let (mut read, mut pieces) = (0, 0);
        loop {
            body.reserve_for_discard(&mut connection);
            assert!(connection.read.capacity() <= 100_000);
            let Some(piece) = body.next(&mut connection).await.unwrap() else {
                break;
            };
            read += piece.len();
            pieces += 1;
        }
        assert_eq!(read, declared);
        assert!(pieces <= most_pieces, "{pieces}");
    }
}

#[tokio::test]
async fn the_lines_of_a_chunked_body_have_exact_limits() {
    let size_line = |len: usize| format!("1;{}\r\n", "x".repeat(len - 4));
    let trailer = |len: usize| format!("X:{}\r\n", "y".repeat(len - 4));
    for (wire, is_read) in [
        (format!("{}a\r\n0\r\n\r\n", size_line(MAX_SIZE_LINE)), true),
        (
            format!("{}a\r\n0\r\n\r\n", size_line(MAX_SIZE_LINE + 1)),
            false,
        ),
        // The empty line after the trailers counts.
        (
            format!("1\r\na\r\n0\r\n{}\r\n", trailer(MAX_TRAILERS - 2)),
            true,
        ),
        (
            format!("1\r\na\r\n0\r\n{}\r\n", trailer(MAX_TRAILERS - 1)),
            false,
        ),
        (
            format!("1\r\na\r\n0\r\n{0}{0}\r\n", trailer(MAX_TRAILERS / 2)),
            false,
        ),
        ("00000001\r\na\r\n0\r\n\r\n".to_owned(), true),
        ("1;\tx\r\na\r\n0\r\nX:\ty\r\n\r\n".to_owned(), true),
        ("1\r\na\r\n0\r\nX\r\n\r\n".to_owned(), false),
    ] {
        let mut connection = from_memory(wire.as_bytes());
        let outcome = read(Body::chunked(Strictness::Strict), &mut connection).await;
        match (outcome, is_read) {
            (Ok((body, rest)), true) => assert_eq!((&body[..], &rest[..]), (&b"a"[..], &b""[..])),
            (Err(BodyError::Malformed), false) => {}
            (outcome, _) => panic!("{outcome:?}: {wire:.40}"),
        }
    }
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_before_its_end() {
    for (len, is_refused) in [(MAX_SIZE_LINE - 1, false), (MAX_SIZE_LINE, true)] {
        let (mut sender, receiver) = duplex(2 * MAX_SIZE_LINE);
        sender.write_all(&vec![b'1'; len]).await.expect("bytes");
        let mut connection = Connection::new(receiver, Transport::Plain);
        let mut body = Body::chunked(Strictness::Strict);
        let reading = pin!(body.next(&mut connection));
        let polled = reading.poll(&mut Context::from_waker(Waker::noop()));
        match is_refused {
            true => assert!(matches!(polled, Poll::Ready(Err(BodyError::Malformed)))),
            false => assert!(polled.is_pending()),
        }
    }
}

#[test]
fn a_body_is_done_at_its_end_alone() {
    for (body, is_done) in [
        (Body::Done, true),
        (Body::Known(0), true),
        (Body::Known(1), false),
        (Body::UntilClose, false),
        (Body::chunked(Strictness::Lenient), false),
    ] {
        assert_eq!(body.is_done(), is_done, "{body:?}");
    }
}

#[tokio::test]
async fn a_body_that_needs_no_memory_reserves_none() {
    for (body, declared) in [(Body::Known(0), 0), (Body::Done, 5), (Body::UntilClose, 5)] {
        let mut connection = from_memory(b"next");
        body.reserve(declared, &mut connection)
            .await
            .expect("nothing is read");
        body.reserve_for_discard(&mut connection);
        assert_eq!(connection.read.capacity(), 0, "{body:?}");
    }
    // A discarded body whose bytes are here already reserves nothing.
    let mut connection = from_memory(b"bytes");
    connection.fill().await.expect("bytes");
    let before = connection.read.capacity();
    Body::Known(1_000_000).reserve_for_discard(&mut connection);
    assert_eq!(connection.read.capacity(), before);
}
