//! The text of each serializer leads back to the style of each provider.

use std::collections::HashSet;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::rewrite;
use crate::attempt::Effort;
use crate::body::Hints;
use crate::cause::{Cause, Code};

/// Visits the candidates for `body`.
fn visit(
    body: &[u8],
    declared_len: Option<usize>,
    effort: Effort,
    mut visit: impl FnMut(&[u8], &dyn Fn() -> Vec<Cause>) -> ControlFlow<()>,
) {
    let hints = Hints {
        declared_len,
        ..Hints::default()
    };
    let body = Bytes::copy_from_slice(body);
    let _: ControlFlow<()> = rewrite(&body, hints, effort, &mut |candidate, causes| {
        visit(&candidate, causes)
    });
}

/// Returns the causes of the candidate `provider`. `None` if it is not one.
fn causes(
    body: &str,
    provider: &str,
    declared_len: Option<usize>,
    effort: Effort,
) -> Option<Vec<Cause>> {
    let mut found = None;
    visit(
        body.as_bytes(),
        declared_len,
        effort,
        |candidate, causes| {
            if candidate == provider.as_bytes() {
                found = Some(causes());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        },
    );
    found
}

/// Returns the summary of the only cause of the candidate `provider`, without its beginning.
fn summary(body: &str, provider: &str) -> Option<String> {
    let causes = causes(body, provider, Some(provider.len()), Effort::Full)?;
    let [cause] = causes.as_slice() else {
        panic!("{causes:?}");
    };
    assert_eq!(cause.code, Code::BodyJsonRewritten);
    let summary = cause
        .summary
        .strip_prefix("JSON was parsed and written anew: ");
    summary.map(str::to_owned)
}

fn count(body: &[u8], declared_len: Option<usize>, effort: Effort) -> usize {
    let mut count = 0;
    visit(body, declared_len, effort, |_, _| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

/// One document as each serializer writes it. Its members are in the order of their names and of
/// the lengths of their names, so that serializers which sort members keep the order.
const TEXTS: [(&str, &str); 16] = [
    (
        "JavaScript, Ruby, orjson and Jackson",
        r#"{"a":"x/?b=1&c=<é😀'+\">","b":[],"c":{},"d":[true,{"e":2}]}"#,
    ),
    (
        "Python",
        r#"{"a": "x/?b=1&c=<\u00e9\ud83d\ude00'+\">", "b": [], "c": {}, "d": [true, {"e": 2}]}"#,
    ),
    (
        "Python without ensure_ascii, and jsonb",
        r#"{"a": "x/?b=1&c=<é😀'+\">", "b": [], "c": {}, "d": [true, {"e": 2}]}"#,
    ),
    (
        "PHP",
        r#"{"a":"x\/?b=1&c=<\u00e9\ud83d\ude00'+\">","b":[],"c":{},"d":[true,{"e":2}]}"#,
    ),
    (
        "Go",
        r#"{"a":"x/?b=1\u0026c=\u003cé😀'+\"\u003e","b":[],"c":{},"d":[true,{"e":2}]}"#,
    ),
    (
        "Gson",
        r#"{"a":"x/?b\u003d1\u0026c\u003d\u003cé😀\u0027+\"\u003e","b":[],"c":{},"d":[true,{"e":2}]}"#,
    ),
    (
        "System.Text.Json",
        r#"{"a":"x/?b=1\u0026c=\u003C\u00E9\uD83D\uDE00\u0027\u002B\u0022\u003E","b":[],"c":{},"d":[true,{"e":2}]}"#,
    ),
    (
        "JavaScript with an indent of two",
        "{\n  \"a\": \"x/?b=1&c=<é😀'+\\\">\",\n  \"b\": [],\n  \"c\": {},\n  \"d\": [\n    true,\n    \
         {\n      \"e\": 2\n    }\n  ]\n}",
    ),
    (
        "jq and prettier",
        "{\n  \"a\": \"x/?b=1&c=<é😀'+\\\">\",\n  \"b\": [],\n  \"c\": {},\n  \"d\": [\n    true,\n    \
         {\n      \"e\": 2\n    }\n  ]\n}\n",
    ),
    (
        "old versions of Ruby",
        "{\n  \"a\": \"x/?b=1&c=<é😀'+\\\">\",\n  \"b\": [\n\n  ],\n  \"c\": {\n  },\n  \"d\": [\n    \
         true,\n    {\n      \"e\": 2\n    }\n  ]\n}",
    ),
    (
        "PHP with JSON_PRETTY_PRINT",
        "{\n    \"a\": \"x\\/?b=1&c=<\\u00e9\\ud83d\\ude00'+\\\">\",\n    \"b\": [],\n    \"c\": {},\n    \
         \"d\": [\n        true,\n        {\n            \"e\": 2\n        }\n    ]\n}",
    ),
    (
        "jsonb_pretty",
        "{\n    \"a\": \"x/?b=1&c=<é😀'+\\\">\",\n    \"b\": [\n    ],\n    \"c\": {\n    },\n    \
         \"d\": [\n        true,\n        {\n            \"e\": 2\n        }\n    ]\n}",
    ),
    (
        "Jackson's pretty printer",
        "{\n  \"a\" : \"x/?b=1&c=<é😀'+\\\">\",\n  \"b\" : [ ],\n  \"c\" : { },\n  \"d\" : [ true, \
         {\n    \"e\" : 2\n  } ]\n}",
    ),
    (
        "Newtonsoft with indentation",
        "{\r\n  \"a\": \"x/?b=1&c=<é😀'+\\\">\",\r\n  \"b\": [],\r\n  \"c\": {},\r\n  \"d\": [\r\n    \
         true,\r\n    {\r\n      \"e\": 2\r\n    }\r\n  ]\r\n}",
    ),
    (
        "an editor with tabs",
        "{\n\t\"a\": \"x/?b=1&c=<é😀'+\\\">\",\n\t\"b\": [],\n\t\"c\": {},\n\t\"d\": [\n\t\ttrue,\n\t\t{\n\
         \t\t\t\"e\": 2\n\t\t}\n\t]\n}\n",
    ),
    (
        "Jackson with ESCAPE_NON_ASCII",
        r#"{"a":"x/?b=1&c=<\u00E9\uD83D\uDE00'+\">","b":[],"c":{},"d":[true,{"e":2}]}"#,
    ),
];

/// Whether the texts differ in line ends alone, which is not a rewriting.
fn same_but_for_line_ends(text: &str, other: &str) -> bool {
    text.replace('\r', "").trim_end() == other.replace('\r', "").trim_end()
}

#[test]
fn the_text_of_each_serializer_leads_to_the_style_of_each_provider() {
    for (serializer, body) in TEXTS {
        for (provider, signed) in TEXTS {
            if same_but_for_line_ends(body, signed) {
                continue;
            }
            let known = causes(body, signed, Some(signed.len()), Effort::Common);
            assert!(known.is_some(), "{serializer} → {provider}, length known");
        }
    }
}

#[test]
fn common_styles_are_found_without_the_length() {
    for (serializer, body) in TEXTS {
        for (provider, signed) in &TEXTS[..8] {
            if same_but_for_line_ends(body, signed) {
                continue;
            }
            let found = causes(body, signed, None, Effort::Full);
            assert!(found.is_some(), "{serializer} → {provider}");
        }
    }
}

#[test]
fn each_class_of_characters_is_independent() {
    let body = r#"{"a":"/é&<'\"\u2028"}"#;
    for provider in [
        r#"{"a":"\/é\u0026<'\"\u2028"}"#,
        r#"{"a":"/\u00e9&\u003c'\"\u2028"}"#,
        "{\"a\":\"/é&<\\u0027\\\"\u{2028}\"}",
        r#"{"a":"\/\u00E9\u0026\u003C'\"\u2028"}"#,
    ] {
        assert!(summary(body, provider).is_some(), "{provider}");
    }
    // A serializer that escapes all of Unicode escapes U+2028, too.
    assert_eq!(summary(body, "{\"a\":\"/\\u00e9&<'\\\"\u{2028}\"}"), None);
}

#[test]
fn a_rewriting_is_described_by_what_differs() {
    let rows = [
        (
            r#"{"a": "\u00e9", "b": 1}"#,
            r#"{"a":"é","b":1}"#,
            "white space after commas and colons was added, and characters outside of ASCII became \
             escape sequences, as `json.dumps` of Python does",
        ),
        (
            r#"{"a":"\/é"}"#,
            r#"{"a":"/é"}"#,
            "`/` became `\\/`, as `json_encode` of PHP does",
        ),
        (
            r#"{"a":"/é<"}"#,
            r#"{"a":"\/\u00e9\u003c"}"#,
            "escape sequences became `/`, characters outside of ASCII and `<` or `>`, as \
             `JSON.stringify` of JavaScript does",
        ),
        (
            "{\n  \"a\" : 1\n}",
            "{\"a\":1}",
            "line breaks and indentation were added, as Jackson of Java does",
        ),
        (
            r#"{"a":60.0,"b":1.7E12}"#,
            r#"{"a":60,"b":1700000000000}"#,
            "numbers got a fraction or an exponent, such as 60.0 for 60, as Gson of Java does",
        ),
        (
            r#"{"a":1,"livemode":false}"#,
            r#"{"a":1}"#,
            "the member livemode was added",
        ),
        (
            r#"{"b": 1, "aa": 2}"#,
            r#"{"aa":2,"b":1}"#,
            "white space after commas and colons was added, and the order of members was changed, \
             as the `jsonb` type of PostgreSQL does",
        ),
    ];
    for (body, provider, expected) in rows {
        assert_eq!(summary(body, provider).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn numbers_dates_and_members_lead_back_to_the_provider() {
    let rows = [
        // Gson
        (
            r#"{"n":60.0,"at":1.795946719E12}"#,
            r#"{"n":60,"at":1795946719000}"#,
        ),
        // JavaScript
        (r#"{"n":60,"price":1210.5}"#, r#"{"n":60,"price":1210.50}"#),
        (
            r#"{"n":2,"price":500,"q":[1,2]}"#,
            r#"{"n":2.0,"price":500.00,"q":[1,2]}"#,
        ),
        (r#"{"n":1e+21}"#, r#"{"n":1.0E21}"#),
        // pydantic
        (r#"{"n":12.0,"q":1.0}"#, r#"{"n":12.00,"q":1}"#),
        (
            r#"{"at":"2026-07-16T09:00:00Z"}"#,
            r#"{"at":"2026-07-16T09:00:00.000Z"}"#,
        ),
        (
            r#"{"at":"2026-07-16T09:00:00Z"}"#,
            r#"{"at":"2026-07-16T09:00:00+00:00"}"#,
        ),
        (r#"{"a":1,"b":null,"c":{"d":null}}"#, r#"{"a":1,"c":{}}"#),
        (r#"{"a":1,"b":"","c":[]}"#, r#"{"a":1}"#),
        (r#"{"a":{"b":1,"c":2},"d":3}"#, r#"{"a":{"c":2},"d":3}"#),
        // PHP
        (r#"{"a":[],"b":[]}"#, r#"{"a":{},"b":{}}"#),
        (r#"{"a":[],"b":[]}"#, r#"{"a":[],"b":{}}"#),
        // Go, jq and jsonb
        (
            r#"{"data":{"amount":1,"id":2,"object":3},"id":4,"object":5}"#,
            r#"{"id":4,"object":5,"data":{"id":2,"object":3,"amount":1}}"#,
        ),
        (
            r#"{"a":1,"b":2,"c":{"d":3,"e":4}}"#,
            r#"{"c":{"e":4,"d":3},"a":1,"b":2}"#,
        ),
        (r#"[{"a":1},{"a":2}]"#, "[{\"a\":1},\r\n{\"a\":2}]\r\n"),
    ];
    for (body, provider) in rows {
        for len in [None, Some(provider.len())] {
            let causes = causes(body, provider, len, Effort::Full);
            assert!(causes.is_some(), "{body} → {provider} {len:?}");
        }
    }
}

#[test]
fn a_large_integer_keeps_its_digits() {
    let body = r#"{"id": 12345678901234567890123, "id": 0.1000}"#;
    let provider = r#"{"id":12345678901234567890123,"id":0.1000}"#;
    assert!(summary(body, provider).is_some());
}

#[test]
fn a_text_that_is_not_json_has_no_candidates() {
    for body in [
        "",
        "a=b",
        "{\"a\":1",
        "{\"a\":1}}",
        "\"text\"",
        "12",
        "null",
        "{'a':1}",
        "[NaN]",
    ] {
        assert_eq!(count(body.as_bytes(), None, Effort::Full), 0, "{body}");
    }
    assert_ne!(count(b"{\"a\":1}", None, Effort::Full), 0);
}

#[test]
fn line_ends_alone_are_not_a_rewriting() {
    let body = "{\n  \"a\": 1\n}";
    for edited in [
        "{\r\n  \"a\": 1\r\n}",
        "{\n  \"a\": 1\n}\n",
        "{\r\n  \"a\": 1\r\n}\r\n",
        body,
    ] {
        assert_eq!(summary(body, edited), None, "{edited:?}");
    }
    let rewritten = "{\r\n \"a\": 1\r\n}";
    assert!(summary(body, rewritten).is_some());
}

#[test]
fn a_byte_order_mark_is_a_cause_of_its_own() {
    let causes = causes("\u{feff} {\"a\": 1}\n", "{\"a\":1}", None, Effort::Full).unwrap();
    let codes: Vec<_> = causes.iter().map(|cause| cause.code).collect();
    assert_eq!(codes, [Code::BodyTextEdited, Code::BodyJsonRewritten]);
}

#[test]
fn no_candidate_is_repeated_and_each_has_the_declared_length_first() {
    for (_, body) in TEXTS {
        let declared = TEXTS[0].1.len() + 3;
        let mut seen = HashSet::from([body.as_bytes().to_vec()]);
        let mut has_other_length = false;
        visit(
            body.as_bytes(),
            Some(declared),
            Effort::Common,
            |candidate, _| {
                assert!(seen.insert(candidate.to_vec()));
                has_other_length |= candidate.len() != declared;
                assert!(candidate.len() != declared || !has_other_length);
                ControlFlow::Continue(())
            },
        );
        assert!(has_other_length);
    }
}

#[test]
fn the_number_of_candidates_is_limited() {
    let record = TEXTS[0].1;
    let records = |count: usize| format!("[{}]", vec![record; count].join(","));
    for (body, effort, most) in [
        (record.to_owned(), Effort::Common, 60),
        (record.to_owned(), Effort::Full, 12_000),
        (records(20_000), Effort::Common, 10),
    ] {
        for len in [None, Some(body.len() + 7)] {
            let count = count(body.as_bytes(), len, effort);
            assert!((5..=most).contains(&count), "{} bytes: {count}", body.len());
        }
    }
}

#[test]
fn hostile_documents_are_bounded() {
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let object = ["{\"a\":".repeat(10_000), "1".into(), "}".repeat(10_000)].concat();
    let wide = format!("[{}0]", "0,".repeat(100_000));
    let members: Vec<String> = (0..2_000)
        .map(|index| format!("\"{index}\":null"))
        .collect();
    let members = format!("{{{}}}", members.join(","));
    for body in [
        deep,
        object.into_bytes(),
        wide.into_bytes(),
        members.into_bytes(),
    ] {
        let mut longest = 0;
        visit(
            &body,
            Some(body.len() + 1),
            Effort::Common,
            |candidate, _| {
                longest = longest.max(candidate.len());
                ControlFlow::Continue(())
            },
        );
        assert!(longest < 8 * body.len(), "{longest}");
    }
}
