//! Forwarded deliveries: the request at the upstream, the response to the sender, and the
//! settlement of the event.
//!
//! Faults of the upstream's HTTP, load balancing, and connections are tested in `upstreams`.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Scheme, Secret, Signer};
use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, now, raw_delivery, send};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::upstreams::{closed_port, respond_to_each};

const SECRET: &str = "custom-scheme-secret-0123456789";

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

#[tokio::test]
async fn the_upstream_receives_the_exact_bytes_and_the_verified_headers() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provider = beatapi();
    // The header says gzip and the bytes are not gzip: the gateway must not decode or change them.
    let body = Bytes::from_static(b"\x1f\x8b\x08\0\xff\xfe not text {\"id\":");
    let mut headers = provider.sign(&body, now(), "");
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    headers.insert("x-custom", HeaderValue::from_static("kept"));
    let response = send(
        gateway.address(),
        provider.request(headers.clone(), body.clone()),
    )
    .await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);

    let arrival = upstream
        .take_received()
        .pop()
        .expect("the delivery was forwarded");
    assert_eq!(arrival.body, body);
    assert_eq!(arrival.path, "/hooks/beatapi");
    let got = |name: &str| {
        arrival
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    for (name, expected) in [
        ("host", Some("hooks.example")),
        ("content-encoding", Some("gzip")),
        ("x-custom", Some("kept")),
        ("content-length", Some(body.len().to_string().as_str())),
        ("transfer-encoding", None),
        ("hookgate-verified", Some("true")),
        ("hookgate-source", Some("beatapi")),
        ("hookgate-provider", Some("beatapi")),
        ("hookgate-key-id", Some("1")),
        ("hookgate-attempt", Some("1")),
        ("hookgate-event-id", None),
        (
            "hookgate-timestamp",
            headers["x-beatapi-timestamp"].to_str().ok(),
        ),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("hooks.example")),
    ] {
        assert_eq!(got(name), expected, "{name}");
    }
    assert_eq!(got("x-request-id").map(str::len), Some(32));
}

#[tokio::test]
async fn no_spelling_of_a_gateway_header_passes_from_the_sender_to_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provider = beatapi();
    let body = provider.body("evt_1");
    let mut headers = provider.sign(&body, now(), "");
    for name in [
        "hookgate-verified",
        "hookgate_verified",
        "hookgate.verified",
        "hookgate-event-id",
        "hookgate_source",
        "x-forwarded-for",
        "x_forwarded_for",
        "forwarded",
        "x-request-id",
        // Programs behind WSGI or CGI take these for fields that the gateway checks.
        "x_beatapi_signature",
        "x_beatapi_timestamp",
        "x.beatapi-signature",
        "content_length",
        "content_type",
        "transfer_encoding",
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static("forged"),
        );
    }
    // Headers listed in `Connection` are removed (RFC 9110 §7.6.1), but not those of the gateway.
    headers.insert("x-hop", HeaderValue::from_static("1"));
    let named = HeaderValue::from_static("hookgate-verified, hookgate-source, x-hop");
    headers.insert("connection", named);
    assert_eq!(
        send(gateway.address(), provider.request(headers, body))
            .await
            .status,
        204
    );

    let arrival = upstream
        .take_received()
        .pop()
        .expect("the delivery was forwarded");
    assert!(
        arrival.headers.values().all(|value| value != "forged"),
        "{:?}",
        arrival.headers
    );
    assert_eq!(
        arrival.headers.get_all("hookgate-verified").iter().count(),
        1
    );
    assert_eq!(arrival.headers["hookgate-verified"], "true");
    assert_eq!(arrival.headers["hookgate-source"], "beatapi");
    assert!(!arrival.headers.contains_key("x-hop"));
}

/// Otherwise an attacker who captured an undelivered delivery could let it arrive without the
/// headers that were verified.
#[tokio::test]
async fn a_connection_header_cannot_remove_headers_that_the_scheme_reads() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provider = TestProvider::named("standard-webhooks");
    let body = provider.body("evt_1");
    let mut headers = provider.sign(&body, now(), "evt_1");
    for (name, value) in [
        (
            "connection",
            "webhook-id, Webhook-Signature, content-type, x-hop",
        ),
        ("content-type", "application/json"),
        ("x-hop", "1"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let response = send(gateway.address(), provider.request(headers.clone(), body)).await;
    assert_eq!(response.status, 204);
    let arrival = upstream
        .take_received()
        .pop()
        .expect("the delivery was forwarded");
    for name in [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "content-type",
    ] {
        assert_eq!(arrival.headers.get(name), headers.get(name), "{name}");
    }
    assert!(!arrival.headers.contains_key("x-hop"));
}

#[tokio::test]
async fn a_signed_request_id_arrives_unchanged() {
    let scheme = "alg = \"hmac-sha256\"\nsig = { in = \"header:x-sig\", enc = \"hex\" }\n\
                  msg = \"{header:x-request-id}.{body}\"\nid = \"header:x-request-id\"";
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table(&format!(
            "[[sources]]\nname = \"own\"\npath = \"/own\"\nsecrets = [\"env:OWN\"]\n\
             upstream = \"app\"\n[sources.scheme]\n{scheme}"
        ))
        .env("OWN", SECRET)
        .start();
    let scheme = Scheme::from_toml(scheme).expect("the scheme loads");
    let signer = Signer::new(
        &scheme,
        &Secret::new(SECRET).expect("the secret is not empty"),
    )
    .expect("the secret fits the scheme");
    let request = Request::post("/own")
        .header("host", "hooks.example")
        .body(Bytes::from_static(b"{}"))
        .expect("the request is valid");
    let signed = signer.sign_request(request, now(), Some("evt_1"));
    let whole = |body| Full::new(body).map_err(|never| match never {}).boxed();
    let signed = signed.expect("the delivery is signed").map(whole);
    assert_eq!(send(gateway.address(), signed).await.status, 204);
    let arrival = upstream
        .take_received()
        .pop()
        .expect("the delivery was forwarded");
    let ids: Vec<_> = arrival.headers.get_all("x-request-id").iter().collect();
    assert_eq!(ids, ["evt_1"]);
    assert_eq!(arrival.headers["hookgate-request-id"].len(), 32);
}

#[tokio::test]
async fn the_sender_receives_the_upstreams_response() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let large = Bytes::from(vec![b'z'; 3_000_000]);
    let behaviour = Behaviour::Response(
        StatusCode::ACCEPTED,
        &[
            ("x-response", "1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ],
        large.clone(),
    );
    upstream.queue_behaviour(behaviour);
    let response = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(response.status, StatusCode::ACCEPTED);
    assert_eq!(response.body, large);
    assert_eq!(response.headers["x-response"], "1");
    assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
    assert!(!response.headers.contains_key("x-hop"));
}

#[tokio::test]
async fn responses_that_would_end_a_subscription_become_502_and_the_retry_is_forwarded() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for (index, status) in [301, 302, 304, 307, 410].into_iter().enumerate() {
        let event = format!("evt_{index}");
        upstream.queue_behaviour(Behaviour::Status(
            StatusCode::from_u16(status).expect("the status is valid"),
        ));
        let response = send(gateway.address(), beatapi().delivery(&event)).await;
        assert_eq!(response.status, StatusCode::BAD_GATEWAY, "{status}");
        let retry = send(gateway.address(), beatapi().delivery(&event)).await;
        assert_eq!(retry.status, StatusCode::NO_CONTENT, "{status}");
    }
    assert_eq!(upstream.take_received().len(), 10);
}

#[tokio::test]
async fn an_unreachable_upstream_is_502_and_the_retry_is_forwarded() {
    let (address, socket) = closed_port().await;
    let gateway = Gateway::builder(address).start();
    let down = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (down.status, down.outcome()),
        (StatusCode::BAD_GATEWAY, Some("upstream"))
    );

    // The upstream starts. The failed delivery has released its claim.
    let listener = socket.listen(8).expect("the server listens");
    let server = tokio::spawn(respond_to_each(
        listener,
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ));
    let retry = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(retry.status, StatusCode::NO_CONTENT);
    server.abort();
}

#[tokio::test]
async fn an_upstream_that_times_out_is_504_and_the_retry_is_a_second_attempt() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .upstream("timeout = \"3s\"")
        .every_source("duplicate_wait = \"20s\"")
        .start();
    upstream.queue_behaviour(Behaviour::Hang);
    let late = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    // The outcome of the first attempt is unknown, so the retry waits until its lease ends.
    let retry = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(retry.status, StatusCode::NO_CONTENT);
    let attempts: Vec<_> = upstream
        .take_received()
        .into_iter()
        .map(|arrival| {
            arrival.headers["hookgate-attempt"]
                .to_str()
                .expect("the bytes are UTF-8")
                .to_owned()
        })
        .collect();
    assert_eq!(attempts, ["1", "2"]);
}

#[tokio::test]
async fn with_at_most_once_an_event_of_unknown_outcome_is_not_forwarded_again() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .upstream("timeout = \"2s\"")
        .every_source("duplicate_wait = \"8s\"\ndelivery = \"at_most_once\"")
        .start();
    upstream.queue_behaviour(Behaviour::Hang);
    let late = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    let retry = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(retry.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(retry.headers.contains_key("retry-after"));
    assert_eq!(upstream.take_received().len(), 1);
}

/// A closed log pipe must neither stop deliveries nor change their outcome.
#[tokio::test]
async fn a_closed_log_pipe_loses_no_delivery() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::builder(upstream.address()).start();
    gateway.close_log_pipe();
    for index in 0..20 {
        let event = format!("evt_{index}");
        for expected in [StatusCode::NO_CONTENT, StatusCode::OK] {
            assert_eq!(
                send(gateway.address(), beatapi().delivery(&event))
                    .await
                    .status,
                expected
            );
        }
    }
    assert_eq!(upstream.take_received().len(), 20);
}

#[tokio::test]
async fn a_sender_that_disconnects_does_not_stop_its_delivery() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    upstream.queue_behaviour(Behaviour::DelayedStatus(
        Duration::from_millis(300),
        StatusCode::NO_CONTENT,
    ));
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    stream
        .write_all(&raw_delivery("evt_1"))
        .await
        .expect("the server reads");
    while upstream.take_received().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(stream);
    // The second delivery of the event waits for the first one, which continues.
    let again = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (again.status, again.outcome()),
        (StatusCode::OK, Some("duplicate"))
    );
    assert!(upstream.take_received().is_empty());
}
