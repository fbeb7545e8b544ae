//! Configurations that do not load: `check` reports every error at once, with its key path and
//! the expected value, and `run` starts nothing.

use std::process::Command;

use hookgate_tests::{Certificates, Gateway, GatewayBuilder, TestProvider, Upstream, binary, send};
use http::StatusCode;

use super::{VALID, run_on};

#[test]
fn every_error_is_reported_at_once_with_its_key_path() {
    let text = r#"
        surprise = 1
        [server]
        listen = ["8080"]
        admin = 9090
        [limits]
        body = "1"
        head_timeout = 10
        connections = 0
        [replay]
        store = "etcd"
        [upstreams.app]
        servers = []
        timeout = "8"
        [[sources]]
        name = "a"
        path = "hooks"
        provider = "beatpai"
        secrets = ["whsec_this_is_the_secret_itself"]
        upstream = "app"
        retention = "300s"
        [[sources]]
        name = "a"
        path = "/b"
        secrets = ["env:NOT_SET", "env:EMPTY", "env:PLACEHOLDER", { from = "env:GOOD", until = "x" }]
        upstream = "other"
        lease = "1s"
        [sources.scheme]
        alg = "md5"
        sig = { in = "header:x-sig", enc = "hex" }
        msg = "{ts}"
    "#;
    for command in ["check", "run"] {
        let (exit, output) = run_on(command, text);
        assert_eq!(exit, Some(78), "{output}");
        for expected in [
            "surprise: unknown key",
            "server.listen[0]: expected an address such as \"0.0.0.0:8080\"",
            "server.admin: expected an address such as \"0.0.0.0:8080\", found a number",
            "limits.body: expected a size with a unit, such as \"1MiB\", of at most 1GiB",
            "limits.head_timeout: expected a duration with a unit",
            "limits.connections: expected at least 1",
            "replay.store: expected \"memory\", \"disk\" or \"redis\"",
            "upstreams.app.servers: missing; expected at least one, HOST:PORT",
            "upstreams.app.timeout: expected a duration with a unit",
            "source a: path: expected a path such as",
            "source a: provider: \"beatpai\" is not in the catalogue (did you mean \"beatapi\"?); expected a name that",
            "source a: secrets[0]: expected env:NAME or file:PATH",
            "source a: retention: shorter than the time in which the window accepts a replay",
            "source a: name: used by another source",
            "source a: secrets[0]: the environment variable NOT_SET is not set",
            "source a: secrets[1]: environment variable EMPTY: the secret is empty",
            "source a: secrets[2]: environment variable PLACEHOLDER: the secret is a placeholder",
            "source a: secrets[3].until: unknown key; expected one of from, id, not_after, not_before",
            "source a: upstream: there is no table [upstreams.other]; expected one of app",
            "source a: lease: a delivery could still be in flight",
            "source a: scheme.alg: expected one of hmac-sha1, hmac-sha256",
            "source a: scheme.msg: does not cover the body",
        ] {
            assert!(output.contains(expected), "{expected}\n{output}");
        }
        assert!(!output.contains("this_is_the_secret_itself"), "{output}");
    }
}

#[test]
fn only_addresses_and_unix_can_be_trusted_proxies() {
    let expected = "expected a network such as \"10.0.0.0/8\", or \"unix\"";
    for (lines, expected) in [
        ("trusted_proxies = []", "server.trusted_proxies: missing"),
        ("trusted_proxies = 10", expected),
        ("trusted_proxies = [\"10.0.0.1/8\"]", expected),
        ("trusted_proxies = [\"10.0.0.0/33\"]", expected),
        ("trusted_proxies = [\"10.0.0.0/8\", \"Unix\"]", expected),
        ("trusted_proxies = [\"nginx\"]", expected),
        ("trusted_proxies = [\"private_ranges\"]", expected),
        (
            "forwarded = \"rfc7239\"",
            "server.forwarded: has no effect without `trusted_proxies`",
        ),
        (
            "forwarded = \"both\"\ntrusted_proxies = \"unix\"",
            "server.forwarded: expected \"x-forwarded\" or \"rfc7239\"",
        ),
    ] {
        let text = VALID.replacen("listen", &format!("{lines}\nlisten"), 1);
        let (exit, output) = run_on("check", &text);
        assert_eq!(exit, Some(78), "{lines}: {output}");
        assert!(output.contains(expected), "{lines}: {output}");
    }
}

#[test]
fn secrets_without_protection_are_errors() {
    for (secret, provider, expected) in [
        ("env:EMPTY", "beatapi", "the secret is empty"),
        ("env:PLACEHOLDER", "beatapi", "placeholder"),
        (
            "env:PUBLISHED",
            "beatapi",
            "printed in public documentation",
        ),
        (
            "env:NOT_BASE64",
            "standard-webhooks",
            "does not decode; expected base64",
        ),
        (
            "file:/nowhere/at/all",
            "beatapi",
            "cannot read /nowhere/at/all",
        ),
    ] {
        let text = VALID.replace("env:GOOD", secret).replace(
            "provider = \"beatapi\"",
            &format!("provider = \"{provider}\""),
        );
        let (exit, output) = run_on("check", &text);
        assert_eq!(exit, Some(78), "{output}");
        assert!(output.contains(expected), "{expected}\n{output}");
    }
    let (exit, output) = run_on(
        "check",
        &VALID.replace("secrets = [\"env:GOOD\"]", "secrets = []"),
    );
    assert_eq!(exit, Some(78), "{output}");
    assert!(
        output.contains("source beatapi: secrets: expected at least one"),
        "{output}"
    );
}

/// Some machines have no system certificates, and the library that reads them panics then.
#[tokio::test]
async fn system_certificates_are_needed_only_for_upstreams_that_use_them() {
    let upstream = Upstream::start().await;
    let none = |builder: GatewayBuilder| {
        let nowhere = "/nonexistent";
        builder
            .env("SSL_CERT_DIR", nowhere)
            .env("SSL_CERT_FILE", "/dev/null")
    };
    let gateway = none(Gateway::builder(upstream.address())).start();
    let reply = send(
        gateway.address(),
        TestProvider::named("beatapi").delivery("1"),
    )
    .await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);

    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("gateway.toml");
    let text = VALID.replace("\"127.0.0.1:3000\"", "\"https://127.0.0.1:3000\"");
    std::fs::write(&file, text).expect("the file is written");
    let output = Command::new(binary())
        .args(["run", "-c", file.to_str().expect("the bytes are UTF-8")])
        .env("GOOD", "whsec_5f0c8a6de2b94a13")
        .env("SSL_CERT_DIR", "/nonexistent")
        .env("SSL_CERT_FILE", "/dev/null")
        .output()
        .expect("the command runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{stderr}");
    let expected = "upstreams.app.tls: the certificates of the system";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn unusable_certificates_are_errors_that_name_the_file() {
    let certificates = Certificates::new();
    certificates
        .issue("one", "localhost")
        .issue("two", "localhost");
    let tls = |cert: &str, key: &str, more: &str| {
        let (cert, key) = (certificates.quoted(cert), certificates.quoted(key));
        let table = format!(
            "[[server.tls]]\nlisten = \"127.0.0.1:8443\"\ncert = {cert}\nkey = {key}\n{more}\n"
        );
        VALID.replace("[upstreams.app]", &(table + "[upstreams.app]"))
    };
    let none = certificates.quoted("one.key");
    let ca = certificates.quoted("ca.pem");
    for (text, expected) in [
        (
            tls("none.pem", "one.key", ""),
            "server.tls[0].cert: cannot read",
        ),
        (tls("one.key", "one.key", ""), "expected BEGIN CERTIFICATE"),
        (tls("one.pem", "one.pem", ""), "server.tls[0].key: "),
        (
            tls("one.pem", "two.key", ""),
            "two.key is not the private key of",
        ),
        (
            tls("one.pem", "one.key", &format!("client_ca = {none}")),
            "server.tls[0].client_ca: ",
        ),
        (
            tls("one.pem", "one.key", "").replace(":0\"", ":8443\""),
            "server.tls[0].listen: 127.0.0.1:8443 is used twice",
        ),
    ] {
        let (exit, output) = run_on("check", &text);
        assert_eq!(exit, Some(78), "{output}");
        assert!(output.contains(expected), "{expected}: {output}");
    }
    let good = tls("one.pem", "one.key", &format!("client_ca = {ca}"));
    let (exit, output) = run_on("check", &good.replace("listen = [\"127.0.0.1:0\"]", ""));
    assert_eq!(exit, Some(0), "{output}");
    assert!(
        output.contains("listen     127.0.0.1:8443, TLS"),
        "{output}"
    );
}

#[test]
fn a_rule_for_equal_bytes_must_exist_and_know_its_delivery_id() {
    let with = |provider: &str, dedupe: &str| {
        let text = VALID.replace(
            "provider = \"beatapi\"",
            &format!("provider = {provider:?}"),
        );
        let secrets = "secrets = [\"env:GOOD\"]";
        run_on(
            "check",
            &text.replace(secrets, &format!("{secrets}\ndedupe = {dedupe}")),
        )
    };
    let (exit, output) = with("line", "\"delivery_id\"");
    assert_eq!(exit, Some(78), "{output}");
    let expected =
        "source beatapi: dedupe: the catalogue has no delivery id for this source; expected";
    assert!(output.contains(expected), "{output}");
    for wrong in ["\"on\"", "1", "\"Content\""] {
        let (exit, output) = with("line", wrong);
        assert_eq!(exit, Some(78), "{output}");
        let expected = "source beatapi: dedupe: expected \"content\", \"delivery_id\" or \"off\"";
        assert!(output.contains(expected), "{output}");
    }
    for (provider, dedupe) in [
        ("shopify", "\"delivery_id\""),
        ("line", "\"off\""),
        ("line", "true"),
        ("line", "false"),
    ] {
        let (exit, output) = with(provider, dedupe);
        assert_eq!(exit, Some(0), "{output}");
    }
}

#[test]
fn limits_that_admit_no_delivery_are_errors() {
    for (limits, at) in [
        (
            "unverified_bodies = \"1KiB\"",
            "unverified_bodies: smaller than the largest body of source beatapi",
        ),
        ("connections_per_address = 0", "connections_per_address: "),
        (
            "refused_per_minute = { address = 0 }",
            "refused_per_minute.address: ",
        ),
        (
            "refused_per_minute = { host = 1 }",
            "refused_per_minute.host: unknown key",
        ),
    ] {
        let (exit, output) = run_on("check", &format!("{VALID}[limits]\n{limits}"));
        assert_eq!(exit, Some(78), "{limits}: {output}");
        let expected = format!("limits.{at}");
        assert!(output.contains(&expected), "{expected}: {output}");
    }
}

#[test]
fn tokens_that_do_not_name_one_user_are_errors() {
    let token = |name: &str, from: &str| {
        format!("{{ name = \"{name}\", from = \"{from}\", may = \"act\" }}")
    };
    let tokens = |tokens: [String; 2]| format!("tokens = [{}]", tokens.join(", "));
    for (inspector, expected) in [
        (
            "tokens = []".to_owned(),
            "inspector.tokens: expected `token` or at least one table",
        ),
        (
            "keep = 5".to_owned(),
            "inspector.tokens: missing; expected `token` or at least one",
        ),
        (
            tokens([token("a", "env:GOOD"), token("b", "env:GOOD")]),
            "inspector.tokens[1].from: the token a has the same text",
        ),
        (
            tokens([token("a", "env:GOOD"), token("a", "env:QUOTED")]),
            "inspector.tokens[1].name: used by another token",
        ),
        (
            "token = \"env:WEAK\"".to_owned(),
            "inspector.token: the token has 5 bytes",
        ),
        (
            "token = \"whsec_5f0c8a6de2b94a13\"".to_owned(),
            "inspector.token: expected env:NAME",
        ),
        (
            "token = \"env:GOOD\"\nhistory_for = \"1d\"".to_owned(),
            "inspector.history_for: has no effect without `history`",
        ),
    ] {
        let (exit, output) = run_on("check", &format!("{VALID}[inspector]\n{inspector}"));
        assert_eq!(exit, Some(78), "{inspector}: {output}");
        assert!(output.contains(expected), "{expected}: {output}");
        assert!(!output.contains("whsec_5f0c8a6de2b94a13"), "{output}");
    }
    let (exit, output) = run_on("check", &format!("{VALID}capture = \"all\""));
    assert_eq!(exit, Some(78), "{output}");
    assert!(
        output.contains("source beatapi: capture: has no effect without"),
        "{output}"
    );
    // The control: two tokens with texts of their own.
    let valid = tokens([token("a", "env:GOOD"), token("b", "env:QUOTED")]);
    let (exit, output) = run_on("check", &format!("{VALID}[inspector]\n{valid}"));
    assert_eq!(exit, Some(0), "{output}");
}

#[test]
fn unusable_upstreams_are_errors() {
    let certificates = Certificates::new();
    certificates
        .issue("one", "localhost")
        .issue("two", "localhost");
    let (key, other) = (
        certificates.quoted("one.key"),
        certificates.quoted("two.pem"),
    );
    let secure = "servers = [\"https://127.0.0.1:3000\"]\n";
    for (upstream, at) in [
        ("servers = [\"ftp://127.0.0.1\"]".to_owned(), "servers[0]"),
        ("servers = [\"127.0.0.1\"]".to_owned(), "servers[0]"),
        (
            "servers = [\"http://127.0.0.1/path\"]".to_owned(),
            "servers[0]",
        ),
        (
            "servers = [\"http://user@127.0.0.1\"]".to_owned(),
            "servers[0]",
        ),
        (
            "servers = [\"127.0.0.1:3000\"]\nprotocol = \"h2\"".to_owned(),
            "protocol",
        ),
        (format!("{secure}protocol = \"h2c\""), "protocol"),
        (format!("{secure}protocol = \"h3\""), "protocol"),
        (format!("{secure}balance = \"random\""), "balance"),
        (
            format!("{secure}connect_timeout = \"9s\""),
            "connect_timeout",
        ),
        (format!("{secure}write_timeout = \"9s\""), "write_timeout"),
        (format!("{secure}health = {{ }}"), "health.path"),
        (
            format!("{secure}health = {{ path = \"/\", grpc_service = \"a\" }}"),
            "health.path",
        ),
        (
            format!("{secure}health = {{ grpc_service = \"a\" }}"),
            "health.grpc_service",
        ),
        (
            format!(
                "{secure}protocol = \"h2\"\nhealth = {{ grpc_service = \"{}\" }}",
                "a".repeat(121)
            ),
            "health.grpc_service",
        ),
        (format!("{secure}max_connections = 0"), "max_connections"),
        (
            format!("{secure}health = {{ path = \"/\", fall = 0 }}"),
            "health.fall",
        ),
        (format!("{secure}tls = {{ ca = \"/none\" }}"), "tls.ca"),
        (format!("{secure}tls = {{ ca = {key} }}"), "tls.ca"),
        (format!("{secure}tls = {{ key = {key} }}"), "tls.cert"),
        (
            format!("{secure}tls = {{ cert = {other}, key = {key} }}"),
            "tls.key",
        ),
        (format!("{secure}tls = {{ name = \"\" }}"), "tls.name"),
        ("servers = [\"127.0.0.1:3000\"]\ntls = {}".to_owned(), "tls"),
    ] {
        let text = VALID.replace("servers = [\"127.0.0.1:3000\"]", &upstream);
        let (exit, output) = run_on("check", &text);
        assert_eq!(exit, Some(78), "{upstream}: {output}");
        let expected = format!("upstreams.app.{at}: ");
        assert!(output.contains(&expected), "{expected}: {output}");
    }
    // The message names the host and says that the name does not resolve.
    let text = VALID.replace("127.0.0.1:3000", "no-such-host.invalid:3000");
    let (exit, output) = run_on("check", &text);
    assert_eq!(exit, Some(78), "{output}");
    let expected = "upstreams.app.servers[0]: no-such-host.invalid does not resolve (";
    assert!(output.contains(expected), "{output}");
}

#[test]
fn values_that_overflow_or_never_match_are_errors() {
    for (line, expected) in [
        (
            "window = { past = \"18446744073709551615s\" }",
            "source beatapi: window.past: expected a duration",
        ),
        (
            "retention = \"500000000000y\"",
            "source beatapi: retention: expected a duration",
        ),
        (
            "duplicate_wait = \"18446744073709551615s\"",
            "source beatapi: duplicate_wait: expected a duration",
        ),
        ("body = \"16EiB\"", "source beatapi: body: expected a size"),
        (
            "host = \"http://a\"",
            "source beatapi: host: expected a host name",
        ),
        (
            "secrets = [\"whsec_CANARY\"]",
            "line 14: not TOML: duplicate key",
        ),
    ] {
        let (exit, output) = run_on("check", &format!("{VALID}{line}\n"));
        assert_eq!(exit, Some(78), "{line}: {output}");
        assert!(output.contains(expected), "{expected}\n{output}");
        assert!(!output.contains("CANARY"), "{output}");
    }
    for (from, to, expected) in [
        (
            "name = \"beatapi\"",
            "name = \"a\\nb\"",
            "sources[0].name: expected a name",
        ),
        (
            "\"127.0.0.1:0\"",
            "\"127.0.0.1:9090\"",
            "server.listen: 127.0.0.1:9090 is used twice",
        ),
        (
            "\"127.0.0.1:3000\"",
            "\"nohost.invalid:80\", 5",
            "upstreams.app.servers[1]: expected HOST:PORT",
        ),
        (
            "\"env:GOOD\"",
            "{ from = \"env:GOOD\", not_before = \"2027-01-01T00:00:00Z\", not_after = \"2026-01-01T00:00:00Z\" }",
            "source beatapi: secrets[0].not_after: earlier than `not_before`",
        ),
    ] {
        assert!(VALID.contains(from), "{from}");
        let (exit, output) = run_on("check", &VALID.replace(from, to));
        assert_eq!(exit, Some(78), "{to}: {output}");
        assert!(output.contains(expected), "{expected}\n{output}");
    }
}

#[test]
fn keys_that_cannot_be_fetched_are_errors() {
    let check = |provider: &str, lines: &str| {
        let text = VALID
            .replace(
                "provider = \"beatapi\"",
                &format!("provider = {provider:?}"),
            )
            .replace("secrets = [\"env:GOOD\"]", lines);
        assert_ne!(text, VALID);
        run_on("check", &text)
    };
    let plaid = r#"keys = { credentials = { client_id = "env:GOOD", secret = "env:GOOD" } }"#;
    let paypal = "params = { webhook_id = \"1\" }\n";
    let oidc = "params = { issuer = \"https://a.test\", audience = \"b\" }\n";
    for (provider, lines, expected) in [
        (
            "beatapi",
            "keys = {}".to_owned(),
            "publishes no keys; expected `secrets`",
        ),
        (
            "plaid",
            String::new(),
            "secrets: missing; expected `keys = {}`",
        ),
        (
            "plaid",
            "keys = {}".to_owned(),
            "keys.credentials: the credential client_id is missing",
        ),
        (
            "plaid",
            plaid.replace("client_id", "other"),
            "keys.credentials: the credential client_id is missing",
        ),
        (
            "plaid",
            plaid.replace("env:GOOD", "the-secret-itself"),
            "keys.credentials.secret: expected env:NAME or file:PATH",
        ),
        (
            "plaid",
            format!("secrets = [\"env:GOOD\"]\n{plaid}"),
            "`secrets` and `keys` are both set",
        ),
        (
            "plaid",
            plaid.replace("keys = {", "keys = { hosts = [\"a.example.com\"],"),
            "keys.hosts: has no effect",
        ),
        (
            "paypal",
            format!("{paypal}keys = {{ hosts = [\"*.com\"], uri = \"x\" }}"),
            "keys.hosts[0]: expected a host name in lower case",
        ),
        (
            "paypal",
            format!("{paypal}keys = {{ uri = \"x\" }}"),
            "keys.uri: unknown key",
        ),
        (
            "paypal",
            format!("{paypal}keys = {{ ca = \"/nowhere.pem\" }}"),
            "keys.ca: cannot read /nowhere.pem",
        ),
        (
            "paypal",
            format!("{paypal}keys = {{ chain = \"none\" }}"),
            "keys.chain: expected \"roots\" or \"host\"",
        ),
        (
            "paypal",
            format!("{paypal}keys = {{ timeout = \"0s\" }}"),
            "keys.timeout: must be greater than zero",
        ),
        ("oidc", format!("{oidc}keys = {{}}"), "keys.url: missing"),
        (
            "oidc",
            format!("{oidc}keys = {{ url = \"ftp://a.test/\" }}"),
            "keys.url: expected an address such as https://",
        ),
    ] {
        let (exit, output) = check(provider, &lines);
        assert_eq!(exit, Some(78), "{provider} {lines}: {output}");
        assert!(output.contains(expected), "{expected}: {output}");
        assert!(!output.contains("the-secret-itself"), "{output}");
    }
    let http = format!("{oidc}keys = {{ url = \"http://10.0.0.1/keys\" }}");
    for (provider, lines, expected) in [
        ("plaid", plaid.to_owned(), "fetched from the provider"),
        (
            "paypal",
            format!("{paypal}keys = {{}}"),
            "fetched from the provider",
        ),
        (
            "oidc",
            http,
            "keys that arrive over plain HTTP can be replaced",
        ),
    ] {
        let (exit, output) = check(provider, &lines);
        assert_eq!(exit, Some(0), "{provider} {lines}: {output}");
        assert!(output.contains(expected), "{expected}: {output}");
    }
}
