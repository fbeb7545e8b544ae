//! Strangers agree: the providers' own Python libraries accept what hookgate
//! signs, and the gateway accepts what they sign.
//!
//! `make test` installs them and sets `HOOKGATE_STRANGERS` to the Python that
//! has them, or to `skip`, with a notice, when they cannot be had.

use std::process::{Command, Stdio};

use hookgate_tests::{Gateway, Provided, Upstream, binary, send};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::io::Write;

/// The Python with the libraries; `None` if they are skipped.
fn python() -> Option<String> {
    match std::env::var("HOOKGATE_STRANGERS") {
        Ok(skip) if skip == "skip" => {
            eprintln!("SKIPPED: the providers' own libraries are not there to compare with");
            None
        }
        Ok(python) => Some(python),
        Err(_) => panic!(
            "HOOKGATE_STRANGERS is not set: run `make test`, which installs the providers' \
             libraries, or set it to `skip` to go without"
        ),
    }
}

/// Runs the script; its output if it succeeded.
fn stranger(python: &str, arguments: &[&str], body: &[u8]) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/strangers.py");
    run(Command::new(python).arg(script).args(arguments), body)
}

fn hookgate_sign(provided: &Provided, body: &[u8]) -> String {
    let mut command = Command::new(binary());
    command
        .args([
            "sign",
            "--provider",
            provided.name,
            "--secret",
            "env:SECRET",
            "--json",
        ])
        .env("SECRET", provided.secret);
    run(&mut command, body).expect("it can be signed")
}

fn run(command: &mut Command, input: &[u8]) -> Option<String> {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    process
        .stdin
        .take()
        .expect("piped")
        .write_all(input)
        .expect("it reads its input");
    let output = process.wait_with_output().expect("it ends");
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn the_providers_libraries_accept_what_hookgate_signs() {
    let Some(python) = python() else { return };
    for provided in ["beel", "standard-webhooks", "videogen"].map(Provided::named) {
        let body = provided.body("evt_stranger");
        let headers = hookgate_sign(&provided, &body);
        let verify = ["verify", provided.name, provided.secret, headers.trim()];
        assert!(
            stranger(&python, &verify, &body).is_some(),
            "{}",
            provided.name
        );
        // The control: the library does look.
        assert!(
            stranger(&python, &verify, b"{}").is_none(),
            "{}",
            provided.name
        );
    }
}

#[tokio::test]
async fn the_gateway_accepts_what_the_providers_libraries_sign() {
    let Some(python) = python() else { return };
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for provided in ["beel", "standard-webhooks", "videogen"].map(Provided::named) {
        let body = provided.body("evt_stranger");
        let sign = ["sign", provided.name, provided.secret, "msg_stranger"];
        let signed = stranger(&python, &sign, &body).expect("it can be signed");
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&signed).expect("JSON");
        let headers: HeaderMap = object
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().expect("a string");
                (
                    HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                    HeaderValue::from_str(value).expect("a value"),
                )
            })
            .collect();
        let good = provided.request(headers.clone(), body);
        let bad = provided.request(headers, "{}".into());
        assert_eq!(
            send(gateway.address(), bad).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(
            send(gateway.address(), good).await.status,
            StatusCode::NO_CONTENT
        );
        assert_eq!(upstream.take().len(), 1, "{}", provided.name);
    }
}
