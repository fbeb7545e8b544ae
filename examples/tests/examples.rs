//! Runs each example and sends it genuine, repeated, and forged deliveries. A new example needs an
//! entry here and a command to try it in its module doc.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use tower_hookgate::{Clock, Provider, Secret, Signer, SystemClock};

const SECRET: &str = "whsec_5f0c8a6de2b94a13";

/// A running example. It stops when this value is dropped.
struct Example {
    process: Child,
    address: String,
    /// Open, so that the example can write to standard output.
    stdout: BufReader<ChildStdout>,
}

impl Example {
    fn start(binary: &str) -> Self {
        Self::start_with(binary, "0")
    }

    /// Starts an example whose handler works for this number of milliseconds.
    fn start_with(binary: &str, work_ms: &str) -> Self {
        let mut process = Command::new(binary)
            .arg("127.0.0.1:0")
            .env("BEATAPI_SECRET", SECRET)
            .env("WORK_MS", work_ms)
            .env("VIDEOGEN_SECRET", "whsec_ZXhhbXBsZS12aWRlb2dlbi1zZWNyZXQ=")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("the stream is piped"));
        stdout
            .read_line(&mut line)
            .expect("the example prints its address");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("the address is valid")
            .to_owned();
        Self {
            process,
            address,
            stdout,
        }
    }

    /// Sends `body` with the signature of `signed`. Returns the status line.
    fn post(&self, body: &str, signed: &str) -> String {
        let mut response = String::new();
        self.send(body, signed)
            .read_to_string(&mut response)
            .expect("the server responds");
        response.lines().next().unwrap_or_default().to_owned()
    }

    /// Asks the process to end.
    fn terminate(&self) {
        let id = self.process.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status();
        assert!(killed.expect("`kill` is installed").success());
    }

    /// Sends `body` with the signature of `signed`. Returns the connection.
    fn send(&self, body: &str, signed: &str) -> TcpStream {
        let provider = Provider::named("beatapi").expect("the catalogue has the provider");
        let signer = Signer::new(
            provider.scheme(),
            &Secret::new(SECRET).expect("the secret is not empty"),
        );
        let headers = signer.expect("the secret fits the scheme").sign(
            signed.as_bytes(),
            SystemClock.now(),
            None,
        );
        let mut request =
            "POST /hooks/beatapi HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".to_owned();
        for (name, value) in &headers.expect("the delivery is signed") {
            request.push_str(&format!(
                "{name}: {}\r\n",
                value.to_str().expect("the bytes are UTF-8")
            ));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        stream
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn each_example_accepts_a_genuine_delivery_once_and_no_forged_one() {
    for binary in [
        env!("CARGO_BIN_EXE_axum"),
        env!("CARGO_BIN_EXE_providers"),
        env!("CARGO_BIN_EXE_tonic"),
        env!("CARGO_BIN_EXE_custom_store"),
        env!("CARGO_BIN_EXE_hyper"),
    ] {
        let example = Example::start(binary);
        let body = r#"{"id":"evt_1","event":"task.succeeded"}"#;
        for (body, signed, expected) in [
            ("{}", body, "HTTP/1.1 401 Unauthorized"),
            (body, body, "HTTP/1.1 204 No Content"),
            (body, body, "HTTP/1.1 200 OK"),
        ] {
            assert_eq!(example.post(body, signed), expected, "{binary}");
        }
    }
}

#[cfg(unix)]
#[test]
fn the_axum_example_exits_on_sigterm() {
    let mut example = Example::start(env!("CARGO_BIN_EXE_axum"));
    // An idle connection does not delay the exit.
    let _idle = TcpStream::connect(&example.address).expect("the server listens");
    example.terminate();
    let status = example.process.wait().expect("the process ends");
    assert!(status.success(), "{status}");
}

#[cfg(unix)]
#[test]
fn the_axum_example_finishes_an_event_whose_sender_has_disconnected() {
    let mut example = Example::start_with(env!("CARGO_BIN_EXE_axum"), "1500");
    let body = r#"{"id":"evt_1","event":"task.succeeded"}"#;
    let connection = example.send(body, body);
    let mut line = String::new();
    example
        .stdout
        .read_line(&mut line)
        .expect("the handler begins");
    assert_eq!(line, "event Some(\"evt_1\"): task.succeeded\n");
    drop(connection);
    example.terminate();
    let mut rest = String::new();
    example
        .stdout
        .read_to_string(&mut rest)
        .expect("the process ends");
    assert_eq!(rest, "done Some(\"evt_1\")\n");
}

#[test]
fn each_example_documents_how_to_run_it() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
        .expect("the source folder is readable")
    {
        let path = entry.expect("the entry is readable").path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("the name is valid");
        let text = std::fs::read_to_string(&path).expect("the source is readable");
        let run = format!("//! cargo run -p hookgate-examples --bin {name} -- ");
        assert!(text.contains(&run), "{name}");
        assert!(text.contains("//! hookgate send --provider "), "{name}");
    }
}
