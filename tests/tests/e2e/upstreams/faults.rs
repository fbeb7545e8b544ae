//! Upstreams that break off, hang, or send malformed responses. The sender gets a response in
//! time, and the delivery is sent once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Gateway, TestProvider, now, raw_delivery, send, try_send};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::{beatapi, deliver_own, gateway, read_request, respond_to_each, serve_raw};

/// The sender's view of an upstream's fault.
#[derive(Debug, PartialEq)]
enum Outcome {
    Status(u16),
    /// A response that ends early, visibly to the sender.
    Truncated,
}

const OK_LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";

const OK_CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn every_upstream_fault_gives_the_sender_a_response_in_time() {
    use Outcome::{Status, Truncated};
    let hang = || sleep(Duration::from_secs(600));
    /// Reads the request. Then writes `first`, and `rest` repeatedly until the gateway closes the
    /// connection.
    async fn write(mut stream: TcpStream, first: &[u8], rest: &[u8]) {
        read_request(&mut stream).await;
        let mut written = stream.write_all(first).await;
        while written.is_ok() && !rest.is_empty() {
            written = stream.write_all(rest).await;
        }
        sleep(Duration::from_secs(600)).await;
    }
    let responds = |first: &'static [u8], rest: &'static [u8]| {
        serve_raw(move |stream| write(stream, first, rest))
    };
    let servers = [
        (
            "closes at once",
            serve_raw(|mut stream| async move {
                read_request(&mut stream).await;
            })
            .await,
            Status(502),
        ),
        (
            "resets",
            serve_raw(|stream| async move {
                let _ = stream.set_zero_linger();
            })
            .await,
            Status(502),
        ),
        (
            "resets in the response body",
            serve_raw(|mut stream| async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(OK_LENGTH).await;
                let _ = stream.write_all(b"half").await;
                sleep(Duration::from_millis(100)).await;
                let _ = stream.set_zero_linger();
            })
            .await,
            Truncated,
        ),
        (
            "hangs",
            serve_raw(move |stream| async move {
                hang().await;
                drop(stream)
            })
            .await,
            Status(504),
        ),
        (
            "hangs in the head",
            responds(b"HTTP/1.1 200 OK\r\nx: ", b"").await,
            Status(504),
        ),
        (
            "hangs in the body",
            responds(OK_LENGTH, b"").await,
            Truncated,
        ),
        (
            "endless body",
            responds(OK_CHUNKED, b"5\r\nhello\r\n").await,
            Truncated,
        ),
        (
            "endless head",
            responds(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n").await,
            Status(502),
        ),
        (
            "only 1xx responses",
            responds(b"", b"HTTP/1.1 102 Processing\r\n\r\n").await,
            Status(504),
        ),
        (
            "not HTTP",
            responds(b"SSH-2.0-OpenSSH_9.2\r\n", b"").await,
            Status(502),
        ),
        (
            "410",
            responds(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", b"").await,
            Status(502),
        ),
        (
            "redirect",
            responds(
                b"HTTP/1.1 307 Elsewhere\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
                b"",
            )
            .await,
            Status(502),
        ),
        (
            "204 with a length",
            responds(
                b"HTTP/1.1 204 No Content\r\ncontent-length: 40\r\n\r\n",
                b"",
            )
            .await,
            Status(204),
        ),
        (
            "early response on an open socket",
            serve_raw(|mut stream| async move {
                let refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
                let _ = stream.write_all(refusal).await;
                sleep(Duration::from_secs(600)).await;
            })
            .await,
            Status(413),
        ),
    ];
    for (name, (address, requests), expected) in servers {
        // Only the timeout ends these faults. The others end before the test client times out.
        let timeout = match name {
            "hangs" | "hangs in the head" | "hangs in the body" | "endless body"
            | "only 1xx responses" => "2s",
            _ => "60s",
        };
        let upstream = format!("servers = [\"{address}\"]\ntimeout = {timeout:?}");
        let gateway = gateway(&upstream).start();
        let body = if expected == Status(413) {
            // The upstream does not read this large body. Its early response must still reach the
            // sender.
            Bytes::from(vec![b' '; 32 * 1024 * 1024])
        } else {
            beatapi().body("evt_1")
        };
        let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
        *request.uri_mut() = "/own".parse().expect("the path is valid");
        let outcome = match try_send(gateway.address(), request).await {
            Ok(response) => Status(response.status.as_u16()),
            Err(_) => Truncated,
        };
        assert_eq!(outcome, expected, "{name}");
        assert_eq!(
            requests.load(Ordering::SeqCst),
            1,
            "{name}: the delivery was sent twice"
        );
    }
}

#[tokio::test]
async fn each_timeout_ends_its_own_phase() {
    let (hangs, _) = serve_raw(|stream| async move {
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
        let response = send(gateway.address(), request).await;
        assert_eq!(response.status, StatusCode::GATEWAY_TIMEOUT, "{deadline}");
    }
    // The TLS handshake times out, so no byte of the delivery was sent: 502 and not 504.
    let gateway = gateway(&format!(
        "servers = [\"https://{hangs}\"]\ntimeout = \"60s\"\nconnect_timeout = \"300ms\""
    ))
    .start();
    assert_eq!(deliver_own(&gateway, "evt_1").await, 502);
}

/// Nothing was sent, so the delivery is failed, and not forwarded.
#[tokio::test]
async fn a_delivery_whose_total_timeout_ends_while_connecting_is_failed() {
    // The server never responds to the TLS handshake.
    let (hangs, _) = serve_raw(|stream| async move {
        sleep(Duration::from_secs(600)).await;
        drop(stream);
    })
    .await;
    let gateway = gateway(&format!(
        "servers = [\"https://{hangs}\"]\ntimeout = \"300ms\"\nconnect_timeout = \"300ms\""
    ))
    .start();
    assert_eq!(deliver_own(&gateway, "evt_1").await, 504);
    let line = &gateway.wait_for_access_log(1).await[0];
    assert_eq!(line["outcome"], "failed", "{line}");
    assert_eq!(line["reason"], "upstream_timeout", "{line}");
    let outcome = async |outcome: &str| {
        let series = format!("hookgate_deliveries_total{{outcome=\"{outcome}\",source=\"own\"}}");
        gateway.counter(&series).await
    };
    assert_eq!(
        [outcome("failed").await, outcome("forwarded").await],
        [1, 0]
    );
}

#[tokio::test]
async fn a_delivery_is_not_sent_twice_when_the_upstream_breaks_off() {
    for response in [
        &b""[..],
        b"HTTP/1.1 2",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"nonsense\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (requests, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("the server listens");
                assert!(read_request(&mut stream).await, "the request is complete");
                requests.send(()).expect("the test listens");
                stream.write_all(response).await.expect("the server writes");
            }
        });
        let gateway = Gateway::builder(address).start();
        let response = send(gateway.address(), beatapi().delivery("evt_1")).await;
        assert_eq!(response.status, StatusCode::BAD_GATEWAY, "{response:?}");
        assert_eq!(arrivals.recv().await, Some(()));
        assert!(
            arrivals.try_recv().is_err(),
            "{response:?}: the delivery was sent twice"
        );
        server.abort();
    }
}

/// Responds to each request with `parts`, and pauses between them. Serves any number of
/// connections.
async fn respond_in_parts(listener: TcpListener, parts: &'static [&'static [u8]]) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("the server listens");
        tokio::spawn(async move {
            while read_request(&mut stream).await {
                for part in parts {
                    let _ = stream.write_all(part).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
}

/// A connection in an unknown state must not carry another delivery: its sender would receive
/// the response of a different delivery (response smuggling).
#[tokio::test]
async fn a_contradictory_response_does_not_poison_the_next_delivery() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let server = tokio::spawn(respond_in_parts(
        listener,
        &[
            b"HTTP/1.1 204 No Content\r\ncontent-length: 40\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL",
        ],
    ));
    let gateway = Gateway::builder(address).start();
    for index in 0..6 {
        let response = send(
            gateway.address(),
            beatapi().delivery(&format!("evt_{index}")),
        )
        .await;
        assert_eq!(response.status, StatusCode::NO_CONTENT, "{index}");
        assert!(!response.headers.contains_key("content-length"), "{index}");
    }
    server.abort();
}

#[tokio::test]
async fn an_http_1_0_response_is_sent_on_as_chunked() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let server = tokio::spawn(respond_to_each(
        listener,
        b"HTTP/1.0 200 OK\r\n\r\nto the end",
    ));
    let gateway = Gateway::builder(address).start();
    let response = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (response.status, response.body.as_ref()),
        (StatusCode::OK, &b"to the end"[..])
    );
    assert_eq!(response.headers["transfer-encoding"], "chunked");
    server.abort();
}

#[tokio::test]
async fn a_response_with_an_unknown_transfer_coding_becomes_502() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let server = tokio::spawn(respond_to_each(listener, response));
    let gateway = Gateway::builder(address).start();
    let response = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    server.abort();
}

#[tokio::test]
async fn interim_responses_are_skipped() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let response = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
                   HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
    let server = tokio::spawn(respond_to_each(listener, response));
    let gateway = Gateway::builder(address).start();
    let response = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (response.status, response.body.as_ref()),
        (StatusCode::CREATED, &b"ok"[..])
    );
    server.abort();
}

#[tokio::test]
async fn a_truncated_response_is_not_relayed_as_complete() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let server = tokio::spawn(respond_to_each(listener, response));
    let gateway = Gateway::builder(address).start();
    let request = raw_delivery("evt_1");
    let response = hookgate_tests::send_raw(gateway.address(), &request, Duration::from_secs(5));
    let response = String::from_utf8(response.await).expect("the bytes are UTF-8");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(!response.contains("0\r\n\r\n"), "{response}");
    server.abort();
}

/// An upstream can echo the request, so an unreadable response can hold secrets.
#[tokio::test]
async fn bytes_of_an_unreadable_response_are_not_logged() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let echo = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                // The leading byte makes the response unreadable: an echoed request line could parse.
                let _ = stream.write_all(b"\x01").await;
                let _ = stream.write_all(&bytes[..read]).await;
            }
        }
    });
    let gateway = Gateway::builder(address).start();
    let provider = TestProvider::named("beatapi");
    let response = send(gateway.address(), provider.delivery("evt_canary")).await;
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    gateway.wait_for_log("forwarding failed").await;
    let log = gateway.log();
    for secret in ["\\\"type\\\"", "hookgate-verified", "x-beatapi-signature"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    echo.abort();
}
