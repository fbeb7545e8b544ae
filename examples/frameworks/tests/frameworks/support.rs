//! A client for the servers under test, and the programs under test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use bytes::Bytes;
use http::Request;
use tower_hookgate::Secret;
use tower_hookgate::test_util::{TestDelivery, TestProvider};

pub const SECRET: &str = "whsec_5f0c8a6de2b94a13";
pub const PAID: &str = r#"{"id":"evt_1","type":"invoice.paid"}"#;

/// Returns a delivery of `body` that Stripe signs with `secret`.
pub fn signed(secret: &str, body: impl Into<Bytes>) -> TestDelivery {
    let secret = Secret::new(secret).expect("the secret is not empty");
    let stripe = TestProvider::named("stripe").with_secret(secret);
    stripe.delivery(body).path("/hooks/stripe")
}

pub fn delivery(body: impl Into<Bytes>) -> TestDelivery {
    signed(SECRET, body)
}

/// The response of a server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The value of `hookgate-outcome`.
    pub outcome: Option<String>,
    /// The body, in lower case.
    pub body: String,
}

impl Answer {
    /// Returns the status and the outcome, for comparisons.
    pub fn parts(&self) -> (u16, Option<&str>) {
        (self.status, self.outcome.as_deref())
    }
}

/// Sends a request to the server at `address`, and reads its whole response.
pub fn send(address: &str, request: &Request<Bytes>) -> Answer {
    let mut bytes = head(request);
    bytes.push_str(&format!("Content-Length: {}\r\n\r\n", request.body().len()));
    exchange(address, &[bytes.as_bytes(), request.body()].concat())
}

/// Returns the head of a request without a length.
pub fn head(request: &Request<Bytes>) -> String {
    let (method, uri) = (request.method(), request.uri());
    let mut head = format!("{method} {uri} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    for (name, value) in request.headers() {
        let value = value.to_str().expect("the headers of Stripe are text");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "Content-Type: application/json\r\n"
}

/// Sends `request` to the server at `address`, and reads its whole response.
pub fn exchange(address: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    // A server may respond before it has read the whole body.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let text = String::from_utf8_lossy(&response).to_ascii_lowercase();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let outcome = lines.find_map(|line| line.strip_prefix("hookgate-outcome: "));
    Answer {
        status: status
            .expect("the server responds")
            .parse()
            .expect("the status is a number"),
        outcome: outcome.map(str::to_owned),
        body: body.to_owned(),
    }
}

/// Serves a new listener in a thread, and returns its address.
pub fn serve_in_thread(serve: impl FnOnce(TcpListener) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener
        .set_nonblocking(true)
        .expect("the listener is valid");
    let address = listener.local_addr().expect("the listener has an address");
    std::thread::spawn(move || serve(listener));
    address.to_string()
}

/// Serves the routes of actix-web that `configure` adds.
pub fn run_actix(
    listener: TcpListener,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) {
    let server = HttpServer::new(move || App::new().configure(configure.clone()));
    let server = server.workers(1).disable_signals();
    let server = server.listen(listener).expect("the listener is valid");
    actix_web::rt::System::new()
        .block_on(server.run())
        .expect("the server runs");
}

/// A program under test. It stops when this value is dropped.
pub struct Program {
    process: Child,
    pub address: String,
    /// Open, so that the program can write to standard output.
    _stdout: BufReader<ChildStdout>,
}

impl Program {
    pub fn start(binary: &str) -> Self {
        Self::spawn(Command::new(binary).arg("127.0.0.1:0"))
    }

    /// Starts a program that prints its address.
    pub fn spawn(command: &mut Command) -> Self {
        let mut process = start(command);
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("the stream is piped"));
        stdout
            .read_line(&mut line)
            .expect("the program prints its address");
        let address = line.trim().strip_prefix("listening on ");
        Self {
            process,
            address: address.expect("the address is valid").to_owned(),
            _stdout: stdout,
        }
    }

    pub fn send(&self, request: &Request<Bytes>) -> Answer {
        send(&self.address, request)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a process with the secret of the provider.
pub fn start(command: &mut Command) -> Child {
    command
        .env("STRIPE_SECRET", SECRET)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the process starts")
}
