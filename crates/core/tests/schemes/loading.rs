//! Schemes that load, and unsafe or mistyped schemes that do not.

use super::*;

/// Every TOML example of the language's documentation is a scheme that loads.
#[test]
fn the_examples_of_the_documentation_load() {
    let documentation = include_str!("../../src/scheme/language.md");
    let blocks = documentation.split("```toml").skip(1);
    let examples: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 3, "{}", examples.len());
    for example in examples {
        assert_eq!(mistakes(example), Vec::<String>::new(), "{example}");
    }
}

#[test]
fn a_scheme_that_would_accept_unsigned_data_does_not_load() {
    const SIG: &str = "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\n";
    const LIST: &str = "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', items = ',', \
                        pair = '=', key = 'v1', enc = 'hex' }\n";
    const JWT: &str = "alg = 'jwt-hs256'\nsig = { in = 'header:x-jwt' }\n";
    const RFC9421: &str = "alg = 'hmac-sha256'\nts = { in = 'sig:created', unit = 's' }\n";
    for (text, expected) in [
        // The body.
        (
            format!("{SIG}msg = '{{method}}'"),
            "msg: does not cover the body",
        ),
        (
            format!("{SIG}msg = '{{body|crc32}}'"),
            "msg: does not cover the body",
        ),
        (
            format!(
                "{SIG}msg = '{{url}}'\nrequire = {{ 'header:x-digest' = '{{body|sha256:hex}}' }}"
            ),
            "msg: does not cover the body",
        ),
        (
            format!("{SIG}msg = '{{body}}'\nbinds_body = false"),
            "binds_body: the signature does cover the body",
        ),
        (JWT.to_owned(), "claims: does not cover the body"),
        (
            format!("{JWT}claims = {{ iss = 'x' }}"),
            "claims: does not cover the body",
        ),
        (
            format!(
                "{RFC9421}sig = {{ in = 'http-message-signature', components = ['@method', '@path'] }}"
            ),
            "sig.components: does not cover the body",
        ),
        (
            format!(
                "{RFC9421}sig = {{ in = 'http-message-signature', components = ['content-digest'] }}"
            ),
            "sig.components: expected @method",
        ),
        (
            format!(
                "{RFC9421}sig = {{ in = 'http-message-signature', components = ['@method', 'content-digest'] }}"
            ),
            "sig.components: expected one of @target-uri",
        ),
        // The timestamp.
        (
            format!("{SIG}msg = '{{body}}'\nts = {{ in = 'header:x-ts', unit = 's' }}"),
            "ts: not part of `msg`",
        ),
        (
            format!(
                "{SIG}msg = '{{json:/a}}'\nbinds_body = false\nts = {{ in = 'json:/t', unit = 's' }}"
            ),
            "ts: not part of `msg`",
        ),
        (
            format!(
                "alg = 'hmac-sha256'\n{}",
                "sig = { in = 'http-message-signature', components = ['@method', '@path', 'content-digest'] }"
            ),
            "ts: missing",
        ),
        (
            "alg = 'token'\nsig = { in = 'header:x' }\nts = { in = 'header:t', unit = 's' }"
                .to_owned(),
            "ts: a token signs nothing",
        ),
        // The type.
        (
            format!("{SIG}msg = '{{body}}'\ntype = 'header:x-type'"),
            "type: not signed",
        ),
        // A message that can be divided in two ways.
        (
            format!("{SIG}msg = '{{id}}{{body}}'\nid = 'header:x-id'"),
            "msg: two placeholders without literal text",
        ),
        (
            format!("{SIG}msg = '{{body}}{{id|free}}'\nid = 'header:x-id'"),
            "msg: |free beside {body}",
        ),
        // An algorithm that the request would choose.
        ("alg = 'header:x-alg'".to_owned(), "alg: expected one of"),
        (
            "alg = ['hmac-sha256', 'hmac-sha1']".to_owned(),
            "alg: expected one of",
        ),
        // Locations that do not exist.
        (
            format!("{SIG}msg = '{{sig:t}}.{{body}}'"),
            "sig: sig:NAME needs a list",
        ),
        // A reader cuts the blank off the name, and divides it at the separator.
        (
            format!("{LIST}ts = {{ in = 'sig:t ', unit = 's' }}\nmsg = '{{ts}}.{{body}}'"),
            "sig: sig:NAME needs a list",
        ),
        (
            format!("{LIST}ts = {{ in = 'sig:t,a', unit = 's' }}\nmsg = '{{ts}}.{{body}}'"),
            "sig: sig:NAME needs a list",
        ),
        (
            format!("{SIG}msg = '{{claim:a}}.{{body}}'"),
            "alg: claim:… needs one of the jwt-… algorithms, and so does jose:…",
        ),
        (
            format!("{SIG}msg = '{{body}}'\nid = ['header:a', 'json:/b']"),
            "id: expected locations in the head or in the body",
        ),
        (
            format!("{SIG}msg = '{{body}}'\neach = 'header:a'"),
            "each: expected json:/POINTER",
        ),
        (
            format!("{SIG}msg = '{{body}}'\neach = 'json:/a'"),
            "each: expected a signature in each element",
        ),
        (
            format!("{SIG}msg = '[{{header:a}}{{json:/b}}]{{body}}'"),
            "msg: ",
        ),
        // Variants.
        (
            format!("{SIG}msg = '{{body}}'\n[[variants]]\nname = 'a'\n[[variants]]\nname = 'b'"),
            "variants[0].when: missing",
        ),
        (
            format!(
                "{SIG}msg = '{{body}}'\n[[variants]]\nname = 'a'\nwhen = {{ 'header:a' = '*' }}\n[[variants]]\nname = 'a'"
            ),
            "variants[1].name: another variant has this name",
        ),
        (
            format!(
                "{SIG}msg = '{{body}}'\n[[variants]]\nname = 'a'\nwhen = {{ 'json:/a' = '*' }}\n[[variants]]\nname = 'b'"
            ),
            "variants[0].when: expected header:NAME or query:NAME",
        ),
        (
            format!("{SIG}msg = '{{body}}'\nvariants = []"),
            "variants: expected at least one",
        ),
        (
            format!("{SIG}msg = '{{body}}'\nstatus = 410"),
            "status: expected one of 400, 401, 403",
        ),
    ] {
        let found = mistakes(&text);
        assert!(
            found.iter().any(|m| m.starts_with(expected)),
            "{text}\n{expected}\n{found:?}"
        );
    }
}

#[test]
fn a_handshake_that_could_be_abused_does_not_load() {
    const BASE: &str = "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'\n[[handshake]]\n";
    for (handshake, expected) in [
        (
            "method = 'GET'\nrespond = { type = 'text/plain', body = '{query:c|hmac:hex}' }",
            "handshake[0].guard: missing",
        ),
        (
            "method = 'GET'\nguard = { 'query:d' = { chars = 'a-z', max = 9 } }\nrespond = { type = 'text/plain', body = '{query:c|hmac:hex}' }",
            "handshake[0].guard: missing",
        ),
        (
            "method = 'GET'\nguard = { 'query:c' = { chars = 'a-z', max = 9 } }\nrespond = { type = 'text/plain', body = '{query:c|lower|hmac:hex}' }",
            "handshake[0].respond: |hmac:… with another filter",
        ),
        (
            "method = 'GET'\nguard = { 'query:c' = { chars = 'z-a', max = 9 } }\nrespond = {}",
            "handshake[0].guard.query:c.chars: expected ASCII",
        ),
        (
            "method = 'GET'\nguard = { 'query:c' = { chars = 'a', max = 0 } }\nrespond = {}",
            "handshake[0].guard.query:c.max: expected 1 to",
        ),
        (
            "method = 'PUT'\nrespond = {}",
            "handshake[0].method: expected one of GET",
        ),
        (
            "method = 'GET'\nwhen = { 'json:/a' = '*' }\nrespond = {}",
            "handshake[0].method: expected POST",
        ),
        (
            "method = 'GET'\nrespond = { headers = { 'set-cookie' = 'c' } }",
            "handshake[0].respond.headers.set-cookie: expected another header",
        ),
        (
            "method = 'GET'\nrespond = { type = 'text/html', body = 'a' }",
            "handshake[0].respond.type: expected text/plain",
        ),
        (
            "method = 'GET'\nrespond = { body = 'a' }",
            "handshake[0].respond.type: missing",
        ),
        (
            "method = 'GET'\nrespond = { status = 301 }",
            "handshake[0].respond.status: expected one of 200",
        ),
        (
            "method = 'GET'\nrespond = { headers = { 'a b' = 'c' } }",
            "handshake[0].respond.headers.a b: expected a header name",
        ),
        (
            "method = 'GET'\nwhen = { 'cookie:a' = '*' }\nrespond = {}",
            "handshake[0].when.cookie:a: expected header:NAME",
        ),
        (
            "method = 'GET'\nrespond = { type = 'text/plain', body = '{body}' }",
            "handshake[0].respond.body: expected placeholders such as",
        ),
        (
            "method = 'GET'\nrespond = {}\nanswer = {}",
            "handshake[0].answer: unknown key",
        ),
    ] {
        let found = mistakes(&format!("{BASE}{handshake}"));
        assert!(
            found.iter().any(|m| m.starts_with(expected)),
            "{handshake}\n{expected}\n{found:?}"
        );
    }
    let token = "alg = 'token'\nsig = { in = 'header:x' }\n[[handshake]]\nmethod = 'GET'\nguard = { 'query:c' = { chars = 'a', max = 9 } }\nrespond = { type = 'text/plain', body = '{query:c|hmac:hex}' }";
    assert!(mistakes(token)[0].starts_with("handshake: a signed response needs"));
}

#[test]
fn a_scheme_may_set_the_status_of_a_refusal() {
    let with = scheme(
        "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\nmsg = '{body}'\nstatus = 403",
    );
    assert_eq!(with.refusal_status(), Some(StatusCode::FORBIDDEN));
}
