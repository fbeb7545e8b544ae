//! HTTP/1.1 framing at the gateway: ambiguous, slow, and oversized requests are refused in time, and
//! the upstream receives no byte.

use std::time::{Duration, Instant};

use hookgate_tests::{
    Gateway, TestProvider, Upstream, is_complete_response, raw_delivery, send, send_raw,
};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const QUIET: Duration = Duration::from_secs(5);

/// Returns the status code of a response, as text.
fn status(response: &[u8]) -> &str {
    let line = response
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    std::str::from_utf8(line)
        .expect("the bytes are UTF-8")
        .split(' ')
        .nth(1)
        .unwrap_or("none")
}

/// Returns a genuine delivery with `change` applied to its text.
fn changed(change: impl Fn(&str) -> String) -> Vec<u8> {
    change(&String::from_utf8(raw_delivery("evt_framing")).expect("the bytes are UTF-8"))
        .into_bytes()
}

/// Returns a genuine delivery with one more header.
fn with_field(field: &str) -> Vec<u8> {
    changed(|text| text.replacen("Host:", &format!("{field}\r\nHost:"), 1))
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_never_reach_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let corpus = [
        ("CL and TE", with_field("Transfer-Encoding: chunked")),
        ("CL twice, equal", {
            changed(|text| {
                let start = text.find("Content-Length").expect("there is one");
                let line =
                    &text[start..start + text[start..].find("\r\n").expect("the process ends") + 2];
                text.replacen(line, &format!("{line}{line}"), 1)
            })
        }),
        ("CL twice, different", with_field("Content-Length: 5")),
        (
            "CL with a sign",
            changed(|t| t.replace("Content-Length: ", "Content-Length: +")),
        ),
        (
            "CL in hex",
            changed(|t| t.replace("Content-Length: ", "Content-Length: 0x")),
        ),
        ("TE identity", with_field("Transfer-Encoding: identity")),
        (
            "TE twice",
            with_field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ),
        ("TE obscured", with_field("Transfer-Encoding: \x0bchunked")),
        (
            "TE on 1.0",
            changed(|t| {
                t.replacen("HTTP/1.1", "HTTP/1.0", 1)
                    .replace("Content-Length", "Transfer-Encoding: chunked\r\nX")
            }),
        ),
        ("folded line", with_field("X-A: 1\r\n 2")),
        (
            "bare line feed",
            changed(|t| t.replacen("\r\nHost", "\nHost", 1)),
        ),
        (
            "blank before colon",
            changed(|t| t.replace("Content-Length:", "Content-Length :")),
        ),
        (
            "upgrade",
            with_field("Connection: upgrade\r\nUpgrade: websocket"),
        ),
        ("two hosts", with_field("Host: b")),
        (
            "negative port",
            changed(|t| t.replacen("Host: hooks.example", "Host: hooks.example:-1", 1)),
        ),
        (
            "no host",
            changed(|t| t.replacen("Host: hooks.example\r\n", "", 1)),
        ),
        ("nonsense", b"\x16\x03\x01 not http\r\n\r\n".to_vec()),
    ];
    for (name, request) in corpus {
        let request = [&request, smuggled.as_bytes()].concat();
        let response = send_raw(gateway.address(), &request, QUIET).await;
        assert_eq!(
            status(&response),
            "400",
            "{name}: {}",
            String::from_utf8_lossy(&response)
        );
        let responses = response
            .windows(9)
            .filter(|window| *window == b"HTTP/1.1 ")
            .count();
        assert_eq!(responses, 1, "{name}: the connection must close");
        assert!(upstream.take_received().is_empty(), "{name}");
    }
    // The control: the unchanged delivery reaches the upstream once.
    let response = send_raw(gateway.address(), &raw_delivery("evt_framing"), QUIET).await;
    assert_eq!(
        (status(&response), upstream.take_received().len()),
        ("204", 1)
    );
}

/// A client that reads a body would take it for the response to its next request.
#[tokio::test]
async fn a_refused_head_request_gets_no_body() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for (method, request) in [
        (
            "HEAD",
            "HEAD /hooks/beatapi HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
        ),
        (
            "HEAD",
            "HEAD /hooks/beatapi HTTP/1.1\nHost: a\n\r\n\r\n".to_owned(),
        ),
        (
            "HEAD",
            format!(
                "HEAD / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(70_000)
            ),
        ),
        // The control: another method gets a body.
        (
            "POST",
            "POST /hooks/beatapi HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
        ),
    ] {
        let response = send_raw(gateway.address(), request.as_bytes(), QUIET).await;
        let response = String::from_utf8(response).expect("the response is text");
        let (head, body) = response.split_once("\r\n\r\n").expect("the head ends");
        assert!(head.starts_with("HTTP/1.1 4"), "{head}");
        assert_eq!(body.is_empty(), method == "HEAD", "{response}");
    }
}

#[tokio::test]
async fn paths_are_matched_byte_for_byte() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for path in [
        "//hooks/beatapi",
        "/hooks//beatapi",
        "/hooks/beatapi/",
        "/hooks/%62eatapi",
        "/hooks/beatapi;x",
        "/x/../hooks/beatapi",
        "/hooks/beatapi%2f",
        "/HOOKS/beatapi",
        "/",
        "*",
    ] {
        let request = changed(|text| text.replacen("/hooks/beatapi", path, 1));
        let response = send_raw(gateway.address(), &request, Duration::from_millis(500)).await;
        assert!(
            ["404", "400"].contains(&status(&response)),
            "{path}: {}",
            status(&response)
        );
    }
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn a_refusal_by_the_head_closes_the_connection_without_reading_the_body() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for (head, expected) in [
        ("Content-Length: 1000000000", "401"),
        ("Transfer-Encoding: chunked", "401"),
        ("Content-Length: 1000000000\r\nExpect: 100-continue", "401"),
    ] {
        let start = Instant::now();
        let request = format!("POST /hooks/beatapi HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n");
        let open = Duration::from_secs(30);
        let response = send_raw(gateway.address(), request.as_bytes(), open).await;
        assert_eq!(status(&response), expected, "{head}");
        let text = String::from_utf8_lossy(&response).to_lowercase();
        assert!(text.contains("connection: close"), "{text}");
        assert!(start.elapsed() < Duration::from_secs(10), "{head}");
    }
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn a_declared_body_over_the_limit_is_413_at_once() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let request = changed(|text| {
        let (head, _) = text.split_once("\r\n\r\n").expect("the request has a head");
        let (head, _) = head
            .rsplit_once("Content-Length")
            .expect("the request has a length");
        format!("{head}Content-Length: 1048577\r\n\r\n")
    });
    let response = send_raw(gateway.address(), &request, QUIET).await;
    assert_eq!(status(&response), "413");
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn a_sender_that_expects_100_continue_gets_it_after_the_head_check() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let request = with_field("Expect: 100-continue");
    let split = request
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("the request has a head")
        + 4;
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    stream
        .write_all(&request[..split])
        .await
        .expect("the server reads");
    let mut response = [0; 25];
    stream
        .read_exact(&mut response)
        .await
        .expect("the server sends 100 Continue");
    assert_eq!(&response, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
        .write_all(&request[split..])
        .await
        .expect("the server reads");
    let mut rest = [0; 12];
    stream
        .read_exact(&mut rest)
        .await
        .expect("the server responds");
    assert_eq!(&rest, b"HTTP/1.1 204");
    // The gateway met the expectation itself, so it does not forward the header.
    let arrival = upstream
        .take_received()
        .pop()
        .expect("the delivery was forwarded");
    assert!(!arrival.headers.contains_key("expect"));
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_have_one_deadline_each() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table("[limits]\nhead_timeout = \"400ms\"\nbody_timeout = \"400ms\"")
        .start();
    let delivery = String::from_utf8(raw_delivery("evt_slow")).expect("the bytes are UTF-8");
    let (fields, _) = delivery
        .split_once("Content-Length")
        .expect("the request has a length");
    // Neither the head nor the body ever ends.
    let slow_head = format!("{fields}X-Slow: ");
    let slow_body = format!("{fields}Content-Length: 100000\r\n\r\n");
    for at_once in [slow_head, slow_body] {
        let stream = TcpStream::connect(gateway.address())
            .await
            .expect("the server listens");
        let (mut reader, mut writer) = stream.into_split();
        writer
            .write_all(at_once.as_bytes())
            .await
            .expect("the server reads");
        // Each write comes soon enough for a timeout of a single read.
        let trickle = tokio::spawn(async move {
            while writer.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let mut response = Vec::new();
        let limit = Duration::from_secs(30);
        let closed = tokio::time::timeout(limit, reader.read_to_end(&mut response)).await;
        assert!(
            closed.is_ok(),
            "the connection stays open: {}",
            String::from_utf8_lossy(&response)
        );
        assert_eq!(status(&response), "408", "{at_once}");
        trickle.abort();
    }
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn one_connection_carries_several_deliveries_and_survives_refusals() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    let forged = String::from_utf8(raw_delivery("evt_b"))
        .expect("the bytes are UTF-8")
        .replace("evt_b", "evt_x");
    for (request, expected) in [
        (raw_delivery("evt_a"), "204"),
        (forged.into_bytes(), "401"),
        (raw_delivery("evt_a"), "200"),
        (raw_delivery("evt_b"), "204"),
    ] {
        stream.write_all(&request).await.expect("the server reads");
        let mut response = Vec::new();
        while !is_complete_response(&response) {
            assert_ne!(
                stream
                    .read_buf(&mut response)
                    .await
                    .expect("the server responds"),
                0,
                "closed early"
            );
        }
        assert_eq!(status(&response), expected);
    }
    assert_eq!(upstream.take_received().len(), 2);
}

#[tokio::test]
async fn bytes_behind_a_request_never_reach_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let smuggled = b"POST /hooks/beatapi HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let request = [raw_delivery("evt_1").as_slice(), smuggled].concat();
    let response = send_raw(gateway.address(), &request, Duration::from_millis(500)).await;
    assert_eq!(status(&response), "204");
    assert_eq!(upstream.take_received().len(), 1);
    assert_eq!(
        send(
            gateway.address(),
            TestProvider::named("beatapi").delivery("evt_2")
        )
        .await
        .status,
        StatusCode::NO_CONTENT
    );
}

/// A body with broken framing has no known end, so the bytes after it must not be parsed as a
/// request, genuine or not (request smuggling).
#[tokio::test]
async fn a_malformed_chunk_closes_the_connection() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let head = changed(|text| {
        let (head, _) = text
            .split_once("Content-Length")
            .expect("the request has a length");
        format!("{head}Transfer-Encoding: chunked\r\n\r\n")
    });
    for chunk in [
        "ZZ\r\n",
        "5\nhello\r\n",
        "5\r\nhelloXX",
        "fffffffffffffffff\r\n",
        "-1\r\n",
    ] {
        let request = [&head, chunk.as_bytes()].concat();
        let mut stream = TcpStream::connect(gateway.address())
            .await
            .expect("the server listens");
        stream.write_all(&request).await.expect("the server reads");
        let mut response = Vec::new();
        while !is_complete_response(&response) {
            assert_ne!(
                stream
                    .read_buf(&mut response)
                    .await
                    .expect("the server responds"),
                0,
                "{chunk:?}"
            );
        }
        assert_eq!(status(&response), "400", "{chunk:?}");
        let text = String::from_utf8_lossy(&response).to_lowercase();
        assert!(text.contains("connection: close"), "{chunk:?}: {text}");
        let _ = stream.write_all(&raw_delivery("evt_behind")).await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(QUIET, stream.read_to_end(&mut rest)).await;
        assert!(
            rest.is_empty(),
            "{chunk:?}: {}",
            String::from_utf8_lossy(&rest)
        );
        assert!(upstream.take_received().is_empty(), "{chunk:?}");
    }
}

#[tokio::test]
async fn oversized_heads_are_431() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for fields in [101, 300] {
        let many: String = (0..fields).map(|n| format!("X-{n}: 1\r\n")).collect();
        let response = send_raw(gateway.address(), &with_field(many.trim_end()), QUIET).await;
        assert_eq!(status(&response), "431", "{fields}");
    }
    let long = with_field(&format!("X: {}", "x".repeat(70_000)));
    assert_eq!(
        status(&send_raw(gateway.address(), &long, QUIET).await),
        "431"
    );
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn a_target_in_absolute_form_is_forwarded_as_a_path() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let request = changed(|text| text.replacen("/hooks", "http://hooks.example/hooks", 1));
    let response = send_raw(gateway.address(), &request, Duration::from_secs(1)).await;
    assert_eq!(status(&response), "204");
    assert_eq!(
        upstream
            .take_received()
            .pop()
            .expect("the delivery was forwarded")
            .path,
        "/hooks/beatapi"
    );
}

#[tokio::test]
async fn an_http_1_0_sender_gets_its_response_without_100_continue() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let request = changed(|text| {
        text.replacen(
            "HTTP/1.1\r\nHost: hooks.example",
            "HTTP/1.0\r\nExpect: 100-continue",
            1,
        )
    });
    let response = send_raw(gateway.address(), &request, QUIET).await;
    assert_eq!(
        status(&response),
        "204",
        "{}",
        String::from_utf8_lossy(&response)
    );
    let arrival = upstream
        .take_received()
        .pop()
        .expect("the delivery was forwarded");
    assert_eq!(arrival.headers["host"], upstream.address().to_string());
    assert!(!arrival.headers.contains_key("x-forwarded-host"));
}
