//! Signs that the body was escaped or printed, in a form that cannot be undone with certainty.

use memchr::memmem;

use super::{backslash, is_percent_encoded, printed};
use crate::cause::{Cause, Code};
use crate::sign::{Sign, Strength};

/// Returns the sign that the text was escaped for a page, a URL or a literal.
pub(in super::super) fn sign(body: &[u8]) -> Option<Sign> {
    let summary = summary(body.trim_ascii())?;
    Some(Sign {
        cause: Cause::new(Code::BodyEscaped, summary),
        strength: Strength::Strong,
    })
}

fn summary(body: &[u8]) -> Option<&'static str> {
    let starts_with = |starts: &[&str]| {
        starts
            .iter()
            .any(|start| body.starts_with(start.as_bytes()))
    };
    let contains = |part: &str| memmem::find(body, part.as_bytes()).is_some();
    // JSON and XML have a quote or an angle bracket near their start.
    let head = &body[..body.len().min(200)];
    let has_quotes = memchr::memchr2(b'"', b'<', head).is_some();
    Some(
        if !has_quotes && (contains("&quot;") || contains("&#34;")) {
            "the body is escaped for HTML"
        } else if is_percent_encoded(body)
            && starts_with(&["%7B", "%7b", "%5B", "%5b", "%3C", "%3c"])
        {
            "the body is percent-encoded"
        } else if !has_quotes && contains("\\x22") {
            "the quotes of the body are escaped as `\\x22`"
        } else if backslash::has_escaped_quotes(body) {
            "the quotes of the body are escaped with backslashes"
        } else if starts_with(&["b'", "b\"", "'{", "'[", "$'", "\"{\"\""]) {
            "the body is a quoted literal"
        } else if printed::is_printed(body)
            || starts_with(&[
                "<Buffer ",
                "map[",
                "Array\n(",
                "array (",
                "OrderedDict(",
                "#<",
            ])
            || is_java_map(body)
        {
            "the body was printed as a value of a programming language, not as JSON"
        } else {
            return None;
        },
    )
}

/// Whether `body` begins like a map that Java prints: `{name=value`.
fn is_java_map(body: &[u8]) -> bool {
    let Some(inner) = body.strip_prefix(b"{") else {
        return false;
    };
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let len = inner.iter().take_while(is_name).count();
    len > 0 && inner.get(len) == Some(&b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_or_printed_body_has_a_sign() {
        let rows = [
            "{&quot;a&quot;:1}",
            "{&#34;a&#34;:1}",
            "%7B%22a%22%3A1%7D",
            "%7b%22a%22%3a1%7d\n",
            "{\\x22a\\x22:1}",
            "{\\\"a\\\":1}",
            "[{\\\"a\\\":1}]",
            "b'{\"a\":1}'",
            "'{\"a\":1}'",
            "$'{\"a\":1}'",
            "\"{\"\"a\"\":1}\"",
            "{'a': 1, 'b': None}",
            "[{'a': 1}]",
            "{ a: 1, b: [ [Object] ] }",
            "{\n  a: {\n    b: [Array]\n  }\n}",
            "{\"a\"=>1}",
            "{:a=>1}",
            "{a=1, b={c=2}}",
            "map[a:1]",
            "Array\n(\n    [a] => 1\n)\n",
            "<Buffer 7b 22 61 ... 200 more bytes>",
        ];
        for body in rows {
            let sign = sign(body.as_bytes()).map(|sign| sign.strength);
            assert_eq!(sign, Some(Strength::Strong), "{body}");
        }
    }

    #[test]
    fn a_sound_body_has_no_sign() {
        let rows = [
            "",
            "{}",
            "[]",
            "[[[",
            "{\"a\":1}",
            "{ \"a\": \"&quot;\\x22 \\\"\" }",
            "[1,2]",
            "[true]",
            "a=1&b=%7B%22",
            "payload=%7B%22a%22%3A1%7D",
            "<a b=\"c\">&quot;</a>",
            "\"text\"",
            "null",
        ];
        for body in rows {
            assert!(sign(body.as_bytes()).is_none(), "{body}");
        }
    }
}
