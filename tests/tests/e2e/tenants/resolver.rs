//! Tenants whose secrets come from an HTTP service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Behaviour, Gateway, GatewayBuilder, Upstream};
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{ACME, OTHER, UMBRELLA, first_status, source, status, wait_for_status};

fn answer(secrets: &[&str]) -> Behaviour {
    let body = json!({ "secrets": secrets }).to_string();
    Behaviour::Response(StatusCode::OK, &[], Bytes::from(body))
}

/// Returns a source with tenants that asks `resolver`, with more keys in its table.
fn resolving(address: std::net::SocketAddr, keys: &str) -> String {
    let resolver = format!("{{ resolve = \"http://{address}/secrets/{{tenant}}?v=1\"{keys} }}");
    source(&resolver, "")
}

fn gateway(upstream: &Upstream, resolver: &Upstream, keys: &str) -> GatewayBuilder {
    Gateway::builder(upstream.address()).table(&resolving(resolver.address(), keys))
}

#[tokio::test]
async fn the_resolver_is_asked_once_for_each_tenant() {
    let (upstream, resolver) = (Upstream::start().await, Upstream::start().await);
    resolver.set_default_behaviour(answer(&[ACME]));
    let keys = ", ttl = \"1h\", negative_ttl = \"1h\", timeout = \"30s\", token = \"env:TOKEN\"";
    let gateway = gateway(&upstream, &resolver, keys)
        .env("TOKEN", "resolver-token-0123")
        .start_without_default_sources();
    for id in ["evt_1", "evt_2"] {
        assert_eq!(status(&gateway, "acme", ACME, id).await, 204, "{id}");
    }
    assert_eq!(status(&gateway, "acme", OTHER, "evt_3").await, 401);
    resolver.set_default_behaviour(Behaviour::Status(StatusCode::NOT_FOUND));
    for id in ["evt_4", "evt_5"] {
        assert_eq!(status(&gateway, "initech", ACME, id).await, 404, "{id}");
    }
    resolver.set_default_behaviour(Behaviour::Status(StatusCode::GONE));
    assert_eq!(status(&gateway, "globex", ACME, "evt_6").await, 404);
    let asked = resolver.take_received();
    let paths: Vec<&str> = asked.iter().map(|request| request.path.as_str()).collect();
    let expected = ["acme", "initech", "globex"];
    let expected = expected.map(|tenant| format!("/secrets/{tenant}?v=1"));
    assert_eq!(paths, expected);
    for request in asked {
        let authorization = &request.headers["authorization"];
        assert_eq!(authorization, "Bearer resolver-token-0123");
        assert_eq!(request.method, http::Method::GET);
    }
    assert!(!gateway.log().contains("resolver-token-0123"));
}

#[tokio::test]
async fn requests_for_one_tenant_share_a_lookup() {
    let (upstream, resolver) = (Upstream::start().await, Upstream::start().await);
    let held = Arc::new(Semaphore::new(0));
    resolver.set_default_behaviour(Behaviour::HeldStatus(
        Arc::clone(&held),
        StatusCode::NOT_FOUND,
    ));
    let keys = ", negative_ttl = \"1h\", timeout = \"60s\"";
    let gateway = Arc::new(gateway(&upstream, &resolver, keys).start_without_default_sources());
    let mut requests = JoinSet::new();
    for number in 0..20 {
        let gateway = Arc::clone(&gateway);
        requests
            .spawn(async move { status(&gateway, "acme", ACME, &format!("evt_{number}")).await });
    }
    // The first request of the resolver is in flight before any of them is answered.
    let mut asked = 0;
    while asked == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        asked = resolver.take_received().len();
    }
    held.add_permits(100);
    let found = requests.join_all().await;
    assert!(found.iter().all(|status| *status == 404), "{found:?}");
    assert_eq!(asked + resolver.take_received().len(), 1);
}

#[tokio::test]
async fn a_changed_answer_counts_after_the_ttl() {
    let (upstream, resolver) = (Upstream::start().await, Upstream::start().await);
    resolver.set_default_behaviour(answer(&[ACME]));
    let keys = ", ttl = \"1s\", negative_ttl = \"1s\", timeout = \"30s\"";
    let gateway = gateway(&upstream, &resolver, keys).start_without_default_sources();
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    resolver.set_default_behaviour(answer(&[OTHER, UMBRELLA]));
    let took = wait_for_status(&gateway, "acme", OTHER, 204).await;
    println!("a changed answer counted after {took:?}");
    wait_for_status(&gateway, "acme", UMBRELLA, 204).await;
    assert_eq!(status(&gateway, "acme", ACME, "evt_2").await, 401);
    resolver.set_default_behaviour(Behaviour::Status(StatusCode::NOT_FOUND));
    wait_for_status(&gateway, "acme", OTHER, 404).await;
    resolver.set_default_behaviour(answer(&[ACME]));
    wait_for_status(&gateway, "acme", ACME, 204).await;
}

#[tokio::test]
async fn a_resolver_that_fails_is_503_and_never_open() {
    let (upstream, resolver) = (Upstream::start().await, Upstream::start().await);
    let keys = ", ttl = \"1s\", negative_ttl = \"0s\", timeout = \"1s\"";
    let gateway = gateway(&upstream, &resolver, keys).start_without_default_sources();
    let body = |text: &str| {
        Behaviour::Response(StatusCode::OK, &[], Bytes::copy_from_slice(text.as_bytes()))
    };
    let redirect = Behaviour::Response(
        StatusCode::FOUND,
        &[("location", "/secrets/other")],
        Bytes::new(),
    );
    let large = format!(
        "{{\"secrets\": [{ACME:?}], \"x\": {:?}}}",
        "x".repeat(64 * 1024)
    );
    for (number, behaviour) in [
        Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Behaviour::Status(StatusCode::UNAUTHORIZED),
        Behaviour::Status(StatusCode::NO_CONTENT),
        redirect,
        body(ACME),
        body("{}"),
        body("{\"secrets\": []}"),
        body("{\"secrets\": [\"\"]}"),
        body("\u{0}garbage"),
        body(&large),
        Behaviour::Hang,
    ]
    .into_iter()
    .enumerate()
    {
        resolver.set_default_behaviour(behaviour.clone());
        let (tenant, id) = (format!("tenant{number}"), format!("evt_{number}"));
        let found = first_status(&gateway, &tenant, ACME, &id).await;
        assert_eq!(found, 503, "{behaviour:?}");
    }
    assert!(upstream.take_received().is_empty());
    // A redirect is not followed.
    let asked = resolver.take_received();
    let followed = asked.iter().any(|request| request.path == "/secrets/other");
    assert!(!followed, "{asked:?}");
    assert!(!gateway.log().contains(ACME));
    // The control: the same tenant is served when the resolver answers.
    resolver.set_default_behaviour(answer(&[ACME]));
    wait_for_status(&gateway, "tenant0", ACME, 204).await;
}

#[tokio::test]
async fn a_resolver_that_is_gone_is_503_after_the_ttl() {
    let (upstream, resolver) = (Upstream::start().await, Upstream::start().await);
    resolver.set_default_behaviour(answer(&[ACME]));
    let keys = ", ttl = \"1s\"";
    let gateway = gateway(&upstream, &resolver, keys).start_without_default_sources();
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    drop(resolver);
    wait_for_status(&gateway, "acme", ACME, 503).await;
    assert_eq!(
        first_status(&gateway, "umbrella", UMBRELLA, "evt_2").await,
        503
    );
    gateway
        .wait_for_log("the secrets of a tenant cannot be used; its deliveries get 503")
        .await;
}

/// Serves an answer that never ends. Returns its address.
async fn endless_resolver(head: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let mut sent = stream.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    sent = stream.write_all(&[b' '; 4096]).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let upstream = Upstream::start().await;
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: ",
    ] {
        let resolver = endless_resolver(head).await;
        // The limit of the size ends the answer long before the limit of the time.
        let gateway = Gateway::builder(upstream.address())
            .table(&resolving(resolver, ", timeout = \"1h\""))
            .start_without_default_sources();
        let found = first_status(&gateway, "acme", ACME, "evt_1").await;
        assert_eq!(found, 503, "{head}");
    }
    assert!(upstream.take_received().is_empty());
}

/// A resolver that knows the tenant `acme` alone, and holds all other requests.
struct HoldingResolver {
    address: std::net::SocketAddr,
    answered: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
}

impl HoldingResolver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let (answered, held) = (Arc::default(), Arc::default());
        let resolver = Self {
            address: listener.local_addr().expect("the listener is bound"),
            answered: Arc::clone(&answered),
            held: Arc::clone(&held),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_acme(
                    stream,
                    Arc::clone(&answered),
                    Arc::clone(&held),
                ));
            }
        });
        resolver
    }
}

async fn answer_acme(mut stream: TcpStream, answered: Arc<AtomicUsize>, held: Arc<AtomicUsize>) {
    let mut request = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut request).await {
        if !request[..read].starts_with(b"GET /secrets/acme") {
            held.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        answered.fetch_add(1, Ordering::SeqCst);
        let body = json!({ "secrets": [ACME] }).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}", body.len());
        let response = format!("{head}\r\n\r\n{body}");
        let _ = stream.write_all(response.as_bytes()).await;
    }
}

/// The flood and the delivery for the known tenant come from one address.
#[tokio::test]
async fn a_flood_of_invented_names_does_not_delay_a_known_tenant() {
    let (upstream, resolver) = (Upstream::start().await, HoldingResolver::start().await);
    let table = resolving(resolver.address, ", ttl = \"1s\", timeout = \"1h\"");
    let gateway = Gateway::builder(upstream.address())
        .table(&table)
        .start_without_default_sources();
    let gateway = Arc::new(gateway);
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    let mut flood = JoinSet::new();
    for number in 0..100 {
        let gateway = Arc::clone(&gateway);
        flood.spawn(async move {
            let tenant = format!("invented-{number}");
            first_status(&gateway, &tenant, ACME, "evt_1").await
        });
    }
    let deliver_until_asked_again = async {
        for number in 2.. {
            let id = format!("evt_{number}");
            assert_eq!(status(&gateway, "acme", ACME, &id).await, 204, "{id}");
            let is_held = resolver.held.load(Ordering::SeqCst) > 0;
            if is_held && resolver.answered.load(Ordering::SeqCst) > 2 {
                break;
            }
            tokio::time::sleep(super::POLL_INTERVAL).await;
        }
    };
    let delivered = tokio::time::timeout(super::WAIT_TIMEOUT, deliver_until_asked_again).await;
    delivered.expect("the known tenant is served");
    // One address has no more than its share of the requests, which the resolver still holds.
    assert!(
        resolver.held.load(Ordering::SeqCst) <= 8,
        "{:?}",
        resolver.held
    );
    assert!(flood.try_join_next().is_none());
}

/// Waits until the upstream has received `count` health checks.
async fn wait_for_checks(upstream: &Upstream, count: usize) {
    let mut received = 0;
    let wait = async {
        while received < count {
            tokio::time::sleep(super::POLL_INTERVAL).await;
            received += upstream.take_received().len();
        }
    };
    let waited = tokio::time::timeout(super::WAIT_TIMEOUT, wait).await;
    waited.expect("the health of the upstream is checked");
}

/// The health of an upstream is checked as long as a route leads to it.
#[tokio::test]
async fn a_lookup_across_a_reload_keeps_no_old_upstream() {
    let (upstream, moved) = (Upstream::start().await, Upstream::start().await);
    let resolver = TcpListener::bind("127.0.0.1:0").await;
    let resolver = resolver.expect("a port is free");
    let address = resolver.local_addr().expect("the listener is bound");
    let gateway = Gateway::builder(upstream.address())
        .upstream("health = { path = \"/health\", interval = \"100ms\" }")
        .table(&resolving(address, ", ttl = \"1h\", timeout = \"1h\""))
        .start_without_default_sources();
    // The control: the health of the first upstream is checked before the reload.
    wait_for_checks(&upstream, 2).await;
    let mut sender = TcpStream::connect(gateway.address()).await.expect("a peer");
    let head = "POST /partners/acme HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
    sender.write_all(head.as_bytes()).await.expect("it is sent");
    let (mut asked, _) = resolver.accept().await.expect("the resolver is asked");
    let mut request = [0; 1024];
    let read = asked.read(&mut request).await.expect("a request");
    assert!(request[..read].starts_with(b"GET /secrets/acme"));
    gateway.edit_config(
        &upstream.address().to_string(),
        &moved.address().to_string(),
    );
    assert!(gateway.reload().await);
    let body = json!({ "secrets": [ACME] }).to_string();
    let length = body.len();
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    let sent = asked.write_all(response.as_bytes()).await;
    sent.expect("the gateway waits for the answer");
    // The request is not signed, so it is refused without another look at the tenant.
    let read = sender.read(&mut request).await.expect("a response");
    assert!(request[..read].starts_with(b"HTTP/1.1 503"));
    wait_for_checks(&moved, 3).await;
    upstream.take_received();
    wait_for_checks(&moved, 5).await;
    let late = upstream.take_received().len();
    assert!(
        late <= 1,
        "{late} health checks of an upstream that is gone"
    );
}
