//! Errors with `--json` are JSON objects on standard output.

use super::{Folder, hookgate, json, text};

#[test]
fn an_error_about_the_options_is_json_if_the_output_is() {
    let folder = Folder::new();
    let file = folder.write("file", "");
    for (arguments, status, expected) in [
        (
            &["verify"][..],
            2,
            "the following required arguments were not provided: <--provider <NAME>|--source <NAME>>",
        ),
        (
            &["verify", "--provider", "nobody"],
            2,
            "invalid value 'nobody' for '--provider <NAME>': \"nobody\" is not in the catalogue; \
             `hookgate providers` lists the names",
        ),
        (
            &["verify", "--provider", "stripe", "--secret", "whsec_canary"],
            1,
            "--secret: expected env:NAME or file:PATH; the configuration and the command line \
             must not contain a secret",
        ),
        (
            &["verify", "--provider", "stripe"],
            1,
            "--secret: missing; expected env:NAME or file:PATH; the configuration and the \
             command line must not contain a secret",
        ),
        (
            &[
                "verify",
                "--provider",
                "stripe",
                "--secret",
                "env:HOOKGATE_NOT_SET",
            ],
            1,
            "--secret: the environment variable HOOKGATE_NOT_SET is not set, or not UTF-8",
        ),
        (
            &["identify", "--secret", "env:HOOKGATE_NOT_SET"],
            1,
            "--secret: the environment variable HOOKGATE_NOT_SET is not set, or not UTF-8",
        ),
        (
            &["verify", "--provider", "square", "--secret", "env:SECRET"],
            1,
            "--url: the URL is missing; the scheme signs it, so expected the URL exactly as it \
             was entered at the provider",
        ),
        (
            &[
                "verify",
                "--provider",
                "stripe",
                "--capture",
                &file,
                "--headers",
                &file,
            ],
            2,
            "the argument '--capture <PATH>' cannot be used with '--headers <FILE>'",
        ),
        (
            &[
                "sign",
                "--provider",
                "stripe",
                "--secret",
                "env:SECRET",
                "--at",
                "later",
            ],
            2,
            "invalid value 'later' for '--at <TIME>': expected seconds (up to 11 digits) or \
             milliseconds (12 to 14 digits) since the Unix epoch, or a time in RFC 3339, such as \
             2026-07-16T07:40:00Z",
        ),
        (
            &[
                "sign",
                "--provider",
                "standard-webhooks",
                "--secret",
                "env:SECRET",
            ],
            1,
            "--secret: the secret does not decode; expected base64, standard alphabet",
        ),
    ] {
        let output = hookgate(
            &[arguments, &["--json"]].concat(),
            "secret-of-the-tests",
            b"",
        );
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?} {}",
            text(&output)
        );
        assert_eq!(json(&output)["error"], expected, "{arguments:?}");
        assert!(output.stderr.is_empty(), "{}", text(&output));
        assert!(!text(&output).contains("canary"), "{}", text(&output));
        // Without `--json`, the message is text on standard error.
        let output = hookgate(arguments, "secret-of-the-tests", b"");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{}", text(&output));
        assert!(!output.stderr.is_empty());
    }
    // Help is no error.
    let output = hookgate(&["verify", "--json", "--help"], "", b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).starts_with("Verify a captured delivery"),
        "{}",
        text(&output)
    );
}
