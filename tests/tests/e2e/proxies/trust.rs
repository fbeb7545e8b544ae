//! Forwarded headers: a trusted proxy names the client and the scheme, and no other peer can.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer};
use hookgate_tests::{
    Certificates, Gateway, GatewayBuilder, Protocol, TestProvider, Upstream, exchange, now,
    raw_request, send, send_over,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::lines;
use crate::inspector::{ApiCall, deliveries, with_inspector};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
const OF: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";

fn behind(upstream: &Upstream, server: &str) -> GatewayBuilder {
    Gateway::builder(upstream.address()).server(server)
}

/// Returns a genuine delivery of the event `id` with more headers.
fn delivery(id: &str, more: &HeaderMap) -> Request<BoxBody<Bytes, std::io::Error>> {
    let mut request = TestProvider::named("beatapi").delivery(id);
    request.headers_mut().extend(more.clone());
    request
}

/// Returns the sender that the upstream was told, as `ADDRESS SCHEME`.
fn told(upstream: &Upstream) -> String {
    let arrivals = upstream.take_received();
    let [arrival] = &arrivals[..] else {
        panic!("{arrivals:?}")
    };
    let headers = &arrival.headers;
    assert!(!headers.contains_key("forwarded"), "{headers:?}");
    for name in [OF, PROTO] {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{headers:?}");
    }
    let text = |name: &str| headers[name].to_str().expect("the value is text");
    format!("{} {}", text(OF), text(PROTO))
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_and_the_scheme_over_every_protocol() {
    let upstream = Upstream::start().await;
    let certificates = Certificates::new();
    certificates.issue("server", "localhost");
    let start = |server: &str| {
        behind(&upstream, server)
            .server("h2c = true")
            .tls(&certificates)
            .start()
    };
    let trusted = start(TRUSTED);
    let rfc7239 = start(&format!("{TRUSTED}\nforwarded = \"rfc7239\""));
    let others = start("trusted_proxies = [\"10.0.0.0/8\", \"unix\"]");
    let nobody = start("");
    let headers = lines(&[
        (OF, "192.0.2.1, 192.0.2.7:40000"),
        (OF, "10.1.2.3"),
        (PROTO, "HTTPS"),
        (
            "forwarded",
            "for=192.0.2.1, for=\"[2001:db8::7]:1\";proto=https",
        ),
    ]);
    let plain = [Protocol::Http1, Protocol::Http2];
    let secure = ["http/1.1", "h2"].map(|alpn| Protocol::Tls(certificates.client(alpn)));
    for (index, protocol) in plain.into_iter().chain(secure).enumerate() {
        let is_tls = matches!(protocol, Protocol::Tls(_));
        let as_connected = if is_tls {
            "127.0.0.1 https"
        } else {
            "127.0.0.1 http"
        };
        for (gateway, expected) in [
            (&trusted, "192.0.2.7 https"),
            (&rfc7239, "2001:db8::7 https"),
            (&others, as_connected),
            (&nobody, as_connected),
        ] {
            let address = match is_tls {
                true => gateway.tls_address(),
                false => gateway.address(),
            };
            let request = delivery(&format!("evt_{index}_{expected}"), &headers);
            let response = send_over(&protocol, address, request).await;
            let response = response.expect("the gateway responds");
            assert_eq!(response.status, StatusCode::NO_CONTENT);
            assert_eq!(told(&upstream), expected, "{protocol:?}");
        }
    }
    for (gateway, client) in [
        (&trusted, "192.0.2.7"),
        (&rfc7239, "2001:db8::7"),
        (&others, "127.0.0.1"),
    ] {
        for line in gateway.wait_for_access_log(4).await {
            assert_eq!(line["client"], client);
        }
    }
}

#[tokio::test]
async fn hostile_headers_name_nobody_but_the_proxy_that_wrote_them() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, TRUSTED)
        .table("[limits]\nhead_timeout = \"60s\"")
        .start();
    let many = format!("{}192.0.2.7", "1.1.1.1,".repeat(7_000));
    let many_trusted = "10.0.0.1,".repeat(7_000) + "10.0.0.1";
    for (index, (headers, expected)) in [
        (vec![(OF, "unknown")], "127.0.0.1 http"),
        (vec![(OF, "_hidden")], "127.0.0.1 http"),
        (vec![(OF, "")], "127.0.0.1 http"),
        (vec![(OF, "192.0.2.1,")], "127.0.0.1 http"),
        (vec![(OF, "192.0.2.1"), (OF, " ")], "127.0.0.1 http"),
        (vec![(OF, "192.0.2.1, x, 10.0.0.2")], "10.0.0.2 http"),
        (vec![(OF, "192.0.2.1 192.0.2.2")], "127.0.0.1 http"),
        (vec![(OF, "[2001:db8::7]:443")], "2001:db8::7 http"),
        (vec![(OF, "2001:db8::7")], "2001:db8::7 http"),
        (vec![(OF, "::ffff:192.0.2.7")], "192.0.2.7 http"),
        (vec![(OF, "2001:db8::7:")], "127.0.0.1 http"),
        (vec![(OF, &*many)], "192.0.2.7 http"),
        (vec![(OF, &*many_trusted)], "10.0.0.1 http"),
        (vec![(PROTO, "https"), (PROTO, "http")], "127.0.0.1 http"),
        (
            vec![(PROTO, "https\u{7f}".trim_end_matches('\u{7f}'))],
            "127.0.0.1 https",
        ),
        (vec![(PROTO, "javascript")], "127.0.0.1 http"),
        (vec![("x_forwarded_for", "192.0.2.7")], "127.0.0.1 http"),
        (vec![("x-real-ip", "192.0.2.7")], "127.0.0.1 http"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = delivery(&format!("evt_{index}"), &lines(&headers));
        let response = send(gateway.address(), request).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT, "{headers:?}");
        let shown = headers
            .iter()
            .map(|(name, value)| (name, &value[..value.len().min(40)]));
        assert_eq!(told(&upstream), expected, "{:?}", shown.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn limits_count_the_clients_behind_a_trusted_proxy() {
    let upstream = Upstream::start().await;
    let limits = "[limits]\nrefused_per_minute = { address = 2, source = 100 }";
    let trusted = behind(&upstream, TRUSTED).table(limits).start();
    let untrusted = behind(&upstream, "").table(limits).start();
    let refused = async |gateway: &Gateway, client: &str| {
        let body = Bytes::from_static(b"{}");
        let request = TestProvider::named("beatapi").request(lines(&[(OF, client)]), body);
        send(gateway.address(), request).await.status.as_u16()
    };
    let senders = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"];
    for (gateway, expected) in [
        (&trusted, [401, 401, 429, 401]),
        (&untrusted, [401, 401, 429, 429]),
    ] {
        let mut statuses = Vec::new();
        for client in senders {
            statuses.push(refused(gateway, client).await);
        }
        assert_eq!(statuses, expected);
    }
}

#[tokio::test]
async fn the_connections_of_a_trusted_proxy_do_not_count_for_its_address() {
    let upstream = Upstream::start().await;
    let limits = "[limits]\nconnections_per_address = 1\nhead_timeout = \"60s\"";
    let request = b"GET / HTTP/1.1\r\nhost: hooks.example\r\n\r\n";
    for (server, expected) in [(TRUSTED, "HTTP/1.1 404"), ("", "")] {
        let gateway = behind(&upstream, server).table(limits).start();
        let mut held = TcpStream::connect(gateway.address())
            .await
            .expect("the gateway listens");
        held.write_all(request).await.expect("the gateway reads");
        let read = held.read(&mut [0; 64]).await;
        assert!(
            read.expect("the gateway responds") > 0,
            "the connection is open and counted"
        );
        let mut second = TcpStream::connect(gateway.address())
            .await
            .expect("the gateway listens");
        let _ = second.write_all(request).await;
        let mut response = [0; 12];
        let read = timeout(Duration::from_secs(60), second.read(&mut response)).await;
        let read = read.expect("the gateway responds or closes").unwrap_or(0);
        assert_eq!(String::from_utf8_lossy(&response[..read]), expected);
    }
}

#[tokio::test]
async fn with_the_proxy_protocol_the_address_in_its_header_is_tested() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, "proxy_protocol = [\"127.0.0.1\"]")
        .server("trusted_proxies = [\"10.0.0.0/8\"]")
        .start();
    for (index, (peer, expected)) in [
        ("10.0.0.9", "192.0.2.7 https"),
        ("192.0.2.9", "192.0.2.9 http"),
    ]
    .into_iter()
    .enumerate()
    {
        let provider = TestProvider::named("beatapi");
        let id = format!("evt_{index}");
        let body = provider.body(&id);
        let mut headers = provider.sign(&body, now(), &id);
        headers.extend(lines(&[(OF, "192.0.2.7"), (PROTO, "https")]));
        let request = raw_request(&provider.path(), &headers, &body);
        let header = format!("PROXY TCP4 {peer} 10.0.0.1 40000 443\r\n");
        let request = [header.as_bytes(), &request].concat();
        let stream = TcpStream::connect(gateway.address()).await;
        let response = exchange(&mut stream.expect("the gateway listens"), &request).await;
        assert!(response.starts_with("HTTP/1.1 204"), "{response}");
        assert_eq!(told(&upstream), expected);
    }
}

#[tokio::test]
async fn a_forwarded_host_neither_routes_nor_changes_the_signed_address() {
    let upstream = Upstream::start().await;
    let secret = "address-test-secret-0123456789";
    let gateway = behind(&upstream, TRUSTED)
        .env("ADDRESS", secret)
        .table(
            "[[sources]]\nname = \"twilio\"\npath = \"/twilio\"\nhost = \"a.example\"\n\
             provider = \"twilio\"\nsecrets = [\"env:ADDRESS\"]\nupstream = \"app\"\n\
             url = \"https://a.example/twilio\"\n",
        )
        .start_without_default_sources();
    let provider = Provider::named("twilio").expect("the provider exists");
    let secret = Secret::new(secret).expect("the secret is not empty");
    let form = "CallSid=CA3&AccountSid=AC22222222222222222222222222222222&Digits=1";
    let signed = |url: &str| {
        let signer = Signer::builder(provider.scheme(), &secret)
            .url(url)
            .variant("form");
        let signer = signer.build().expect("the secret fits the scheme");
        let request = Request::post("/twilio").body(Bytes::from_static(form.as_bytes()));
        let request = request.expect("the request is valid");
        signer
            .sign_request(request, now(), None)
            .expect("the delivery is signed")
    };
    let real = "https://a.example/twilio";
    let forged = "https://b.example/twilio";
    for (url, host, forwarded_host, status) in [
        (real, "a.example", "b.example", StatusCode::NO_CONTENT),
        (forged, "a.example", "b.example", StatusCode::UNAUTHORIZED),
        (real, "b.example", "a.example", StatusCode::NOT_FOUND),
    ] {
        let mut request = signed(url);
        request
            .headers_mut()
            .insert("host", host.parse().expect("a host"));
        request.headers_mut().extend(lines(&[
            ("x-forwarded-host", forwarded_host),
            (PROTO, "http"),
            (OF, "192.0.2.7"),
        ]));
        let request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed());
        let response = send(gateway.address(), request).await;
        assert_eq!(response.status, status, "{url} {host}");
        let arrivals = upstream.take_received();
        for arrival in &arrivals {
            assert_eq!(arrival.headers["x-forwarded-host"], host);
        }
        assert_eq!(
            arrivals.len(),
            usize::from(status == StatusCode::NO_CONTENT)
        );
    }
}

#[tokio::test]
async fn a_stored_delivery_keeps_the_sender_that_the_proxy_named() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let gateway = behind(&upstream, TRUSTED)
        .replay(&format!(
            "store = \"disk\"\npath = {:?}",
            folder.path().join("replay")
        ))
        .table(&format!(
            "[queue]\nstore = \"disk\"\npath = {:?}",
            folder.path().join("queue")
        ))
        .every_source("queue = \"always\"")
        .start();
    let headers = lines(&[(OF, "192.0.2.7"), (PROTO, "https")]);
    let response = send(gateway.address(), delivery("evt_1", &headers)).await;
    assert_eq!(response.outcome(), Some("queued"));
    gateway.wait_for_access_log(2).await;
    assert_eq!(told(&upstream), "192.0.2.7 https");
}

#[tokio::test]
async fn a_resend_has_the_sender_that_the_proxy_named() {
    let upstream = Upstream::start().await;
    let builder = behind(&upstream, TRUSTED);
    let gateway = with_inspector(builder, "capture = \"all\"").start();
    let headers = lines(&[(OF, "192.0.2.7"), (PROTO, "https")]);
    let response = send(gateway.address(), delivery("evt_1", &headers)).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    assert_eq!(told(&upstream), "192.0.2.7 https");
    let original = deliveries(&gateway, "", 1).await.remove(0);
    let id = original["request_id"].as_str().expect("an id");
    let resend = ApiCall::post(&format!("/api/deliveries/{id}/resend"), &json!({}));
    assert_eq!(resend.json(&gateway).await["outcome"], "forwarded");
    assert_eq!(told(&upstream), "192.0.2.7 https");
}

#[tokio::test]
async fn a_proxy_on_a_unix_socket_names_the_sender_if_unix_is_trusted() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let provider = TestProvider::named("beatapi");
    for (index, (trusted, client, sender)) in [
        ("trusted_proxies = \"unix\"", "192.0.2.7", "192.0.2.7 https"),
        (TRUSTED, "unix", " http"),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = folder.path().join(index.to_string());
        let gateway = behind(&upstream, trusted)
            .listen(&format!("unix:{}", socket.display()))
            .start();
        let id = format!("evt_{index}");
        let body = provider.body(&id);
        let mut headers = provider.sign(&body, now(), &id);
        headers.extend(lines(&[(OF, "192.0.2.7"), (PROTO, "https")]));
        let request = raw_request(&provider.path(), &headers, &body);
        let stream = UnixStream::connect(&socket).await;
        let response = exchange(&mut stream.expect("the gateway listens"), &request).await;
        assert!(response.starts_with("HTTP/1.1 204"), "{response}");
        let arrival = upstream.take_received().remove(0);
        let text = |name: &str| match arrival.headers.get(name) {
            Some(value) => value.to_str().expect("the value is text"),
            None => "",
        };
        assert_eq!(format!("{} {}", text(OF), text(PROTO)), sender);
        let line = &gateway.wait_for_access_log(1).await[0];
        assert_eq!(line["client"], client);
    }
}
