//! Escapes: HTML, URLs, string literals, logs and e-mail.

mod backslash;
mod decimal;
mod literal;
mod printed;
mod quoted_printable;
mod sign;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::str;

use bytes::Bytes;
use percent_encoding::percent_decode;

pub(super) use self::sign::sign;

use self::backslash::{Style, has_escaped_quotes, unescape, with_slashes};
use self::literal::{Literal, replace};
use super::undo::{self, Undo, table};
use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::Code;

const TABLE: &[Undo] = table! {
    Common, "the body was escaped for HTML", from_html;
    Common, "the body was escaped like the inside of a JSON string",
        |body| has_escaped_quotes(body).then(|| unescape(body, Style::Json))?;
    Common, "the quotes of the body were escaped with backslashes",
        |body| has_escaped_quotes(body).then(|| unescape(body, Style::Quotes))?;
    Common, "bytes of the body were escaped as in the log of nginx, such as `\\x22`",
        |body| unescape(body, Style::Hex);
    Common, "the body was percent-encoded, with plus signs for blanks",
        |body| is_percent_encoded(body).then(|| from_percent(&replace(body, b"+", b" ")?))?;
    Common, "the body was percent-encoded", from_percent;
    Common, "the body was printed as a literal of bytes or text",
        |body| Literal::of(body)?.unescaped(Style::Bytes);
    Common, "quotes were put around the body",
        |body| Literal::of(body)?.plain().map(<[u8]>::to_vec);
    Full, "the body was printed as a literal of text",
        |body| Literal::of(body)?.unescaped(Style::Text);
    Full, "the body was quoted for CSV or SQL",
        |body| Literal::of(body)?.with_single_quotes();
    Full, "the body was quoted for a shell",
        |body| replace(Literal::of(body).map_or(body, |literal| literal.inner()), b"'\\''", b"'");
    Full, "the body was printed as a value of Python, JavaScript or Ruby", printed::to_json;
    Full, "the body was escaped for HTML twice", |body| from_html(&from_html(body)?);
    Full, "the quotes of the body were escaped for HTML", |body| replace(body, b"&quot;", b"\"");
    Full, "the quotes and backslashes of the body were escaped, as by PHP's addslashes",
        |body| has_escaped_quotes(body).then(|| unescape(body, Style::Slashes))?;
    Full, "the body was escaped like a literal in C",
        |body| (memchr::memchr(b'"', body).is_none() || has_escaped_quotes(body))
            .then(|| unescape(body, Style::Bytes))?;
    Full, "the body was percent-encoded twice", |body| from_percent(&from_percent(body)?);
    Full, "the backslashes of the body were doubled", |body| replace(body, b"\\\\", b"\\");
    Full, "the backslashes of the body were removed, as by PHP's stripslashes",
        |body| with_slashes(body, b"/");
    Full, "the backslashes of the body were removed, as by PHP's stripslashes",
        |body| with_slashes(body, b"\\/");
    Full, "the body was encoded as quoted-printable", quoted_printable::decode;
    Full, "the bytes of the body were printed as numbers", decimal::decode;
};

/// Visits the bodies that result from undoing an escape.
pub(super) fn peel(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    undo::each(TABLE, Code::BodyEscaped, (body, hints), effort, visit)
}

fn from_html(body: &[u8]) -> Option<Vec<u8>> {
    match html_escape::decode_html_entities(str::from_utf8(body).ok()?) {
        Cow::Owned(text) => Some(text.into()),
        Cow::Borrowed(_) => None,
    }
}

fn from_percent(body: &[u8]) -> Option<Vec<u8>> {
    is_percent_encoded(body).then(|| percent_decode(body).collect())
}

/// Whether `body` as a whole is percent-encoded, not the values of a form.
fn is_percent_encoded(body: &[u8]) -> bool {
    let is_form = memchr::memchr(b'=', body).is_some() && !body.starts_with(b"%");
    let is_plain = |byte: &u8| matches!(byte, b'{' | b'}' | b'"' | b'<' | b'>');
    memchr::memchr(b'%', body).is_some() && !is_form && !body.iter().any(is_plain)
}

#[cfg(test)]
mod tests {
    use super::super::undo::tests::{assert_undone, visited};
    use super::*;

    const PLAIN: &str = r#"{"a":"x & <y> it's","b":"Zo\u00eb \"q\" \\ http:\/\/e.com\/","c":"ü"}"#;

    fn assert_rows(rows: &[(&str, &str)], effort: Effort) {
        for (body, original) in rows {
            let change = (body.as_bytes(), original.as_bytes());
            assert_undone(peel, change, Code::BodyEscaped, effort);
        }
    }

    #[test]
    fn escapes_for_html_are_undone() {
        let escaped = PLAIN
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;");
        let rows = [
            (escaped.as_str(), PLAIN),
            (&escaped.replace('\'', "&#39;"), PLAIN),
            (
                &escaped.replace('\'', "&#x27;").replace("&quot;", "&#34;"),
                PLAIN,
            ),
            (&escaped.replace('ü', "&uuml;"), PLAIN),
            (
                "{&quot;a&quot;:&quot;&nbsp;&ndash;&quot;}",
                "{\"a\":\"\u{a0}–\"}",
            ),
        ];
        assert_rows(&rows, Effort::Common);
        let rows = [
            (&*escaped.replace('&', "&amp;"), PLAIN),
            ("{&quot;a&quot;:&quot;&lt;&quot;}", "{\"a\":\"&lt;\"}"),
        ];
        assert_rows(&rows, Effort::Full);
    }

    #[test]
    fn percent_encoding_is_undone() {
        let encoded = "%7B%22a%22%3A%22x%20%2B%20%25%20%C3%BC%22%7D";
        let rows = [
            (encoded, "{\"a\":\"x + % ü\"}"),
            ("%7b%22a%22%3a%22x+%2b+y%22%7d", "{\"a\":\"x + y\"}"),
            (
                "%7B%22a%22:1,%22b%22:%22c=d&e%22%7D",
                "{\"a\":1,\"b\":\"c=d&e\"}",
            ),
            ("%5B1,2%5D", "[1,2]"),
            ("a%3D1%26b%3D2", "a=1&b=2"),
        ];
        assert_rows(&rows, Effort::Common);
        let twice = encoded.replace('%', "%25");
        assert_rows(&[(&twice, "{\"a\":\"x + % ü\"}")], Effort::Full);
    }

    #[test]
    fn escapes_with_backslashes_are_undone() {
        let json = serde_json::to_string(PLAIN).unwrap();
        let inner = &json[1..json.len() - 1];
        let nginx = PLAIN
            .replace('\\', "\\x5C")
            .replace('"', "\\x22")
            .replace('ü', "\\xC3\\xBC");
        let rows = [
            (inner, PLAIN),
            (&inner.replace('/', "\\/").replace('ü', "\\u00fc"), PLAIN),
            (r#"{\"a\":\"\ud83d\ude00\n\"}"#, "{\"a\":\"😀\n\"}"),
            (r#"{\"a\":\"Zo\u00eb\"}"#, r#"{"a":"Zo\u00eb"}"#),
            (&nginx, PLAIN),
        ];
        assert_rows(&rows, Effort::Common);
        let slashes = PLAIN
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\'', "\\'");
        let rows = [
            (slashes.as_str(), PLAIN),
            (r#"{\"a\":\"\303\274\t\xc3\xbc\"}"#, "{\"a\":\"ü\tü\"}"),
            (r#"\{\"a\":\"b\ c\"\}"#, "{\"a\":\"b c\"}"),
            (r#"{"a":"Zo\\u00eb"}"#, r#"{"a":"Zo\u00eb"}"#),
            (
                r#"{"a":"Zou00eb http://e"}"#,
                r#"{"a":"Zo\u00eb http://e"}"#,
            ),
            (
                r#"{"a":"Zou00eb http://e"}"#,
                r#"{"a":"Zo\u00eb http:\/\/e"}"#,
            ),
        ];
        assert_rows(&rows, Effort::Full);
    }

    #[test]
    fn literals_are_undone() {
        let rows = [
            (r#"b'{"a":"\xc3\xbc it\'s \\n"}'"#, r#"{"a":"ü it's \n"}"#),
            (r#"b"{\"a\":\"\xc3\xbc\"}""#, "{\"a\":\"ü\"}"),
            ("'{\"a\":1}'", "{\"a\":1}"),
            ("'{\"a\":1}';\n", "{\"a\":1}"),
            ("`{\"a\":1}`", "{\"a\":1}"),
            (r#"$'{"a":"it\'s \u0021"}'"#, "{\"a\":\"it's !\"}"),
        ];
        assert_rows(&rows, Effort::Common);
        let rows = [
            (r#"'{"a":"\xfc\u65e5\n"}'"#, "{\"a\":\"ü日\n\"}"),
            (r#"'{"a":"it'\''s \n"}'"#, r#"{"a":"it's \n"}"#),
            (r#""{""a"":""""}""#, r#"{"a":""}"#),
            (r#"'{"a":"it''s"}'"#, r#"{"a":"it's"}"#),
        ];
        assert_rows(&rows, Effort::Full);
    }

    #[test]
    fn printed_values_are_undone() {
        let json = r#"{"id":"it's \"q\"","b":true,"c":null,"d":[1,-2.5e3,{}]}"#;
        let rows = [
            (
                r#"{'id': 'it\'s "q"', 'b': True, 'c': None, 'd': [1, -2.5e3, {}]}"#,
                json,
            ),
            (
                "{\n  id: `it's \"q\"`,\n  b: true,\n  c: null,\n  d: [ 1, -2.5e3, {} ],\n}",
                json,
            ),
            (
                r#"{"id"=>"it's \"q\"", "b"=>true, "c"=>nil, "d"=>[1, -2.5e3, {}]}"#,
                json,
            ),
            (
                r#"{:id=>"it's \"q\"", :b=>true, :c=>nil, :d=>[1, -2.5e3, {}]}"#,
                json,
            ),
            ("[{'a': 'caf\\xe9 \\U0001f600'}]", "[{\"a\":\"café 😀\"}]"),
            (
                "[123, 34, 97, 34, 58, 34, -61, 188, 34, 125]",
                "{\"a\":\"ü\"}",
            ),
            ("123,34,97,34,58,34,195,188,34,125\n", "{\"a\":\"ü\"}"),
        ];
        assert_rows(&rows, Effort::Full);
    }

    #[test]
    fn quoted_printable_is_undone() {
        let rows = [
            (
                "{\"a\":\"x=3Dy =C3=BC and a =\nlong line\"}",
                "{\"a\":\"x=y ü and a long line\"}",
            ),
            ("{\"a\":=\r\n1}", "{\"a\":1}"),
            ("{\"a\":\"1=2 =3d\"}=", "{\"a\":\"1=2 =\"}="),
        ];
        assert_rows(&rows, Effort::Full);
    }

    #[test]
    fn a_body_without_escapes_has_no_result() {
        let rows = [
            "",
            "{}",
            "{\"a\":\"x & y; 100 %\"}",
            "[1,2,300]",
            "[1,2,3]",
            "a=1&b=%7B%22",
            "{\"url\":\"https://e.com/?a=1&b=2\"}",
            "null",
            "'",
            "\\",
            "{'a': Decimal('1.0')}",
            "{ a: [Object] }",
            "<a b=\"c\"/>",
        ];
        for body in rows {
            let all = visited(peel, body.as_bytes(), Hints::default(), Effort::Full);
            assert_eq!(all, [], "{body}");
        }
    }

    #[test]
    fn hostile_text_has_bounded_results() {
        let len = 1 << 22;
        let rows = [
            vec![b'a'; 1 << 24],
            vec![b'\\'; 1 << 24],
            vec![b'&'; len],
            vec![b'='; len],
            vec![b'%'; len],
            vec![b'\''; len],
            vec![b'['; len],
            vec![0xff; len],
            b"{'".repeat(len / 2),
            b"&#".repeat(len / 2),
            b"1,".repeat(len / 2),
            b"\\u".repeat(len / 2),
            b"&amp;".repeat(len / 5),
        ];
        for body in rows {
            for effort in [Effort::Common, Effort::Full] {
                let all = visited(peel, &body, Hints::default(), effort);
                assert!(all.iter().all(|(bytes, _)| bytes.len() <= 2 * body.len()));
            }
        }
    }
}
