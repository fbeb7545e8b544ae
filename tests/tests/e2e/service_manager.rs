//! A service manager such as systemd: it opens the sockets, and hears about the state of the
//! gateway.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use hookgate_test_servers::process::free_port;
use hookgate_tests::{Gateway, TestProvider, Upstream, exchange, raw_delivery, send};
use http::StatusCode;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};

/// Opens a TCP socket and a Unix socket as descriptors 3 and 4, and starts the gateway with them.
const ACTIVATE: &str = r#"
import os, socket, sys
host, port, path, *command = sys.argv[1:]
tcp = socket.create_server((host, int(port)))
local = socket.socket(socket.AF_UNIX)
local.bind(path)
os.chmod(path, 0o600)
local.listen()
for number, opened in (10, tcp), (11, local):
    os.dup2(opened.fileno(), number)
for number in 3, 4:
    os.dup2(number + 7, number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="http:local")
os.execv(command[0], command)
"#;

/// An address of this suite alone.
const HOST: &str = "127.0.0.77";

fn beatapi() -> TestProvider {
    TestProvider::named("beatapi")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("the temporary folder is created")
}

/// Returns the shell command that starts the gateway with sockets at these addresses.
fn activate(port: u16, path: &str) -> String {
    format!(
        "exec python3 -c '{ACTIVATE}' {HOST} {port} {path} \"$0\" run --config \"$1\" --log json"
    )
}

#[tokio::test]
async fn the_gateway_accepts_connections_on_the_sockets_of_the_service_manager() {
    let (upstream, folder, port) = (Upstream::start().await, folder(), free_port());
    let path = folder.path().join("in.sock");
    let shown = path.display().to_string();
    let mut gateway = Gateway::builder(upstream.address())
        .listen(&format!("{HOST}:{port}"))
        .listen(&format!("unix:{shown}"))
        .shell_prefix(&activate(port, &shown))
        .start();
    let mode = |path: &std::path::Path| {
        let file = path.metadata().expect("the socket exists");
        file.permissions().mode() & 0o777
    };
    assert_eq!(mode(&path), 0o600, "the mode of the service manager stays");
    let mut tcp = TcpStream::connect((HOST, port))
        .await
        .expect("the gateway listens");
    let mut unix = UnixStream::connect(&path)
        .await
        .expect("the gateway listens");
    let over_tcp = exchange(&mut tcp, &raw_delivery("evt_tcp")).await;
    let over_unix = exchange(&mut unix, &raw_delivery("evt_unix")).await;
    for response in [over_tcp, over_unix] {
        assert!(response.starts_with("HTTP/1.1 204"), "{response}");
    }
    assert_eq!(upstream.take_received().len(), 2);
    drop((tcp, unix));
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
    assert!(path.exists(), "the socket belongs to the service manager");
}

#[tokio::test]
async fn a_socket_without_a_listener_stops_the_start() {
    let (upstream, folder, port) = (Upstream::start().await, folder(), free_port());
    let path = folder.path().join("in.sock").display().to_string();
    let log = Gateway::builder(upstream.address())
        .listen(&format!("unix:{path}"))
        .shell_prefix(&activate(port, &path))
        .try_start()
        .expect_err("the start fails");
    let expected = format!("opened a socket for {HOST}:{port}, and no listener");
    assert!(log.contains(&expected), "{log}");
}

/// Receives the messages of the gateway.
struct Notifications(UnixDatagram);

impl Notifications {
    fn next(&self) -> String {
        let mut message = [0; 1024];
        let len = self.0.recv(&mut message).expect("a message");
        String::from_utf8(message[..len].to_vec()).expect("text")
    }
}

#[tokio::test]
async fn the_service_manager_hears_about_the_start_reloads_and_the_end() {
    let (upstream, folder) = (Upstream::start().await, folder());
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("the path is free");
    let timeout = Some(Duration::from_secs(60));
    socket.set_read_timeout(timeout).expect("a timeout");
    let notifications = Notifications(socket);
    let mut gateway = Gateway::builder(upstream.address())
        .env("NOTIFY_SOCKET", &path.display().to_string())
        .start();
    let ready = notifications.next();
    assert!(ready.starts_with("READY=1\nSTATUS=Serving "), "{ready}");
    assert!(ready.ends_with(" sources\n"), "{ready}");
    let response = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);

    assert!(gateway.reload().await);
    let reloading = notifications.next();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(notifications.next(), ready);

    gateway.edit_config("boot_fence = false", "boot_fence = 1");
    assert!(!gateway.reload().await);
    assert!(notifications.next().starts_with("RELOADING=1\n"));
    let failed = notifications.next();
    assert!(failed.starts_with("READY=1\n"), "{failed}");
    assert!(
        failed.contains("the last reload failed: 1 mistake"),
        "{failed}"
    );

    gateway.signal("TERM");
    loop {
        // The gateway repeats a failed reload from time to time.
        let message = notifications.next();
        if message.starts_with("STOPPING=1\n") {
            break;
        }
    }
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
}

/// A shell often sets a soft limit of 1024 open files, and lets a program raise it.
#[tokio::test]
async fn a_start_raises_the_soft_limit_of_open_files() {
    let upstream = Upstream::start().await;
    let start = |limits: &str| {
        Gateway::builder(upstream.address())
            .table("[limits]\nconnections = 500\n")
            .shell_prefix(limits)
            .start()
    };
    // 500 connections need 1256 open files.
    let gateway = start("ulimit -Sn 1024; ulimit -Hn 2000");
    let series = "process_max_fds";
    assert_eq!(gateway.existing_counter(series).await, 2000);
    let warning = "limits.connections";
    assert!(!gateway.log().contains(warning), "{}", gateway.log());
    // The control: the hard limit is too low as well.
    let gateway = start("ulimit -Sn 1024; ulimit -Hn 1100");
    assert_eq!(gateway.existing_counter(series).await, 1100);
    gateway.wait_for_log(warning).await;
}
