//! A proxy, the gateway and a Flask app, each as a process, as docs/proxies.md connects them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hookgate_test_servers::process::free_port;
use hookgate_tests::{Certificates, Gateway, Program, SECRETS, TestProvider, now, replace_tokens};
use http::StatusCode;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// The name of the public host.
const HOST: &str = "hooks.example";
/// The folder of `make proxies`.
const PROXIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/proxies");
/// The longest time that a test waits for a program.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A program in front of the gateway, with its configuration of the page.
pub(super) enum Proxy {
    Nginx(String),
    Caddy(String),
    Haproxy(String),
    Envoy(String),
}

/// The app behind the gateway.
pub(super) enum App {
    /// The program of the page.
    Page(String),
    /// A program with Flask-Talisman, which reads `X-Forwarded-Proto` by itself.
    Talisman,
}

const TALISMAN: &str = r#"
from flask import Flask, request
from flask_talisman import Talisman

app = Flask(__name__)
Talisman(app)

@app.post("/hooks/beatapi")
def delivery():
    print("delivery", request.headers["hookgate-event-id"], flush=True)
    return "", 204
"#;

/// The processes of one test.
pub(super) struct Site {
    pub(super) gateway: Gateway,
    certificates: Certificates,
    folder: TempDir,
    port: u16,
    _programs: [Program; 2],
}

/// Starts a program whose output goes to `NAME.log` in `folder`.
fn start(folder: &Path, name: &str, program: &Path, arguments: &[&str]) -> Program {
    let mut command = Command::new(program);
    command.args(arguments);
    let search = format!("{PROXIES}/bin");
    Program::start(command, folder, name, &[&search], "proxies")
}

/// Returns a program that `make proxies` installs from PyPI, or `None` if it cannot be installed.
fn installed(program: &str) -> Option<PathBuf> {
    let folder = Path::new(PROXIES).join(program);
    assert!(
        folder.exists(),
        "{}: the folder is missing; run `make proxies`",
        folder.display()
    );
    let Ok(path) = std::fs::read_to_string(folder.join("path")) else {
        eprintln!("SKIPPED: {program} is not installed");
        return None;
    };
    Some(path.trim_end().into())
}

impl Site {
    /// Starts the app, the gateway with `config`, and the proxy. Returns `None` if the app or the
    /// proxy cannot be installed.
    pub(super) async fn start(proxy: Proxy, config: &str, app: App) -> Option<Self> {
        let program = proxy.program()?;
        let flask = installed("flask")?;
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let certificates = Certificates::new();
        certificates.issue("tls", HOST);
        let (app, app_port) = start_app(folder.path(), &flask, &app).await;
        let app_at = ("127.0.0.1:3000", format!("127.0.0.1:{app_port}"));
        let back_at = ("127.0.0.1:8081", format!("127.0.0.1:{}", free_port()));
        let any_port = |written| (written, "127.0.0.1:0".to_owned());
        let logged = ("[server]", "[server]\naccess_log = \"stderr\"".to_owned());
        let tokens = [
            app_at.clone(),
            back_at.clone(),
            any_port("127.0.0.1:8080"),
            any_port("127.0.0.1:9090"),
            logged,
        ];
        let config = replace_tokens(config, &tokens) + "\n[replay]\nboot_fence = false\n";
        let secret = SECRETS[0];
        assert_eq!(secret.0, "beatapi");
        let gateway = Gateway::start_with(&config, &[("BEATAPI_SECRET", secret.1)]);
        let port = free_port();
        let servers = [
            app_at,
            back_at,
            ("127.0.0.1:8080", gateway.address().to_string()),
            ("port_value: 3000", format!("port_value: {app_port}")),
            (
                "port_value: 8080",
                format!("port_value: {}", gateway.address().port()),
            ),
        ];
        let proxy = proxy
            .start(&program, folder.path(), &servers, port, &certificates)
            .await;
        Some(Self {
            gateway,
            certificates,
            folder,
            port,
            _programs: [proxy, app],
        })
    }

    /// Sends a genuine delivery with more headers. Returns the status and the body of the response.
    pub(super) fn deliver(
        &self,
        id: &str,
        version: &str,
        headers: &[String],
    ) -> (StatusCode, String) {
        let provider = TestProvider::named("beatapi");
        let body = provider.body(id);
        let signed = provider.sign(&body, now(), id);
        let signed = signed.iter().map(|(name, value)| {
            let value = value.to_str().expect("the value is text");
            format!("{name}: {value}")
        });
        let headers: Vec<String> = signed.chain(headers.iter().cloned()).collect();
        let body = std::str::from_utf8(&body).expect("the body is text");
        self.curl("/hooks/beatapi", version, &headers, Some(body))
    }

    /// Sends a delivery without a signature.
    pub(super) fn post_unsigned(&self, version: &str) -> (StatusCode, String) {
        self.curl("/hooks/beatapi", version, &[], Some("{}"))
    }

    /// Requests a page.
    pub(super) fn get(&self, path: &str, version: &str) -> (StatusCode, String) {
        self.curl(path, version, &[], None)
    }

    fn curl(
        &self,
        path: &str,
        version: &str,
        headers: &[String],
        body: Option<&str>,
    ) -> (StatusCode, String) {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "60", version])
            .args(["--interface", super::recipes::SENDER])
            .args(["--write-out", "\n%{http_code}"])
            .args([
                "--connect-to",
                &format!("{HOST}:443:127.0.0.1:{}", self.port),
            ])
            .arg("--cacert")
            .arg(self.certificates.path("ca.pem"))
            .arg(format!("https://{HOST}{path}"));
        for header in headers {
            command.args(["-H", header]);
        }
        if let Some(body) = body {
            command.args([
                "-H",
                "content-type: application/json",
                "--data-binary",
                body,
            ]);
        }
        let output = command
            .output()
            .expect("curl is installed: make http-clients");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}\n{}", self.logs());
        let (body, status) = text.rsplit_once('\n').expect("curl writes the status");
        let status = status.parse().expect("curl writes a number");
        let status = StatusCode::from_u16(status).expect("the status is valid");
        (status, body.to_owned())
    }

    /// Waits until the app has written a line that starts with `start`.
    pub(super) async fn wait_for_app(&self, start: &str) {
        let began = Instant::now();
        while self.app_lines(start).is_empty() {
            assert!(began.elapsed() < WAIT_TIMEOUT, "{start}:\n{}", self.logs());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the lines of the app that start with `start`.
    pub(super) fn app_lines(&self, start: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("app.log"));
        let log = log.expect("the file is readable");
        let lines = log.lines().filter(|line| line.starts_with(start));
        lines.map(str::to_owned).collect()
    }

    /// Returns the logs of all programs.
    pub(super) fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name));
        let logs = ["app.log", "proxy.log"].map(|name| read(name).unwrap_or_default());
        format!("{}\n{}", logs.join("\n"), self.gateway.log())
    }
}

/// Starts a Flask app on a free port, and returns the port.
async fn start_app(folder: &Path, flask: &Path, app: &App) -> (Program, u16) {
    let text = match app {
        App::Page(text) => text,
        App::Talisman => TALISMAN,
    };
    std::fs::write(folder.join("app.py"), text).expect("the file is written");
    let arguments = ["--app", "app", "run", "--port", "0"];
    let mut program = start(folder, "app", flask, &arguments);
    let mut port = None;
    let is_ready = async |log: &str| {
        let address = log.split("Running on http://127.0.0.1:").nth(1);
        port = address.and_then(|rest| rest.lines().next()?.trim().parse().ok());
        port.is_some()
    };
    program.wait_until(is_ready).await;
    (program, port.expect("the app has a port"))
}

impl Proxy {
    fn text(&self) -> &str {
        match self {
            Self::Nginx(text) | Self::Caddy(text) | Self::Haproxy(text) | Self::Envoy(text) => text,
        }
    }

    /// Returns the program, or `None` if it cannot be installed.
    fn program(&self) -> Option<PathBuf> {
        match self {
            Self::Nginx(_) => Some("nginx".into()),
            Self::Caddy(_) => Some("caddy".into()),
            Self::Haproxy(_) => Some("haproxy".into()),
            Self::Envoy(_) => installed("envoy"),
        }
    }

    /// Returns the name and the text of the file of the program. `tokens` are the addresses of the
    /// page with those of the test.
    fn file(
        &self,
        folder: &Path,
        tokens: &[(&'static str, String)],
        port: u16,
        certificates: &Certificates,
    ) -> (&'static str, String) {
        let file = |name: &str| certificates.path(name).display().to_string();
        let both = folder.join("both.pem").display().to_string();
        let joined = ["tls.pem", "tls.key"].map(|name| {
            std::fs::read_to_string(certificates.path(name)).expect("the file is readable")
        });
        std::fs::write(&both, joined.concat()).expect("the file is written");
        let (certificate, key) = (file("tls.pem"), file("tls.key"));
        let caddy = format!(
            "{{\n\tadmin off\n\tauto_https disable_redirects\n}}\nhttps://{HOST}:{port} {{\n\t\
             bind 127.0.0.1\n\ttls {certificate} {key}\n"
        );
        let mut tokens = tokens.to_vec();
        tokens.extend([
            ("listen 443", format!("listen 127.0.0.1:{port}")),
            ("bind :443", format!("bind 127.0.0.1:{port}")),
            ("port_value: 443", format!("port_value: {port}")),
            ("0.0.0.0", "127.0.0.1".to_owned()),
            ("hooks.example {\n", caddy),
            ("/etc/hookgate/tls.crt", certificate),
            ("/etc/hookgate/tls.key", key),
            ("/etc/hookgate/tls.pem", both),
        ]);
        let text = replace_tokens(self.text(), &tokens);
        match self {
            Self::Nginx(_) => ("nginx.conf", nginx_file(&text)),
            Self::Caddy(_) => ("Caddyfile", text),
            Self::Haproxy(_) => ("haproxy.cfg", text),
            Self::Envoy(_) => ("envoy.yaml", text),
        }
    }

    /// Starts the program on `port`, and waits until it presents its certificate.
    async fn start(
        &self,
        program: &Path,
        folder: &Path,
        tokens: &[(&'static str, String)],
        port: u16,
        certificates: &Certificates,
    ) -> Program {
        let (name, text) = self.file(folder, tokens, port, certificates);
        std::fs::write(folder.join(name), text).expect("the file is written");
        let path = folder.display().to_string();
        let arguments = match self {
            Self::Nginx(_) => vec!["-e", "stderr", "-p", &path, "-c", name],
            Self::Caddy(_) => vec!["run", "--config", name],
            Self::Haproxy(_) => vec!["-db", "-f", name],
            Self::Envoy(_) => vec!["--disable-hot-restart", "--concurrency", "1", "-c", name],
        };
        let mut program = start(folder, "proxy", program, &arguments);
        // Another program could have bound the port first. It would have no such certificate.
        let client = TlsConnector::from(certificates.client("http/1.1"));
        let serves_tls = async |_: &str| {
            let handshake = async {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                let name = HOST.try_into().map_err(std::io::Error::other)?;
                client.connect(name, stream).await
            };
            let handshake = timeout(Duration::from_secs(5), handshake).await;
            handshake.is_ok_and(|result| result.is_ok())
        };
        program.wait_until(serves_tls).await;
        program
    }
}

/// Returns a complete file for the servers in `servers`, with one process and without files of the
/// system.
fn nginx_file(servers: &str) -> String {
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths
        .map(|name| format!("{name}_temp_path {name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{paths}{servers}}}\n"
    )
}
