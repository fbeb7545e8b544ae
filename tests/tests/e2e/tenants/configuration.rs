//! The configuration of sources with tenants, as `check` reads it.

use super::{TenantFolder, partners, source};
use crate::configuration::{VALID, run_on};

/// Returns the output of `check` for `VALID` with another table, whose result is `expected`.
fn check(table: &str, expected: i32) -> String {
    let (exit, output) = run_on("check", &format!("{VALID}\n{table}"));
    assert_eq!(exit, Some(expected), "{table}: {output}");
    output
}

fn refuses(table: &str, expected: &str) {
    let output = check(table, 78);
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.contains(expected), "{expected}: {output}");
}

fn with_path(table: &str, path: &str) -> String {
    let old = "path = \"/partners/{tenant}\"";
    assert!(table.contains(old), "{table}");
    table.replacen(old, &format!("path = \"{path}\""), 1)
}

#[test]
fn a_source_with_tenants_is_described() {
    let files = TenantFolder::new();
    let output = check(&partners(&files.path(), ""), 0);
    for expected in ["POST /partners/{tenant} -> app", "of each tenant, from "] {
        assert!(output.contains(expected), "{expected}: {output}");
    }
    let table = source("{ resolve = \"http://127.0.0.1:9/{tenant}\" }", "");
    let output = check(&table, 0);
    let expected = "of each tenant, from http://127.0.0.1:9/{tenant}";
    assert!(output.contains(expected), "{output}");
    assert!(!output.contains("plain HTTP"), "{output}");
    let table = source("{ resolve = \"http://secrets.example/{tenant}\" }", "");
    assert!(check(&table, 0).contains("plain HTTP"));
}

#[test]
fn secrets_without_a_meaning_for_tenants_are_refused() {
    let files = TenantFolder::new();
    let folder = files.path();
    let folder = folder.display();
    let long = format!("\"file:{folder}/{{tenant}}\", ").repeat(9);
    for (secret, expected) in [
        (
            "\"env:GOOD\"",
            "an environment variable cannot depend on the tenant",
        ),
        (
            "\"env:GOOD_{tenant}\"",
            "an environment variable cannot depend on the tenant",
        ),
        (
            &*format!("\"file:{folder}/acme\""),
            "expected a file with {tenant} once in its path",
        ),
        (
            "\"file:{tenant}\"",
            "expected a file with {tenant} once in its path",
        ),
        (
            &*format!("\"file:{folder}/{{tenant}}/{{tenant}}\""),
            "expected a file with {tenant} once in its path",
        ),
        (
            &*format!("\"file:{folder}/{{tenant}}*\""),
            "`*` and other braces are refused",
        ),
        (
            &*format!("\"file:{folder}/{{tenant}}/../x\""),
            "expected a file with {tenant} once",
        ),
        (
            "\"file:/nonexistent/{tenant}\"",
            "cannot open the directory /nonexistent",
        ),
        ("", "expected one to 8 files"),
        (&*long, "expected one to 8 files"),
        (
            "\"env:GOOD\", { resolve = \"http://127.0.0.1:9/{tenant}\" }",
            "or one table with `resolve`",
        ),
        ("7", "expected env:NAME or file:PATH"),
        ("{ resolve = 7 }", "secrets[0].resolve: expected"),
        (
            "{ resolve = \"http://127.0.0.1:9/\" }",
            "expected an address with {tenant} once",
        ),
        (
            "{ resolve = \"http://{tenant}.example/\" }",
            "expected an address with {tenant} once",
        ),
        (
            "{ resolve = \"http://a.example/{tenant}/{x}\" }",
            "expected an address with {tenant}",
        ),
        (
            "{ resolve = \"/secrets/{tenant}\" }",
            "expected an address with {tenant} once",
        ),
        (
            "{ resolve = \"http://127.0.0.1:9/{tenant}\", ttl = \"0s\" }",
            "secrets[0].ttl: must be greater than zero",
        ),
        (
            "{ resolve = \"http://127.0.0.1:9/{tenant}\", ttl = \"100ms\" }",
            "secrets[0].ttl: expected at least 1s",
        ),
        (
            "{ resolve = \"http://127.0.0.1:9/{tenant}\", negative_ttl = 5 }",
            "secrets[0].negative_ttl: expected",
        ),
        (
            "{ resolve = \"http://127.0.0.1:9/{tenant}\", timeout = \"soon\" }",
            "secrets[0].timeout: expected",
        ),
        (
            "{ resolve = \"http://127.0.0.1:9/{tenant}\", token = \"abc\" }",
            "secrets[0].token: expected env:NAME or file:PATH",
        ),
        (
            "{ resolve = \"http://127.0.0.1:9/{tenant}\", token = \"env:EMPTY\" }",
            "secrets[0].token: environment variable EMPTY",
        ),
        (
            "{ resolve = \"http://127.0.0.1:9/{tenant}\", tll = \"5s\" }",
            "secrets[0].tll: unknown key",
        ),
    ] {
        refuses(&source(secret, ""), expected);
    }
    let table = partners(&files.path(), "keys = {}");
    refuses(&table, "all tenants would share the keys of the provider");
}

#[test]
fn a_variable_without_tenants_is_refused() {
    let files = TenantFolder::new();
    let plain = |secret: &str| with_path(&source(secret, ""), "/partners");
    let expected = "{tenant} has no meaning here, because the path of the source has no {tenant}";
    refuses(
        &with_path(&partners(&files.path(), ""), "/partners"),
        expected,
    );
    refuses(&plain("\"env:A_{tenant}\""), expected);
    for secret in ["\"file:/etc/{name}\"", "\"file:/etc/*\"", "\"env:{A}\""] {
        refuses(
            &plain(secret),
            "a secret has no variables and no wildcards here",
        );
    }
    let table = plain("{ resolve = \"http://127.0.0.1:9/\" }");
    refuses(&table, "for a source with {tenant} in its `path`");
    for path in ["/{tenant}/{tenant}", "/a/{tenant}x", "/{other}", "/a/*"] {
        let (exit, output) = run_on(
            "check",
            &format!("{VALID}\n{}", with_path(&partners(&files.path(), ""), path)),
        );
        assert_eq!(exit, Some(78), "{path} {output}");
    }
    let table = partners(&files.path(), "upstream_path = \"/in/{tenant}\"");
    refuses(
        &table,
        "the upstream reads the tenant from the header hookgate-tenant",
    );
}

#[test]
fn paths_that_one_request_can_match_are_refused() {
    let files = TenantFolder::new();
    let table = |path: &str, lines: &str| with_path(&partners(&files.path(), lines), path);
    let expected = "one request can match this source and the one with the path /hooks/beatapi";
    for (path, lines) in [
        ("/hooks/{tenant}", ""),
        ("/{tenant}/beatapi", ""),
        // A host would have to decide between two paths.
        ("/hooks/{tenant}", "host = \"a.example\""),
    ] {
        refuses(&table(path, lines), expected);
    }
    for (path, lines) in [
        ("/hooks/{tenant}/in", ""),
        ("/hooks2/{tenant}", ""),
        ("/{tenant}", ""),
    ] {
        check(&table(path, lines), 0);
    }
    let second = |path: &str, lines: &str| {
        let first = table("/a/{tenant}", "");
        let second = table(path, lines).replacen("\"partners\"", "\"second\"", 1);
        format!("{first}\n{second}")
    };
    refuses(
        &second("/a/{tenant}", ""),
        "used by another source with the same `host`",
    );
    refuses(
        &second("/{tenant}/b", ""),
        "one request can match this source and the one with the path /a/{tenant}",
    );
    // A host precedes the same path without a host, as with other paths.
    check(&second("/a/{tenant}", "host = \"a.example\""), 0);
    let query = second("/a/{tenant}", "query = { v = \"2\" }");
    refuses(&query, "one request can match this source and another one");
}

#[test]
fn the_url_of_a_scheme_that_signs_it_names_the_tenant() {
    let files = TenantFolder::new();
    let table = |url: &str| {
        let table = partners(&files.path(), &format!("url = \"{url}\""));
        table.replacen("provider = \"beatapi\"", "provider = \"square\"", 1)
    };
    check(&table("https://a.example/partners/{tenant}"), 0);
    refuses(
        &table("https://a.example/partners"),
        "the URL is signed, and it differs for each tenant",
    );
    refuses(&table("{tenant}"), "source partners: url: ");
}

#[test]
fn the_metrics_of_tenants_are_bounded() {
    let files = TenantFolder::new();
    let table = |value: &str| partners(&files.path(), &format!("tenant_metrics = {value}"));
    for value in ["0", "1000"] {
        check(&table(value), 0);
    }
    refuses(&table("1001"), "tenant_metrics: expected at most 1000");
    refuses(&table("-1"), "tenant_metrics: expected");
    refuses(&table("\"all\""), "tenant_metrics: expected");
    let plain = source("\"env:GOOD\"", "tenant_metrics = 1").replace("/{tenant}", "");
    refuses(&plain, "has no effect without {tenant} in `path`");
}
