//! The options of `check`, its last line, and its warnings about the machine.

use std::process::{Command, Output};

use hookgate_tests::{Certificates, binary};
use serde_json::Value;

use super::VALID;

/// Runs `check` with `options` on the configuration `text`. No secret is in the environment.
fn check(options: &[&str], text: &str) -> Output {
    check_with(options, text, &[])
}

fn check_with(options: &[&str], text: &str, environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).expect("the file is written");
    Command::new(binary())
        .arg("check")
        .arg("-c")
        .arg(&file)
        .args(options)
        .envs(environment.iter().copied())
        .output()
        .expect("the command runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the output is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the output is UTF-8")
}

fn json(output: &Output) -> Value {
    let parsed = serde_json::from_slice(&output.stdout);
    parsed.unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}

const SECRET: [(&str, &str); 1] = [("GOOD", "whsec_5f0c8a6de2b94a13")];

/// A configuration without warnings, except those of a machine with a low limit of open files.
fn quiet() -> String {
    VALID
        .replace(
            "[upstreams.app]",
            "[limits]\nconnections = 10\n[replay]\nstore = \"disk\"\npath = \"/var/lib/a\"\n\
             [upstreams.app]",
        )
        .replace(
            "provider = \"beatapi\"",
            "provider = \"beatapi\"\nwindow = { past = \"4m\" }",
        )
}

#[test]
fn a_valid_configuration_ends_with_a_line_of_success() {
    let output = check_with(&[], &quiet(), &SECRET);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    assert!(
        text.ends_with("configuration ok: 1 source, 1 upstream\n"),
        "{text}"
    );
    assert!(!text.contains("warning"), "{text}");
    // The control: an invalid one has no such line.
    let output = check(&[], &quiet());
    assert_eq!(output.status.code(), Some(78));
    assert!(!stdout(&output).contains("ok"), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("gateway.toml: 1 mistake\n  line "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn strict_refuses_warnings_and_nothing_else() {
    let output = check_with(&["--strict"], &quiet(), &SECRET);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let open = quiet().replace("listen", "admin = \"0.0.0.0:9090\"\nlisten");
    let output = check_with(&[], &open, &SECRET);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = check_with(&["--strict"], &open, &SECRET);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output).contains("1 warning, and --strict allows none"),
        "{}",
        stderr(&output)
    );
    assert!(!stdout(&output).contains("configuration ok"));
    let output = check_with(&["--strict", "--json"], &open, &SECRET);
    assert_eq!(output.status.code(), Some(78));
    let object = json(&output);
    assert_eq!(object["ok"], false, "{object}");
    assert_eq!(object["warnings"][0]["at"], "server.admin", "{object}");
}

/// A configuration that needs secrets, files and names that this machine lacks.
const ELSEWHERE: &str = r#"
[server]
listen = ["127.0.0.1:0"]
[[server.tls]]
listen = "127.0.0.1:8443"
cert = "/nowhere/cert.pem"
key = "/nowhere/key.pem"
client_ca = "/nowhere/ca.pem"

[replay]
store = "redis"
url = "env:NO_REDIS_URL"
ca = "/nowhere/ca.pem"

[queue]
store = "nats"
url = "env:NO_NATS_URL"
credentials = "file:/nowhere/credentials"

[inspector]
tokens = [{ name = "a", from = "env:NO_TOKEN", may = "act" },
          { name = "b", from = "file:/nowhere/token", may = "read" }]

[upstreams.app]
servers = ["https://app.invalid:443", "other.invalid:80"]
tls = { ca = "/nowhere/ca.pem", cert = "/nowhere/cert.pem", key = "/nowhere/key.pem" }

[[sources]]
name = "partner"
path = "/partner"
secrets = ["env:NO_SECRET", { from = "file:/nowhere/secret", id = "old" }]
url = "env:NO_URL"
params = { account = "env:NO_ACCOUNT" }
upstream = "app"
[sources.scheme]
alg  = "hmac-sha512"
sig  = { in = "header:x-partner", enc = "hex" }
msg  = "{url}\n{param:account}\n{body}"

[[sources]]
name = "standard"
path = "/standard"
provider = "standard-webhooks"
secrets = ["env:NO_SECRET"]
upstream = "app"

[[sources]]
name = "bank"
path = "/bank"
provider = "plaid"
keys = { ca = "/nowhere/ca.pem", credentials = { client_id = "env:NO_ID", secret = "env:NO" } }
upstream = "app"
"#;

#[test]
fn offline_needs_neither_secrets_nor_files_nor_names() {
    let output = check(&["--offline"], ELSEWHERE);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    for expected in [
        "source     partner: POST /partner -> app",
        "  keys       not read",
        "  keys       fetched from the provider",
        "configuration ok: 3 sources, 1 upstream\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    // The control: each of them is missing.
    let output = check(&[], ELSEWHERE);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    for expected in [
        "server.tls[0].cert: cannot read",
        "replay.url: the environment variable NO_REDIS_URL",
        "queue.url: ",
        "queue.credentials: cannot read",
        "inspector.tokens[0].from: ",
        "upstreams.app.tls.ca: cannot read",
        "upstreams.app.servers[0]: app.invalid does not resolve",
        "source partner: secrets[0]: ",
        "source partner: params.account: ",
        "source partner: url: ",
        "source bank: keys.ca: cannot read",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn offline_still_finds_the_mistakes_of_the_file() {
    for (from, to, expected) in [
        (
            "\"env:NO_SECRET\", {",
            "\"whsec_canary\", {",
            "source partner: secrets[0]: expected env:NAME or file:PATH",
        ),
        (
            "{param:account}",
            "{param:user}",
            "source partner: params: ",
        ),
        (
            "\"standard-webhooks\"\nsecrets = [\"env:NO_SECRET\"]",
            "\"standard-webhooks\"\nsecrets = []",
            "source standard: secrets: expected at least one secret",
        ),
        ("client_id", "client", "the credential client_id is missing"),
        ("other.invalid:80", "other", "upstreams.app.servers[1]: "),
        ("store = \"nats\"", "store = \"kafka\"", "queue.store: "),
    ] {
        assert!(ELSEWHERE.contains(from), "{from}");
        let output = check(&["--offline"], &ELSEWHERE.replace(from, to));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{to}: {text}");
        assert!(text.contains(expected), "{expected}\n{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn json_has_the_documented_members() {
    let output = check_with(&["--json"], &quiet(), &SECRET);
    let object = json(&output);
    let expected = serde_json::json!({
        "schema": 1,
        "ok": true,
        "mistakes": [],
        "warnings": [],
        "listeners": [{ "address": "127.0.0.1:0", "tls": false }],
        "admin": "127.0.0.1:9090",
        "shutdown_seconds": 39.0,
        "replay_store": "disk",
        "queue": false,
        "inspector": false,
        "overrides": [],
        "upstreams": [
            { "name": "app", "servers": ["127.0.0.1:3000"], "timeout_seconds": 8.0 },
        ],
        "sources": [{
            "name": "beatapi",
            "host": null,
            "path": "/hooks/beatapi",
            "provider": "beatapi",
            "upstream": "app",
            "mode": "enforce",
            "dedupe": "content",
            "queue": "off",
            "body_limit_bytes": 1_048_576,
            "retention_seconds": 86_400,
        }],
    });
    assert_eq!(object, expected);
    let page = include_str!("../../../../docs/operating.md");
    for member in expected.as_object().expect("an object").keys() {
        let named = [
            format!("| `{member}` |"),
            format!("| `{member}`, "),
            format!(", `{member}` |"),
        ];
        assert!(named.iter().any(|text| page.contains(text)), "{member}");
    }
    let output = check(&["--json"], &quiet());
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    let object = json(&output);
    assert_eq!(object["ok"], false);
    assert_eq!(object["mistakes"][0]["line"], 18, "{object}");
    let at = "line 18, source beatapi: secrets[0]";
    assert_eq!(object["mistakes"][0]["at"], at, "{object}");
}

#[test]
fn a_thousand_equal_sources_take_about_a_line_each() {
    let (top, source) = VALID.split_once("[[sources]]").expect("there is a source");
    let mut text = top.to_owned();
    for index in 0..1_000 {
        let source = source.replace("beatapi\"\npath = \"/hooks/beatapi", "beatapi");
        let source = source.replacen(
            "name = \"beatapi\"",
            &format!("name = \"tenant-{index}\"\npath = \"/hooks/{index}\""),
            1,
        );
        text.push_str(&format!("[[sources]]{source}"));
    }
    let output = check_with(&[], &text, &SECRET);
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(text.lines().count() < 1_050, "{}", text.lines().count());
    assert!(text.contains("source     tenant-999: POST /hooks/999 -> app\n"));
    assert!(
        text.contains("sources tenant-0, tenant-1, tenant-2 and 997 more: window: "),
        "{text}"
    );
    assert!(text.ends_with("configuration ok: 1000 sources, 1 upstream\n"));
}

#[test]
fn each_mistake_is_reported_once() {
    for (text, expected) in [
        (
            VALID.split("[[sources]]").next().unwrap().to_owned(),
            "sources: missing",
        ),
        (
            VALID.replace("[[sources]]", "[sources]"),
            "sources: expected an array of tables",
        ),
        (
            VALID.replace("[upstreams.app]\nservers = [\"127.0.0.1:3000\"]", ""),
            "upstreams: missing",
        ),
    ] {
        let output = check_with(&[], &text, &SECRET);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert_eq!(text.matches(expected).count(), 1, "{text}");
    }
}

#[test]
fn a_server_without_a_password_may_stand_in_the_file() {
    for (url, expected) in [
        ("redis://127.0.0.1", None),
        ("redis://127.0.0.1:6379/1", None),
        (
            "redis://:canary@127.0.0.1",
            Some("replay.url: has a user or a password"),
        ),
        (
            "redis://user@127.0.0.1",
            Some("replay.url: has a user or a password"),
        ),
        (
            "127.0.0.1",
            Some("replay.url: expected env:NAME or file:PATH"),
        ),
    ] {
        let table = format!("[replay]\nstore = \"redis\"\nurl = \"{url}\"\n[upstreams.app]");
        let text = VALID.replace("[upstreams.app]", &table);
        let output = check_with(&[], &text, &SECRET);
        let text = stderr(&output);
        assert_eq!(output.status.success(), expected.is_none(), "{url}: {text}");
        assert!(text.contains(expected.unwrap_or_default()), "{url}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

/// A certificate of version 1, which OpenSSL makes without extensions, and its key.
const VERSION_1: (&str, &str) = (
    "-----BEGIN CERTIFICATE-----
MIIBIzCBywIUOQkrNo2qnm6DatL39ZiyDY8wCzgwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEzMDE2MTAzMFoYDzIxMjYxMTA2MTYxMDMw
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATqjNlEENk/RdeBpVPssLcu9B7YTA82FdNXHIEKbkXzbh6Au2c8mdrjlO/4nQ9u
SPAyinAYequCvm+fmgeJ+SFuMAoGCCqGSM49BAMCA0cAMEQCIAwYRduBn+jXOx0o
j2vnJuIxrU2VqnAqSk1K1g3z+kLkAiAhVCtvVlu1mvxp3N2MRxncvrI0fUCLVL01
LNQLFpv0tQ==
-----END CERTIFICATE-----
",
    "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAFu+aKxDzwrNSPco
t26L0b4XcBSPMc0TPj94TTVSsiehRANCAATqjNlEENk/RdeBpVPssLcu9B7YTA82
FdNXHIEKbkXzbh6Au2c8mdrjlO/4nQ9uSPAyinAYequCvm+fmgeJ+SFu
-----END PRIVATE KEY-----
",
);

fn tls(certificates: &Certificates, name: &str) -> String {
    let cert = certificates.quoted(&format!("{name}.pem"));
    let key = certificates.quoted(&format!("{name}.key"));
    quiet().replace(
        "[upstreams.app]",
        &format!(
            "[[server.tls]]\nlisten = \"127.0.0.1:8443\"\ncert = {cert}\nkey = {key}\n\
             [upstreams.app]"
        ),
    )
}

#[test]
fn a_certificate_of_version_1_is_no_wrong_key() {
    let certificates = Certificates::new();
    let (cert, key) = VERSION_1;
    std::fs::write(certificates.path("one.pem"), cert).expect("the file is written");
    std::fs::write(certificates.path("one.key"), key).expect("the file is written");
    let output = check_with(&[], &tls(&certificates, "one"), &SECRET);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("server.tls[0].cert: "), "{text}");
    assert!(text.contains("X.509 certificate of version 1"), "{text}");
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    let certificates = Certificates::new();
    certificates
        .issue_for_days("expired", "localhost", -1)
        .issue_for_days("soon", "localhost", 29)
        .issue_for_days("later", "localhost", 31);
    for (name, expected) in [
        ("expired", Some("the certificate expired on ")),
        ("soon", Some("the certificate expires on ")),
        ("later", None),
    ] {
        let output = check_with(&[], &tls(&certificates, name), &SECRET);
        let text = stdout(&output);
        assert!(output.status.success(), "{text}{}", stderr(&output));
        let warning = text.lines().find(|line| line.starts_with("warning"));
        match expected {
            None => assert_eq!(warning, None, "{text}"),
            Some(expected) => assert!(
                warning.is_some_and(
                    |line| line.contains(expected) && line.contains("server.tls[0].cert")
                ),
                "{text}"
            ),
        }
    }
}

#[test]
fn a_low_limit_of_open_files_is_a_warning() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("gateway.toml");
    let run = |connections: &str, limit: &str| {
        let text = quiet().replace("connections = 10", connections);
        std::fs::write(&file, text).expect("the file is written");
        let output = Command::new("bash")
            .args([
                "-c",
                "ulimit -n \"$1\" && exec \"$2\" check -c \"$3\"",
                "bash",
                limit,
            ])
            .arg(binary())
            .arg(&file)
            .envs(SECRET)
            .output()
            .expect("`bash` is installed");
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let text = run("connections = 10000", "1024");
    assert!(
        text.contains("warning    limits.connections: 10000 connections need up to 20256 open"),
        "{text}"
    );
    let text = run("connections = 300", "1024");
    assert!(!text.contains("warning"), "{text}");
}
