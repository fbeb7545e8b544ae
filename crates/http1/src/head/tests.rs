//! Tests of the heads of requests and responses.

use std::io::Cursor;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::connection::Transport;

fn connection(wire: &[u8]) -> Connection<Cursor<Vec<u8>>> {
    Connection::new(Cursor::new(wire.to_vec()), Transport::Plain)
}

const MALFORMED: &str = "the head is not a valid HTTP/1 head";
const AMBIGUOUS: &str = "the head is ambiguous";
const DISCONNECTED: &str = "the connection ended before the head did";

/// Names the variant of an error.
fn kind(error: &HeadError) -> &'static str {
    match error {
        HeadError::TooLarge => "too large",
        HeadError::Malformed => MALFORMED,
        HeadError::Ambiguous => AMBIGUOUS,
        HeadError::Disconnected(_) => DISCONNECTED,
    }
}

#[tokio::test]
async fn a_head_is_read_up_to_its_end_however_it_is_cut() {
    let wire = b"\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\nEmpty:\r\n\r\nbody";
    for size in 1..=wire.len() {
        let (mut sender, receiver) = duplex(size);
        tokio::spawn(async move { sender.write_all(wire).await });
        let mut connection = Connection::new(receiver, Transport::Plain);
        let head = read_request(&mut connection).await.expect("a good head");
        assert_eq!(
            (&head.method, head.uri.to_string()),
            (&Method::POST, "/a?b".into())
        );
        assert_eq!(head.headers["x-y"], "z");
        assert_eq!(head.headers["empty"], "");
        assert!(b"body".starts_with(&connection.read), "{size}");
    }
}

#[tokio::test]
async fn the_fields_of_a_head_do_not_depend_on_the_previous_head() {
    let heads = [
        "A: 1\r\nB: 2\r\n",
        "a: 3\r\nb: 4\r\n",
        "B: 5\r\nA: 6\r\n",
        "A: 7\r\n",
        "A: 8\r\nA: 9\r\nB: 10\r\n",
        "A: 11\r\nA: 12\r\nB: 13\r\n",
        "A: 14\r\nB: 15\r\nA: 16\r\n",
        "A: 17\r\nB: 18\r\nA: 19\r\n",
        "",
        "A: 20\r\nB:\r\n",
        "A: 21\r\nC: 22\r\n",
    ];
    let wire = heads.map(|fields| format!("GET / HTTP/1.1\r\n{fields}\r\n"));
    let mut together = connection(wire.concat().as_bytes());
    for one in wire {
        let alone = read_request(&mut connection(one.as_bytes())).await;
        let head = read_request(&mut together).await.expect("a good head");
        assert_eq!(head.headers, alone.expect("a good head").headers, "{one}");
        together.recycle(head.headers);
        let recycled = together.take_header_map();
        assert!(recycled.values().all(HeaderValue::is_empty));
        together.recycle(recycled);
    }
}

#[tokio::test]
async fn all_heads_of_a_connection_share_one_buffer() {
    let (mut sender, receiver) = duplex(1024);
    let mut connection = Connection::new(receiver, Transport::Plain);
    let mut buffers = Vec::new();
    for _ in 0..10 {
        let wire = b"POST /a?b HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n";
        sender.write_all(wire).await.unwrap();
        let head = read_request(&mut connection).await.expect("a good head");
        let http::request::Parts { headers, uri, .. } = head;
        drop(uri);
        connection.recycle(headers);
        buffers.push((connection.read.as_ptr(), connection.read.capacity()));
    }
    assert!(buffers.iter().all(|buffer| *buffer == buffers[0]));
    assert!(buffers[0].1 > 0);
    // Control: a slice of the buffer that is still held prevents its reuse.
    sender
        .write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let head = read_request(&mut connection).await.expect("a good head");
    connection.recycle(HeaderMap::new());
    assert_eq!(connection.read.capacity(), 0, "{head:?}");
}

#[tokio::test]
async fn a_target_is_a_path_of_this_host() {
    for (target, expected) in [
        ("/", Ok("/")),
        ("/a/../b?c=%20d", Ok("/a/../b?c=%20d")),
        ("//other/a", Ok("//other/a")),
        ("http://h/a?b", Ok("/a?b")),
        ("http://H:80", Err(AMBIGUOUS)),
        ("http://h", Ok("/")),
        ("http://h?a=b", Ok("/?a=b")),
        ("http://other/a", Err(AMBIGUOUS)),
        ("*", Ok("*")),
        ("/a#b", Err(MALFORMED)),
        ("h:80", Err(MALFORMED)),
        ("a/b", Err(MALFORMED)),
        ("/\u{7f}", Err(MALFORMED)),
    ] {
        let wire = format!("POST {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = read_request(&mut connection(wire.as_bytes())).await;
        // The text of a `Uri` has a `/` that its path may lack.
        let path = head.as_ref().map(|head| {
            let path = head.uri.path_and_query();
            path.map_or("", |path| path.as_str())
        });
        assert_eq!(path.map_err(kind), expected, "{target}");
    }
}

#[tokio::test]
async fn an_invalid_head_is_refused() {
    for (wire, expected) in [
        (&b"\x16\x03\x01"[..], MALFORMED),
        (b" GET / HTTP/1.1\r\n\r\n", MALFORMED),
        (b"GET / HTTP/2.0\r\n\r\n", MALFORMED),
        (b"GET / HTTP/1.1 \r\n\r\n", AMBIGUOUS),
        (b"GET  / HTTP/1.1\r\n\r\n", MALFORMED),
        (b"GET / HTTP/1.1\n\n", AMBIGUOUS),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", AMBIGUOUS),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", AMBIGUOUS),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", AMBIGUOUS),
        (b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n", AMBIGUOUS),
        (b"GET / HTTP/1.1\r\nA: b", DISCONNECTED),
        (b"", DISCONNECTED),
    ] {
        let read = read_request(&mut connection(wire)).await;
        let error = read.expect_err("a bad head");
        assert_eq!(kind(&error), expected, "{}", wire.escape_ascii());
    }
}

#[tokio::test]
async fn response_heads_are_parsed_leniently() {
    for wire in [
        "HTTP/1.1 200 OK\r\nServer : a\r\nX: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\nServer: a\nX: b c\n\n",
        "HTTP/1.0 200\r\nServer: a\r\nX: b c\r\n\r\n",
    ] {
        let read = read_response(&mut connection(wire.as_bytes())).await;
        let head = read.unwrap_or_else(|error| panic!("{error:?}: {wire:?}"));
        assert_eq!(
            (head.status, &head.headers["server"]),
            (StatusCode::OK, &HeaderValue::from_static("a"))
        );
        // Each byte of a folded line end is a blank now.
        let value = head.headers["x"].to_str().expect("text");
        assert!(value == "b c" || value == "b   c", "{value:?}");
    }
    let many = "X: y\r\n".repeat(200);
    let long = format!(
        "HTTP/1.1 200 OK\r\n{many}Y: {}\r\n\r\n",
        "z".repeat(100_000)
    );
    let read = read_response(&mut connection(long.as_bytes())).await;
    assert_eq!(read.expect("a good head").headers.len(), 201);
    // The connection stays open: the error must not wait for more bytes.
    let (mut server, receiver) = duplex(64);
    server.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    let read = read_response(&mut Connection::new(receiver, Transport::Plain)).await;
    assert!(matches!(read, Err(HeadError::Malformed)));
}

#[tokio::test]
async fn the_version_and_the_status_of_a_head_are_those_of_its_first_line() {
    for (version, expected) in [("1.0", Version::HTTP_10), ("1.1", Version::HTTP_11)] {
        let wire = format!("GET / HTTP/{version}\r\n\r\n");
        let head = read_request(&mut connection(wire.as_bytes())).await;
        assert_eq!(head.expect("a good head").version, expected);
        let wire = format!("HTTP/{version} 599\r\n\r\n");
        let head = read_response(&mut connection(wire.as_bytes())).await;
        let head = head.expect("a good head");
        assert_eq!((head.version, head.status.as_u16()), (expected, 599));
    }
    for status in ["600", "099", "1000"] {
        let wire = format!("HTTP/1.1 {status} X\r\n\r\n");
        let head = read_response(&mut connection(wire.as_bytes())).await;
        assert!(matches!(head, Err(HeadError::Malformed)), "{status}");
    }
}

#[tokio::test]
async fn a_few_empty_lines_before_a_head_are_skipped() {
    for (lines, is_skipped) in [(1, true), (8, true), (9, false)] {
        let wire = format!("{}GET / HTTP/1.1\r\n\r\n", "\r\n".repeat(lines));
        let head = read_request(&mut connection(wire.as_bytes())).await;
        assert_eq!(head.is_ok(), is_skipped, "{lines}");
    }
    // One after the other, as they arrive.
    let (mut sender, receiver) = duplex(2);
    tokio::spawn(async move {
        sender
            .write_all(b"\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n")
            .await
    });
    let head = read_request(&mut Connection::new(receiver, Transport::Plain)).await;
    assert_eq!(head.expect("a good head").method, Method::GET);
}

#[tokio::test]
async fn a_head_has_at_most_its_limit_and_the_error_waits_for_no_more() {
    let of_len = |len: usize, end: &str| {
        let start = "GET / HTTP/1.1\r\nX: ";
        let fill = "x".repeat(len - start.len() - end.len());
        format!("{start}{fill}{end}")
    };
    let longest = of_len(MAX_HEAD, "\r\n\r\n");
    let head = read_request(&mut connection(longest.as_bytes())).await;
    assert_eq!(head.expect("a good head").headers.len(), 1);
    let longer = of_len(MAX_HEAD + 1, "\r\n\r\n");
    // After an empty line, the last read passes the limit and contains the end of the head.
    for start in ["", "\r\n"] {
        let wire = format!("{start}{longer}");
        let head = read_request(&mut connection(wire.as_bytes())).await;
        assert!(matches!(head, Err(HeadError::TooLarge)), "{start:?}");
    }
    // The connection stays open.
    for (len, is_refused) in [(MAX_HEAD - 1, false), (MAX_HEAD, true)] {
        let (mut sender, receiver) = duplex(2 * MAX_HEAD);
        sender.write_all(of_len(len, "").as_bytes()).await.unwrap();
        let mut connection = Connection::new(receiver, Transport::Plain);
        let reading = pin!(read_request(&mut connection));
        let polled = reading.poll(&mut Context::from_waker(Waker::noop()));
        match is_refused {
            true => assert!(matches!(polled, Poll::Ready(Err(HeadError::TooLarge)))),
            false => assert!(polled.is_pending()),
        }
    }
}

#[tokio::test]
async fn a_value_is_the_bytes_of_the_head_and_of_no_other_line() {
    let wire = b"HTTP/1.1 200 OK\r\nA: \xe9\r\nB:\t c \t\r\n\r\n";
    let head = read_response(&mut connection(wire))
        .await
        .expect("a good head");
    assert_eq!(head.headers["a"].as_bytes(), b"\xe9");
    assert_eq!(head.headers["b"].as_bytes(), b"c");
    let folded = b"HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\n d\r\n\r\n";
    let head = read_response(&mut connection(folded))
        .await
        .expect("a good head");
    assert_eq!(head.headers["a"].as_bytes(), b"b  \tc   d");
}
