//! HTTP/2 at the gateway: stream resets, flow control, attacks that only HTTP/2 allows, and limits
//! that must be those of HTTP/1.1. Equal verdicts of the protocols are tested in `parity`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::http2_frames::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, literal_fields,
};
use hookgate_tests::{Behaviour, Gateway, Protocol, TestProvider, Upstream, now, send_over};
use http::{HeaderValue, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const H2C: &str = "h2c = true";

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// Opens an HTTP/2 connection whose frames the test controls.
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

/// Sends a delivery of `evt_1` and waits until the upstream has it.
async fn start_delivery(
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
    let (response, mut stream) = client.send_request(head, false).expect("the client sends");
    stream.send_data(body, true).expect("the client sends");
    while upstream.take_received().is_empty() {
        tokio::task::yield_now().await;
    }
    (client, response, stream)
}

/// Returns whether the gateway closes the connection within a minute.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
    closed.is_ok()
}

#[tokio::test]
async fn a_reset_stream_does_not_stop_its_delivery() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    upstream.queue_behaviour(Behaviour::DelayedStatus(
        Duration::from_millis(300),
        StatusCode::NO_CONTENT,
    ));
    let client = connect(gateway.address()).await;
    let (_client, response, mut stream) = start_delivery(client, &upstream).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    // The second delivery of the event waits for the first one, which continues.
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
async fn streams_without_a_body_are_evicted_when_the_budget_is_exceeded() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .server(H2C)
        .table("[limits]\nunverified_bodies = \"1MiB\"")
        .start();
    let mut client = connect(gateway.address()).await;
    let head = head(&beatapi().sign(&beatapi().body("evt_1"), now(), "evt_1"));
    let mut streams = Vec::new();
    let mut responses = JoinSet::new();
    for _ in 0..90 {
        client = client
            .ready()
            .await
            .expect("the connection accepts a stream");
        let sent = client.send_request(head.clone(), false);
        let (response, stream) = sent.expect("the client sends");
        streams.push(stream);
        responses.spawn(response);
    }
    // Each stream counts as 16 KiB, so that 65 streams reach the budget of 1 MiB.
    for _ in 0..90 - 65 {
        let response = timeout(Duration::from_secs(30), responses.join_next()).await;
        let response = response
            .expect("the response comes in time")
            .expect("a stream has a response");
        let response = response
            .expect("the task does not panic")
            .expect("the server responds");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
    }
    // Eviction frees an eighth more than it must. The remaining streams keep waiting.
    let mut evicted = 90 - 65;
    while let Ok(Some(_)) = timeout(Duration::from_millis(200), responses.join_next()).await {
        evicted += 1;
    }
    assert!(evicted <= 34, "{evicted}");
    for series in [
        "hookgate_refused_total{reason=\"overloaded\",source=\"beatapi\"}",
        "hookgate_deliveries_total{outcome=\"refused\",source=\"beatapi\"}",
    ] {
        let counted = gateway.existing_counter(series).await;
        assert!((evicted..=34).contains(&counted), "{series} {counted}");
    }
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let genuine = beatapi().delivery(&format!("evt_{protocol:?}"));
        let genuine = send_over(&protocol, gateway.address(), genuine).await;
        assert_eq!(
            genuine.expect("the server responds").status,
            StatusCode::NO_CONTENT
        );
    }
    assert_eq!(upstream.take_received().len(), 2);
}

#[tokio::test]
async fn a_draining_gateway_finishes_its_streams_and_sends_goaway() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::builder(upstream.address()).server(H2C).start();
    upstream.queue_behaviour(Behaviour::DelayedStatus(
        Duration::from_millis(500),
        StatusCode::NO_CONTENT,
    ));
    let client = connect(gateway.address()).await;
    let (client, response, _stream) = start_delivery(client, &upstream).await;
    gateway.signal("TERM");
    assert_eq!(
        response.await.expect("the server responds").status(),
        StatusCode::NO_CONTENT
    );
    // The client is still connected: the gateway closed the connection.
    assert!(gateway.wait_for_exit().await.success());
    assert!(client.ready().await.is_err());
}

#[tokio::test]
async fn a_grpc_refusal_is_a_trailers_only_response() {
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
    let mut unknown_path = delivery("evt_2");
    *unknown_path.uri_mut() = "/elsewhere".parse().expect("the path is valid");
    for (request, expected) in [(forged, "16"), (unknown_path, "12")] {
        let response = send_over(&Protocol::Http2, gateway.address(), request).await;
        let response = response.expect("the server responds");
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.headers["grpc-status"], expected);
        assert_eq!(response.headers["content-type"], "application/grpc");
        assert!(response.body.is_empty() && response.trailers.is_none());
        assert!(!response.headers.contains_key("content-length"));
    }
    assert!(upstream.take_received().is_empty());
}

/// A client rejects a response to HEAD that has a body.
#[tokio::test]
async fn a_response_to_head_has_no_body() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    let mut request = beatapi().delivery("evt_1");
    *request.method_mut() = http::Method::HEAD;
    let response = send_over(&Protocol::Http2, gateway.address(), request).await;
    let response = response.expect("the server responds");
    assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers["allow"], "POST");
    assert!(response.body.is_empty());
}

#[tokio::test]
async fn heads_have_the_same_limits_as_over_http_1() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    for (count, length) in [(101, 1), (1, 70_000)] {
        let mut request = beatapi().delivery("evt_1");
        for index in 0..count {
            let name = http::HeaderName::try_from(format!("x-{index}")).expect("the name is valid");
            let value = HeaderValue::try_from("x".repeat(length)).expect("the value is valid");
            request.headers_mut().insert(name, value);
        }
        let response = send_over(&Protocol::Http2, gateway.address(), request).await;
        let status = response.expect("the server responds").status;
        assert_eq!(
            status,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "{count} {length}"
        );
    }
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn a_slow_body_is_refused_and_other_streams_continue() {
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
            let (response, mut stream) =
                client.send_request(head, false).expect("the client sends");
            stream.send_data(body, end).expect("the client sends");
            let status = response.await.expect("the server responds").status();
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

/// The rapid reset attack, CVE-2023-44487.
#[tokio::test]
async fn a_rapid_reset_attack_closes_the_connection() {
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
                // The client writes its frames when this task yields.
                tokio::task::yield_now().await;
            }
        }
    };
    timeout(Duration::from_secs(30), over)
        .await
        .expect("the gateway closes the connection");
    // Another connection still works.
    let genuine = send_over(
        &Protocol::Http2,
        gateway.address(),
        beatapi().delivery("evt_2"),
    );
    assert_eq!(
        genuine.await.expect("the server responds").status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(upstream.take_received().len(), 1);
}

/// The CONTINUATION flood, CVE-2024-27316 and similar.
#[tokio::test]
async fn a_continuation_flood_closes_the_connection() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, 0, 1, &[0x83]));
    // `:method: POST` repeated, in a head that does not end.
    bytes.extend(frame(CONTINUATION, 0, 1, &[0x83; 16_000]).repeat(200));
    let _ = stream.write_all(&bytes).await;
    assert!(is_closed(stream).await);
}

#[tokio::test]
async fn silent_connections_are_closed_and_pooled_ones_that_answer_pings_are_not() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .server(H2C)
        .table("[limits]\nhead_timeout = \"5s\"")
        .start();
    // This client is idle after a request, like a connection in a pool.
    let pooled = connect(gateway.address()).await;
    let deliver = |id: &'static str| {
        let client = pooled.clone();
        async move {
            let body = beatapi().body(id);
            let head = head(&beatapi().sign(&body, now(), id));
            let mut client = client.ready().await.expect("the connection is open");
            let (response, mut stream) =
                client.send_request(head, false).expect("the client sends");
            stream.send_data(body, true).expect("the client sends");
            response.await.expect("the server responds").status()
        }
    };
    assert_eq!(deliver("evt_1").await, StatusCode::NO_CONTENT);
    let half_a_head = frame(HEADERS, 0, 3, &[0x83, 0x86]);
    // A complete `POST /` to the host `a`, and then silence.
    let request = frame(HEADERS, 5, 1, b"\x83\x86\x84\x41\x01a");
    let settings = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut silent = JoinSet::new();
    for start in [
        Vec::new(),
        b"PRI ".to_vec(),
        PREFACE.to_vec(),
        settings.clone(),
        [&settings[..], &half_a_head].concat(),
        [&settings[..], &request].concat(),
        [&settings[..], &request, &half_a_head].concat(),
    ] {
        let mut stream = TcpStream::connect(gateway.address())
            .await
            .expect("the server listens");
        stream.write_all(&start).await.expect("the server reads");
        silent.spawn(async move { (is_closed(stream).await, start) });
    }
    for (is_closed, start) in silent.join_all().await {
        assert!(is_closed, "{start:?}");
    }
    assert_eq!(deliver("evt_2").await, StatusCode::NO_CONTENT);
}

/// Returns a HEADERS frame of a request.
fn literal_head(stream: u32, fields: &[(&str, &[u8])]) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` of the static table.
    let block = [&[0x83, 0x86][..], &literal_fields(fields.iter().copied())].concat();
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// The parser of HTTP/2 ends the connection at such a field, which RFC 9113 §5.4.1 allows. The
/// delivery on another stream loses its response, but it is neither lost nor forwarded twice.
#[tokio::test]
async fn a_forbidden_field_on_another_stream_loses_no_delivery() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).server(H2C).start();
    for (index, (name, value)) in [
        ("x-a", &b"1\r\nx-b: 2"[..]),
        ("X-Upper", b"1"),
        ("x-a", b"\0"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("evt_{index}");
        let body = beatapi().body(&id);
        let signed = beatapi().sign(&body, now(), &id);
        let mut fields: Vec<(&str, &[u8])> = vec![
            (":path", b"/hooks/beatapi"),
            (":authority", b"hooks.example"),
        ];
        fields.extend(
            signed
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes())),
        );
        let held = upstream.hold_response(StatusCode::NO_CONTENT);
        let mut stream = TcpStream::connect(gateway.address())
            .await
            .expect("the server listens");
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes.extend(literal_head(1, &fields));
        bytes.extend(frame(DATA, 1, 1, &body));
        stream.write_all(&bytes).await.expect("the server reads");
        let mut arrived = Vec::new();
        while arrived.is_empty() {
            arrived = upstream.take_received();
            tokio::task::yield_now().await;
        }
        fields.push((name, value));
        stream
            .write_all(&literal_head(3, &fields))
            .await
            .expect("the server reads");
        assert!(is_closed(stream).await, "{name}");
        held.release();
        let retry = beatapi().request(signed, body);
        let retry = send_over(&Protocol::Http2, gateway.address(), retry).await;
        let retry = retry.expect("the server responds");
        assert_eq!(
            (retry.status.as_u16(), retry.outcome()),
            (200, Some("duplicate")),
            "{name}"
        );
        assert_eq!(arrived.len() + upstream.take_received().len(), 1, "{name}");
    }
}
