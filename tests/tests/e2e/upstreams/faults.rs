//! Upstreams that break off, hang, or send malformed responses. The sender gets a response in
//! time, and the delivery is sent once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Gateway, TestProvider, now, raw_delivery, send, try_send};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::{answer_each, beatapi, deliver_own, gateway, raw};

/// What the sender sees of an upstream's fault.
#[derive(Debug, PartialEq)]
enum Seen {
    Status(u16),
    /// An answer that breaks off, so that nobody takes it for the whole.
    BrokenOff,
}

const OK_LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";

const OK_CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn whatever_an_upstream_does_the_sender_has_an_answer_in_time() {
    use Seen::{BrokenOff, Status};
    let hang = || sleep(Duration::from_secs(600));
    /// Writes, and then `rest` again and again for as long as it is taken.
    async fn write(mut stream: TcpStream, first: &[u8], rest: &[u8]) {
        let mut written = stream.write_all(first).await;
        while written.is_ok() && !rest.is_empty() {
            written = stream.write_all(rest).await;
        }
        sleep(Duration::from_secs(600)).await;
    }
    let answers =
        |first: &'static [u8], rest: &'static [u8]| raw(move |stream| write(stream, first, rest));
    let servers = [
        (
            "dies",
            raw(|stream| async move { drop(stream) }).await,
            Status(502),
        ),
        (
            "resets",
            raw(|stream| async move {
                let _ = stream.set_zero_linger();
            })
            .await,
            Status(502),
        ),
        (
            "resets in mid-answer",
            raw(|mut stream| async move {
                let _ = stream.write_all(OK_LENGTH).await;
                let _ = stream.write_all(b"half").await;
                sleep(Duration::from_millis(100)).await;
                let _ = stream.set_zero_linger();
            })
            .await,
            BrokenOff,
        ),
        (
            "hangs",
            raw(move |stream| async move {
                hang().await;
                drop(stream)
            })
            .await,
            Status(504),
        ),
        (
            "hangs in the head",
            answers(b"HTTP/1.1 200 OK\r\nx: ", b"").await,
            Status(504),
        ),
        (
            "hangs in the body",
            answers(OK_LENGTH, b"").await,
            BrokenOff,
        ),
        (
            "never stops",
            answers(OK_CHUNKED, b"5\r\nhello\r\n").await,
            BrokenOff,
        ),
        (
            "never stops in the head",
            answers(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n").await,
            Status(502),
        ),
        (
            "says nothing but 1xx",
            answers(b"", b"HTTP/1.1 102 Processing\r\n\r\n").await,
            Status(504),
        ),
        (
            "is no HTTP server",
            answers(b"SSH-2.0-OpenSSH_9.2\r\n", b"").await,
            Status(502),
        ),
        (
            "is gone",
            answers(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", b"").await,
            Status(502),
        ),
        (
            "redirects",
            answers(
                b"HTTP/1.1 307 Elsewhere\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
                b"",
            )
            .await,
            Status(502),
        ),
        (
            "has a length and no body",
            answers(
                b"HTTP/1.1 204 No Content\r\ncontent-length: 40\r\n\r\n",
                b"",
            )
            .await,
            Status(204),
        ),
        (
            "answers early and keeps the socket",
            answers(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n", b"").await,
            Status(413),
        ),
    ];
    for (name, (address, seen), expected) in servers {
        // Early answers have to come although the rest is never read.
        let gateway = gateway(&format!("servers = [\"{address}\"]\ntimeout = \"2s\"")).start();
        let body = if expected == Status(413) {
            Bytes::from(vec![b' '; 32 * 1024 * 1024])
        } else {
            beatapi().body("evt_1")
        };
        let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
        *request.uri_mut() = "/own".parse().expect("the path is valid");
        let start = Instant::now();
        let found = match try_send(gateway.address(), request).await {
            Ok(reply) => Status(reply.status.as_u16()),
            Err(_) => BrokenOff,
        };
        assert_eq!(found, expected, "{name}");
        assert!(start.elapsed() < Duration::from_secs(15), "{name}");
        assert_eq!(seen.load(Ordering::SeqCst), 1, "{name}: more than once");
    }
}

#[tokio::test]
async fn each_deadline_ends_what_it_is_for() {
    let (hangs, _) = raw(|stream| async move {
        sleep(Duration::from_secs(600)).await;
        drop(stream);
    })
    .await;
    for (deadline, len) in [
        ("first_byte_timeout", 10),
        ("write_timeout", 32 * 1024 * 1024),
    ] {
        let gateway = gateway(&format!(
            "servers = [\"{hangs}\"]\ntimeout = \"60s\"\n{deadline} = \"300ms\""
        ))
        .start();
        let body = Bytes::from(vec![b' '; len]);
        let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
        *request.uri_mut() = "/own".parse().expect("the path is valid");
        let reply = send(gateway.address(), request).await;
        assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT, "{deadline}");
    }
    // Nothing was sent to a server that does not shake hands.
    let gateway = gateway(&format!(
        "servers = [\"https://{hangs}\"]\ntimeout = \"60s\"\nconnect_timeout = \"300ms\""
    ))
    .start();
    assert_eq!(deliver_own(&gateway, "evt_1").await, 502);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_gets_no_second_copy_behind_the_senders_back() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 2",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"nonsense\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (seen, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("the server listens");
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    if stream
                        .read_buf(&mut request)
                        .await
                        .expect("the server reads")
                        == 0
                    {
                        break;
                    }
                }
                seen.send(()).expect("the test listens");
                stream.write_all(answer).await.expect("the server writes");
            }
        });
        let gateway = Gateway::builder(address).start();
        let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{answer:?}");
        assert_eq!(arrivals.recv().await, Some(()));
        assert!(
            arrivals.try_recv().is_err(),
            "{answer:?}: it was sent twice"
        );
        server.abort();
    }
}

/// Reads some of each request and answers; once for each of `answers`, with a
/// pause between its parts, on as many connections as are opened.
async fn answer_early(listener: TcpListener, parts: &'static [&'static [u8]]) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("the server listens");
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                for part in parts {
                    let _ = stream.write_all(part).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
}

/// A connection whose state is not known must not carry another delivery: its
/// sender would get somebody else's answer.
#[tokio::test]
async fn an_answer_that_contradicts_itself_does_not_poison_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let server = tokio::spawn(answer_early(
        listener,
        &[
            b"HTTP/1.1 204 No Content\r\ncontent-length: 40\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL",
        ],
    ));
    let gateway = Gateway::builder(address).start();
    for index in 0..6 {
        let reply = send(
            gateway.address(),
            beatapi().delivery(&format!("evt_{index}")),
        )
        .await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{index}");
        assert!(!reply.headers.contains_key("content-length"), "{index}");
    }
    server.abort();
}

#[tokio::test]
async fn an_answer_of_http_1_0_is_framed_anew() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let server = tokio::spawn(answer_each(listener, b"HTTP/1.0 200 OK\r\n\r\nto the end"));
    let gateway = Gateway::builder(address).start();
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (reply.status, reply.body.as_ref()),
        (StatusCode::OK, &b"to the end"[..])
    );
    assert_eq!(reply.headers["transfer-encoding"], "chunked");
    server.abort();
}

#[tokio::test]
async fn an_answer_in_a_coding_that_is_not_known_is_withheld() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let server = tokio::spawn(answer_each(listener, answer));
    let gateway = Gateway::builder(address).start();
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    server.abort();
}

#[tokio::test]
async fn interim_answers_are_read_over() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let answer = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
                   HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
    let server = tokio::spawn(answer_each(listener, answer));
    let gateway = Gateway::builder(address).start();
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (reply.status, reply.body.as_ref()),
        (StatusCode::CREATED, &b"ok"[..])
    );
    server.abort();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_on_as_a_whole_one() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let server = tokio::spawn(answer_each(listener, answer));
    let gateway = Gateway::builder(address).start();
    let request = raw_delivery("evt_1");
    let reply = hookgate_tests::send_raw(gateway.address(), &request, Duration::from_secs(5));
    let reply = String::from_utf8(reply.await).expect("the bytes are UTF-8");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert!(!reply.contains("0\r\n\r\n"), "{reply}");
    server.abort();
}

/// An answer that is no HTTP may well be the request itself, with what is secret in it.
#[tokio::test]
async fn what_an_upstream_sends_back_is_not_logged() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let echo = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                // Not as a request line, which is parsed by its first letters.
                let _ = stream.write_all(b"\x01").await;
                let _ = stream.write_all(&bytes[..read]).await;
            }
        }
    });
    let gateway = Gateway::builder(address).start();
    let provider = TestProvider::named("beatapi");
    let reply = send(gateway.address(), provider.delivery("evt_canary")).await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    gateway.wait_for_log("forwarding failed").await;
    let log = gateway.log();
    for secret in ["\\\"type\\\"", "hookgate-verified", "x-beatapi-signature"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    echo.abort();
}
