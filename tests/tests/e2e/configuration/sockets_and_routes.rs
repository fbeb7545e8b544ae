//! Wrong Unix sockets, and sources whose requests cannot be told apart.

use super::{VALID, run_on};

/// Checks that `check` refuses `VALID` with `from` replaced by `to`.
fn refuses(from: &str, to: &str, expected: &str) {
    assert!(VALID.contains(from), "{from}");
    let (exit, output) = run_on("check", &VALID.replacen(from, to, 1));
    assert_eq!(exit, Some(78), "{to}: {output}");
    assert!(output.contains(expected), "{expected}: {output}");
}

fn accepts(from: &str, to: &str, expected: &str) {
    assert!(VALID.contains(from), "{from}");
    let (exit, output) = run_on("check", &VALID.replacen(from, to, 1));
    assert_eq!(exit, Some(0), "{to}: {output}");
    assert!(output.contains(expected), "{expected}: {output}");
}

#[test]
fn a_wrong_unix_socket_is_refused() {
    const LISTEN: &str = "\"127.0.0.1:0\"";
    const SERVER: &str = "\"127.0.0.1:3000\"";
    accepts(
        LISTEN,
        "\"unix:/run/in.sock\"",
        "unix:/run/in.sock, HTTP/1.1 without TLS",
    );
    accepts(
        SERVER,
        "\"unix:/run/app.sock\", \"127.0.0.1:3001\"",
        "unix:/run/app.sock, 127.0.0.1",
    );
    let long = format!("\"unix:/{}\"", "a".repeat(107));
    for path in [
        "\"unix:in.sock\"",
        "\"unix:\"",
        "\"unix:/a b\"",
        "\"/run/in.sock\"",
        &long,
    ] {
        refuses(
            LISTEN,
            path,
            "server.listen[0]: expected an address such as",
        );
    }
    refuses(
        LISTEN,
        "\"unix:/a\", \"unix:/a\"",
        "server.listen: unix:/a is used twice",
    );
    refuses(
        "listen = [\"127.0.0.1:0\"]",
        "listen = [\"127.0.0.1:0\", \"unix:/a\"]\nproxy_protocol = [\"127.0.0.1\"]",
        "server.listen: unix:/a cannot carry the PROXY protocol",
    );
    refuses(
        "[server]",
        "[server]\nadmin = \"unix:/run/admin.sock\"",
        "server.admin: only `listen` of [server], without TLS, accepts Unix sockets",
    );
    refuses(
        "[server]",
        "[server]\ntls = [{ listen = \"unix:/a\", cert = \"c\", key = \"k\" }]",
        "server.tls[0].listen: only `listen` of [server], without TLS, accepts Unix sockets",
    );
    for server in ["\"https://unix:/a\"", "\"http://unix:/a\""] {
        refuses(
            SERVER,
            server,
            "upstreams.app.servers[0]: a Unix socket has no scheme and no TLS",
        );
    }
    refuses(
        SERVER,
        "\"unix:app.sock\"",
        "upstreams.app.servers[0]: expected an address such as",
    );
    refuses(
        SERVER,
        "\"unix:/a\"]\nprotocol = \"h2\"\nignored = [",
        "upstreams.app.protocol: does not fit `servers`",
    );
    refuses(
        SERVER,
        "\"unix:/a\"]\ntls = { ca = \"ca.pem\" }\nignored = [",
        "upstreams.app.tls: allowed only if a server is https://",
    );
}

/// Returns `VALID` with a second source of the same path and host. The lines go into the sources.
fn two_sources(first: &str, second: &str) -> String {
    let start = VALID.find("[[sources]]").expect("a source");
    let source = &VALID[start..];
    let other = source.replacen("name = \"beatapi\"", "name = \"other\"", 1);
    format!("{VALID}\n{first}\n{other}\n{second}\n")
}

#[test]
fn a_path_without_a_meaning_is_refused() {
    const PATH: &str = "path = \"/hooks/beatapi\"";
    for path in ["/hooks/{x}", "/hooks/{", "/hooks/}", "/hooks/{tenant}x"] {
        let expected = "source beatapi: path: the one variable of a path is {tenant}";
        refuses(PATH, &format!("path = \"{path}\""), expected);
    }
    let expected = "source beatapi: path: a path has no wildcards";
    refuses(PATH, "path = \"/hooks/*\"", expected);
    for (path, expected) in [
        (
            "/a/{x}",
            "source beatapi: upstream_path: this path has no variables",
        ),
        (
            "/a*",
            "source beatapi: upstream_path: a path has no wildcards",
        ),
        (
            "a",
            "source beatapi: upstream_path: expected a path such as",
        ),
        (
            "/a?b=c",
            "source beatapi: upstream_path: expected a path such as",
        ),
    ] {
        refuses(
            PATH,
            &format!("{PATH}\nupstream_path = \"{path}\""),
            expected,
        );
    }
    let lines = format!("{PATH}\nquery = {{ a = \"1\" }}\nupstream_path = \"/b\"");
    accepts(PATH, &lines, "/hooks/beatapi?a=1 -> app/b");
}

#[test]
fn two_sources_that_one_request_can_match_are_refused() {
    let query = |pairs: &str| format!("query = {{ {pairs} }}");
    for (first, second) in [
        (query("a = \"1\""), query("a = \"1\"")),
        (query("a = \"1\""), query("b = \"1\"")),
        (query("a = \"1\""), query("b = \"1\", a = \"1\"")),
        (query("a = \"1\""), String::new()),
        (String::new(), query("a = \"1\"")),
    ] {
        let (exit, output) = run_on("check", &two_sources(&first, &second));
        assert_eq!(exit, Some(78), "{first} {second}: {output}");
        let expected = "source other: query: one request can match this source and another one";
        assert!(output.contains(expected), "{output}");
    }
    let (exit, output) = run_on("check", &two_sources("", ""));
    assert_eq!(exit, Some(78), "{output}");
    assert!(
        output.contains("source other: path: used by another source"),
        "{output}"
    );
    for (first, second) in [
        (query("a = \"1\""), query("a = \"2\"")),
        (query("a = \"1\", b = \"x\""), query("a = \"2\", b = \"x\"")),
        (String::new(), "host = \"hooks.example\"".to_owned()),
    ] {
        let (exit, output) = run_on("check", &two_sources(&first, &second));
        assert_eq!(exit, Some(0), "{first} {second}: {output}");
    }
    for (pairs, expected) in [
        ("", "source beatapi: query: has no parameter"),
        ("a = 1", "source beatapi: query.a: expected the exact value"),
        (
            "a = [\"1\"]",
            "source beatapi: query.a: expected the exact value",
        ),
    ] {
        let text = format!("{VALID}\n{}", query(pairs));
        let (exit, output) = run_on("check", &text);
        assert_eq!(exit, Some(78), "{output}");
        assert!(output.contains(expected), "{expected}: {output}");
    }
}
