//! Sources whose keys are fetched, against a local host of keys over TLS.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer};
use hookgate_tests::{
    Behaviour, Certificates, Gateway, Upstream, binary, exchange, now, raw_request, send_bytes,
};
use http::{Request, StatusCode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::UnixStream;

const P256: [&str; 2] = [
    include_str!("../../../crates/core/tests/keys/p256.private.pem"),
    include_str!("../../../crates/core/tests/keys/p256.public.pem"),
];
const RSA: &str = include_str!("../../../crates/core/tests/keys/rsa.private.pem");
const BODY: &str = r#"{"webhook_type":"ITEM","webhook_code":"ERROR"}"#;

/// Returns the answer of Plaid to a request for the key `id`.
fn plaid_key(id: &str) -> Value {
    let lines: String = P256[1]
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    let der = STANDARD.decode(lines).expect("the key is PEM");
    let point = &der[der.len() - 64..];
    let [x, y] = [&point[..32], &point[32..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    json!({
        "key": { "alg": "ES256", "crv": "P-256", "kid": id, "kty": "EC", "use": "sig",
                 "x": x, "y": y, "created_at": 1, "expired_at": null },
        "request_id": "r1",
    })
}

fn answer(status: StatusCode, document: impl Into<Bytes>) -> Behaviour {
    Behaviour::Response(status, &[], document.into())
}

/// A host of keys over TLS, with the authority that its clients must trust.
struct KeyHost {
    certificates: Certificates,
    server: Upstream,
}

impl KeyHost {
    async fn start(document: impl Into<Bytes>) -> Self {
        let certificates = Certificates::new();
        certificates.issue("host", "localhost");
        let server = Upstream::start_tls(certificates.server("host", None)).await;
        server.set_default_behaviour(answer(StatusCode::OK, document));
        Self {
            certificates,
            server,
        }
    }

    /// Returns the settings `url` and `ca`.
    fn settings(&self, path: &str) -> String {
        let port = self.server.address().port();
        let ca = self.certificates.quoted("ca.pem");
        format!(r#"url = "https://localhost:{port}{path}", ca = {ca}"#)
    }
}

fn bank(host: &KeyHost) -> String {
    format!(
        "[[sources]]\nname = \"bank\"\npath = \"/bank\"\nprovider = \"plaid\"\nupstream = \"app\"\n\
         keys = {{ {}, credentials = {{ client_id = \"env:CLIENT_ID\", secret = \"env:CLIENT_SECRET\" }} }}\n",
        host.settings("/webhook_verification_key/get")
    )
}

/// Returns a delivery of Plaid whose token names the key `kid`.
fn signed(kid: &str, body: &str) -> Request<Bytes> {
    let plaid = Provider::named("plaid").expect("in the catalogue");
    let secret = Secret::new(P256[0].trim()).expect("the key is not empty");
    let signer = Signer::new(plaid.scheme(), &secret).expect("the key fits the scheme");
    let request = Request::post("/bank").body(Bytes::copy_from_slice(body.as_bytes()));
    let request = request.expect("the request is valid");
    let signed = signer.sign_request(request, now(), Some(kid));
    signed.expect("the delivery is signed")
}

async fn start(upstream: &Upstream, source: &str) -> Gateway {
    Gateway::builder(upstream.address())
        .env("CLIENT_ID", "client-6f2a")
        .env("CLIENT_SECRET", "hush-9d1c")
        .table(source)
        .start_without_default_sources()
}

async fn metric(gateway: &Gateway, line: &str) -> bool {
    gateway.get_admin("/metrics").await.contains(line)
}

#[tokio::test]
async fn a_delivery_verifies_with_a_key_that_is_fetched_once() {
    let upstream = Upstream::start().await;
    let host = KeyHost::start(plaid_key("k1").to_string()).await;
    let gateway = start(&upstream, &bank(&host)).await;

    // Nothing is fetched for deliveries that fail without a key.
    let good = signed("k1", BODY);
    let other_body = good.clone().map(|_| Bytes::from_static(b"{}"));
    let mut unsigned = good.clone();
    unsigned.headers_mut().remove("plaid-verification");
    let mut unnamed = good.clone();
    let token = unnamed.headers()["plaid-verification"]
        .to_str()
        .expect("it is text");
    let claims = token.split_once('.').expect("the token has parts").1;
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
    let token = format!("{header}.{claims}").parse().expect("it is a value");
    unnamed.headers_mut().insert("plaid-verification", token);
    for request in [other_body, unsigned, unnamed] {
        let response = send_bytes(gateway.address(), request).await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(host.server.take_received().len(), 0);

    let response = send_bytes(gateway.address(), good.clone()).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    for number in 0..5 {
        let body = format!(r#"{{"number":{number}}}"#);
        let response = send_bytes(gateway.address(), signed("k1", &body)).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
    }
    let forwarded = upstream.take_received();
    assert_eq!(forwarded.len(), 6);
    assert_eq!(forwarded[0].body, BODY);
    assert_eq!(forwarded[0].headers["hookgate-key-id"], "k1");
    let duplicate = send_bytes(gateway.address(), good).await;
    assert_eq!(duplicate.outcome(), Some("duplicate"));

    let requests = host.server.take_received();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/webhook_verification_key/get");
    let asked: Value = serde_json::from_slice(&requests[0].body).expect("the body is JSON");
    let expected = json!({ "client_id": "client-6f2a", "secret": "hush-9d1c", "key_id": "k1" });
    assert_eq!(asked, expected);
    for line in [
        r#"hookgate_key_fetches_total{result="success",source="bank"} 1"#,
        r#"hookgate_keys{source="bank"} 1"#,
        r#"hookgate_key_age_seconds{source="bank"} "#,
    ] {
        assert!(metric(&gateway, line).await, "{line}");
    }
    assert!(
        !gateway.log().contains("hush-9d1c"),
        "the log has a credential"
    );
}

#[tokio::test]
async fn an_outage_of_the_key_host_refuses_no_known_key_and_never_with_401() {
    let upstream = Upstream::start().await;
    let host = KeyHost::start(plaid_key("k1").to_string()).await;
    let gateway = start(&upstream, &bank(&host)).await;
    let known = |number: u32| signed("k1", &format!(r#"{{"number":{number}}}"#));
    assert_eq!(
        send_bytes(gateway.address(), known(0)).await.status,
        StatusCode::NO_CONTENT
    );

    let outage = answer(StatusCode::SERVICE_UNAVAILABLE, "");
    host.server.set_default_behaviour(outage);
    let refused = send_bytes(gateway.address(), signed("k2", BODY)).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["retry-after"], "30");
    assert_eq!(
        send_bytes(gateway.address(), known(1)).await.status,
        StatusCode::NO_CONTENT
    );
    // A reload keeps the key.
    gateway.edit_config(
        "[[sources]]\nname = \"bank\"",
        "[[sources]]\nbody = \"2MiB\"\nname = \"bank\"",
    );
    assert!(gateway.reload().await);
    assert_eq!(
        send_bytes(gateway.address(), known(2)).await.status,
        StatusCode::NO_CONTENT
    );
    // The control: without the memory of the process, the same delivery has no key.
    let fresh = start(&upstream, &bank(&host)).await;
    assert_eq!(
        send_bytes(fresh.address(), known(3)).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );

    host.server
        .set_default_behaviour(answer(StatusCode::BAD_REQUEST, "{}"));
    let unknown = send_bytes(gateway.address(), signed("k3", BODY)).await;
    assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unknown.headers["retry-after"], "60");
    for (reason, count) in [("key_unavailable", 1), ("key_unknown", 1)] {
        let line = format!(r#"hookgate_refused_total{{reason="{reason}",source="bank"}} {count}"#);
        assert!(metric(&gateway, &line).await, "{line}");
    }
    assert_eq!(upstream.take_received().len(), 3);
}

/// A sender can invent names of keys. A provider must be able to deliver later if it rotates its
/// key, and if its host of keys is down.
#[tokio::test]
async fn a_flood_of_unknown_keys_is_rate_limited_and_an_outage_is_not() {
    for (status, names, limited) in [
        (StatusCode::BAD_REQUEST, 8, 7),
        (StatusCode::SERVICE_UNAVAILABLE, 1, 0),
    ] {
        let upstream = Upstream::start().await;
        let host = KeyHost::start(plaid_key("k1").to_string()).await;
        let limits = "[limits]\nrefused_per_minute = { address = 1, source = 5 }\n";
        let gateway = start(&upstream, &format!("{limits}{}", bank(&host))).await;
        let known = |number: u32| signed("k1", &format!(r#"{{"number":{number}}}"#));
        let response = send_bytes(gateway.address(), known(1)).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);

        host.server.set_default_behaviour(answer(status, "{}"));
        for number in 0..8 {
            let request = signed(&format!("other-{}", number % names), BODY);
            let response = send_bytes(gateway.address(), request).await;
            assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers.contains_key("retry-after"));
        }
        let metrics = gateway.get_admin("/metrics").await;
        let series = r#"hookgate_refused_total{reason="rate_limited",source="bank"} "#;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series));
        let counted = line.and_then(|count| count.parse().ok()).unwrap_or(0);
        assert_eq!(counted, limited, "{status}");
        let response = send_bytes(gateway.address(), known(2)).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT, "{status}");
    }
}

/// A flood that a proxy sends over a Unix socket has no address. It must not spend the requests of
/// the senders that have one.
#[tokio::test]
async fn a_flood_over_a_unix_socket_has_the_share_of_one_network() {
    let upstream = Upstream::start().await;
    let host = KeyHost::start("{}").await;
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let socket = folder.path().join("in.sock");
    let limits = "[limits]\nrefused_per_minute = { address = 1000, source = 1000 }\n";
    let gateway = Gateway::builder(upstream.address())
        .env("CLIENT_ID", "client-6f2a")
        .env("CLIENT_SECRET", "hush-9d1c")
        .listen(&format!("unix:{}", socket.display()))
        .table(&format!("{limits}{}", bank(&host)))
        .start_without_default_sources();
    host.server
        .set_default_behaviour(answer(StatusCode::BAD_REQUEST, "{}"));
    for number in 0..40 {
        let request = signed(&format!("invented-{number}"), BODY);
        let request = raw_request("/bank", request.headers(), request.body());
        let stream = UnixStream::connect(&socket).await;
        let response = exchange(&mut stream.expect("the gateway listens"), &request).await;
        assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    }
    // Two minutes, if one ends meanwhile.
    let fetched = host.server.take_received().len();
    assert!((5..=10).contains(&fetched), "{fetched}");
    host.server
        .set_default_behaviour(answer(StatusCode::OK, plaid_key("k1").to_string()));
    let response = send_bytes(gateway.address(), signed("k1", BODY)).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_certificate_counts_inside_of_the_pins_alone() {
    let upstream = Upstream::start().await;
    let host = KeyHost::start("").await;
    let key = KeyPair::from_pem(RSA).expect("the key is PEM");
    let name = "messageverificationcerts.paypal.com";
    let certificate = host.certificates.issue_for("signer", name, &key);
    host.server
        .set_default_behaviour(answer(StatusCode::OK, certificate));
    let source = format!(
        "[[sources]]\nname = \"shop\"\npath = \"/shop\"\nprovider = \"paypal\"\nupstream = \"app\"\n\
         params = {{ webhook_id = \"WH-1\" }}\nkeys = {{ {} }}\n",
        host.settings("/{key}")
    );
    let gateway = start(&upstream, &source).await;
    let paypal = Provider::named("paypal").expect("in the catalogue");
    let secret = Secret::new(RSA.trim()).expect("the key is not empty");
    let signer = Signer::builder(paypal.scheme(), &secret).param("webhook_id", "WH-1");
    let signer = signer.build().expect("the key fits the scheme");
    let delivery = |id: &str, url: &str| {
        let request = Request::post("/shop").body(Bytes::from_static(BODY.as_bytes()));
        let request = request.expect("the request is valid");
        let mut signed = signer
            .sign_request(request, now(), Some(id))
            .expect("the delivery is signed");
        let url = url.parse().expect("it is a value");
        signed.headers_mut().insert("paypal-cert-url", url);
        signed
    };
    for url in [
        "https://evil.test/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.test/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.test/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/../../evil",
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://localhost/v1/notifications/certs/CERT-1",
        "https://[::ffff:127.0.0.1]/v1/notifications/certs/CERT-1",
    ] {
        let response = send_bytes(gateway.address(), delivery("a", url)).await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED, "{url}");
    }
    assert_eq!(host.server.take_received().len(), 0);
    let refused = r#"hookgate_refused_total{reason="key_reference_refused",source="shop"} 7"#;
    assert!(metric(&gateway, refused).await);

    let url = "https://api.paypal.com/v1/notifications/certs/CERT-1";
    let response = send_bytes(gateway.address(), delivery("b", url)).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT, "{}", gateway.log());
    let requests = host.server.take_received();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/CERT-1");

    // A certificate of the same authority with another name is refused.
    let other = host.certificates.issue_for("other", "evil.test", &key);
    host.server
        .set_default_behaviour(answer(StatusCode::OK, other));
    let url = "https://api.paypal.com/v1/notifications/certs/CERT-2";
    let response = send_bytes(gateway.address(), delivery("c", url)).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(upstream.take_received().len(), 1);
}

#[tokio::test]
async fn a_slow_key_host_keeps_a_delivery_no_longer_than_the_time_limit() {
    let upstream = Upstream::start().await;
    let host = KeyHost::start("").await;
    host.server.set_default_behaviour(Behaviour::Hang);
    let source = bank(&host).replace("keys = {", "keys = { timeout = \"300ms\",");
    let gateway = start(&upstream, &source).await;
    let answered = send_bytes(gateway.address(), signed("k1", BODY));
    let answered = tokio::time::timeout(Duration::from_secs(10), answered).await;
    let response = answered.expect("the gateway responds");
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    let line = r#"hookgate_key_fetches_total{result="timed_out",source="bank"} 1"#;
    assert!(metric(&gateway, line).await);
}

#[tokio::test]
async fn verify_takes_a_document_from_a_file() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let request = signed("k1", BODY);
    let token = request.headers()["plaid-verification"]
        .to_str()
        .expect("it is text");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the file is written");
        path
    };
    let headers = write("headers", &format!("plaid-verification: {token}\n"));
    let body = write("body", BODY);
    let verify = |document: &str| {
        let output = Command::new(binary())
            .args(["verify", "--provider", "plaid", "--headers"])
            .arg(&headers)
            .arg("--body")
            .arg(&body)
            .arg("--keys")
            .arg(write("keys", document))
            .output()
            .expect("the command runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text)
    };
    let (verified, text) = verify(&plaid_key("k1").to_string());
    assert!(verified && text.contains("verified with key k1"), "{text}");
    let (verified, text) = verify(&plaid_key("k2").to_string());
    assert!(!verified && text.contains("key_unknown"), "{text}");
}
