//! Senders, such as a proxy on the same machine, that reach the gateway over a Unix socket.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hookgate_tests::{
    Gateway, GatewayBuilder, Upstream, exchange, raw_delivery, raw_request, send,
};
use http::{HeaderMap, StatusCode};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::{beatapi, deliver};

/// Creates a gateway that also listens on a socket in `folder`. Returns the path of the socket.
fn listening(upstream: &Upstream, folder: &TempDir) -> (GatewayBuilder, PathBuf) {
    let path = folder.path().join("in.sock");
    let builder = Gateway::builder(upstream.address());
    (builder.listen(&format!("unix:{}", path.display())), path)
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("the temporary folder is created")
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[tokio::test]
async fn a_delivery_over_a_socket_has_no_client_address() {
    let (upstream, folder) = (Upstream::start().await, folder());
    let (builder, socket) = listening(&upstream, &folder);
    let mut gateway = builder.server("h2c = true").start();
    let mode = socket.metadata().expect("the socket exists").permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);

    let response = deliver(&socket, "evt_1").await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
    let stream = UnixStream::connect(&socket).await;
    let io = TokioIo::new(stream.expect("the gateway listens"));
    let (mut client, connection) = handshake(TokioExecutor::new(), io)
        .await
        .expect("the HTTP/2 handshake succeeds");
    tokio::spawn(connection);
    let mut request = beatapi().delivery("evt_2");
    request.headers_mut().remove("host");
    let uri = format!("http://hooks.example{}", beatapi().path());
    *request.uri_mut() = uri.parse().expect("the address is valid");
    let response = client.send_request(request).await;
    let response = response.expect("the gateway responds");
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    // The control: over TCP, the client has an address.
    let response = send(gateway.address(), beatapi().delivery("evt_3")).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);

    let received = upstream.take_received();
    let forwarded_for = |request: &hookgate_tests::ReceivedRequest| {
        let value = request.headers.get("x-forwarded-for");
        value.map(|value| value.to_str().expect("text").to_owned())
    };
    let forwarded_for: Vec<_> = received.iter().map(forwarded_for).collect();
    assert_eq!(forwarded_for, [None, None, Some("127.0.0.1".to_owned())]);
    let lines = gateway.wait_for_access_log(3).await;
    let clients: Vec<_> = lines.iter().map(|line| &line["client"]).collect();
    assert_eq!(clients, ["unix", "unix", "127.0.0.1"]);

    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
    assert!(!exists(&socket), "the socket is left behind");
}

#[tokio::test]
async fn all_senders_on_sockets_share_one_budget_of_refusals() {
    let (upstream, folder) = (Upstream::start().await, folder());
    let (builder, socket) = listening(&upstream, &folder);
    let other = folder.path().join("other.sock");
    let builder = builder.listen(&format!("unix:{}", other.display()));
    let gateway = builder
        .table("[limits]\nrefused_per_minute = { address = 1, source = 100 }")
        .start();
    let forged = raw_request(&beatapi().path(), &HeaderMap::new(), b"{}");
    let refuse = async |socket: &Path| {
        let stream = UnixStream::connect(socket).await;
        let response = exchange(&mut stream.expect("the gateway listens"), &forged).await;
        response.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(refuse(&socket).await, "401");
    assert_eq!(refuse(&other).await, "429");
    // The control: a sender with an address has its own budget.
    let mut request = beatapi().delivery("evt_1");
    request.headers_mut().remove("x-beatapi-signature");
    let forged = send(gateway.address(), request).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    // A genuine delivery needs no budget.
    let response = deliver(&socket, "evt_2").await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
}

#[tokio::test]
async fn a_start_replaces_the_socket_of_a_killed_process_and_of_no_other() {
    let (upstream, folder) = (Upstream::start().await, folder());
    let start = || listening(&upstream, &folder).0;
    let socket = listening(&upstream, &folder).1;
    let gateway = start().start();
    let log = start().try_start().expect_err("the start fails");
    let expected = format!("cannot listen on unix:{}", socket.display());
    assert!(log.contains(&expected), "{log}");
    assert!(log.contains("another process listens there"), "{log}");
    let response = deliver(&socket, "evt_1").await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");

    // `kill -9` leaves the socket behind.
    drop(gateway);
    assert!(exists(&socket));
    let mut gateway = start().start();
    let response = deliver(&socket, "evt_2").await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");

    // The end of the process leaves the socket of another process in place.
    std::fs::remove_file(&socket).expect("the socket exists");
    let _other = UnixListener::bind(&socket).expect("the path is free");
    gateway.signal("TERM");
    gateway.wait_for_exit().await;
    assert!(exists(&socket));

    std::fs::remove_file(&socket).expect("the socket exists");
    std::fs::write(&socket, "a file").expect("the file is written");
    let log = start().try_start().expect_err("the start fails");
    assert!(log.contains("the file exists and is no socket"), "{log}");
}

/// The predecessor continues to serve, so its socket must stay.
#[tokio::test]
async fn a_successor_that_fails_leaves_the_socket_in_place() {
    let (upstream, folder) = (Upstream::start().await, folder());
    let (builder, socket) = listening(&upstream, &folder);
    let upgrade = folder.path().join("upgrade.sock").display().to_string();
    let builder = builder.server(&format!("upgrade_socket = {upgrade:?}"));
    let gateway = builder.start();
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let occupied = occupied.local_addr().expect("the listener has an address");
    let log = gateway
        .failing_successor(|config| {
            config.replace(&gateway.admin().to_string(), &occupied.to_string())
        })
        .await;
    assert!(
        log.contains(&format!("cannot listen on {occupied}")),
        "{log}"
    );
    let response = deliver(&socket, "evt_1").await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
}

#[tokio::test]
async fn a_socket_that_the_successor_does_not_use_is_removed() {
    let (upstream, folder) = (Upstream::start().await, folder());
    let (builder, socket) = listening(&upstream, &folder);
    let unused = folder.path().join("unused.sock");
    let line = format!("unix:{}", unused.display());
    let upgrade = folder.path().join("upgrade.sock").display().to_string();
    let builder = builder.server(&format!("upgrade_socket = {upgrade:?}"));
    let mut gateway = builder.listen(&line).start();
    gateway.edit_config(&format!(", {line:?}"), "");
    let _successor = gateway.successor();
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
    assert!(!exists(&unused), "no process listens there any more");
    let response = deliver(&socket, "evt_1").await;
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
}

#[tokio::test]
async fn an_upgrade_hands_a_socket_over() {
    let (upstream, folder) = (Upstream::start().await, folder());
    let (builder, socket) = listening(&upstream, &folder);
    let upgrade = folder.path().join("upgrade.sock").display().to_string();
    let builder = builder.server(&format!("upgrade_socket = {upgrade:?}"));
    let mut gateway = builder.start();
    let inode = |path: &Path| {
        let file = path.metadata().expect("the socket exists");
        std::os::unix::fs::MetadataExt::ino(&file)
    };
    let before = inode(&socket);
    for number in 0..2 {
        let successor = gateway.successor();
        assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
        assert_eq!(inode(&socket), before, "the socket was replaced");
        assert!(!exists(Path::new(&upgrade)));
        let response = deliver(&socket, &format!("evt_{number}")).await;
        assert!(response.starts_with("HTTP/1.1 204"), "{response}");
        gateway = successor;
    }
    gateway.signal("TERM");
    gateway.wait_for_exit().await;
    assert!(!exists(&socket), "the socket is left behind");
}

#[tokio::test]
async fn a_trusted_proxy_on_a_socket_names_the_client() {
    for (trusted, client) in [
        ("trusted_proxies = [\"unix\"]", "192.0.2.7"),
        // The control: another proxy is trusted.
        ("trusted_proxies = [\"10.0.0.0/8\"]", "unix"),
    ] {
        let (upstream, folder) = (Upstream::start().await, folder());
        let (builder, socket) = listening(&upstream, &folder);
        let gateway = builder.server(trusted).start();
        let delivery = String::from_utf8(raw_delivery("evt_1")).expect("the delivery is text");
        let forwarded = "\r\nX-Forwarded-For: 192.0.2.7\r\nContent-Length: ";
        let delivery = delivery.replace("\r\nContent-Length: ", forwarded);
        let stream = UnixStream::connect(&socket).await;
        let mut stream = stream.expect("the gateway listens");
        let response = exchange(&mut stream, delivery.as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 204"), "{response}");
        let received = upstream.take_received();
        let forwarded_for = received[0].headers.get("x-forwarded-for");
        assert_eq!(forwarded_for.is_some(), client != "unix", "{trusted}");
        let lines = gateway.wait_for_access_log(1).await;
        assert_eq!(lines[0]["client"], client, "{trusted}");
    }
}
