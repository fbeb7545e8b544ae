//! What the upstream receives, what the sender receives, and how an outcome settles the event.
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

use crate::upstreams::{answer_each, closed_port};

const SECRET: &str = "a-secret-of-these-tests-0123456789";

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

#[tokio::test]
async fn the_upstream_gets_the_exact_bytes_and_our_word_on_them() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provider = beatapi();
    // Compressed, as far as anybody here knows: not to be touched.
    let body = Bytes::from_static(b"\x1f\x8b\x08\0\xff\xfe not text {\"id\":");
    let mut headers = provider.sign(&body, now(), "");
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    headers.insert("x-custom", HeaderValue::from_static("kept"));
    let reply = send(
        gateway.address(),
        provider.request(headers.clone(), body.clone()),
    )
    .await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);

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
async fn no_spelling_of_our_headers_gets_past_us() {
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
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static("forged"),
        );
    }
    // A sender that lists our headers in `Connection` does not take them away.
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

/// Otherwise who has got hold of a delivery that did not arrive could have it arrive without what
/// was verified.
#[tokio::test]
async fn no_connection_takes_what_the_scheme_reads() {
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
    let reply = send(gateway.address(), provider.request(headers.clone(), body)).await;
    assert_eq!(reply.status, 204);
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
async fn a_request_id_that_is_signed_arrives_as_it_came() {
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
async fn the_upstreams_answer_is_passed_on() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let large = Bytes::from(vec![b'z'; 3_000_000]);
    let behaviour = Behaviour::Response(
        StatusCode::ACCEPTED,
        &[
            ("x-answer", "1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ],
        large.clone(),
    );
    upstream.queue_behaviour(behaviour);
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.body, large);
    assert_eq!(reply.headers["x-answer"], "1");
    assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 2);
    assert!(!reply.headers.contains_key("x-hop"));
}

#[tokio::test]
async fn answers_that_would_end_a_subscription_are_withheld_and_the_retry_gets_through() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for (index, status) in [301, 302, 304, 307, 410].into_iter().enumerate() {
        let event = format!("evt_{index}");
        upstream.queue_behaviour(Behaviour::Status(
            StatusCode::from_u16(status).expect("the status is valid"),
        ));
        let reply = send(gateway.address(), beatapi().delivery(&event)).await;
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{status}");
        let retry = send(gateway.address(), beatapi().delivery(&event)).await;
        assert_eq!(retry.status, StatusCode::NO_CONTENT, "{status}");
    }
    assert_eq!(upstream.take_received().len(), 10);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_502_and_the_retry_gets_through() {
    let (address, socket) = closed_port().await;
    let gateway = Gateway::builder(address).start();
    let down = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (down.status, down.outcome()),
        (StatusCode::BAD_GATEWAY, Some("upstream"))
    );

    // It comes up, and the claim is free.
    let listener = socket.listen(8).expect("the server listens");
    let server = tokio::spawn(answer_each(listener, b"HTTP/1.1 204 No Content\r\n\r\n"));
    let retry = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(retry.status, StatusCode::NO_CONTENT);
    server.abort();
}

#[tokio::test]
async fn an_upstream_that_is_late_is_504_and_its_event_is_forwarded_again_as_a_second_attempt() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .upstream("timeout = \"300ms\"")
        .every_source("duplicate_wait = \"20s\"")
        .start();
    upstream.queue_behaviour(Behaviour::Hang);
    let late = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    // The retry waits for the lease to run out, because nobody knows whether
    // the first attempt did its work.
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
async fn with_at_most_once_an_unknown_outcome_is_not_forwarded_again() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .upstream("timeout = \"300ms\"")
        .every_source("duplicate_wait = \"6s\"\ndelivery = \"at_most_once\"")
        .start();
    upstream.queue_behaviour(Behaviour::Hang);
    let late = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    let retry = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(retry.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(retry.headers.contains_key("retry-after"));
    assert_eq!(upstream.take_received().len(), 1);
}

/// A log that nobody takes must neither stop deliveries nor change what becomes
/// of them.
#[tokio::test]
async fn a_log_that_nobody_reads_is_no_reason_to_lose_a_delivery() {
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
async fn a_sender_that_hangs_up_does_not_stop_its_delivery() {
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
    // The same event waits for the first delivery, which runs on.
    let again = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (again.status, again.outcome()),
        (StatusCode::OK, Some("duplicate"))
    );
    assert!(upstream.take_received().is_empty());
}
