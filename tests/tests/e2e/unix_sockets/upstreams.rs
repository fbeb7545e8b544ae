//! Upstreams that listen on a Unix socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, GatewayBuilder, Upstream, exchange, raw_delivery, send};
use http::StatusCode;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::beatapi;

/// Connects a Unix socket with a TCP address until it is dropped.
struct Bridge(JoinHandle<()>);

impl Bridge {
    fn start(socket: &Path, to: SocketAddr) -> Self {
        let listener = UnixListener::bind(socket).expect("the path is free");
        Self(tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(to).await.expect("the upstream listens");
                    // Either side may end the connection.
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                });
            }
        }))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn socket() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let path = folder.path().join("app.sock");
    (folder, path)
}

/// Creates a gateway with the upstream `app` at these servers.
fn in_front_of(servers: &[&str]) -> GatewayBuilder {
    Gateway::builder_with_servers(servers)
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

#[tokio::test]
async fn a_delivery_reaches_an_upstream_on_a_socket_over_either_version_of_http() {
    for (protocol, upstream) in [
        ("http1", Upstream::start().await),
        ("h2c", Upstream::start_grpc().await.0),
    ] {
        let (_folder, socket) = socket();
        let _bridge = Bridge::start(&socket, upstream.address());
        let server = unix(&socket);
        let gateway = in_front_of(&[&server])
            .upstream(&format!("protocol = {protocol:?}"))
            .start();
        for id in ["evt_1", "evt_2"] {
            let response = send(gateway.address(), beatapi().delivery(id)).await;
            assert_eq!(response.status, StatusCode::NO_CONTENT, "{protocol}");
        }
        let received = upstream.take_received();
        assert_eq!(received.len(), 2, "{protocol}");
        let lines = gateway.wait_for_access_log(2).await;
        assert_eq!(lines[0]["server"], server.as_str(), "{protocol}");
        assert!(
            gateway
                .get_admin("/readyz")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
}

#[tokio::test]
async fn a_request_without_a_host_gets_localhost() {
    let upstream = Upstream::start().await;
    let (_folder, socket) = socket();
    let _bridge = Bridge::start(&socket, upstream.address());
    let gateway = in_front_of(&[&unix(&socket)]).start();
    // HTTP/1.0 needs no host.
    let request = String::from_utf8(raw_delivery("evt_1")).expect("the delivery is text");
    let old = request
        .replace("HTTP/1.1", "HTTP/1.0")
        .replace("Host: hooks.example\r\n", "");
    for request in [&old, &request] {
        let mut stream = TcpStream::connect(gateway.address())
            .await
            .expect("the gateway listens");
        exchange(&mut stream, request.as_bytes()).await;
    }
    let received = upstream.take_received();
    assert_eq!(received[0].headers["host"], "localhost");
    // The control: the second request is the same event, so it is not forwarded.
    assert_eq!(received.len(), 1);
    let response = send(gateway.address(), beatapi().delivery("evt_2")).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    let received = upstream.take_received();
    assert_eq!(received[0].headers["host"], "hooks.example");
}

#[tokio::test]
async fn health_checks_and_the_next_server_cover_a_socket_that_is_down() {
    let upstream = Upstream::start().await;
    let (_folder, socket) = socket();
    let down = unix(&socket);
    let up = upstream.address().to_string();
    let gateway = in_front_of(&[&down, &up])
        .upstream("health = { path = \"/healthz\", interval = \"20ms\", fall = 3, rise = 1 }")
        .start();
    gateway.wait_for_log("server unhealthy").await;
    for id in ["evt_1", "evt_2"] {
        let response = send(gateway.address(), beatapi().delivery(id)).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
    }
    let series = "hookgate_upstream_unhealthy_servers{upstream=\"app\"}";
    assert_eq!(gateway.existing_counter(series).await, 1);

    let _bridge = Bridge::start(&socket, upstream.address());
    let start = Instant::now();
    while gateway.existing_counter(series).await != 0 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{}",
            gateway.log()
        );
        sleep(Duration::from_millis(20)).await;
    }
    let probes = upstream.take_received();
    let mut hosts = probes
        .iter()
        .filter(|request| request.path.ends_with("/healthz"))
        .map(|request| request.headers["host"].to_str().expect("text"));
    assert!(hosts.any(|host| host == "localhost"));
}
