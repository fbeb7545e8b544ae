//! `hookgate verify --explain`: the causes as JSON and as text.

use serde_json::{Value, json};

use super::{Folder, SIGNED_AT, hookgate, json, signed, text};

const SECRET: &str = "whsec_5f0c8a6de2b94a13";
const BODY: &[u8] = br#"{"id": "evt_1", "path": "a/b"}"#;

/// A delivery of BeatAPI that was signed with [`SECRET`] over [`BODY`].
struct Delivery {
    folder: Folder,
    headers: String,
}

impl Delivery {
    fn new() -> Self {
        let folder = Folder::new();
        let headers = folder.write("headers", signed("beatapi", SECRET, BODY));
        Self { folder, headers }
    }

    /// Verifies the delivery with `--explain --json`, another body and further options.
    fn explained(&self, secret: &str, body: &[u8], options: &[&str]) -> (Option<i32>, Value) {
        let body = self.folder.write("body", body);
        let files = ["--headers", &self.headers, "--body", &body];
        let command = ["verify", "--explain", "--json"];
        let options = match options.contains(&"--provider") {
            true => options.to_vec(),
            false => [&["--provider", "beatapi"], options].concat(),
        };
        let secrets = ["--secret", "env:SECRET"];
        let output = hookgate(
            &[&command, &files[..], &secrets, &options].concat(),
            secret,
            b"",
        );
        assert!(!text(&output).contains(SECRET), "{}", text(&output));
        (output.status.code(), json(&output))
    }
}

#[test]
fn explain_names_the_cause_of_each_change() {
    let delivery = Delivery::new();
    let line_end = [BODY, b"\n"].concat();
    let at = ["--at", SIGNED_AT];
    let late = ["--at", "1784300000"];
    for (secret, body, options, reason, code, proved) in [
        (
            SECRET,
            &line_end[..],
            &at[..],
            "signature_mismatch",
            "body_text_edited",
            true,
        ),
        (
            SECRET,
            br#"{"id":"evt_1","path":"a/b"}"#,
            &at,
            "signature_mismatch",
            "body_json_rewritten",
            true,
        ),
        (
            SECRET,
            b"",
            &at,
            "signature_mismatch",
            "body_missing",
            false,
        ),
        (
            SECRET,
            b"{}",
            &at,
            "signature_mismatch",
            "body_missing",
            false,
        ),
        (
            "\"whsec_5f0c8a6de2b94a13\"",
            BODY,
            &at,
            "signature_mismatch",
            "secret_copied_badly",
            true,
        ),
        (
            SECRET,
            BODY,
            &late,
            "timestamp_too_old",
            "timestamp_too_old",
            true,
        ),
        (
            SECRET,
            BODY,
            &["--at", "1784180000"],
            "timestamp_too_new",
            "timestamp_too_new",
            true,
        ),
        (
            SECRET,
            BODY,
            &["--at", SIGNED_AT, "--provider", "beel"],
            "signature_missing",
            "other_provider",
            true,
        ),
        // The controls: no change of another secret makes the signature match, whatever the time.
        (
            "whsec_0000111122223333",
            BODY,
            &at,
            "signature_mismatch",
            "secret_other",
            false,
        ),
        (
            "whsec_0000111122223333",
            BODY,
            &late,
            "timestamp_too_old",
            "secret_other",
            false,
        ),
        // Without a time of arrival, the age of a capture is no cause of a mismatch.
        (
            SECRET,
            &line_end,
            &[],
            "timestamp_too_old",
            "body_text_edited",
            true,
        ),
    ] {
        let (status, object) = delivery.explained(secret, body, options);
        assert_eq!(status, Some(1), "{object}");
        assert_eq!(object["verified"], false, "{object}");
        assert_eq!(object["reason"], reason, "{object}");
        let first = &object["causes"][0];
        assert_eq!(first["code"], code, "{object}");
        assert_eq!(first["proved"], proved, "{object}");
        for member in ["summary", "fix"] {
            assert!(
                first[member].as_str().is_some_and(|text| text.len() > 20),
                "{object}"
            );
        }
    }
}

#[test]
fn a_delivery_that_verifies_has_no_cause() {
    let (status, object) = Delivery::new().explained(SECRET, BODY, &["--at", SIGNED_AT]);
    assert_eq!(status, Some(0), "{object}");
    assert_eq!(object["verified"], true);
    assert_eq!(object["causes"], json!([]));
    assert_eq!(object["id"], "evt_1");
}

#[test]
fn an_unusable_secret_is_explained_and_not_an_error() {
    let delivery = Delivery::new();
    let standard = ["--provider", "standard-webhooks", "--at", SIGNED_AT];
    for (secret, options, code) in [
        (
            "${BEATAPI_SECRET}",
            &["--at", SIGNED_AT][..],
            Some("secret_placeholder"),
        ),
        ("", &["--at", SIGNED_AT], Some("secret_placeholder")),
        // The secret is not base64.
        ("whsec_!!!not-base64!!!", &standard, None),
    ] {
        let (status, object) = delivery.explained(secret, BODY, options);
        assert_eq!(status, Some(1), "{object}");
        assert_eq!(object["verified"], false);
        assert_eq!(object["reason"], Value::Null);
        let first = &object["causes"][0]["code"];
        assert!(first.is_string(), "{object}");
        assert!(code.is_none_or(|code| first == code), "{object}");
    }
    // Without `--explain`, the same secret is an error about the options.
    let body = delivery.folder.write("body", BODY);
    let command = [
        "verify",
        "--json",
        "--provider",
        "beatapi",
        "--secret",
        "env:SECRET",
    ];
    let files = ["--headers", &*delivery.headers, "--body", &*body];
    let output = hookgate(&[&command, &files[..]].concat(), "${BEATAPI_SECRET}", b"");
    assert_eq!(output.status.code(), Some(1));
    let error = json(&output)["error"].as_str().map(str::to_owned);
    let error = error.expect("the object has an error");
    assert!(
        error.starts_with("--secret: environment variable SECRET: "),
        "{error}"
    );
}

#[test]
fn only_the_first_secret_is_in_use() {
    let delivery = Delivery::new();
    let old = delivery.folder.write("old", SECRET);
    let old = format!("file:{old}");
    let options = ["--at", SIGNED_AT, "--secret", &old];
    let (status, object) = delivery.explained("whsec_0000111122223333", BODY, &options);
    assert_eq!(status, Some(1), "{object}");
    assert_eq!(object["causes"][0]["code"], "secret_other", "{object}");
    assert_eq!(object["causes"][0]["proved"], true, "{object}");
    // The control: the other order verifies.
    let new = delivery.folder.write("new", "whsec_0000111122223333");
    let new = format!("file:{new}");
    let (status, object) = delivery.explained(SECRET, BODY, &["--at", SIGNED_AT, "--secret", &new]);
    assert_eq!(status, Some(0), "{object}");
}

#[test]
fn a_secret_is_read_exactly_except_for_one_line_end_of_its_file() {
    let delivery = Delivery::new();
    let headers = delivery.headers.clone();
    let body = delivery.folder.write("body", BODY);
    for (end, expected) in [("", 0), ("\n", 0), ("\r\n", 0), ("\n\n", 1), (" \n", 1)] {
        let file = delivery.folder.write("secret", format!("{SECRET}{end}"));
        let secret = format!("file:{file}");
        let options = [
            "--provider",
            "beatapi",
            "--secret",
            &secret,
            "--at",
            SIGNED_AT,
        ];
        let files = ["verify", "--headers", &headers, "--body", &body];
        let output = hookgate(&[&files[..], &options].concat(), "", b"");
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{end:?} {}",
            text(&output)
        );
    }
    // A line end in a variable belongs to the secret.
    let (status, object) = delivery.explained(&format!("{SECRET}\n"), BODY, &["--at", SIGNED_AT]);
    assert_eq!(status, Some(1), "{object}");
    assert_eq!(
        object["causes"][0]["code"], "secret_copied_badly",
        "{object}"
    );
}

#[test]
fn a_method_that_the_provider_never_uses_is_refused_and_explained() {
    let options = ["--at", SIGNED_AT, "--method", "PUT"];
    let (status, object) = Delivery::new().explained(SECRET, BODY, &options);
    assert_eq!(status, Some(1), "{object}");
    assert_eq!(object["reason"], "method_not_allowed");
    assert_eq!(object["detail"], "BeatAPI sends no PUT deliveries");
    assert_eq!(object["causes"][0]["code"], "method_mismatch", "{object}");
}

#[test]
fn the_text_of_an_explanation_fits_a_terminal() {
    let delivery = Delivery::new();
    let body = delivery.folder.write("body", [BODY, b"\n"].concat());
    let command = [
        "verify",
        "--explain",
        "--provider",
        "beatapi",
        "--at",
        SIGNED_AT,
    ];
    let files = ["--headers", &*delivery.headers, "--body", &*body];
    let explained = |secret: &str| {
        let options = ["--secret", "env:SECRET"];
        let output = hookgate(&[&command, &files[..], &options].concat(), secret, b"");
        assert_eq!(output.status.code(), Some(1));
        text(&output)
    };
    let proved = explained(SECRET);
    let unproved = explained("whsec_0000111122223333");
    for text in [&proved, &unproved] {
        assert_eq!(
            text.lines().next(),
            Some("refused: no signature matches (signature_mismatch)")
        );
        assert!(text.contains("\n  what to do: "), "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|width| width <= 80), "{text}");
    }
    // A line break may separate the words.
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(proved.contains("\ncause (proved): "), "{proved}");
    assert!(flat(&proved).contains("(body_text_edited)"), "{proved}");
    assert!(!proved.contains("none of"), "{proved}");
    assert!(unproved.contains("\nlikely cause: "), "{unproved}");
    assert!(flat(&unproved).contains("(secret_other)"), "{unproved}");
    assert!(
        unproved.contains("\nnone of the usual causes fits"),
        "{unproved}"
    );
    assert!(
        flat(&unproved).ends_with("either the secret is wrong, or the body was changed"),
        "{unproved}"
    );
}
