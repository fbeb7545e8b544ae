//! `verify --explain` and `identify`, through the process, on broken deliveries of
//! `tests/explain`. The tests of hookgate-diagnose measure how often the cause is right.

#[path = "../../../../crates/diagnose/tests/corpus/case.rs"]
#[expect(dead_code, reason = "the score uses the rest")]
mod case;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use hookgate_diagnose::diagnose;
use hookgate_tests::binary;
use serde_json::Value;

use self::case::Case;

/// Cases of several codes, providers and sizes.
const SAMPLE: [&str; 20] = [
    "flask-dumps-slack",
    "php-encode-github",
    "sqs-event-paddle",
    "dotnet-bom-meta",
    "iconv-utf16-beel",
    "nginx-log-slack",
    "lambda-v1-base64-shopify",
    "flask-gzip-github",
    "varchar-255-github",
    "flask-form-consumed-slack",
    "express-qs-slack-command",
    "flask-form-json-twilio",
    "django-http-twilio",
    "nginx-method-hubspot",
    "base64-newline-slack",
    "zero-width-stripe",
    "systemd-stripe",
    "rotated-github",
    "queue-two-hours-stripe",
    "large-bom-slack",
];

/// Whether the command prints JSON.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Json,
}

/// Runs `hookgate COMMAND` with the files and secrets of `case` in `folder`.
fn run(command: &[&str], case: &Case, folder: &Path, form: Form) -> Output {
    let headers: String = case
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let (headers_file, body_file) = (folder.join("headers"), folder.join("body"));
    std::fs::write(&headers_file, headers).expect("the file is written");
    std::fs::write(&body_file, case.body()).expect("the file is written");
    let mut process = Command::new(binary());
    process.args(command).arg("--headers").arg(headers_file);
    process.arg("--body").arg(body_file);
    let secrets = std::iter::once(&case.secret).chain(&case.more_secrets);
    for (index, secret) in secrets.enumerate() {
        process.env(format!("SECRET_{index}"), secret);
        process.arg("--secret").arg(format!("env:SECRET_{index}"));
    }
    if let Some(url) = &case.url {
        process.args(["--url", url]);
    }
    for (name, value) in case.params() {
        process.arg("--param").arg(format!("{name}={value}"));
    }
    if form == Form::Json {
        process.arg("--json");
    }
    process.output().expect("the process runs")
}

fn explain(case: &Case, folder: &Path, form: Form) -> Output {
    let at = case.at.to_string();
    let mut command = vec![
        "verify",
        "--explain",
        "--provider",
        &case.provider,
        "--at",
        &at,
    ];
    // `identify` takes each delivery for a POST.
    command.extend(["--method", &case.method]);
    if let Some(variant) = &case.variant {
        command.extend(["--variant", variant]);
    }
    run(&command, case, folder, form)
}

fn sample() -> Vec<Case> {
    let mut cases = case::recorded();
    cases.retain(|case| SAMPLE.contains(&&*case.name));
    assert_eq!(cases.len(), SAMPLE.len(), "a case of the sample is missing");
    cases
}

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().expect("the value is an object");
    object.keys().map(String::as_str).collect()
}

/// Panics if the output has a configured secret.
fn assert_no_secret(case: &Case, output: &Output) {
    let shown = [&output.stdout[..], &output.stderr].concat();
    let shown = String::from_utf8(shown).expect("the output is UTF-8");
    let is_placeholder = case.accept.iter().any(|code| code == "secret_placeholder");
    for secret in std::iter::once(&case.secret).chain(&case.more_secrets) {
        let is_leak = !secret.is_empty() && shown.contains(secret.as_str());
        assert!(is_placeholder || !is_leak, "{}: {shown}", case.name);
    }
}

#[test]
fn a_broken_delivery_is_explained_as_json() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    for case in sample() {
        let output = explain(&case, folder.path(), Form::Json);
        assert_eq!(output.status.code(), Some(1), "{}: {output:?}", case.name);
        assert_no_secret(&case, &output);
        let object: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
        let expected = BTreeSet::from(["causes", "reason", "verified"]);
        assert!(keys(&object).is_superset(&expected), "{object}");
        assert_eq!(object["verified"], false, "{}", case.name);
        let causes = object["causes"].as_array().expect("the causes are a list");
        for cause in causes {
            let expected = BTreeSet::from(["code", "fix", "proved", "summary"]);
            assert_eq!(keys(cause), expected, "{}", case.name);
        }
        // The command says what the library says.
        let arrived = case.arrived();
        let diagnosis = diagnose(&case.setup(), &case.capture(Some(arrived)), arrived);
        let told: Vec<_> = causes.iter().map(|cause| cause["code"].as_str()).collect();
        let known = diagnosis
            .causes
            .iter()
            .map(|cause| Some(cause.code.as_str()));
        assert_eq!(told, known.collect::<Vec<_>>(), "{}", case.name);
    }
}

#[test]
fn a_broken_delivery_is_explained_as_text() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    for case in sample() {
        let output = explain(&case, folder.path(), Form::Text);
        assert_eq!(output.status.code(), Some(1), "{}: {output:?}", case.name);
        assert_no_secret(&case, &output);
        let shown = String::from_utf8(output.stdout).expect("the output is UTF-8");
        // The lines are wrapped.
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        let arrived = case.arrived();
        let diagnosis = diagnose(&case.setup(), &case.capture(Some(arrived)), arrived);
        let first = &diagnosis.causes[0];
        assert!(shown.contains(&*first.summary), "{}: {shown}", case.name);
    }
}

#[test]
fn a_genuine_delivery_has_no_cause() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    for case in case::genuine() {
        let output = explain(&case, folder.path(), Form::Json);
        assert!(output.status.success(), "{}: {output:?}", case.name);
        let object: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
        assert_eq!(object["verified"], true, "{}", case.name);
    }
}

#[test]
fn identify_names_the_provider_as_json() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    for case in case::genuine() {
        let output = run(&["identify"], &case, folder.path(), Form::Json);
        assert_no_secret(&case, &output);
        let object: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
        let matches = object["matches"].as_array();
        let matches = matches.unwrap_or_else(|| panic!("{}: {object}", case.name));
        let expected = if matches.is_empty() { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{}", case.name);
        for found in matches {
            let expected = BTreeSet::from(["proved", "provider", "variant"]);
            assert_eq!(keys(found), expected, "{}", case.name);
        }
        let names = matches
            .iter()
            .take(3)
            .map(|found| found["provider"].as_str());
        let is_named = names
            .into_iter()
            .flatten()
            .any(|name| name == case.provider);
        assert!(is_named, "{}: {object}", case.name);
    }
}
