//! What HTTP/2 alone can do to a gateway, and what has to stay as it is over
//! HTTP/1. That the verdicts are the same is shown in `parity`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Behaviour, Gateway, Protocol, TestProvider, Upstream, now, send_over};
use http::{HeaderValue, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const H2C: &str = "h2c = true";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// A connection of a client that does as it is told.
async fn connect(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let (client, connection) = h2::client::handshake(stream)
        .await
        .expect("the HTTP/2 handshake succeeds");
    tokio::spawn(connection);
    client
}

fn head(headers: &http::HeaderMap) -> Request<()> {
    let mut request = Request::post("http://hooks.example/hooks/beatapi")
        .body(())
        .expect("the request is valid");
    request.headers_mut().extend(headers.clone());
    request
}

/// A delivery of evt_1 that the upstream has, and has not answered.
async fn under_way(
    client: h2::client::SendRequest<Bytes>,
    upstream: &Upstream,
) -> (
    h2::client::SendRequest<Bytes>,
    h2::client::ResponseFuture,
    h2::SendStream<Bytes>,
) {
    let body = beatapi().body("evt_1");
    let head = head(&beatapi().sign(&body, now(), "evt_1"));
    let mut client = client
        .ready()
        .await
        .expect("the connection accepts a stream");
    let (answer, mut stream) = client.send_request(head, false).expect("the client sends");
    stream.send_data(body, true).expect("the client sends");
    while upstream.take_received().is_empty() {
        tokio::task::yield_now().await;
    }
    (client, answer, stream)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("the payload is short")
        .to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Reads until the server ends the connection, which it does in time or not at all.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    closed.is_ok()
}

#[tokio::test]
async fn a_stream_that_is_reset_does_not_stop_its_delivery() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    upstream.queue_behaviour(Behaviour::DelayedStatus(
        Duration::from_millis(300),
        StatusCode::NO_CONTENT,
    ));
    let client = connect(gateway.address()).await;
    let (_client, answer, mut stream) = under_way(client, &upstream).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(answer);
    // The same event waits for the first delivery, which runs on.
    let again = beatapi().delivery("evt_1");
    let again = send_over(&Protocol::Http2, gateway.address(), again).await;
    let again = again.expect("the server responds");
    assert_eq!(
        (again.status, again.outcome()),
        (StatusCode::OK, Some("duplicate"))
    );
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn streams_that_never_send_a_body_give_way_when_there_are_too_many() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .server(H2C)
        .table("[limits]\nunverified_bodies = \"1MiB\"")
        .start();
    let mut client = connect(gateway.address()).await;
    let head = head(&beatapi().sign(&beatapi().body("evt_1"), now(), "evt_1"));
    let mut streams = Vec::new();
    let mut answers = JoinSet::new();
    for _ in 0..90 {
        client = client
            .ready()
            .await
            .expect("the connection accepts a stream");
        let sent = client.send_request(head.clone(), false);
        let (answer, stream) = sent.expect("the client sends");
        streams.push(stream);
        answers.spawn(answer);
    }
    // Each counts 16 KiB, and there is room for one more than a megabyte's.
    for _ in 0..90 - 65 {
        let answer = timeout(Duration::from_secs(5), answers.join_next()).await;
        let answer = answer
            .expect("the response comes in time")
            .expect("one of them");
        let answer = answer
            .expect("the task does not panic")
            .expect("the server responds");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
    }
    // As many as have to, and an eighth: the others wait on.
    let mut told = 90 - 65;
    while let Ok(Some(_)) = timeout(Duration::from_millis(200), answers.join_next()).await {
        told += 1;
    }
    assert!(told <= 34, "{told}");
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let good = beatapi().delivery(&format!("evt_{protocol:?}"));
        let good = send_over(&protocol, gateway.address(), good).await;
        assert_eq!(
            good.expect("the server responds").status,
            StatusCode::NO_CONTENT
        );
    }
    assert_eq!(upstream.take_received().len(), 2);
}

#[tokio::test]
async fn a_gateway_that_ends_answers_what_is_under_way_and_says_so_to_the_connection() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::builder(upstream.address()).server(H2C).start();
    upstream.queue_behaviour(Behaviour::DelayedStatus(
        Duration::from_millis(500),
        StatusCode::NO_CONTENT,
    ));
    let client = connect(gateway.address()).await;
    let (client, answer, _stream) = under_way(client, &upstream).await;
    gateway.signal("TERM");
    assert_eq!(
        answer.await.expect("the server responds").status(),
        StatusCode::NO_CONTENT
    );
    // The client is still there, and has not closed anything.
    assert!(gateway.wait_for_exit().await.success());
    assert!(client.ready().await.is_err());
}

#[tokio::test]
async fn grpc_callers_read_their_refusal_from_the_head_of_an_empty_answer() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    let delivery = |id: &str| {
        let mut request = beatapi().delivery(id);
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", grpc);
        request
    };
    let mut forged = delivery("evt_1");
    forged.headers_mut().insert(
        "x-beatapi-signature",
        HeaderValue::from_static("sha256=0000"),
    );
    let mut elsewhere = delivery("evt_2");
    *elsewhere.uri_mut() = "/elsewhere".parse().expect("the path is valid");
    for (request, expected) in [(forged, "16"), (elsewhere, "12")] {
        let reply = send_over(&Protocol::Http2, gateway.address(), request).await;
        let reply = reply.expect("the server responds");
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.headers["grpc-status"], expected);
        assert_eq!(reply.headers["content-type"], "application/grpc");
        assert!(reply.body.is_empty() && reply.trailers.is_none());
        assert!(!reply.headers.contains_key("content-length"));
    }
    assert!(upstream.take_received().is_empty());
}

/// A client takes an answer to HEAD that has one for a broken one.
#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    let mut request = beatapi().delivery("evt_1");
    *request.method_mut() = http::Method::HEAD;
    let reply = send_over(&Protocol::Http2, gateway.address(), request).await;
    let reply = reply.expect("the server responds");
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.headers["allow"], "POST");
    assert!(reply.body.is_empty());
}

#[tokio::test]
async fn heads_have_the_limits_that_they_have_over_http_1() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    for (count, length) in [(101, 1), (1, 70_000)] {
        let mut request = beatapi().delivery("evt_1");
        for index in 0..count {
            let name = http::HeaderName::try_from(format!("x-{index}")).expect("the name is valid");
            let value = HeaderValue::try_from("x".repeat(length)).expect("the value is valid");
            request.headers_mut().insert(name, value);
        }
        let reply = send_over(&Protocol::Http2, gateway.address(), request).await;
        let status = reply.expect("the server responds").status;
        assert_eq!(
            status,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "{count} {length}"
        );
    }
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_refused_and_the_other_streams_go_on() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .server(H2C)
        .every_source("body_timeout = \"1s\"")
        .start();
    let client = connect(gateway.address()).await;
    let send = |id: &'static str, end| {
        let client = client.clone();
        async move {
            let body = beatapi().body(id);
            let head = head(&beatapi().sign(&body, now(), id));
            let mut client = client
                .ready()
                .await
                .expect("the connection accepts a stream");
            let (answer, mut stream) = client.send_request(head, false).expect("the client sends");
            stream.send_data(body, end).expect("the client sends");
            let status = answer.await.expect("the server responds").status();
            drop(stream);
            status
        }
    };
    let slow = send("evt_slow", false);
    let quick = async {
        let quick = send("evt_1", true).await;
        (quick, send("evt_2", true).await)
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(quick, (StatusCode::NO_CONTENT, StatusCode::NO_CONTENT));
    assert_eq!(upstream.take_received().len(), 2);
}

/// CVE-2023-44487.
#[tokio::test]
async fn opening_and_resetting_streams_in_turn_ends_the_connection() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    let mut client = connect(gateway.address()).await;
    let headers = beatapi().sign(b"{}", now(), "evt_1");
    let mut opened = 0;
    let over = async {
        while poll_fn(|cx| client.poll_ready(cx)).await.is_ok() {
            let Ok((_, mut stream)) = client.send_request(head(&headers), false) else {
                return;
            };
            stream.send_reset(h2::Reason::CANCEL);
            opened += 1;
            if opened % 50 == 0 {
                // The frames go out only when the client rests.
                tokio::task::yield_now().await;
            }
        }
    };
    timeout(Duration::from_secs(30), over)
        .await
        .expect("the gateway ends it");
    // Nobody else is harmed.
    let good = send_over(
        &Protocol::Http2,
        gateway.address(),
        beatapi().delivery("evt_2"),
    );
    assert_eq!(
        good.await.expect("the server responds").status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(upstream.take_received().len(), 1);
}

/// CVE-2024-27316 and its kin.
#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, 0, 1, &[0x83]));
    // `:method: POST` again and again, in a head that does not end.
    bytes.extend(frame(CONTINUATION, 0, 1, &[0x83; 16_000]).repeat(200));
    let _ = stream.write_all(&bytes).await;
    assert!(is_closed(stream).await);
}

#[tokio::test]
async fn who_says_nothing_more_is_closed_on_time_and_who_answers_pings_is_not() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .server(H2C)
        .table("[limits]\nhead_timeout = \"1s\"")
        .start();
    // A client that is idle after a request, as a pool keeps it.
    let pooled = connect(gateway.address()).await;
    let deliver = |id: &'static str| {
        let client = pooled.clone();
        async move {
            let body = beatapi().body(id);
            let head = head(&beatapi().sign(&body, now(), id));
            let mut client = client.ready().await.expect("the connection lives");
            let (answer, mut stream) = client.send_request(head, false).expect("the client sends");
            stream.send_data(body, true).expect("the client sends");
            answer.await.expect("the server responds").status()
        }
    };
    assert_eq!(deliver("evt_1").await, StatusCode::NO_CONTENT);
    let half_a_head = frame(HEADERS, 0, 3, &[0x83, 0x86]);
    // POST / to `a`, which is answered, and then nothing to the end.
    let request = frame(HEADERS, 5, 1, b"\x83\x86\x84\x41\x01a");
    let settings = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for start in [
        &b""[..],
        b"PRI ",
        PREFACE,
        &settings,
        &[&settings[..], &half_a_head].concat(),
        &[&settings[..], &request].concat(),
        &[&settings[..], &request, &half_a_head].concat(),
    ] {
        let mut stream = TcpStream::connect(gateway.address())
            .await
            .expect("the server listens");
        stream.write_all(start).await.expect("the server reads");
        assert!(is_closed(stream).await, "{start:?}");
    }
    assert_eq!(deliver("evt_2").await, StatusCode::NO_CONTENT);
}
