//! Real servers as origins. `make desync-origins` installs the missing ones.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hookgate_test_servers::process::free_port;
use hookgate_tests::Program;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::checker::{Received, read_log};

/// The folder of `make proxies`, and that of `make desync-origins`.
const FOLDERS: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../target/proxies"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../target/desync"),
];
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/desync");

/// A server that divides a connection into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hyper,
    Nginx,
    Haproxy,
    Caddy,
    Apache,
    Node,
    Gunicorn,
    Uvicorn,
    Hypercorn,
}

/// The origins that `make proxies` installs.
pub(super) const FEW: &[Kind] = &[Kind::Hyper, Kind::Nginx, Kind::Haproxy, Kind::Caddy];
pub(super) const ALL: &[Kind] = &[
    Kind::Hyper,
    Kind::Nginx,
    Kind::Haproxy,
    Kind::Caddy,
    Kind::Apache,
    Kind::Node,
    Kind::Gunicorn,
    Kind::Uvicorn,
    Kind::Hypercorn,
];

/// A running origin.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    recorder: Recorder,
    folder: TempDir,
    _program: Option<Program>,
}

impl Origin {
    pub(super) async fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let recorder = Recorder::start().await;
        let (port, program) = match kind.command(folder.path(), recorder.address) {
            None => (recorder.address.port(), None),
            Some((port, command)) => (port, Some(start(command, folder.path(), port).await)),
        };
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            recorder,
            folder,
            _program: program,
        }
    }

    /// Returns the requests that arrived so far. A proxy passes them to the recorder, and an app
    /// writes them to its log.
    pub(super) fn received(&self) -> Vec<Received> {
        let mut received = self
            .recorder
            .received
            .lock()
            .expect("no service panics")
            .clone();
        received.extend(read_log(&self.folder.path().join("requests")));
        received
    }

    /// Waits until the requests of closed connections have arrived.
    pub(super) async fn settle(&self) {
        let mut before = None;
        while before != Some(self.received().len()) {
            before = Some(self.received().len());
            sleep(Duration::from_millis(500)).await;
        }
    }
}

async fn start(mut command: Command, folder: &Path, port: u16) -> Program {
    let [proxies, desync] = FOLDERS.map(|folder| format!("{folder}/bin"));
    command
        .env("ORIGIN_LOG", folder.join("requests"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let targets = "proxies desync-origins";
    let mut program = Program::start(command, folder, "origin", &[&proxies, &desync], targets);
    let is_ready = async |_: &str| TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    program.wait_until(is_ready).await;
    program
}

impl Kind {
    /// Returns the port and the command of the server. A proxy forwards to `recorder`.
    fn command(self, folder: &Path, recorder: SocketAddr) -> Option<(u16, Command)> {
        let port = free_port();
        let write = |name: &str, text: String| {
            fs::write(folder.join(name), text).expect("the file is written");
        };
        let mut command;
        match self {
            Self::Hyper => return None,
            Self::Nginx => {
                write("nginx.conf", nginx(port, recorder));
                command = Command::new("nginx");
                command.args(["-p", ".", "-c", "nginx.conf", "-e", "stderr"]);
            }
            Self::Haproxy => {
                write("haproxy.cfg", haproxy(port, recorder));
                command = Command::new("haproxy");
                command.args(["-db", "-f", "haproxy.cfg"]);
            }
            Self::Caddy => {
                write("Caddyfile", caddy(port, recorder));
                command = Command::new("caddy");
                command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
            }
            Self::Apache => {
                write("apache.conf", apache(port, recorder));
                command = Command::new("apache2");
                let folder = folder.display();
                command
                    .args(["-X", "-d", "."])
                    .args(["-f", &format!("{folder}/apache.conf")]);
            }
            Self::Node => {
                command = Command::new("node");
                command
                    .arg(format!("{SOURCES}/origin.mjs"))
                    .arg(port.to_string());
            }
            Self::Gunicorn => {
                command = python("gunicorn");
                let address = format!("127.0.0.1:{port}");
                command.args([
                    "--pythonpath",
                    SOURCES,
                    "--threads",
                    "8",
                    "--bind",
                    &address,
                ]);
                command.arg("origin:wsgi");
            }
            Self::Uvicorn => {
                command = python("uvicorn");
                command.args([
                    "--app-dir",
                    SOURCES,
                    "--http",
                    "h11",
                    "--port",
                    &port.to_string(),
                ]);
                command.arg("origin:asgi");
            }
            Self::Hypercorn => {
                command = python("hypercorn");
                command.env("PYTHONPATH", SOURCES);
                command.args(["--bind", &format!("127.0.0.1:{port}"), "origin:asgi"]);
            }
        }
        Some((port, command))
    }
}

/// Returns a program of the Python packages of `make desync-origins`.
fn python(program: &str) -> Command {
    let [_, desync] = FOLDERS;
    let path = fs::read_to_string(Path::new(desync).join("python/path"));
    let path = path.expect("run `make desync-origins`");
    Command::new(PathBuf::from(path.trim_end()).join(program))
}

fn nginx(port: u16, recorder: SocketAddr) -> String {
    format!(
        "daemon off; pid nginx.pid;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n\
           access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
           fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
           client_header_timeout 5s; client_body_timeout 5s;\n\
           upstream recorder {{ server {recorder}; keepalive 8; }}\n\
           server {{ listen 127.0.0.1:{port}; location / {{\n\
             proxy_pass http://recorder; proxy_http_version 1.1; proxy_set_header Connection '';\n\
             proxy_ignore_client_abort on;\n\
           }} }}\n\
         }}\n"
    )
}

fn haproxy(port: u16, recorder: SocketAddr) -> String {
    format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
         frontend origin\n bind 127.0.0.1:{port}\n default_backend recorder\n\
         backend recorder\n server recorder {recorder}\n"
    )
}

fn caddy(port: u16, recorder: SocketAddr) -> String {
    format!(
        "{{\n admin off\n}}\nhttp://127.0.0.1:{port}, http://:{port} {{\n reverse_proxy {recorder}\n}}\n"
    )
}

fn apache(port: u16, recorder: SocketAddr) -> String {
    let modules = ["mpm_event", "authz_core", "proxy", "proxy_http"];
    let folders = ["/usr/lib/apache2/modules".to_owned()]
        .into_iter()
        .chain(FOLDERS.map(|folder| format!("{folder}/root/usr/lib/apache2/modules")));
    let folder = folders
        .into_iter()
        .find(|folder| Path::new(folder).exists());
    let folder = folder.expect("run `make desync-origins`");
    let modules = modules.map(|name| format!("LoadModule {name}_module {folder}/mod_{name}.so\n"));
    let modules = modules.concat();
    format!(
        "{modules}ServerName localhost\nListen 127.0.0.1:{port}\nPidFile apache.pid\nTimeout 5\n\
         DefaultRuntimeDir .\nErrorLog /dev/stderr\nMutex posixsem\n\
         ProxyPass / http://{recorder}/\n"
    )
}

/// An origin on hyper, which keeps the requests that it receives.
struct Recorder {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Recorder {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let all = Arc::clone(&all);
                let service = service_fn(move |request| record(request, Arc::clone(&all)));
                let stream = TokioIo::new(stream);
                // An attacked connection may end with an error.
                tokio::spawn(
                    http1::Builder::new()
                        .half_close(true)
                        .serve_connection(stream, service),
                );
            }
        });
        Self { address, received }
    }
}

async fn record(
    request: Request<Incoming>,
    all: Arc<Mutex<Vec<Received>>>,
) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let fields = parts.headers.iter().map(|(name, value)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    let received = Received {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        fields: fields.collect(),
        body: hex::encode(body),
    };
    all.lock().expect("no service panics").push(received);
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
