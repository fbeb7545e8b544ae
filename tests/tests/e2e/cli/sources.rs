//! `-c FILE --source NAME`: the commands use a source of the configuration.

use std::process::{Command, Output};

use hookgate_tests::{Gateway, Upstream, binary};

use super::{Folder, SIGNED_AT, hookgate, json, text};

const NEW: &str = "partner-secret-new-0123456789";
const OLD: &str = "partner-secret-old-0123456789";

/// A configuration whose other source and whose TLS files are not on this machine.
const CONFIG: &str = r#"
[[server.tls]]
listen = "127.0.0.1:0"
certificate = "/nonexistent/certificate.pem"
key = "/nonexistent/key.pem"

[[sources]]
name = "elsewhere"
path = "/elsewhere"
upstream = "app"
provider = "stripe"
secrets = ["file:/nonexistent/secret"]

[[sources]]
name = "partner"
path = "/partner"
upstream = "app"
url = "https://hooks.example.com/partner?tenant=7"
params = { account = "acme" }
window = { past = "10s" }
secrets = [
  { from = "env:NEW", id = "new" },
  { from = "env:OLD", id = "old", not_after = "2026-07-16T08:00:00Z" },
]
[sources.scheme]
alg  = "hmac-sha512"
sig  = { in = "header:x-partner", items = ";", pair = "=", key = "sig", enc = "base64" }
ts   = { in = "sig:at", unit = "ms", past = "60s" }
msg  = "{url}\n{ts}\n{param:account}\n{body}"
id   = "json:/id"

[[sources]]
name = "keys"
path = "/keys"
upstream = "app"
provider = "plaid"
keys = {}
"#;

/// Runs a command with the source `name` of [`CONFIG`].
fn run(name: &str, arguments: &[&str], (new, old): (&str, &str), input: &str) -> Output {
    let folder = Folder::new();
    let config = folder.write("gateway.toml", CONFIG);
    let input = folder.write("input", input);
    Command::new(binary())
        .args(
            [
                &arguments[..1],
                &["-c", &config, "--source", name],
                &arguments[1..],
            ]
            .concat(),
        )
        .env("NEW", new)
        .env("OLD", old)
        .stdin(std::fs::File::open(input).expect("the file exists"))
        .output()
        .expect("the process runs")
}

/// Returns the capture of a delivery that was signed with `secret` as the new secret.
fn delivery(secret: &str, body: &str) -> String {
    let signed = run("partner", &["sign", "--at", SIGNED_AT], (secret, OLD), body);
    assert!(signed.status.success(), "{}", text(&signed));
    format!("POST /partner?tenant=7 HTTP/1.1\n{}\n{body}", text(&signed))
}

#[test]
fn a_source_verifies_with_each_of_its_secrets() {
    let body = "{\"id\": \"e1\"}";
    let verify = ["verify", "--json", "--explain", "--capture", "-", "--at"];
    for (secret, at, expected) in [
        (NEW, SIGNED_AT, "new"),
        (OLD, SIGNED_AT, "old"),
        // The window of the source ends after 10 s, not after the 60 s of the scheme.
        (NEW, "1784187610", "new"),
        (NEW, "1784187611", "timestamp_too_old"),
        (OLD, "1784187611", "timestamp_too_old"),
        ("another-secret-0123456789", SIGNED_AT, "signature_mismatch"),
    ] {
        let output = run(
            "partner",
            &[&verify[..], &[at]].concat(),
            (NEW, OLD),
            &delivery(secret, body),
        );
        let object = json(&output);
        let found = match object["verified"] == true {
            true => &object["key"],
            false => &object["reason"],
        };
        assert_eq!(*found, expected, "{object}");
        if expected == "timestamp_too_old" {
            // The first secret that signed the delivery is the one in use.
            assert_eq!(object["causes"][0]["code"], "timestamp_too_old", "{object}");
        }
    }
}

#[test]
fn an_unusable_secret_of_a_source_is_explained() {
    let capture = delivery(NEW, "{}");
    let secrets = ("${PARTNER_SECRET}", OLD);
    let output = run(
        "partner",
        &["verify", "--json", "--explain", "--capture", "-"],
        secrets,
        &capture,
    );
    assert_eq!(output.status.code(), Some(1));
    let object = json(&output);
    assert_eq!(object["reason"], serde_json::Value::Null, "{object}");
    assert_eq!(
        object["causes"][0]["code"], "secret_placeholder",
        "{object}"
    );
    let output = run(
        "partner",
        &["verify", "--json", "--capture", "-"],
        secrets,
        &capture,
    );
    let error = json(&output)["error"].to_string();
    assert!(
        error.contains("source partner: environment variable NEW: "),
        "{error}"
    );
}

#[test]
fn options_replace_the_inputs_of_a_source() {
    let capture = delivery(NEW, "{}");
    let verify = ["verify", "--json", "--capture", "-", "--at", SIGNED_AT];
    for (options, expected) in [
        (&[][..], true),
        (&["--param", "account=acme"], true),
        (&["--param", "account=other"], false),
        (
            &["--url", "https://other.example.com/partner?tenant=7"],
            false,
        ),
    ] {
        let arguments = [&verify[..], options].concat();
        let output = run("partner", &arguments, (NEW, OLD), &capture);
        assert_eq!(
            json(&output)["verified"],
            expected,
            "{options:?} {}",
            text(&output)
        );
    }
}

#[test]
fn identify_uses_the_secrets_of_a_source() {
    let options = ["sign", "--provider", "stripe", "--secret", "env:SECRET"];
    let signed = text(&hookgate(&options, OLD, b"{}"));
    let capture = format!("POST / HTTP/1.1\n{signed}\n{{}}");
    let output = run(
        "partner",
        &["identify", "--json", "--capture", "-"],
        (NEW, OLD),
        &capture,
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let object = json(&output);
    assert_eq!(object["matches"][0]["provider"], "stripe", "{object}");
    assert_eq!(object["matches"][0]["proved"], true, "{object}");
}

#[test]
fn a_source_that_cannot_be_used_is_reported() {
    let verify = ["verify", "--capture", "-"];
    let capture = "POST / HTTP/1.1\n\n";
    let sign = ["sign"];
    for (name, arguments, status, expected) in [
        (
            "partners",
            &verify[..],
            78,
            "no source has the name \"partners\" (did you mean \"partner\"?); expected one of elsewhere, partner, keys",
        ),
        (
            "elsewhere",
            &verify,
            1,
            "source elsewhere: cannot read /nonexistent/secret",
        ),
        (
            "keys",
            &verify,
            1,
            "source keys has no secrets, because the gateway fetches its keys; `verify` reads a \
             document of keys with --keys",
        ),
        (
            "keys",
            &sign,
            1,
            "source keys has no secrets, because the gateway fetches its keys",
        ),
        (
            "partner",
            &["verify", "--provider", "stripe"],
            2,
            "cannot be used with",
        ),
        (
            "partner",
            &["verify", "--secret", "env:NEW"],
            2,
            "cannot be used with",
        ),
        (
            "partner",
            &["identify", "--secret", "env:NEW"],
            2,
            "cannot be used with",
        ),
    ] {
        let output = run(name, arguments, (NEW, OLD), capture);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{name} {}",
            text(&output)
        );
        assert!(
            text(&output).contains(expected),
            "{name}: {}",
            text(&output)
        );
    }
    let output = hookgate(&["verify", "--source", "partner"], "", b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("--config <FILE>"),
        "{}",
        text(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn send_signs_as_a_source_does() {
    let upstream = Upstream::start().await;
    let table = &CONFIG[CONFIG.find("[[sources]]\nname = \"partner\"").unwrap()..];
    let table = &table[..table.find("[[sources]]\nname = \"keys\"").unwrap()];
    let table = table.replace(
        ", id = \"old\", not_after = \"2026-07-16T08:00:00Z\"",
        ", id = \"old\"",
    );
    let gateway = Gateway::builder(upstream.address())
        .env("NEW", NEW)
        .env("OLD", OLD)
        .table(&table)
        .start_without_default_sources();
    let to = format!("http://{}/partner", gateway.address());
    let output = run("partner", &["send", "--to", &to], (NEW, OLD), "");
    assert_eq!(text(&output), "204 No Content\n");
    assert_eq!(upstream.take_received().len(), 1);
    // The control: another secret is refused.
    let output = run(
        "partner",
        &["send", "--to", &to],
        (&NEW.replace("new", "n3w"), OLD),
        "",
    );
    assert!(text(&output).starts_with("401 "), "{}", text(&output));
}

/// A source whose tenants have files in `folder`, a source with a resolver on a closed port, and a
/// source without tenants.
fn tenants(folder: &str) -> String {
    format!(
        "[[sources]]\nname = \"partners\"\npath = \"/partners/{{tenant}}\"\nupstream = \"app\"\n\
         provider = \"square\"\nurl = \"https://hooks.example.com/partners/{{tenant}}\"\nsecrets = [\n\
         {{ from = \"file:{folder}/new/{{tenant}}\", id = \"new\" }},\n\
         \"file:{folder}/old/{{tenant}}.key\",\n]\n\
         [[sources]]\nname = \"resolved\"\npath = \"/resolved/{{tenant}}\"\nupstream = \"app\"\n\
         provider = \"github\"\n\
         secrets = [{{ resolve = \"http://127.0.0.1:1/{{tenant}}\" }}]\n\
         [[sources]]\nname = \"single\"\npath = \"/single\"\nupstream = \"app\"\n\
         provider = \"github\"\nsecrets = [\"env:SECRET\"]\n"
    )
}

#[test]
fn a_tenant_has_its_own_secrets_and_url() {
    let folder = Folder::new();
    for (name, content) in [
        ("new/acme", NEW),
        ("old/acme.key", OLD),
        ("old/umbrella.key", "umbrella-secret-0123456789"),
    ] {
        let path = folder.path(name);
        let parent = std::path::Path::new(&path).parent();
        std::fs::create_dir_all(parent.expect("a folder")).expect("the folder is created");
        folder.write(name, content);
    }
    let config = folder.write("gateway.toml", tenants(&folder.path("")));
    let run = |command: &str, source: &str, tenant: &[&str], more: &[&str], input: &str| {
        let start = [command, "-c", &config, "--source", source];
        let options = [&start[..], tenant, more].concat();
        hookgate(&options, NEW, input.as_bytes())
    };
    for (tenant, other, key) in [("acme", "umbrella", "new"), ("umbrella", "acme", "2")] {
        let names = [tenant, other].map(|name| ["--tenant", name]);
        let signed = run("sign", "partners", &names[0], &["--at", SIGNED_AT], "{}");
        assert!(signed.status.success(), "{}", text(&signed));
        let capture = format!("POST /partners/{tenant} HTTP/1.1\n{}\n{{}}", text(&signed));
        for (verify_as, is_verified) in names.into_iter().zip([true, false]) {
            let more = ["--json", "--capture", "-", "--at", SIGNED_AT];
            let output = run("verify", "partners", &verify_as, &more, &capture);
            let object = json(&output);
            assert_eq!(object["verified"], is_verified, "{verify_as:?} {object}");
            if is_verified {
                assert_eq!(object["key"], key, "{object}");
            }
            let more = ["--json", "--capture", "-"];
            let output = run("identify", "partners", &verify_as, &more, &capture);
            let is_proved = json(&output)["matches"][0]["proved"] == true;
            assert_eq!(is_proved, is_verified, "{verify_as:?} {}", text(&output));
        }
    }
    for (source, tenant, expected) in [
        (
            "partners",
            &[][..],
            "the source has tenants; name one with --tenant",
        ),
        (
            "partners",
            &["--tenant", "initech"],
            "there is no tenant \"initech\"",
        ),
        (
            "partners",
            &["--tenant", "../new/acme"],
            "there is no tenant",
        ),
        (
            "single",
            &["--tenant", "acme"],
            "the source has no tenants; leave --tenant out",
        ),
        (
            "resolved",
            &["--tenant", "acme"],
            "tenant acme: the resolver gives no usable response",
        ),
    ] {
        let output = run("sign", source, tenant, &[], "{}");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    // The control.
    let output = run("sign", "single", &[], &[], "{}");
    assert!(output.status.success(), "{}", text(&output));
}
