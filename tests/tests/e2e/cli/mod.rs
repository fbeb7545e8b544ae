//! The commands for a terminal: `sign`, `verify`, `send`, `identify`, `conform`, `providers`, `events` and
//! `demo`.
//! `check` is tested in `configuration`.

mod captures;
mod conform;
mod conform_errors;
mod errors;
mod explain;
mod identify;
mod peers;
mod providers;
mod screens;
mod send;
mod sources;
mod tail;
mod tools;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hookgate_tests::{Gateway, SECRETS, TestProvider, Upstream, binary, now, send as send_request};
use serde_json::Value;
use tempfile::TempDir;

/// Runs the gateway binary with `SECRET` in its environment.
fn hookgate(arguments: &[&str], secret: &str, input: &[u8]) -> Output {
    let mut process = Command::new(binary())
        .args(arguments)
        .env("SECRET", secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the process starts");
    // A command that does not read its input may have exited already.
    let _ = process
        .stdin
        .take()
        .expect("the stream is piped")
        .write_all(input);
    process.wait_with_output().expect("the process ends")
}

/// Runs `hookgate send` to `to` with a scheme and a secret.
fn send_signed(provider: &str, secret: &str, to: &str, options: &[&str]) -> Output {
    let start = [
        "send",
        "--provider",
        provider,
        "--secret",
        "env:SECRET",
        "--to",
        to,
    ];
    hookgate(&[&start[..], options].concat(), secret, b"")
}

/// Returns standard output followed by standard error.
fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(all).expect("the bytes are UTF-8")
}

/// Returns standard output as JSON.
fn json(output: &Output) -> Value {
    let parsed = serde_json::from_slice(&output.stdout);
    parsed.unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

/// The time at which the deliveries of these tests are signed.
const SIGNED_AT: &str = "1784187600";

/// A folder with the files of one delivery.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("the temporary folder is created"))
    }

    /// Writes the file `name`, and returns its path.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).expect("the file is written");
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        let path: &Path = &self.0.path().join(name);
        path.to_str().expect("the path is UTF-8").to_owned()
    }
}

/// Returns the header lines of a delivery of `provider`, signed at [`SIGNED_AT`].
fn signed(provider: &str, secret: &str, body: &[u8]) -> String {
    let options = ["--provider", provider, "--secret", "env:SECRET"];
    let output = hookgate(
        &[&["sign", "--at", SIGNED_AT], &options[..]].concat(),
        secret,
        body,
    );
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[test]
fn a_signed_body_verifies_and_a_changed_one_does_not() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let path = |name: &str| {
        folder
            .path()
            .join(name)
            .to_str()
            .expect("the bytes are UTF-8")
            .to_owned()
    };
    for (provider, secret) in SECRETS {
        let body = TestProvider::named(provider).body("evt_1");
        let signing = ["--provider", provider, "--secret", "env:SECRET"];
        let signed = hookgate(&[&["sign"], &signing[..]].concat(), secret, &body);
        assert!(signed.status.success(), "{}", text(&signed));
        std::fs::write(path("headers"), &signed.stdout).expect("the file is written");
        for (file, expected) in [
            (&body[..], "verified with key 1"),
            (b"{}", "signature_mismatch"),
        ] {
            std::fs::write(path("body"), file).expect("the file is written");
            let (headers, body) = (path("headers"), path("body"));
            let files = ["--headers", &headers, "--body", &body];
            let checked = hookgate(
                &[&["verify"], &signing[..], &files[..]].concat(),
                secret,
                b"",
            );
            assert_eq!(
                checked.status.success(),
                file != b"{}",
                "{}",
                text(&checked)
            );
            assert!(text(&checked).contains(expected), "{}", text(&checked));
            let json = [&["verify", "--json"], &signing[..], &files[..]].concat();
            let object: serde_json::Value =
                serde_json::from_slice(&hookgate(&json, secret, b"").stdout)
                    .expect("the text is JSON");
            assert_eq!(object["verified"], file != b"{}");
        }
    }
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let output = hookgate(
        &["sign", "--provider", "beatapi", "--secret", "whsec_canary"],
        "",
        b"{}",
    );
    assert!(!output.status.success());
    let output = text(&output);
    assert!(
        output.contains("expected env:NAME or file:PATH"),
        "{output}"
    );
    assert!(!output.contains("canary"), "{output}");
}

#[test]
fn the_demo_reaches_every_expected_verdict() {
    let output = hookgate(&["demo"], "", b"");
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).ends_with("all 44 verdicts are as expected\n"),
        "{}",
        text(&output)
    );
}

#[tokio::test]
async fn secrets_and_bodies_are_in_no_log_and_no_response() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .every_source("expose_reason = true")
        .start();
    let mut exposed = String::new();
    for provider in TestProvider::all() {
        let canary = "canary-in-the-body";
        let body = serde_json::json!({ "id": "evt_1", "data": canary }).to_string();
        let headers = provider.sign(body.as_bytes(), now(), "evt_1");
        let good = provider.request(headers.clone(), body.clone().into());
        let bad = provider.request(headers, format!("{body} ").into());
        for request in [good, bad] {
            let response = send_request(gateway.address(), request).await;
            exposed.push_str(&format!(
                "{:?} {}",
                response.headers,
                String::from_utf8_lossy(&response.body)
            ));
        }
        exposed.push_str(&gateway.log());
        assert!(
            exposed.contains("signature_mismatch"),
            "the reason is in the response and the log"
        );
        assert!(!exposed.contains(canary), "{}", provider.name);
        let tail = provider.secret.trim_start_matches("whsec_");
        assert!(!exposed.contains(tail), "{}", provider.name);
    }
}
