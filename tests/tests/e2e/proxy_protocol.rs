//! The PROXY protocol: a trusted load balancer names the client of each connection, and no other
//! peer can.

use std::net::SocketAddr;
use std::time::Duration;

use hookgate_tests::{Certificates, Gateway, GatewayBuilder, TestProvider, Upstream, now};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A header of version 1.
const TEXT: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n";
/// A header of version 2.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\x0a\0\0\x01\x9c\x40\x01\xbb";
/// A version 2 header of a connection of the balancer itself, such as a health check.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Creates a gateway that trusts PROXY headers of these networks.
fn behind(upstream: &Upstream, networks: &str) -> GatewayBuilder {
    Gateway::builder(upstream.address()).server(&format!("proxy_protocol = {networks}"))
}

/// Opens a connection and sends `header`.
async fn connect(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream.write_all(header).await.expect("the server reads");
    stream
}

/// Sends a delivery and returns the response, or an empty text if the gateway closed the connection.
async fn deliver(mut stream: impl AsyncRead + AsyncWrite + Unpin, id: &str) -> String {
    let provider = TestProvider::named("beatapi");
    let body = provider.body(id);
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: hooks.example\r\nconnection: close\r\ncontent-length: {}\r\n",
        provider.path(),
        body.len()
    );
    for (name, value) in &provider.sign(&body, now(), id) {
        request.push_str(&format!(
            "{name}: {}\r\n",
            value.to_str().expect("the bytes are UTF-8")
        ));
    }
    let request = [request.as_bytes(), b"\r\n", &body].concat();
    let mut response = Vec::new();
    if stream.write_all(&request).await.is_ok() {
        let read = stream.read_to_end(&mut response);
        let _ = timeout(Duration::from_secs(20), read)
            .await
            .expect("the gateway closes the connection");
    }
    String::from_utf8(response).expect("the bytes are UTF-8")
}

#[tokio::test]
async fn the_client_address_is_that_of_the_proxy_header() {
    let upstream = Upstream::start().await;
    let certificates = Certificates::new();
    certificates.issue("server", "localhost");
    let gateway = behind(&upstream, "[\"10.0.0.0/8\", \"127.0.0.0/8\"]")
        .server("h2c = true")
        .tls(&certificates)
        .start();
    for (index, (header, client)) in [
        (TEXT, "192.0.2.7"),
        (BINARY, "192.0.2.8"),
        (LOCAL, "127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let clear = connect(gateway.address(), header).await;
        let clear = deliver(clear, &format!("evt_{index}_clear")).await;
        let secure = connect(gateway.tls_address(), header).await;
        let tls = TlsConnector::from(certificates.client("http/1.1"));
        let name = "localhost".try_into().expect("the name is valid");
        let secure = tls
            .connect(name, secure)
            .await
            .expect("the handshake succeeds");
        let secure = deliver(secure, &format!("evt_{index}_tls")).await;
        for response in [clear, secure] {
            assert!(response.starts_with("HTTP/1.1 204"), "{client}: {response}");
            let arrived = upstream.take_received();
            for arrival in arrived {
                assert_eq!(arrival.headers["x-forwarded-for"], client);
            }
        }
    }
    gateway.wait_for_log("evt_2_tls").await;
    let clients: Vec<_> = gateway
        .access_log()
        .iter()
        .map(|line| line["client"].as_str().map(str::to_owned))
        .collect();
    let expected = ["192.0.2.7", "192.0.2.8", "127.0.0.1"];
    let expected: Vec<_> = expected
        .iter()
        .flat_map(|client| [client, client])
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|client| Some(client.to_string()))
        .collect();
    assert_eq!(clients, expected);
}

#[tokio::test]
async fn only_trusted_peers_can_send_a_proxy_header_and_they_must() {
    let upstream = Upstream::start().await;
    let short_timeout = "[limits]\nhead_timeout = \"5s\"";
    let trusted = behind(&upstream, "\"127.0.0.1\"")
        .table(short_timeout)
        .start();
    let untrusted = behind(&upstream, "[\"10.0.0.0/8\"]")
        .table(short_timeout)
        .start();
    let none = Gateway::builder(upstream.address())
        .table(short_timeout)
        .start();
    for (name, gateway, header, expected) in [
        ("header of a trusted peer", &trusted, TEXT, "HTTP/1.1 204"),
        ("no header", &trusted, b"".as_slice(), ""),
        ("truncated header", &trusted, &TEXT[..20], ""),
        (
            "malformed header",
            &trusted,
            b"PROXY TCP4 192.0.2.7\r\n".as_slice(),
            "",
        ),
        (
            "two headers",
            &trusted,
            &[TEXT, TEXT].concat(),
            "HTTP/1.1 400",
        ),
        ("header of an untrusted peer", &untrusted, TEXT, ""),
        ("untrusted peer, no header", &untrusted, b"".as_slice(), ""),
        // The control: without the setting, a PROXY header is a malformed request.
        ("setting off, header", &none, TEXT, "HTTP/1.1 400"),
        (
            "setting off, no header",
            &none,
            b"".as_slice(),
            "HTTP/1.1 204",
        ),
    ] {
        let stream = connect(gateway.address(), header).await;
        let response = deliver(stream, name).await;
        match expected {
            "" => assert_eq!(response, "", "{name}"),
            expected => assert!(response.starts_with(expected), "{name}: {response}"),
        }
    }
    assert_eq!(upstream.take_received().len(), 2);
    for (gateway, reason, count) in [
        (&untrusted, "not_a_balancer", 2),
        (&trusted, "no_proxy_header", 3),
        (&none, "not_a_balancer", 0),
    ] {
        let metrics = gateway.get_admin("/metrics").await;
        let counted =
            format!("hookgate_connections_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&counted), "{counted}{metrics}");
    }
    // The gateway closes a connection without a complete PROXY header after `head_timeout`.
    let mut incomplete = Vec::new();
    for header in [b"".as_slice(), &TEXT[..20], &BINARY[..14]] {
        incomplete.push(connect(trusted.address(), header).await);
    }
    for mut stream in incomplete {
        let closed = timeout(Duration::from_secs(60), stream.read(&mut [0])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    }
}

#[tokio::test]
async fn the_connection_limit_counts_clients_and_not_the_balancer() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, "[\"127.0.0.1\"]")
        .table("[limits]\nconnections_per_address = 1\nhead_timeout = \"1h\"")
        .start();
    let mut held = connect(gateway.address(), TEXT).await;
    let request = b"GET / HTTP/1.1\r\nhost: hooks.example\r\n\r\n";
    held.write_all(request).await.expect("the server reads");
    let read = held
        .read(&mut [0; 1024])
        .await
        .expect("the server responds");
    assert!(read > 0, "the connection is open and counted");
    let of =
        async |header: &[u8], id: &str| deliver(connect(gateway.address(), header).await, id).await;
    assert!(of(BINARY, "evt_other").await.starts_with("HTTP/1.1 204"));
    assert_eq!(of(TEXT, "evt_same").await, "");
    drop(held);
    while of(TEXT, "evt_again").await.is_empty() {}
}
