//! Compatibility with the providers' own Python libraries, in both directions: they accept
//! deliveries that hookgate signs, and the gateway accepts deliveries that they sign.
//!
//! `make test` installs the libraries and sets `HOOKGATE_PROVIDER_SDKS` to a Python interpreter
//! that has them. Where they cannot be installed it sets `skip` and prints a notice. A test with
//! another library belongs here, and the library in `tests/provider_sdks.txt`.

use std::process::{Command, Stdio};

use hookgate_tests::{Gateway, TestProvider, Upstream, binary, send};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::io::Write;

/// Returns the Python interpreter with the libraries, or `None` if these tests are skipped.
fn python() -> Option<String> {
    match std::env::var("HOOKGATE_PROVIDER_SDKS") {
        Ok(skip) if skip == "skip" => {
            eprintln!("SKIPPED: the providers' own libraries are not installed");
            None
        }
        Ok(python) => Some(python),
        Err(_) => panic!(
            "HOOKGATE_PROVIDER_SDKS is not set: run `make test`, which installs the providers' \
             libraries, or set it to `skip` to skip these tests"
        ),
    }
}

/// Runs `provider_sdks.py`. Returns its output, or `None` if it fails.
fn run_sdk(python: &str, arguments: &[&str], body: &[u8]) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/provider_sdks.py");
    run(Command::new(python).arg(script).args(arguments), body)
}

fn hookgate_sign(provider: &TestProvider, body: &[u8]) -> String {
    let mut command = Command::new(binary());
    command
        .args([
            "sign",
            "--provider",
            provider.name,
            "--secret",
            "env:SECRET",
            "--json",
        ])
        .env("SECRET", provider.secret);
    run(&mut command, body).expect("the delivery is signed")
}

fn run(command: &mut Command, input: &[u8]) -> Option<String> {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the process starts");
    process
        .stdin
        .take()
        .expect("the stream is piped")
        .write_all(input)
        .expect("the process reads its input");
    let output = process.wait_with_output().expect("the process ends");
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).expect("the bytes are UTF-8"))
}

#[test]
fn the_providers_libraries_accept_deliveries_that_hookgate_signs() {
    let Some(python) = python() else { return };
    for provider in ["beel", "standard-webhooks", "videogen"].map(TestProvider::named) {
        let body = provider.body("evt_sdk");
        let headers = hookgate_sign(&provider, &body);
        let verify = ["verify", provider.name, provider.secret, headers.trim()];
        assert!(
            run_sdk(&python, &verify, &body).is_some(),
            "{}",
            provider.name
        );
        // The control: the library refuses another body.
        assert!(
            run_sdk(&python, &verify, b"{}").is_none(),
            "{}",
            provider.name
        );
    }
}

#[tokio::test]
async fn the_gateway_accepts_deliveries_that_the_providers_libraries_sign() {
    let Some(python) = python() else { return };
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for provider in ["beel", "standard-webhooks", "videogen"].map(TestProvider::named) {
        let body = provider.body("evt_sdk");
        let sign = ["sign", provider.name, provider.secret, "msg_sdk"];
        let signed = run_sdk(&python, &sign, &body).expect("the delivery is signed");
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&signed).expect("the text is JSON");
        let headers: HeaderMap = object
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().expect("the value is a string");
                (
                    HeaderName::from_bytes(name.as_bytes()).expect("the name is valid"),
                    HeaderValue::from_str(value).expect("the value is valid"),
                )
            })
            .collect();
        let genuine = provider.request(headers.clone(), body);
        let tampered = provider.request(headers, "{}".into());
        assert_eq!(
            send(gateway.address(), tampered).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(
            send(gateway.address(), genuine).await.status,
            StatusCode::NO_CONTENT
        );
        assert_eq!(upstream.take_received().len(), 1, "{}", provider.name);
    }
}
