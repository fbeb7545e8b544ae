//! TLS at the gateway, with curl and h2load as clients.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hookgate_tests::{
    Certificates, Gateway, Protocol, TestProvider, Upstream, now, send_over, send_raw,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::sleep;

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

/// Returns an authority that has issued the server certificate.
fn certificates() -> Certificates {
    let certificates = Certificates::new();
    certificates.issue("server", "localhost");
    certificates
}

/// Returns the arguments by which curl and h2load send these headers.
fn header_args(headers: &HeaderMap) -> Vec<String> {
    let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
        let value = value.to_str().expect("the bytes are UTF-8");
        ["-H".to_owned(), format!("{name}: {value}")]
    };
    headers.iter().flat_map(line).collect()
}

/// Sends a request with curl. Returns the HTTP version, the status, and the outcome header.
async fn curl(args: &[&str], url: &str, headers: &HeaderMap, body: &Path) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--output", "/dev/null", "--write-out"])
        .arg("%{http_version} %{http_code} %header{hookgate-outcome}")
        .args(args)
        .args(["--data-binary", &format!("@{}", body.display())])
        .args(["-H", "content-type: application/json"])
        .args(header_args(headers))
        .arg(url)
        .output()
        .await
        .expect("curl is installed");
    String::from_utf8(output.stdout).expect("the bytes are UTF-8")
}

#[tokio::test]
async fn curl_gets_the_same_verdicts_in_every_protocol() {
    let certificates = certificates();
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .server("h2c = true")
        .tls(&certificates)
        .start();
    let (clear, tls) = (gateway.address(), gateway.tls_address());
    let (clear, tls) = (
        format!("http://localhost:{}/hooks/beatapi", clear.port()),
        format!("https://localhost:{}/hooks/beatapi", tls.port()),
    );
    let ca = certificates.path("ca.pem").display().to_string();
    let body_file = certificates.path("body");
    for (args, url, version) in [
        (&["--ipv4", "--http1.1"][..], &clear, "1.1"),
        (&["--ipv4", "--http2-prior-knowledge"], &clear, "2"),
        (&["--ipv4", "--http1.1", "--cacert", &ca], &tls, "1.1"),
        (&["--ipv4", "--http2", "--cacert", &ca], &tls, "2"),
    ] {
        let body = beatapi().body(&format!("evt_{}{version}", url.len()));
        std::fs::write(&body_file, &body).expect("the file is written");
        let headers = beatapi().sign(&body, now(), "");
        let mut forged = headers.clone();
        let other = HeaderValue::from_str(&format!("sha256={}", "0".repeat(64)));
        forged.insert("x-beatapi-signature", other.expect("the value is valid"));
        for (headers, expected) in [
            (&forged, "401 refused"),
            (&headers, "204 "),
            (&headers, "200 duplicate"),
        ] {
            let output = curl(args, url, headers, &body_file).await;
            assert_eq!(output, format!("{version} {expected}"), "{args:?}");
        }
        let arrivals = upstream.take_received();
        assert_eq!(arrivals.len(), 1, "{args:?}");
        assert_eq!(arrivals[0].body, body);
        let scheme = url.split_once(':').map(|(scheme, _)| scheme);
        let proto = &arrivals[0].headers["x-forwarded-proto"];
        assert_eq!(proto.to_str().ok(), scheme);
        // Over HTTP/2 the host comes from `:authority`.
        let host = arrivals[0].headers["host"]
            .to_str()
            .expect("the bytes are UTF-8");
        assert!(url.contains(&format!("//{host}/")), "{host}");
    }
}

#[tokio::test]
async fn five_thousand_copies_from_h2load_are_forwarded_once() {
    let certificates = certificates();
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .tls(&certificates)
        .start();
    let body = beatapi().body("evt_1");
    let body_file = certificates.path("body");
    std::fs::write(&body_file, &body).expect("the file is written");
    let mut headers = beatapi().sign(&body, now(), "");
    for (expected, arrivals) in [
        ("5000 2xx, 0 3xx, 0 4xx, 0 5xx", 1),
        ("0 2xx, 0 3xx, 5000 4xx, 0 5xx", 0),
    ] {
        let output = Command::new("h2load")
            .args(["-n", "5000", "-c", "8", "-m", "50", "-d"])
            .arg(&body_file)
            .args(header_args(&headers))
            .arg(format!("https://{}/hooks/beatapi", gateway.tls_address()))
            .stderr(Stdio::inherit())
            .output()
            .await
            .expect("h2load is installed");
        let output = String::from_utf8(output.stdout).expect("the bytes are UTF-8");
        assert!(output.contains(expected), "{output}");
        assert_eq!(upstream.take_received().len(), arrivals);
        headers.insert("x-beatapi-timestamp", HeaderValue::from_static("1"));
    }
}

/// Returns whether a client that trusts `certificates` can deliver over HTTP/2.
async fn can_deliver(gateway: &Gateway, certificates: &Certificates, id: &str) -> bool {
    let protocol = Protocol::Tls(certificates.client("h2"));
    let delivery = beatapi().delivery(id);
    match send_over(&protocol, gateway.tls_address(), delivery).await {
        Ok(response) => {
            assert!(response.status.is_success());
            true
        }
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_new_certificate_is_loaded_while_the_gateway_runs_and_an_invalid_one_is_not() {
    let certificates = certificates();
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .tls(&certificates)
        .start();
    assert!(can_deliver(&gateway, &certificates, "evt_1").await);

    // This key does not belong to the certificate.
    let others = Certificates::new();
    others.issue("server", "localhost");
    let replace = |file: &str| {
        std::fs::copy(others.path(file), certificates.path(file)).expect("the file is written")
    };
    replace("server.key");
    gateway.wait_for_log("is not the private key").await;
    assert!(can_deliver(&gateway, &certificates, "evt_2").await);

    replace("server.pem");
    gateway.wait_for_log("configuration reloaded").await;
    assert!(can_deliver(&gateway, &others, "evt_3").await);
    assert!(!can_deliver(&gateway, &certificates, "evt_4").await);
    assert_eq!(upstream.take_received().len(), 3);
}

#[tokio::test]
async fn with_client_ca_only_clients_with_its_certificate_can_connect() {
    let certificates = certificates();
    let authority = Certificates::new();
    authority.issue("client", "sender");
    let others = Certificates::new();
    others.issue("client", "sender");
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .tls(&certificates)
        .server(&format!("client_ca = {}", authority.quoted("ca.pem")))
        .start();
    let url = format!(
        "https://localhost:{}/hooks/beatapi",
        gateway.tls_address().port()
    );
    let ca = certificates.path("ca.pem").display().to_string();
    let body_file = certificates.path("body");
    let body = beatapi().body("evt_1");
    std::fs::write(&body_file, &body).expect("the file is written");
    let headers = beatapi().sign(&body, now(), "");
    for (of, expected) in [
        (None, "0 000 "),
        (Some(&others), "0 000 "),
        (Some(&authority), "2 204 "),
    ] {
        let mut args = vec!["--ipv4".to_owned(), "--cacert".to_owned(), ca.clone()];
        if let Some(of) = of {
            let path = |file| of.path(file).display().to_string();
            args.extend(["--cert".to_owned(), path("client.pem")]);
            args.extend(["--key".to_owned(), path("client.key")]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = curl(&args, &url, &headers, &body_file).await;
        assert_eq!(output, expected);
    }
    assert_eq!(upstream.take_received().len(), 1);
}

#[tokio::test]
async fn connections_without_a_handshake_count_and_are_closed_in_time() {
    let certificates = certificates();
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .tls(&certificates)
        .table("[limits]\nhead_timeout = \"5s\"\nconnections = 20")
        .start();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(
            TcpStream::connect(gateway.tls_address())
                .await
                .expect("the server listens"),
        );
    }
    // The silent connections use up the connection limit until `head_timeout` ends.
    for mut stream in silent {
        let mut nothing = [0];
        let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut nothing));
        assert_eq!(
            read.await
                .expect("the gateway closes the connection in time")
                .expect("the close is orderly"),
            0
        );
    }
    assert!(can_deliver(&gateway, &certificates, "evt_1").await);
}

#[tokio::test]
async fn a_connection_without_tls_is_counted_and_logged() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .tls(&certificates())
        .start();
    let clear = b"POST /hooks/beatapi HTTP/1.1\r\nHost: a\r\n\r\n";
    send_raw(gateway.tls_address(), clear, Duration::from_secs(20)).await;
    gateway.wait_for_log("the TLS handshake failed").await;
    let metrics = gateway.get_admin("/metrics").await;
    let counted = "hookgate_connections_refused_total{reason=\"tls\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn an_idle_tls_connection_outlives_head_timeout() {
    let certificates = certificates();
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .tls(&certificates)
        .table("[limits]\nhead_timeout = \"5s\"")
        .start();
    let stream = TcpStream::connect(gateway.tls_address())
        .await
        .expect("the server listens");
    let connector = tokio_rustls::TlsConnector::from(certificates.client("http/1.1"));
    let name = "localhost".try_into().expect("the name is valid");
    let stream = connector
        .connect(name, stream)
        .await
        .expect("the handshake succeeds");
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("the HTTP/1.1 handshake succeeds");
    tokio::spawn(connection);
    let mut deliver = async |id: &str| {
        let response = client.send_request(beatapi().delivery(id)).await;
        response.expect("the server responds").status()
    };
    assert_eq!(deliver("evt_1").await, StatusCode::NO_CONTENT);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(deliver("evt_2").await, StatusCode::NO_CONTENT);
    assert_eq!(upstream.take_received().len(), 2);
}
