//! Mistakes in the configuration: all at once, with path and expectation, and
//! nothing is started.

use std::process::Command;

use hookgate_tests::{Certificates, Gateway, GatewayBuilder, Provided, Upstream, binary, send};
use http::StatusCode;

fn check(command: &str, text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).expect("it can be written");
    let output = Command::new(binary())
        .args([command, "-c", file.to_str().expect("UTF-8")])
        .env("GOOD", "whsec_5f0c8a6de2b94a13")
        .env("WEAK", "short")
        .env("QUOTED", "\"whsec_5f0c8a6de2b94a13\"")
        .env("EMPTY", "")
        .env("PLACEHOLDER", "${SECRET}")
        .env("PUBLISHED", "whsec_test")
        .env("NOT_BASE64", "whsec_!!!")
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).expect("UTF-8"),
    )
}

const GOOD: &str = r#"
[server]
listen = ["127.0.0.1:0"]

[upstreams.app]
servers = ["127.0.0.1:3000"]

[[sources]]
name = "beatapi"
path = "/hooks/beatapi"
provider = "beatapi"
secrets = ["env:GOOD"]
upstream = "app"
"#;

#[test]
fn a_good_configuration_is_shown_without_its_secrets() {
    let (exit, text) = check("check", GOOD);
    assert_eq!(exit, Some(0), "{text}");
    for expected in [
        "beatapi",
        "/hooks/beatapi",
        "5m back",
        "1day",
        "127.0.0.1:9090",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("5f0c8a6de2b94a13"), "{text}");
}

#[test]
fn every_mistake_is_reported_at_once_with_its_path() {
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
        let (exit, found) = check(command, text);
        assert_eq!(exit, Some(78), "{found}");
        for expected in [
            "surprise: unknown key",
            "server.listen[0]: expected an address such as \"0.0.0.0:8080\"",
            "server.admin: expected an address such as \"0.0.0.0:8080\", found a number",
            "limits.body: expected a size with a unit, such as \"1MiB\", of at most 1GiB",
            "limits.head_timeout: expected a duration with a unit",
            "limits.connections: expected at least 1",
            "replay.store: expected memory, disk or redis",
            "upstreams.app.servers: missing; expected at least one, HOST:PORT",
            "upstreams.app.timeout: expected a duration with a unit",
            "sources[0].path: expected a path such as",
            "sources[0].provider: \"beatpai\" is not in the catalogue, which `hookgate providers` lists (is it \"beatapi\"?)",
            "sources[0].secrets[0]: expected env:NAME or file:PATH",
            "sources[0].retention: shorter than the window lets replays in",
            "sources[1].name: taken by another source",
            "sources[1].secrets[0]: the environment variable NOT_SET is not set",
            "sources[1].secrets[1]: environment variable EMPTY: the secret is empty",
            "sources[1].secrets[2]: environment variable PLACEHOLDER: the secret is a placeholder",
            "sources[1].secrets[3].until: unknown key; expected one of from, id, not_after, not_before",
            "sources[1].upstream: no table [upstreams.other]; expected one of app",
            "sources[1].lease: a delivery could still be under way",
            "sources[1].scheme.alg: expected one of hmac-sha1, hmac-sha256",
            "sources[1].scheme.msg: does not cover the body",
        ] {
            assert!(found.contains(expected), "{expected}\n{found}");
        }
        assert!(!found.contains("this_is_the_secret_itself"), "{found}");
    }
}

#[test]
fn secrets_that_protect_nothing_do_not_start() {
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
        let text = GOOD.replace("env:GOOD", secret).replace(
            "provider = \"beatapi\"",
            &format!("provider = \"{provider}\""),
        );
        let (exit, found) = check("check", &text);
        assert_eq!(exit, Some(78), "{found}");
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    let (exit, found) = check(
        "check",
        &GOOD.replace("secrets = [\"env:GOOD\"]", "secrets = []"),
    );
    assert_eq!(exit, Some(78), "{found}");
    assert!(
        found.contains("sources[0].secrets: expected at least one"),
        "{found}"
    );
}

#[test]
fn what_may_be_meant_but_is_dangerous_is_a_warning() {
    let lasting = "[replay]\nstore = \"disk\"\npath = \"/var/lib/hookgate\"\n[upstreams.app]";
    let (_, text) = check("check", &GOOD.replacen("[upstreams.app]", lasting, 1));
    assert!(!text.contains("warning"), "{text}");
    let slow = "timeout = \"10s\"\nservers";
    let beel = GOOD.replace("\"beatapi\"\nsecrets", "\"beel\"\nsecrets");
    for (good, bad, at) in [
        (
            GOOD,
            (
                "[upstreams.app]",
                "[replay]\nboot_fence = false\n[upstreams.app]",
            ),
            "replay.boot_fence",
        ),
        (
            GOOD,
            ("listen", "admin = \"0.0.0.0:9090\"\nlisten"),
            "server.admin",
        ),
        (
            GOOD,
            ("listen", "proxy_protocol = \"0.0.0.0/0\"\nlisten"),
            "server.proxy_protocol",
        ),
        (&beel, ("servers", slow), "sources[0].upstream"),
        (
            GOOD,
            (
                "[\"env:GOOD\"]",
                "[{ from = \"env:GOOD\", not_after = \"2020-01-01T00:00:00Z\" }]",
            ),
            "sources[0].secrets",
        ),
        (GOOD, ("env:GOOD", "env:QUOTED"), "sources[0].secrets[0]"),
    ] {
        let (exit, text) = check("check", &good.replacen(bad.0, bad.1, 1));
        assert_eq!(exit, Some(0), "{text}");
        assert!(text.contains(&format!("warning    {at}: ")), "{at}: {text}");
    }
}

/// The fence goes by timestamps: what has none, or one of a clock that is ahead, passes it.
#[test]
fn what_the_boot_fence_does_not_keep_out_is_a_warning_and_named() {
    let source = |name: &str, lines: &str| {
        format!(
            "[[sources]]\nname = \"{name}\"\npath = \"/{name}\"\nsecrets = [\"env:GOOD\"]\n\
             upstream = \"app\"\n{lines}\n"
        )
    };
    let timed = "provider = \"beatapi\"\nwindow = { future = \"0s\" }";
    let untimed = "provider = \"github\"";
    for (sources, expected) in [
        (source("strict", timed), None),
        (source("off", &format!("{untimed}\ndedupe = false")), None),
        (
            source("one", untimed) + &source("two", untimed) + &source("strict", timed),
            Some("not those of one, two, whose schemes sign no timestamp; expected \"disk\""),
        ),
        (
            source("late", "provider = \"beatapi\""),
            Some("not those of late, if they were signed by a clock that is ahead; expected"),
        ),
        (
            source("one", untimed) + &source("late", "provider = \"beatapi\""),
            Some("no timestamp; nor those of late, if"),
        ),
    ] {
        let top = GOOD
            .split("[[sources]]")
            .next()
            .expect("it begins with others");
        let (exit, text) = check("check", &format!("{top}{sources}"));
        assert_eq!(exit, Some(0), "{text}");
        let warning = text
            .lines()
            .find(|line| line.starts_with("warning    replay.store: "));
        match expected {
            None => assert_eq!(warning, None),
            Some(expected) => assert!(warning.is_some_and(|w| w.contains(expected)), "{text}"),
        }
    }
}

/// Which machines may lack, and the library that reads them panics at.
#[tokio::test]
async fn certificates_of_the_system_are_needed_only_where_they_are_used() {
    let upstream = Upstream::start().await;
    let none = |builder: GatewayBuilder| {
        let nowhere = "/nonexistent";
        builder
            .env("SSL_CERT_DIR", nowhere)
            .env("SSL_CERT_FILE", "/dev/null")
    };
    let gateway = none(Gateway::builder(upstream.address())).start();
    let reply = send(gateway.address(), Provided::named("beatapi").delivery("1")).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.toml");
    let text = GOOD.replace("\"127.0.0.1:3000\"", "\"https://127.0.0.1:3000\"");
    std::fs::write(&file, text).expect("it can be written");
    let output = Command::new(binary())
        .args(["run", "-c", file.to_str().expect("UTF-8")])
        .env("GOOD", "whsec_5f0c8a6de2b94a13")
        .env("SSL_CERT_DIR", "/nonexistent")
        .env("SSL_CERT_FILE", "/dev/null")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let expected = "upstreams.app.tls: the certificates of the system";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_weak_secret_is_a_warning() {
    let (exit, found) = check("check", &GOOD.replace("env:GOOD", "env:WEAK"));
    assert_eq!(exit, Some(0), "{found}");
    assert!(
        found.contains("sources[0].secrets[0]: decodes to fewer than 16 bytes"),
        "{found}"
    );
}

#[test]
fn a_secret_file_may_end_with_a_line_feed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM=\n").expect("it can be written");
    let text = GOOD
        .replace("env:GOOD", &format!("file:{}", file.display()))
        .replace("provider = \"beatapi\"", "provider = \"standard-webhooks\"");
    let (exit, found) = check("check", &text);
    assert_eq!(exit, Some(0), "{found}");
}

#[test]
fn the_example_configuration_loads() {
    let example = include_str!("../../../gateway.example.toml");
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "whsec_5f0c8a6de2b94a13").expect("it can be written");
    let certificates = Certificates::new();
    certificates.issue("tls", "localhost");
    let path = |file| certificates.path(file).display().to_string();
    let text = example
        .replace("/run/secrets/beel", secret.to_str().expect("UTF-8"))
        .replace("/etc/hookgate/tls.crt", &path("tls.pem"))
        .replace("/etc/hookgate/tls.key", &path("tls.key"));
    let text = ["BEATAPI_SECRET", "BEEL_OLD", "PARTNER_SECRET"]
        .iter()
        .fold(text, |text, name| {
            text.replace(&format!("env:{name}"), "env:GOOD")
        });
    let (exit, found) = check("check", &text);
    assert_eq!(exit, Some(0), "{found}");
}

#[test]
fn certificates_that_cannot_be_used_are_refused_with_the_file_that_is_wrong() {
    let certificates = Certificates::new();
    certificates
        .issue("one", "localhost")
        .issue("two", "localhost");
    let tls = |cert: &str, key: &str, more: &str| {
        let (cert, key) = (certificates.quoted(cert), certificates.quoted(key));
        let table = format!(
            "[[server.tls]]\nlisten = \"127.0.0.1:8443\"\ncert = {cert}\nkey = {key}\n{more}\n"
        );
        GOOD.replace("[upstreams.app]", &(table + "[upstreams.app]"))
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
        (tls("one.pem", "two.key", ""), "does not go with"),
        (
            tls("one.pem", "one.key", &format!("client_ca = {none}")),
            "server.tls[0].client_ca: ",
        ),
        (
            tls("one.pem", "one.key", "").replace(":0\"", ":8443\""),
            "server.tls[0].listen: 127.0.0.1:8443 is there twice",
        ),
    ] {
        let (exit, found) = check("check", &text);
        assert_eq!(exit, Some(78), "{found}");
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let good = tls("one.pem", "one.key", &format!("client_ca = {ca}"));
    let (exit, found) = check("check", &good.replace("listen = [\"127.0.0.1:0\"]", ""));
    assert_eq!(exit, Some(0), "{found}");
    assert!(found.contains("listen     127.0.0.1:8443, TLS"), "{found}");
}

#[test]
fn limits_under_which_nothing_would_fit_are_refused() {
    for (limits, at) in [
        (
            "unverified_bodies = \"1KiB\"",
            "unverified_bodies: no body of beatapi",
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
        let (exit, found) = check("check", &format!("{GOOD}[limits]\n{limits}"));
        assert_eq!(exit, Some(78), "{limits}: {found}");
        let expected = format!("limits.{at}");
        assert!(found.contains(&expected), "{expected}: {found}");
    }
}

#[test]
fn upstreams_that_cannot_be_used_are_refused() {
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
        let text = GOOD.replace("servers = [\"127.0.0.1:3000\"]", &upstream);
        let (exit, found) = check("check", &text);
        assert_eq!(exit, Some(78), "{upstream}: {found}");
        let expected = format!("upstreams.app.{at}: ");
        assert!(found.contains(&expected), "{expected}: {found}");
    }
    // Which host it is, and that it is the name that is not known.
    let text = GOOD.replace("127.0.0.1:3000", "no-such-host.invalid:3000");
    let (exit, found) = check("check", &text);
    assert_eq!(exit, Some(78), "{found}");
    let expected = "upstreams.app.servers[0]: no-such-host.invalid does not resolve (";
    assert!(found.contains(expected), "{found}");
}

#[test]
fn the_configuration_of_the_readme_loads() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("it has one");
    let (text, _) = rest.split_once("```").expect("it ends");
    let (exit, found) = check("check", &text.replace("env:BEATAPI_SECRET", "env:GOOD"));
    assert_eq!(exit, Some(0), "{found}");
}

#[test]
fn values_that_would_overflow_or_never_match_are_refused() {
    for (line, expected) in [
        (
            "window = { past = \"18446744073709551615s\" }",
            "sources[0].window.past: expected a duration",
        ),
        (
            "retention = \"500000000000y\"",
            "sources[0].retention: expected a duration",
        ),
        (
            "duplicate_wait = \"18446744073709551615s\"",
            "sources[0].wait: expected a duration",
        ),
        ("body = \"16EiB\"", "sources[0].body: expected a size"),
        (
            "host = \"http://a\"",
            "sources[0].host: expected a host name",
        ),
        (
            "secrets = [\"whsec_CANARY\"]",
            "line 14: not TOML: duplicate key",
        ),
    ] {
        let (exit, found) = check("check", &format!("{GOOD}{line}\n"));
        assert_eq!(exit, Some(78), "{line}: {found}");
        assert!(found.contains(expected), "{expected}\n{found}");
        assert!(!found.contains("CANARY"), "{found}");
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
            "server.listen: 127.0.0.1:9090 is there twice",
        ),
        (
            "\"127.0.0.1:3000\"",
            "\"nohost.invalid:80\", 5",
            "upstreams.app.servers[1]: expected HOST:PORT",
        ),
        (
            "\"env:GOOD\"",
            "{ from = \"env:GOOD\", not_before = \"2027-01-01T00:00:00Z\", not_after = \"2026-01-01T00:00:00Z\" }",
            "sources[0].secrets[0].not_after: before `not_before`",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let (exit, found) = check("check", &GOOD.replace(from, to));
        assert_eq!(exit, Some(78), "{to}: {found}");
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn check_says_what_a_scheme_cannot_do() {
    for (provider, expected) in [
        ("beatapi", "dedupe     by the event id, which is signed"),
        ("calendly", "dedupe     exact replays only"),
        ("github", "dedupe     by the whole content"),
        ("telegram", "dedupe     retries only: a token signs nothing"),
        ("asana", "dedupe     off"),
    ] {
        let text = GOOD.replace(
            "provider = \"beatapi\"",
            &format!("provider = \"{provider}\""),
        );
        let (exit, found) = check("check", &text);
        assert_eq!(exit, Some(0), "{found}");
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}
