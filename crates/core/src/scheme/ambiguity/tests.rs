//! Templates that the ambiguity check accepts and refuses, and the delimiters it derives.

use super::*;
use crate::scheme::template;

fn check(template: &str, unit: TimeUnit) -> Result<UrlConstraints, String> {
    let at = Location::parse("header:t").unwrap();
    let context = SchemeContext {
        timestamp: Some((&at, unit)),
        ids: &[],
        json_body: false,
        form_start: Some("AccountSidAC"),
    };
    check_unambiguous(
        &mut template::parse(template).unwrap(),
        context,
        &mut Delimiters::default(),
    )
}

#[test]
fn a_template_with_two_divisions_is_refused() {
    for template in [
        "{id}{body}",
        "{id}{header:x}.{body}",
        "{id}{ts}{body}",
        "{body}{header:x}",
        "{header:x|free}{body}",
        "{header:a|free}.{header:b|free}.",
        "{query:a}{header:x}",
        "{method}{body}",
        "[{header:n}.]{body}",
        "[n{header:n}.]{body}",
        "{id}[;{header:n}]{body}",
        "{body}[.{header:n}]",
        "[a{header:a};][a{header:b};]{ts}",
        "[a{header:a};]a{body|sha256:hex}",
        "[.{body}]",
        "[.]{ts}",
        "{json:/m|free}\n[A\n{json:/a}\n]",
        "I\n{json:/m|free}\n[A\n{json:/a}\n]",
        "{json:/m|free}I\n{json:/i}\n[AI\n{json:/a}\n]",
        "{json:/m|free}\nI\n{json:/i}\n[A\n{json:/a}\n][A\n{json:/b}\n]",
        "{json:/m|free}\nI\n{json:/i}\n[A{json:/a}\n]",
    ] {
        assert!(check(template, TimeUnit::Seconds).is_err(), "{template}");
    }
    for template in ["{ts}{body}", "{body}{ts}", "{ts}0{body}", "0{body}0{ts}"] {
        assert!(check(template, TimeUnit::Seconds).is_ok(), "{template}");
        assert!(check(template, TimeUnit::Rfc3339).is_ok(), "{template}");
        let either = check(template, TimeUnit::SecondsOrMilliseconds);
        assert!(either.is_err(), "{template}");
    }
    for template in [
        "{id}[;{header:n}].{body}",
        "[id:{query:i};][request:{header:r};]ts:{ts};",
        "{ts}[.{header:n}]",
        "{method}.{body}",
        "{method}{url}{body}{ts}",
        "{ts}.{header:n}.{body}.{header:m}",
        "M\n{json:/m|free}\nI\n{json:/i}\n[A\n{json:/a}\n][B\n{json:/b}\n]T\n{ts}\n",
    ] {
        assert!(check(template, TimeUnit::Seconds).is_ok(), "{template}");
    }
    assert!(check("{id}{ts}{body}", TimeUnit::Rfc3339).is_ok());
    for (template, is_ok) in [
        ("{ts}:{body}", true),
        ("{ts}.{body}", false),
        ("{ts}0{body}", false),
        ("{ts}{body}", false),
    ] {
        let checked = check(template, TimeUnit::Rfc3339Utc);
        assert_eq!(checked.is_ok(), is_ok, "{template}");
    }
}

#[test]
fn a_value_must_not_contain_a_byte_that_can_follow_it() {
    let mut segments = template::parse("{header:a}[;{header:b},].{body}:{header:c}").unwrap();
    let context = SchemeContext {
        timestamp: None,
        ids: &[],
        json_body: false,
        form_start: None,
    };
    check_unambiguous(&mut segments, context, &mut Delimiters::default()).unwrap();
    let found: Vec<&[u8]> = template::placeholders(&segments)
        .map(|value| value.delimiters.bytes())
        .collect();
    assert_eq!(found, [&b";."[..], b",", b"", b":"]);
}

#[test]
fn a_url_beside_another_value_must_be_the_configured_one() {
    let any = QueryRule::Any;
    let json = QueryRule::EndsAt(UrlEnd::Json);
    let form = QueryRule::EndsAt(UrlEnd::Form("AccountSidAC".into()));
    for (template, query, fixed_path) in [
        ("{url}{body}", &json, true),
        ("{method}{url}{body}{ts}", &json, true),
        ("{url}{form-sorted}", &form, true),
        ("{body}{url}", &QueryRule::Configured, true),
        ("{path-query}.{body}", &QueryRule::Configured, true),
        ("{url}{header:n}", &QueryRule::Configured, true),
        ("{path}.{body}", &any, true),
        ("{url}", &any, false),
        ("{url-base}{header:n}", &any, false),
        (
            "{method}\n{path-query}\n{ts}\n{body|sha256:hex}",
            &any,
            false,
        ),
    ] {
        let expected = UrlConstraints {
            query: query.clone(),
            fixed_path,
        };
        let found = check(template, TimeUnit::Milliseconds);
        assert_eq!(found, Ok(expected), "{template}");
    }
}
