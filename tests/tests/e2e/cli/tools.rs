//! The output of `sign` for `verify`, the options of `send`, searches, completions, manual pages and
//! the version.

use std::net::TcpListener;
use std::process::{Command, Output};

use hookgate_tests::{Certificates, Gateway, SECRETS, Upstream, binary};

use super::{Folder, hookgate, json, send_signed, text};

const KEY: &str = "a-key-of-the-tests-0123456789abcdef";

/// Schemes that sign in the address, in the body, or in headers alone.
#[test]
fn verify_reads_what_sign_prints() {
    let url = ["--url", "https://hooks.example.com/in?tenant=7"];
    for (provider, options, body) in [
        ("stripe", &[][..], "{\"id\": \"evt_1\"}"),
        ("twilio", &url, "AccountSid=AC1&Body=hello"),
        ("twilio", &url, "{\"a\": 1}"),
        ("mailgun", &[], "{\"event-data\": {}}"),
        ("mandrill", &url, "mandrill_events=%5B%5D"),
        ("trello", &url, "{\"action\": {}}"),
    ] {
        let folder = Folder::new();
        let signing = [&["--provider", provider, "--secret", "env:SECRET"], options].concat();
        let signed = hookgate(&[&["sign"], &signing[..]].concat(), KEY, body.as_bytes());
        assert!(signed.status.success(), "{provider} {}", text(&signed));
        let printed = text(&signed);
        let is_request = printed.starts_with("POST ");
        let file = folder.write("signed", &signed.stdout);
        let body_file = folder.write("body", body);
        let mut files = vec![vec!["--headers", &file, "--body", &body_file]];
        if is_request {
            files = vec![vec!["--capture", &file], vec!["--headers", &file]];
        }
        for files in files {
            let verify = [&["verify"], &signing[..], &files].concat();
            let output = hookgate(&verify, KEY, b"");
            assert!(output.status.success(), "{printed}\n{}", text(&output));
            // The control: another key.
            let output = hookgate(&verify, "another-key-0123456789abcdef0123", b"");
            assert!(!output.status.success(), "{provider} {}", text(&output));
        }
    }
}

/// Runs `hookgate send` to `to` with the secret of a source of `provider`.
fn send(provider: &str, to: &str, options: &[&str]) -> Output {
    let secret = SECRETS.iter().find(|(name, _)| *name == provider);
    send_signed(
        provider,
        secret.map_or(KEY, |(_, secret)| secret),
        to,
        options,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn send_adds_headers_and_the_content_type_of_the_variant() {
    let upstream = Upstream::start().await;
    let table = "[[sources]]\nname = \"twilio\"\npath = \"/twilio\"\nprovider = \"twilio\"\n\
                 secrets = [\"env:KEY\"]\nupstream = \"app\"\nURL";
    let gateway = Gateway::builder(upstream.address())
        .env("KEY", KEY)
        .table(&table.replace("URL", "url = \"https://hooks.example.com/twilio\""))
        .start();
    let twilio = format!("http://{}/twilio", gateway.address());
    let url = ["--url", "https://hooks.example.com/twilio"];
    let output = send(
        "twilio",
        &twilio,
        &[&url[..], &["--variant", "form"]].concat(),
    );
    assert_eq!(text(&output), "204 No Content\n");
    let folder = Folder::new();
    let form = folder.write("form", "AccountSid=AC1&Body=hello");
    let output = send("twilio", &twilio, &[&url[..], &["--body", &form]].concat());
    assert_eq!(text(&output), "204 No Content\n");
    for request in upstream.take_received() {
        let content_type = &request.headers["content-type"];
        assert_eq!(content_type, "application/x-www-form-urlencoded");
    }
    let beatapi = format!("http://{}/hooks/beatapi", gateway.address());
    let headers = [
        "--header",
        "X-Kind: a: b",
        "--header",
        "content-type:text/json",
    ];
    let output = send("beatapi", &beatapi, &headers);
    assert_eq!(text(&output), "204 No Content\n");
    let received = upstream.take_received();
    assert_eq!(received[0].headers["x-kind"], "a: b");
    assert_eq!(received[0].headers["content-type"], "text/json");
    for (header, expected) in [
        ("no-colon", "expected NAME:VALUE"),
        ("a b: c", "expected NAME:VALUE"),
        ("Host: other", "the client writes host itself"),
    ] {
        let output = send("beatapi", &beatapi, &["--header", header]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_trusts_the_authorities_of_the_options() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    certificates.issue("server", "localhost");
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .tls(&certificates)
        .start();
    let to = format!(
        "https://localhost:{}/hooks/beatapi",
        gateway.tls_address().port()
    );
    let ca = certificates.path("ca.pem").display().to_string();
    let other = others.path("ca.pem").display().to_string();
    let output = send("beatapi", &to, &["--ca", &ca]);
    assert_eq!(text(&output), "204 No Content\n");
    let output = send("beatapi", &to, &["--insecure", "--ca", &other]);
    assert_eq!(text(&output), "204 No Content\n");
    let output = send("beatapi", &to, &["--ca", &other]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output);
    let cause = " failed: invalid peer certificate: ";
    assert!(message.contains("the TLS handshake with "), "{message}");
    assert!(message.contains(cause), "{message}");
    assert!(
        message.contains("--ca FILE trusts an authority"),
        "{message}"
    );
    let output = send("beatapi", &to, &["--ca", "/nowhere.pem"]);
    assert!(
        text(&output).contains("--ca: cannot read /nowhere.pem"),
        "{}",
        text(&output)
    );
}

#[test]
fn send_says_where_no_gateway_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    drop(listener);
    let output = send("beatapi", &format!("http://{address}/"), &[]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("hookgate: connection refused at {address}: is the gateway running?\n");
    assert_eq!(text(&output), expected);
}

#[test]
fn errors_of_a_source_name_the_file_and_suggest_a_name() {
    let folder = Folder::new();
    let config = folder.write(
        "gateway.toml",
        "[[sources]]\nname = \"github\"\n[[sources]]\nname = \"stripe\"\nprovider = \"strpe\"\n\
         secrets = [\"env:SECRET\"]\n",
    );
    for (name, expected) in [
        (
            "gihtub",
            "gateway.toml: 1 mistake\n  no source has the name \"gihtub\" (did you mean \
             \"github\"?); expected one of github, stripe\n",
        ),
        (
            "stripe",
            "gateway.toml: 1 mistake\n  line 5, source stripe: provider: \"strpe\" is not in the \
             catalogue (did you mean \"stripe\"?); expected",
        ),
    ] {
        let output = hookgate(&["sign", "-c", &config, "--source", name], KEY, b"{}");
        assert_eq!(output.status.code(), Some(78));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
}

#[test]
fn providers_searches_names_and_titles() {
    let list = text(&hookgate(&["providers", "shop"], "", b""));
    for name in ["shopify ", "shopline ", "shopware ", "tiktok-shop "] {
        assert!(list.contains(&format!("\n{name}")), "{list}");
    }
    assert!(!list.contains("\nstripe "), "{list}");
    // One title contains this word.
    let one = text(&hookgate(&["providers", "Mailchimp"], "", b""));
    assert!(one.starts_with("name         mandrill\n"), "{one}");
    let list = json(&hookgate(&["providers", "--json", "shop"], "", b""));
    assert!(
        list.as_array().is_some_and(|list| list.len() >= 4),
        "{list}"
    );
    for (search, expected) in [
        (
            "strpie",
            "no provider has \"strpie\" in its name or title; did you mean \"stripe\"?",
        ),
        ("no-such-provider", "`hookgate providers` lists all of them"),
    ] {
        let output = hookgate(&["providers", search], "", b"");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    let output = hookgate(
        &["sign", "--provider", "strpie", "--secret", "env:SECRET"],
        "",
        b"",
    );
    assert!(
        text(&output).contains("did you mean \"stripe\"?"),
        "{}",
        text(&output)
    );
}

#[test]
fn completions_are_valid_scripts() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = hookgate(&["completions", shell], "", b"");
        assert!(output.status.success(), "{}", text(&output));
        assert!(text(&output).contains("offline"), "{shell}");
    }
    let folder = Folder::new();
    let script = folder.write("bash", hookgate(&["completions", "bash"], "", b"").stdout);
    let line = "source \"$1\" && COMP_WORDS=(hookgate che) COMP_CWORD=1 && _hookgate hookgate che \
                hookgate && echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", line, "bash", &script])
        .output()
        .expect("`bash` is installed");
    assert_eq!(text(&output), "check\n");
}

#[test]
fn every_command_has_a_manual_page() {
    let page = text(&hookgate(&["man"], "", b""));
    assert!(page.contains(".TH hookgate 1"), "{page}");
    let page = text(&hookgate(&["man", "events", "list"], "", b""));
    assert!(page.contains(".TH hookgate-events-list 1"), "{page}");
    let output = hookgate(&["man", "chekc"], "", b"");
    assert!(
        text(&output).contains("there is no command chekc; expected one of run, check"),
        "{}",
        text(&output)
    );
    let folder = Folder::new();
    let target = folder.path("pages");
    std::fs::create_dir(&target).expect("the folder is created");
    let output = hookgate(&["man", "--dir", &target], "", b"");
    assert!(output.status.success(), "{}", text(&output));
    for name in ["hookgate.1", "hookgate-check.1", "hookgate-queue-drain.1"] {
        let page = std::fs::read_to_string(format!("{target}/{name}"));
        assert!(
            page.is_ok_and(|page| page.contains(".TH hookgate")),
            "{name}"
        );
    }
}

#[test]
fn the_version_names_commit_and_features() {
    let output = Command::new(binary())
        .arg("--version")
        .output()
        .expect("the command runs");
    let version = text(&output);
    let start = format!("hookgate {} (commit ", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&start), "{version}");
    assert!(version.ends_with(", features: otel)\n"), "{version}");
}

/// Compiles the build script and runs it in a package below `folder`. Returns the commit.
fn built_commit(folder: &Folder, environment: &[(&str, &str)]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/build.rs");
    let program = folder.path("build-script");
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-o", &program, script])
        .status()
        .expect("`rustc` is installed");
    assert!(compiled.success());
    let package = folder.path("source/gateway");
    std::fs::create_dir_all(&package).expect("the folder is created");
    let output = Command::new(&program)
        .env_remove("HOOKGATE_COMMIT")
        .env("CARGO_MANIFEST_DIR", package)
        .envs(environment.iter().copied())
        .output()
        .expect("the build script runs");
    assert!(output.status.success(), "{}", text(&output));
    let lines = text(&output);
    let commit = lines
        .lines()
        .find_map(|line| line.strip_prefix("cargo::rustc-env=HOOKGATE_BUILT_COMMIT="));
    commit.expect("the script sets the commit").to_owned()
}

#[test]
fn a_release_has_its_commit_with_and_without_git() {
    let folder = Folder::new();
    let release = ("PROFILE", "release");
    assert_eq!(built_commit(&folder, &[release]), "unknown");
    let source = folder.path("source");
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-C", &source, "-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments)
            .output()
            .expect("`git` is installed");
        assert!(output.status.success(), "{}", text(&output));
        text(&output).trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "--message", "First"]);
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(built_commit(&folder, &[release]), commit);
    assert_eq!(built_commit(&folder, &[("PROFILE", "debug")]), "unknown");
    assert_eq!(
        built_commit(&folder, &[release, ("PATH", "/nowhere")]),
        "unknown"
    );
    let given = ("HOOKGATE_COMMIT", "0123abc");
    assert_eq!(built_commit(&folder, &[release, given]), "0123abc");
    // The sources lie in a folder of another repository.
    let package = folder.path("source/vendor/hookgate/gateway");
    std::fs::create_dir_all(&package).expect("the folder is created");
    let other = ("CARGO_MANIFEST_DIR", package.as_str());
    assert_eq!(built_commit(&folder, &[release, other]), "unknown");
}
