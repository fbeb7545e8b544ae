//! The commands for a terminal: `sign`, `verify`, `send`, `identify`, `providers`, and `demo`.
//! `check` is tested in `configuration`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use hookgate_tests::{Gateway, SECRETS, TestProvider, Upstream, binary, now, send};

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

/// Returns standard output followed by standard error.
fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(all).expect("the bytes are UTF-8")
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
fn verify_explain_names_the_probable_cause() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let path = |name: &str| {
        folder
            .path()
            .join(name)
            .to_str()
            .expect("the bytes are UTF-8")
            .to_owned()
    };
    let beatapi = TestProvider::named("beatapi");
    let body = br#"{"id": "evt_1", "path": "a/b"}"#;
    let signing = ["--provider", "beatapi", "--secret", "env:SECRET"];
    let signed = hookgate(&[&["sign"], &signing[..]].concat(), beatapi.secret, body);
    std::fs::write(path("headers"), &signed.stdout).expect("the file is written");
    let explained = |provider: &str, secret: &str, body: &[u8], more: &[&str]| {
        std::fs::write(path("body"), body).expect("the file is written");
        let file = path("body");
        let signing = ["--provider", provider, "--secret", "env:SECRET"];
        let given = ["verify", "--explain", "--body", &file];
        let checked = hookgate(&[&given, &signing, more].concat(), secret, b"");
        assert!(!checked.status.success(), "{}", text(&checked));
        text(&checked)
    };
    let headers = path("headers");
    let headers = ["--headers", &*headers];
    let quoted = format!("\"{}\"", beatapi.secret);
    let late = [&headers[..], &["--at", "99999999999"]].concat();
    for (provider, secret, body, more, expected) in [
        (
            "beatapi",
            beatapi.secret,
            &[body, &b"\n"[..]].concat()[..],
            &headers[..],
            "remove the white space at its end",
        ),
        (
            "beatapi",
            beatapi.secret,
            br#"{"id":"evt_1","path":"a/b"}"#,
            &headers,
            "add a blank after each comma",
        ),
        (
            "beatapi",
            beatapi.secret,
            b"",
            &headers,
            "the body is empty",
        ),
        (
            "beatapi",
            &quoted,
            body,
            &headers,
            "characters around the secret are removed",
        ),
        (
            "beatapi",
            beatapi.secret,
            body,
            &late,
            "the signature matches, but it was made",
        ),
        (
            "beatapi",
            beatapi.secret,
            body,
            &[],
            "no headers were given",
        ),
        (
            "standard-webhooks",
            "whsec_c3VpdGVz",
            body,
            &headers,
            "webhook-signature (missing)",
        ),
        (
            "beel",
            beatapi.secret,
            body,
            &headers,
            "beel-signature (missing)",
        ),
        // The controls: the command recognises no cause if the body was changed, or if the
        // secret is another one.
        (
            "beatapi",
            beatapi.secret,
            b"{}",
            &headers,
            "none of the usual causes fits",
        ),
        (
            "beatapi",
            "whsec_another-secret",
            body,
            &headers,
            "none of the usual causes fits",
        ),
        // A stale delivery with another secret has no recognisable cause either.
        (
            "beatapi",
            "whsec_another-secret",
            body,
            &late,
            "none of the usual causes fits",
        ),
    ] {
        let output = explained(provider, secret, body, more);
        assert!(output.contains(expected), "{expected}: {output}");
        assert!(!output.contains(beatapi.secret), "{output}");
    }
    // A delivery of another provider is recognised.
    let output = explained("beel", beatapi.secret, body, &headers);
    assert!(
        output.contains("it verifies with the scheme of "),
        "{output}"
    );
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
fn providers_lists_the_catalogue_and_shows_each_provider() {
    let unknown = hookgate(
        &["sign", "--provider", "nobody", "--secret", "env:SECRET"],
        "x",
        b"",
    );
    assert!(
        text(&unknown).contains("`hookgate providers` lists the names"),
        "{}",
        text(&unknown)
    );

    let list = hookgate(&["providers", "--json"], "", b"");
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(&list.stdout).expect("the text is JSON");
    let readme = include_str!("../../../README.md");
    // The README does not count the provider without a documented scheme.
    assert!(
        readme.contains(&format!("{} providers", list.len() - 1)),
        "the README counts them"
    );
    let page = text(&hookgate(&["providers", "--markdown"], "", b""));
    let mut lines = page
        .lines()
        .zip(include_str!("../../../docs/providers.md").lines());
    assert_eq!(
        lines.find(|(made, committed)| made != committed),
        None,
        "regenerate it: hookgate providers --markdown > docs/providers.md"
    );
    let lines = text(&hookgate(&["providers"], "", b""));
    assert_eq!(lines.lines().count(), list.len() + 1);

    let one = text(&hookgate(&["providers", "beel"], "", b""));
    for line in [
        "provider     BeeL",
        "algorithm    hmac-sha256",
        "signed       {ts}.{body}",
        "signature    header:beel-signature",
        "window       at most 5m old, at most 5m ahead",
        "duplicates   found by event id",
        "retention    7days",
        "timeout      10s",
    ] {
        assert!(one.contains(line), "{line}\n{one}");
    }
}

#[test]
fn providers_shows_the_rule_for_equal_bytes_and_the_expected_responses() {
    for (provider, line) in [
        (
            "adyen",
            "responses    a duplicate gets status 200 and the body [accepted] (https://docs.adyen",
        ),
        ("xero", "responses    a refused delivery gets no body ("),
        ("mailgun", "responses    406: the delivery is rejected"),
        (
            "shopify",
            "duplicates   found by whole body and the unsigned delivery id; replays with another",
        ),
        (
            "github",
            "duplicates   found by whole body; for events that can repeat, also the unsigned",
        ),
        (
            "woocommerce",
            "duplicates   found by nothing; distinct events can have equal bytes",
        ),
    ] {
        let shown = text(&hookgate(&["providers", provider], "", b""));
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

#[test]
fn identify_finds_the_scheme_of_a_captured_delivery() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let [headers, body] = ["headers", "body"].map(|name| folder.path().join(name));
    std::fs::write(&body, "{\"a\":1}").expect("the file is written");
    let identify = |secret: &str| {
        let files = [&headers, &body].map(|file| file.to_str().expect("the bytes are UTF-8"));
        let options = [
            "identify",
            "--secret",
            "env:SECRET",
            "--headers",
            files[0],
            "--body",
            files[1],
        ];
        hookgate(&options, secret, b"")
    };
    let sign = |provider: &str, secret: &str| {
        let options = [
            "sign",
            "--provider",
            provider,
            "--secret",
            "env:SECRET",
            "--at",
            "1784187600",
        ];
        let signed = hookgate(&options, secret, b"{\"a\":1}");
        std::fs::write(&headers, &signed.stdout).expect("the file is written");
    };
    sign("stripe", "whsec_5f0c8a6de2b94a13");
    let found = text(&identify("whsec_5f0c8a6de2b94a13"));
    let expected = "# Stripe\nprovider = \"stripe\"\n\n# another provider with this scheme\n\
                    [sources.scheme]\nextends = \"stripe\"";
    assert_eq!(found.trim(), expected);
    let wrong = identify("whsec_0000000000000000");
    assert!(!wrong.status.success());
    assert!(
        text(&wrong).contains("no scheme of the catalogue fits"),
        "{}",
        text(&wrong)
    );
    // The sender used the decoded secret as its key.
    sign("stripe", "0123456789abcdef");
    let found = text(&identify("whsec_MDEyMzQ1Njc4OWFiY2RlZg=="));
    assert!(
        found.contains("extends = \"stripe\"\nkey = { strip = \"whsec_\", enc = \"base64\" }"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn send_delivers_a_signed_body() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for (provider, secret) in SECRETS {
        let to = format!("http://{}/hooks/{provider}", gateway.address());
        let arguments = [
            "send",
            "--provider",
            provider,
            "--secret",
            "env:SECRET",
            "--to",
            &to,
            "--repeat",
            "2",
        ];
        let output = hookgate(&arguments, secret, b"");
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(text(&output), "204 No Content\n200 OK (duplicate)\n");
        assert_eq!(upstream.take_received().len(), 1);
        let wrong = hookgate(&arguments, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM=", b"");
        assert!(!wrong.status.success());
        assert!(
            text(&wrong).starts_with("401 Unauthorized"),
            "{}",
            text(&wrong)
        );
    }
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
            let response = send(gateway.address(), request).await;
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
