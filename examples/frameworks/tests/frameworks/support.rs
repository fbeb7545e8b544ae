//! A client for the servers under test, and the programs under test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

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
}

impl Answer {
    /// Returns the status and the outcome, for comparisons.
    pub fn parts(&self) -> (u16, Option<&str>) {
        (self.status, self.outcome.as_deref())
    }
}

/// Sends a request to the server at `address`, and reads its whole response.
pub fn send(address: &str, request: &Request<Bytes>) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let (method, uri) = (request.method(), request.uri());
    let mut head = format!("{method} {uri} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    for (name, value) in request.headers() {
        let value = value.to_str().expect("the headers of Stripe are text");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let len = request.body().len();
    head.push_str(&format!(
        "Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n"
    ));
    // A server may respond before it has read the whole body.
    let _ = stream.write_all(&[head.as_bytes(), request.body()].concat());
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let text = String::from_utf8_lossy(&response).to_ascii_lowercase();
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let outcome = lines.find_map(|line| line.strip_prefix("hookgate-outcome: "));
    Answer {
        status: status
            .expect("the server responds")
            .parse()
            .expect("the status is a number"),
        outcome: outcome.map(str::to_owned),
    }
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
