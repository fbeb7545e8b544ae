//! The answers of a gateway with a queue: every row of the table in `docs/queue.md`, over HTTP/1.1
//! and HTTP/2.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer};
use hookgate_tests::{
    Behaviour, Gateway, Protocol, ReceivedResponse, Upstream, count_by_event, now, send,
    send_bytes, send_over,
};
use http::{Request, StatusCode};
use http_body_util::combinators::BoxBody;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{
    LATE, SOON, assert_nothing_stored, assert_queued, assert_waiting, beatapi, deliver, folder,
    header, wait_for_arrivals, wait_for_state, wait_until_empty, with_queue,
};

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// Starts a gateway whose sources use the queue in this mode.
fn start(upstream: &Upstream, folder: &Path, mode: &str, lines: &str) -> Gateway {
    with_queue(upstream, folder)
        .server("h2c = true")
        .every_source(&format!("queue = \"{mode}\"\n{lines}"))
        .start()
}

async fn deliver_over(protocol: &Protocol, gateway: &Gateway, id: &str) -> ReceivedResponse {
    let request = beatapi().delivery(id);
    let sent = send_over(protocol, gateway.address(), request).await;
    sent.expect("the gateway responds")
}

#[tokio::test]
async fn always_acknowledges_at_once_and_the_queue_delivers() {
    for protocol in PROTOCOLS {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let gateway = start(&upstream, folder.path(), "always", SOON);
        let response = deliver_over(&protocol, &gateway, "evt_1").await;
        assert_queued(&response, "evt_1");
        let arrived = wait_for_arrivals(&upstream, 1).await;
        let [arrived] = &arrived[..] else {
            panic!("{arrived:?}");
        };
        assert_eq!(arrived.body, beatapi().body("evt_1"));
        assert_eq!(header(arrived, "hookgate-attempt"), "1");
        assert_eq!(header(arrived, "hookgate-event-id"), "evt_1");
        assert_eq!(header(arrived, "hookgate-verified"), "true");
        let queued_at = header(arrived, "hookgate-queued-at");
        // RFC 3339 with milliseconds.
        assert!(
            queued_at.len() == 24 && queued_at.ends_with('Z'),
            "{queued_at}"
        );
        wait_until_empty(&gateway).await;
        let again = deliver_over(&protocol, &gateway, "evt_1").await;
        assert_eq!(again.outcome(), Some("duplicate"));
        assert_eq!(upstream.take_received().len(), 0);
    }
}

#[tokio::test]
async fn a_response_of_success_reaches_the_sender() {
    for protocol in PROTOCOLS {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let gateway = start(&upstream, folder.path(), "on_failure", SOON);
        let created = Behaviour::Response(StatusCode::CREATED, &[("x-own", "1")], "own".into());
        upstream.queue_behaviour(created);
        let response = deliver_over(&protocol, &gateway, "evt_1").await;
        assert_eq!(response.status, StatusCode::CREATED);
        assert_eq!(response.headers["x-own"], "1");
        assert_eq!(response.body, "own");
        assert_eq!(response.outcome(), None);
        let arrived = upstream.take_received();
        assert_eq!(arrived.len(), 1);
        assert!(!arrived[0].headers.contains_key("hookgate-queued-at"));
        let again = deliver_over(&protocol, &gateway, "evt_1").await;
        assert_eq!(again.outcome(), Some("duplicate"));
        assert_nothing_stored(&gateway).await;
        assert_eq!(upstream.take_received().len(), 0);
    }
}

#[tokio::test]
async fn an_outage_of_the_upstream_is_acknowledged_and_the_queue_delivers() {
    let statuses = [302, 308, 408, 425, 429, 500, 502, 503, 599];
    for protocol in PROTOCOLS {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let gateway = start(&upstream, folder.path(), "on_failure", SOON);
        for status in statuses {
            let code = StatusCode::from_u16(status).expect("the status is valid");
            upstream.queue_behaviour(Behaviour::Status(code));
            let id = format!("evt_{status}");
            assert_queued(&deliver_over(&protocol, &gateway, &id).await, &id);
            let again = deliver_over(&protocol, &gateway, &id).await;
            assert_eq!(again.outcome(), Some("duplicate"), "{id}");
            let arrived = wait_for_arrivals(&upstream, 2).await;
            let attempts: Vec<&str> = arrived
                .iter()
                .map(|request| header(request, "hookgate-attempt"))
                .collect();
            assert_eq!(attempts, ["1", "2"], "{id}");
            assert_eq!(arrived[0].body, arrived[1].body, "{id}");
            // The upstream recognises the delivery of the sender by the id of its request.
            let request_ids = [&arrived[0], &arrived[1]].map(|r| header(r, "x-request-id"));
            assert_eq!(request_ids[0], request_ids[1], "{id}");
            assert_eq!(header(&arrived[1], "hookgate-event-id"), id);
            header(&arrived[1], "hookgate-queued-at");
        }
        wait_until_empty(&gateway).await;
    }
}

#[tokio::test]
async fn an_unreachable_upstream_is_an_outage() {
    for protocol in PROTOCOLS {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let gateway = start(&upstream, folder.path(), "on_failure", LATE);
        drop(upstream);
        let response = deliver_over(&protocol, &gateway, "evt_1").await;
        assert_queued(&response, "evt_1");
        wait_for_state(&gateway, "waiting", 1).await;
        let line = &gateway.wait_for_access_log(1).await[0];
        assert_eq!(line["outcome"], "queued", "{line}");
        assert_eq!(line["reason"], "upstream_unreachable", "{line}");
        assert_eq!(line["status"], 200, "{line}");
        assert!(line["queue_id"].is_u64(), "{line}");
        let again = deliver_over(&protocol, &gateway, "evt_1").await;
        assert_eq!(again.outcome(), Some("duplicate"));
        // The control: without a queue, the same outage fails the delivery.
        let off = Gateway::builder(SocketAddr::from(([127, 0, 0, 1], 9))).start();
        let response = send(off.address(), beatapi().delivery("evt_1")).await;
        assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn an_upstream_that_resets_after_reading_is_an_outage() {
    for protocol in PROTOCOLS {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let resetting = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("the listener accepts");
                let _ = stream.read(&mut [0; 4096]).await;
                drop(stream);
            }
        });
        let (folder, other) = (folder(), Upstream::start().await);
        let gateway = with_queue(&other, folder.path())
            .server("h2c = true")
            .table(&format!("[upstreams.reset]\nservers = [\"{address}\"]"))
            .every_source(&format!("queue = \"on_failure\"\n{LATE}"))
            .start();
        let app = "upstream = \"app\"";
        gateway.edit_config(app, "upstream = \"reset\"");
        assert!(gateway.reload().await, "{}", gateway.log());
        let response = deliver_over(&protocol, &gateway, "evt_1").await;
        assert_queued(&response, "evt_1");
        wait_for_state(&gateway, "waiting", 1).await;
        resetting.abort();
    }
}

#[tokio::test]
async fn an_upstream_that_hangs_is_an_outage() {
    for protocol in PROTOCOLS {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let gateway = start(&upstream, folder.path(), "on_failure", LATE);
        upstream.queue_behaviour(Behaviour::Hang);
        let response = deliver_over(&protocol, &gateway, "evt_1").await;
        assert_queued(&response, "evt_1");
        let line = &gateway.wait_for_access_log(1).await[0];
        assert_eq!(line["reason"], "upstream_timeout", "{line}");
    }
}

#[tokio::test]
async fn a_rejection_reaches_the_sender_and_releases_the_event() {
    for protocol in PROTOCOLS {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let gateway = start(&upstream, folder.path(), "on_failure", SOON);
        for (status, told) in [(410, 502), (400, 400), (404, 404), (422, 422)] {
            let code = StatusCode::from_u16(status).expect("the status is valid");
            let id = format!("evt_{status}");
            upstream.queue_behaviour(Behaviour::Status(code));
            let response = deliver_over(&protocol, &gateway, &id).await;
            assert_eq!(response.status, told, "{id}");
            // The event is released, so the sender's retry is forwarded.
            let response = deliver_over(&protocol, &gateway, &id).await;
            assert_eq!(response.status, StatusCode::NO_CONTENT, "{id}");
            assert_eq!(upstream.take_received().len(), 2, "{id}");
        }
        assert_nothing_stored(&gateway).await;
        assert_eq!(upstream.take_received().len(), 0);
    }
}

#[tokio::test]
async fn a_full_queue_answers_503_and_drops_nothing() {
    for (protocol, mode) in [
        (Protocol::Http1, "always"),
        (Protocol::Http2, "always"),
        (Protocol::Http1, "on_failure"),
        (Protocol::Http2, "on_failure"),
    ] {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let gateway = Gateway::builder(upstream.address())
            .replay(&format!("store = \"disk\"\npath = {:?}", path("replay")))
            .server("h2c = true")
            .table(&format!(
                "[queue]\nstore = \"disk\"\npath = {:?}\nmax_bytes = \"2MiB\"\n\
                 max_bytes_per_source = \"1100KiB\"",
                path("queue")
            ))
            .every_source(&format!("queue = \"{mode}\"\n{LATE}"))
            .start();
        let failing = Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR);
        upstream.set_default_behaviour(failing);
        let mut stored = 0;
        let refused = loop {
            let id = format!("evt_{stored}");
            let sent = send_over(&protocol, gateway.address(), large(&id)).await;
            let response = sent.expect("the gateway responds");
            if response.outcome() != Some("queued") {
                break response;
            }
            stored += 1;
            assert!(stored < 10, "the queue is never full");
        };
        assert!(stored > 0, "{mode}: {refused:?}");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{mode}");
        assert_eq!(refused.headers["retry-after"], "30", "{mode}");
        gateway.wait_for_log("\"reason\":\"queue_full\"").await;
        // The event is released: it is no duplicate when the queue has space again.
        let sent = send_over(
            &protocol,
            gateway.address(),
            large(&format!("evt_{stored}")),
        )
        .await;
        let again = sent.expect("the gateway responds");
        assert_eq!(again.status, StatusCode::SERVICE_UNAVAILABLE, "{mode}");
        // The breaker of a failing upstream may let workers probe, so entries may be in flight.
        let every_state = "hookgate_queue_deliveries{source=\"beatapi\",";
        let entries = gateway.existing_counter(every_state).await;
        assert_eq!(entries, stored as u64, "{mode}");
        // A full queue works. Its errors have another alert.
        let errors = "hookgate_queue_store_errors_total";
        assert_eq!(gateway.existing_counter(errors).await, 0, "{mode}");
    }
}

/// Signs a delivery with a body of more than 500 000 bytes.
fn large(id: &str) -> Request<BoxBody<Bytes, std::io::Error>> {
    let body = format!("{{\"id\":\"{id}\",\"pad\":\"{}\"}}", "x".repeat(500_000));
    let headers = beatapi().sign(body.as_bytes(), now(), id);
    beatapi().request(headers, body.into())
}

/// The limits of the queue are far away. The disk is full.
#[tokio::test]
async fn a_queue_that_cannot_write_answers_503_and_drops_nothing() {
    for mode in ["always", "on_failure"] {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let source = format!("queue = \"{mode}\"\n{SOON}");
        let start = || with_queue(&upstream, folder.path()).every_source(&source);
        // Writes beyond this limit fail, as they do on a full disk. The replay store needs less.
        let gateway = start().shell_prefix("trap '' XFSZ; ulimit -f 4000").start();
        upstream.set_default_behaviour(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR));
        let mut stored = Vec::new();
        let refused = loop {
            let id = format!("evt_{}", stored.len());
            let response = send(gateway.address(), large(&id)).await;
            if response.outcome() != Some("queued") {
                break response;
            }
            stored.push(id);
            assert!(stored.len() < 50, "the disk is never full");
        };
        assert!(!stored.is_empty(), "{mode}: {refused:?}");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{mode}");
        assert_eq!(refused.headers["retry-after"], "30", "{mode}");
        gateway.wait_for_log("\"reason\":\"queue_full\"").await;
        drop(gateway);
        // With free space, the queue delivers every acknowledged delivery.
        upstream.take_received();
        upstream.set_default_behaviour(Behaviour::Status(StatusCode::NO_CONTENT));
        let gateway = start().start();
        wait_until_empty(&gateway).await;
        let arrived = count_by_event(&upstream.take_received());
        for id in &stored {
            assert!(arrived.contains_key(id), "{mode} {id} {arrived:?}");
        }
    }
}

/// The content of these responses is an instruction, so the upstream must give it itself.
#[tokio::test]
async fn providers_that_act_on_the_response_get_that_of_the_upstream() {
    let adyen = r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"p1",
        "merchantAccountCode":"m","merchantReference":"r","eventCode":"AUTHORISATION",
        "success":"true","amount":{"value":1,"currency":"EUR"}}}]}"#;
    let adyen_key = "44782def547aaa06c910c43932b1eb0c71fc68d9d0c057550c48ec2acf6ba057";
    let secret = "answers-of-the-queue-0123456789";
    for (provider, secret, variant, headers, body, acknowledgement) in [
        (
            "slack",
            secret,
            None,
            &[("content-type", "application/x-www-form-urlencoded")][..],
            "command=%2Fdeploy&text=now",
            "",
        ),
        (
            "twilio",
            secret,
            Some("form"),
            &[("content-type", "application/x-www-form-urlencoded")],
            "CallSid=CA1&From=%2B1",
            "<Response/>",
        ),
        ("adyen", adyen_key, None, &[], adyen, "[accepted]"),
    ] {
        let (folder, upstream) = (folder(), Upstream::start().await);
        let entry = Provider::named(provider).expect("the catalogue has the provider");
        let url = match entry.scheme().needs_url() {
            true => "url = \"https://hooks.example/hooks/provider\"\n",
            false => "",
        };
        let gateway = with_queue(&upstream, folder.path())
            .env("SECRET", secret)
            .table(&format!(
                "[[sources]]\nname = \"provider\"\npath = \"/hooks/provider\"\n\
                 provider = {provider:?}\nsecrets = [\"env:SECRET\"]\nupstream = \"app\"\n\
                 queue = \"on_failure\"\n{LATE}\n{url}"
            ))
            .start_without_default_sources();
        let key = Secret::new(secret).expect("the secret is not empty");
        let mut signer = Signer::builder(entry.scheme(), &key);
        if entry.scheme().needs_url() {
            signer = signer.url("https://hooks.example/hooks/provider");
        }
        if let Some(variant) = variant {
            signer = signer.variant(variant);
        }
        let signer = signer.build().expect("the secret fits");
        let request = |id: &str| {
            let mut request = Request::post("/hooks/provider");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            // Each delivery is an event of its own.
            let body = body.replace("p1", id).replace("CA1", id).replace("now", id);
            let request = request
                .body(Bytes::from(body))
                .expect("the request is valid");
            let signed = signer.sign_request(request, now(), Some(id));
            signed.expect("the delivery is signed")
        };
        let own = Behaviour::Response(
            StatusCode::OK,
            &[("content-type", "text/plain")],
            "own".into(),
        );
        upstream.queue_behaviour(own);
        let response = send_bytes(gateway.address(), request("e1")).await;
        assert_eq!(response.body, "own", "{provider}");
        assert_eq!(response.outcome(), None, "{provider}");
        // In an outage, the acknowledgement is better than an error: the event is not lost.
        upstream.queue_behaviour(Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE));
        let response = send_bytes(gateway.address(), request("e2")).await;
        assert_eq!(response.outcome(), Some("queued"), "{provider}");
        assert_eq!(response.body, acknowledgement, "{provider}");
        assert_waiting(&gateway, "provider", 1).await;
    }
}

/// A gRPC caller needs the response of its method, so its call is never stored.
#[tokio::test]
async fn a_grpc_call_is_forwarded_and_never_stored() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = start(&upstream, folder.path(), "always", LATE);
    let call = |id: &str| {
        let mut request = beatapi().delivery(id);
        let grpc = http::HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", grpc);
        request
    };
    upstream.queue_behaviour(Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE));
    let sent = send_over(&Protocol::Http2, gateway.address(), call("evt_1")).await;
    let response = sent.expect("the gateway responds");
    assert_ne!(response.outcome(), Some("queued"), "{response:?}");
    assert_eq!(upstream.take_received().len(), 1);
    assert_nothing_stored(&gateway).await;
    // The control: the same delivery is stored without the content type of gRPC.
    assert_queued(&deliver(&gateway, "evt_1").await, "evt_1");
}
