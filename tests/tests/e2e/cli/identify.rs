//! `hookgate identify`: the schemes that fit a captured delivery.

use serde_json::json;

use super::{Folder, hookgate, json, signed, text};

const SECRET: &str = "whsec_5f0c8a6de2b94a13";
const BODY: &str = "{\"a\":1}";

/// Runs `identify` on a delivery that Stripe signed with [`SECRET`].
fn identify(secret: &str, body: &str, options: &[&str]) -> std::process::Output {
    let folder = Folder::new();
    let headers = folder.write("headers", signed("stripe", SECRET, BODY.as_bytes()));
    let body = folder.write("body", body);
    let files = ["identify", "--headers", &headers, "--body", &body];
    hookgate(&[&files[..], options].concat(), secret, b"")
}

#[test]
fn identify_finds_the_scheme_of_a_captured_delivery() {
    let secret = ["--secret", "env:SECRET"];
    let found = text(&identify(SECRET, BODY, &secret));
    assert!(
        found.starts_with("# Stripe\nprovider = \"stripe\"\n\n"),
        "{found}"
    );
    let end = "\n\n# another provider with this scheme\n[sources.scheme]\nextends = \"stripe\"\n";
    assert!(found.ends_with(end), "{found}");

    let output = identify(SECRET, BODY, &["--secret", "env:SECRET", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let first = &json(&output)["matches"][0];
    assert_eq!(
        *first,
        json!({"provider": "stripe", "variant": null, "proved": true})
    );
    // Of several secrets, any one may have signed.
    let folder = Folder::new();
    let other = format!("file:{}", folder.write("secret", SECRET));
    let several = ["--secret", "env:SECRET", "--secret", &other, "--json"];
    let output = identify("whsec_0000111122223333", BODY, &several);
    assert_eq!(json(&output)["matches"][0], *first);
}

/// The sender used the decoded secret as its key.
#[test]
fn identify_finds_another_reading_of_the_secret() {
    let folder = Folder::new();
    let headers = signed("stripe", "0123456789abcdef", BODY.as_bytes());
    let headers = folder.write("headers", headers);
    let body = folder.write("body", BODY);
    let options = [
        "identify",
        "--secret",
        "env:SECRET",
        "--headers",
        &headers,
        "--body",
        &body,
    ];
    let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==";
    let found = text(&hookgate(&options, secret, b""));
    let expected = "# the scheme of Stripe with another reading of the secret\n[sources.scheme]\n\
                    extends = \"stripe\"\nkey = { strip = \"whsec_\", enc = \"base64\" }\n";
    assert!(found.starts_with(expected), "{found}");
    let found = json(&hookgate(
        &[&options[..], &["--json"]].concat(),
        secret,
        b"",
    ));
    let first = &found["matches"][0];
    assert_eq!(first["key"], "{ strip = \"whsec_\", enc = \"base64\" }");
    assert_eq!(first["proved"], true);
}

#[test]
fn identify_names_unproved_schemes_by_their_headers() {
    for (options, secret) in [
        (&["--json"][..], ""),
        (
            &["--json", "--secret", "env:SECRET"],
            "whsec_0000000000000000",
        ),
    ] {
        let output = identify(secret, BODY, options);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let first = &json(&output)["matches"][0];
        assert_eq!(
            *first,
            json!({"provider": "stripe", "variant": null, "proved": false})
        );
    }
    let found = text(&identify("", BODY, &[]));
    let expected = "# Stripe (the headers fit; no signature was verified)\nprovider = \"stripe\"\n";
    assert!(found.starts_with(expected), "{found}");
    assert!(!found.contains("extends"), "{found}");
}

#[test]
fn identify_fails_if_no_scheme_fits() {
    let folder = Folder::new();
    let headers = folder.write("headers", "content-type: text/plain\n");
    let options = ["identify", "--headers", &headers, "--secret", "env:SECRET"];
    let output = hookgate(&options, SECRET, b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("no scheme of the catalogue fits"),
        "{}",
        text(&output)
    );
    let output = hookgate(&[&options[..], &["--json"]].concat(), SECRET, b"");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output), json!({ "matches": [] }));
}
