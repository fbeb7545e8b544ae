//! Schemes that an operator writes into the gateway's configuration.

use bytes::Bytes;
use hookgate_core::{Scheme, Secret, Signer};
use hookgate_tests::{Gateway, Upstream, is_complete_response, now, send_bytes};
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECRET: &str = "partner-secret-0123456789abcdef";

/// The scheme of a provider outside of the catalogue. It signs the address and the body, and has two
/// handshakes.
const SCHEME: &str = r#"
alg  = "hmac-sha512"
sig  = { in = "header:x-partner", items = ";", pair = "=", key = "sig", enc = "base64" }
ts   = { in = "sig:at", unit = "ms", past = "60s" }
msg  = "{method}\n{path-query}\n{ts}\n{param:account}\n{body}"
id   = "json:/event/id"
type = "json:/event/kind"
status = 403

[[handshake]]
method  = "GET"
when    = { "query:hello" = "*" }
check   = { "query:account" = "{param:account}" }
guard   = { "query:hello" = { chars = "a-z0-9", max = 32 } }
respond = { type = "application/json", body = '{{"echo":"{query:hello}","proof":"{query:hello|hmac:base64}"}}' }

[[handshake]]
method   = "POST"
verified = true
when     = { "json:/event/kind" = "ping" }
respond  = { status = 204, headers = { "x-pong" = "{json:/event/id}" } }
"#;

/// Returns a source table that contains the scheme.
fn source() -> String {
    let scheme = SCHEME.replace("[[handshake]]", "[[sources.scheme.handshake]]");
    format!(
        "[[sources]]\nname = \"partner\"\npath = \"/partner\"\nsecrets = [\"env:PARTNER\"]\n\
         upstream = \"app\"\nparams = {{ account = \"acme\" }}\n[sources.scheme]\n{scheme}"
    )
}

fn signer() -> Signer {
    let scheme = Scheme::from_toml(SCHEME).expect("the scheme loads");
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let signer = Signer::builder(&scheme, &secret).param("account", "acme");
    signer.build().expect("the secret fits the scheme")
}

fn signed(body: &str) -> Request<Bytes> {
    let request = Request::post("/partner?tenant=7").body(Bytes::copy_from_slice(body.as_bytes()));
    let signed = signer().sign_request(request.expect("the request is valid"), now(), None);
    signed.expect("the delivery is signed")
}

#[tokio::test]
async fn a_custom_scheme_verifies_deliveries_and_completes_its_handshakes() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .env("PARTNER", SECRET)
        .table(&source())
        .start_without_default_sources();

    // A delivery, its retry, and forgeries of each signed part.
    let body = r#"{"event":{"id":"e1","kind":"sold"}}"#;
    let good = signed(body);
    assert_eq!(
        send_bytes(gateway.address(), good.clone()).await.status,
        StatusCode::NO_CONTENT
    );
    let arrived = upstream.take_received();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].body, body);
    assert_eq!(arrived[0].headers["hookgate-event-id"], "e1");
    assert_eq!(arrived[0].headers["hookgate-event-type"], "sold");
    let again = send_bytes(gateway.address(), signed(body)).await;
    assert_eq!(
        (again.status, again.outcome()),
        (StatusCode::OK, Some("duplicate"))
    );

    let fresh = signed(r#"{"event":{"id":"e2","kind":"sold"}}"#);
    let mut other_query = fresh.clone();
    *other_query.uri_mut() = "/partner?tenant=8".parse().expect("the target is valid");
    let other_body = fresh.clone().map(|_| Bytes::from("{}"));
    for forged in [other_query, other_body] {
        let response = send_bytes(gateway.address(), forged).await;
        assert_eq!(
            response.status,
            StatusCode::FORBIDDEN,
            "the scheme sets this refusal status"
        );
    }

    // The handshakes.
    let ask = async |target: &str| {
        let request = Request::get(target)
            .body(Bytes::new())
            .expect("the request is valid");
        send_bytes(gateway.address(), request).await
    };
    let hello = ask("/partner?hello=abc123&account=acme").await;
    assert_eq!(hello.status, StatusCode::OK);
    assert_eq!(hello.headers["content-type"], "application/json");
    let response: serde_json::Value =
        serde_json::from_slice(&hello.body).expect("the text is JSON");
    assert_eq!(response["echo"], "abc123");
    assert!(
        response["proof"]
            .as_str()
            .is_some_and(|proof| proof.len() == 88)
    );
    for (target, status) in [
        ("/partner?hello=abc123&account=other", StatusCode::FORBIDDEN),
        ("/partner?hello=ABC&account=acme", StatusCode::FORBIDDEN),
        (
            "/partner?hello=a&hello=b&account=acme",
            StatusCode::FORBIDDEN,
        ),
        ("/partner?account=acme", StatusCode::METHOD_NOT_ALLOWED),
        ("/partner", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(ask(target).await.status, status, "{target}");
    }
    let ping = r#"{"event":{"id":"p1","kind":"ping"}}"#;
    let pong = send_bytes(gateway.address(), signed(ping)).await;
    assert_eq!(pong.status, StatusCode::NO_CONTENT);
    assert_eq!(pong.headers["x-pong"], "p1");
    let unsigned = Request::post("/partner")
        .body(Bytes::from(ping))
        .expect("the request is valid");
    assert_eq!(
        send_bytes(gateway.address(), unsigned).await.status,
        StatusCode::FORBIDDEN
    );
    assert!(
        upstream.take_received().is_empty(),
        "a handshake or forgery was forwarded"
    );

    // Other methods are not allowed at this source.
    let put = Request::builder()
        .method(Method::PUT)
        .uri("/partner")
        .body(Bytes::new());
    let put = send_bytes(gateway.address(), put.expect("the request is valid")).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(put.headers["allow"], "GET, POST");
}

#[tokio::test]
async fn a_connection_stays_open_after_a_handshake() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .env("PARTNER", SECRET)
        .table(&source())
        .start_without_default_sources();
    // The request has a body, which a handshake by GET does not read.
    let request = b"GET /partner?hello=a1&account=acme HTTP/1.1\r\nhost: a\r\n\
                    content-length: 3\r\n\r\nxyz";
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    for _ in 0..3 {
        stream.write_all(request).await.expect("the server reads");
        let mut response = Vec::new();
        while !is_complete_response(&response) {
            let read = stream
                .read_buf(&mut response)
                .await
                .expect("the server responds");
            assert_ne!(read, 0, "closed early");
        }
        assert!(response.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn a_provider_without_a_documented_scheme_needs_a_configured_one() {
    let source = |more: &str| {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n\
             [[sources]]\nname = \"b\"\npath = \"/b\"\nprovider = \"beaconed\"\n\
             secrets = [\"env:PARTNER\"]\nupstream = \"app\"\n{more}"
        )
    };
    let check = |text: &str| {
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, text).expect("the file is written");
        let output = std::process::Command::new(hookgate_tests::binary())
            .args(["check", "-c", file.to_str().expect("the bytes are UTF-8")])
            .env("PARTNER", SECRET)
            .output()
            .expect("the command runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8(text).expect("the bytes are UTF-8"),
        )
    };
    let (is_valid, output) = check(&source(""));
    assert!(!is_valid);
    assert!(
        output.contains(": scheme: missing; Beaconed does not publish how it signs"),
        "{output}"
    );
    let with_scheme = "[sources.scheme]\nalg = \"hmac-sha256\"\nsig = { in = \"header:x-sig\", enc = \"hex\" }\nmsg = \"{body}\"";
    let (is_valid, output) = check(&source(with_scheme));
    assert!(is_valid, "{output}");
    assert!(output.contains("remembered for 7 days"), "{output}");
    assert!(output.contains("\n  warning "), "{output}");
}
