//! Mistakes in a scheme that the grammar reports, each at its key.

use crate::Scheme;

const GOOD: &str = r#"
    alg = "hmac-sha256"
    sig = { in = "header:x-sig", enc = "hex" }
    ts  = { in = "header:x-ts", unit = "s" }
    msg = "{ts}.{body}"
    id  = "json:/id"
"#;

fn mistakes(text: &str) -> Vec<String> {
    Scheme::from_toml(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_good_scheme_loads() {
    let scheme = Scheme::from_toml(GOOD).unwrap();
    assert!(scheme.signs_id());
}

#[test]
fn an_unsafe_or_mistyped_scheme_does_not_load() {
    for (from, to, expected) in [
        (
            r#""{ts}.{body}""#,
            r#""{ts}""#,
            "msg: does not cover the body",
        ),
        (r#""{ts}.{body}""#, r#""{body}""#, "ts: not part of `msg`"),
        (
            r#""hmac-sha256""#,
            r#""none""#,
            "alg: expected one of hmac-sha1",
        ),
        (
            "unit = \"s\"",
            "unit = \"m\"",
            "ts.unit: expected one of s, ms, s-or-ms, rfc3339",
        ),
        (
            "\"json:/id\"",
            "\"json:id\"",
            "id: expected header:NAME, query:NAME",
        ),
        ("id  =", "idd =", "idd: unknown key"),
        (
            "enc = \"hex\"",
            "enc = \"hex\", items = \",\", pair = \"=\"",
            "sig.items: expected `items` alone",
        ),
        (
            "enc = \"hex\"",
            "enc = \"hex\", items = \"A\"",
            "sig.items: expected a character that no encoding",
        ),
        (
            "enc = \"hex\"",
            "enc = \"hex\", items = \",\", groups = \"=\"",
            "sig.groups: expected a character that no encoding",
        ),
        (
            "enc = \"hex\"",
            "enc = \"hex\", items = \",\", pair = \"=\", key = \"v,1\"",
            "sig.key: expected visible characters except",
        ),
        (
            "header:x-ts",
            "sig:t",
            "sig: sig:NAME needs a list of named items",
        ),
        (
            "id  =",
            "type = \"header:x-type\"\nid  =",
            "type: not signed",
        ),
        (
            "id  =",
            "extends = \"no-such-provider\"\nid  =",
            "extends: no provider of this name",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let found = mistakes(&GOOD.replace(from, to));
        assert!(
            found.iter().any(|m| m.starts_with(expected)),
            "{to}: {found:?}"
        );
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    assert_eq!(mistakes("alg = 1\nmsg = \"{x}\"\nfoo = 1").len(), 4);
}

#[test]
fn an_unsigned_header_does_not_count_as_a_signed_id() {
    let scheme = Scheme::from_toml(&GOOD.replace("json:/id", "header:x-id")).unwrap();
    assert!(!scheme.signs_id());
}

#[test]
fn a_scheme_may_extend_one_of_the_catalogue() {
    let scheme = Scheme::from_toml("extends = \"standard-webhooks\"\nkey = { enc = \"utf8\" }");
    assert!(scheme.unwrap().signs_id());
}
