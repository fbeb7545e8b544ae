//! Behind a load balancer that passes connections on by the PROXY protocol: each is of the
//! client that the balancer names, and nobody else may name one.

use std::net::SocketAddr;
use std::time::Duration;

use hookgate_tests::{Certificates, Gateway, GatewayBuilder, TestProvider, Upstream, now};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const TEXT: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\x0a\0\0\x01\x9c\x40\x01\xbb";
/// What a balancer asks for itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn behind(upstream: &Upstream, networks: &str) -> GatewayBuilder {
    Gateway::builder(upstream.address()).server(&format!("proxy_protocol = {networks}"))
}

/// A connection that begins with `header`.
async fn connect(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream.write_all(header).await.expect("the server reads");
    stream
}

/// The answer to a delivery, to the end of the connection; nothing if it was closed.
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
    let mut answer = Vec::new();
    if stream.write_all(&request).await.is_ok() {
        let read = stream.read_to_end(&mut answer);
        let _ = timeout(Duration::from_secs(20), read)
            .await
            .expect("an end");
    }
    String::from_utf8(answer).expect("the bytes are UTF-8")
}

#[tokio::test]
async fn a_connection_is_of_the_client_that_the_balancer_names() {
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
        for answer in [clear, secure] {
            assert!(answer.starts_with("HTTP/1.1 204"), "{client}: {answer}");
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
async fn nobody_else_names_one_and_without_a_name_there_is_no_connection() {
    let upstream = Upstream::start().await;
    let patience = "[limits]\nhead_timeout = \"1s\"";
    let trusting = behind(&upstream, "\"127.0.0.1\"").table(patience).start();
    let others = behind(&upstream, "[\"10.0.0.0/8\"]")
        .table(patience)
        .start();
    let none = Gateway::builder(upstream.address()).table(patience).start();
    for (name, gateway, header, expected) in [
        ("good", &trusting, TEXT, "HTTP/1.1 204"),
        ("none", &trusting, b"".as_slice(), ""),
        ("half", &trusting, &TEXT[..20], ""),
        ("bad", &trusting, b"PROXY TCP4 192.0.2.7\r\n".as_slice(), ""),
        ("twice", &trusting, &[TEXT, TEXT].concat(), "HTTP/1.1 400"),
        ("another network", &others, TEXT, ""),
        ("another network, none", &others, b"".as_slice(), ""),
        // The control: where none is expected, it is what it looks like.
        ("not expected", &none, TEXT, "HTTP/1.1 400"),
        ("as ever", &none, b"".as_slice(), "HTTP/1.1 204"),
    ] {
        let stream = connect(gateway.address(), header).await;
        let answer = deliver(stream, name).await;
        match expected {
            "" => assert_eq!(answer, "", "{name}"),
            expected => assert!(answer.starts_with(expected), "{name}: {answer}"),
        }
    }
    assert_eq!(upstream.take_received().len(), 2);
    for (gateway, reason, count) in [
        (&others, "not_a_balancer", 2),
        (&trusting, "no_proxy_header", 3),
        (&none, "not_a_balancer", 0),
    ] {
        let metrics = gateway.get_admin("/metrics").await;
        let counted =
            format!("hookgate_connections_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&counted), "{counted}{metrics}");
    }
    // Nor does one who says nothing, or half of it, stay for longer than a head may take.
    for header in [b"".as_slice(), &TEXT[..20], &BINARY[..14]] {
        let mut stream = connect(trusting.address(), header).await;
        let closed = timeout(Duration::from_secs(20), stream.read(&mut [0])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    }
}

#[tokio::test]
async fn limits_are_those_of_the_client_and_not_of_the_balancer() {
    let upstream = Upstream::start().await;
    let gateway = behind(&upstream, "[\"127.0.0.1\"]")
        .table("[limits]\nconnections_per_address = 1\nhead_timeout = \"1h\"")
        .start();
    let mut held = connect(gateway.address(), TEXT).await;
    let ask = b"GET / HTTP/1.1\r\nhost: hooks.example\r\n\r\n";
    held.write_all(ask).await.expect("the server reads");
    let read = held
        .read(&mut [0; 1024])
        .await
        .expect("the server responds");
    assert!(read > 0, "it is there, and counted");
    let of =
        async |header: &[u8], id: &str| deliver(connect(gateway.address(), header).await, id).await;
    assert!(of(BINARY, "evt_other").await.starts_with("HTTP/1.1 204"));
    assert_eq!(of(TEXT, "evt_same").await, "");
    drop(held);
    while of(TEXT, "evt_again").await.is_empty() {}
}
