//! Tests of strict JSON access: types, repeated members, nesting and pointers.

use super::*;

fn read(body: &str, pointer: &str) -> Option<String> {
    let pointer = Pointer::parse(pointer).unwrap();
    let found = read_texts(body.as_bytes(), &[pointer]).remove(0);
    found.ok().map(Cow::into_owned)
}

#[test]
fn strings_and_integers_are_read() {
    assert_eq!(read(r#"{"id":"evt_1"}"#, "/id").as_deref(), Some("evt_1"));
    assert_eq!(read(r#"{"id":42}"#, "/id").as_deref(), Some("42"));
    assert_eq!(
        read(r#"{"a":[{"b":"x"},{"b":"y"}]}"#, "/a/1/b").as_deref(),
        Some("y")
    );
    assert_eq!(read(r#"{"a/b~c":"x"}"#, "/a~1b~0c").as_deref(), Some("x"));
    assert_eq!(read(r#"{"\u0069d":"x"}"#, "/id").as_deref(), Some("x"));
}

#[test]
fn a_value_of_another_type_has_no_text() {
    for body in [
        "",
        "[",
        "null",
        r#"{"id":"a"} x"#,
        r#"{"id":null}"#,
        r#"{"id":1.5}"#,
        r#"{"id":["a"]}"#,
        r#"{"id":{"a":1}}"#,
        r#"{"ID":"a"}"#,
        "{\"id\":\"\u{0}\"}",
        r#"{"id":1e3}"#,
    ] {
        assert_eq!(read(body, "/id"), None, "{body}");
    }
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(
        read(&format!(r#"{{"x":{deep},"id":"a"}}"#), "/id").as_deref(),
        Some("a")
    );
    assert_eq!(read(&deep, "/0/0"), None);
}

#[test]
fn a_member_that_occurs_twice_has_no_value() {
    assert_eq!(read(r#"{"id":"a","id":"a"}"#, "/id"), None);
    assert_eq!(read(r#"{"id":"a","\u0069d":"b"}"#, "/id"), None);
    assert_eq!(read(r#"{"d":{"id":"a"},"d":{}}"#, "/d/id"), None);
    assert_eq!(
        read(r#"{"x":1,"id":"a","x":2}"#, "/id").as_deref(),
        Some("a")
    );
}

#[test]
fn an_unusable_value_is_not_reported_as_missing() {
    use LookupError::{Malformed, Missing, Repeated};
    for (body, expected) in [
        (r#"{"d":{}}"#, Missing),
        (r#"{"d":{"id":null}}"#, Missing),
        (r#"{"d":1}"#, Missing),
        (r#"{"d":{"id":1.5}}"#, Malformed),
        (r#"{"d":{"id":true}}"#, Malformed),
        (r#"{"d":{"id":[]}}"#, Malformed),
        (r#"{"d":{"id":{}}}"#, Malformed),
        (r#"{"d":{"id":1,"id":1}}"#, Repeated),
        (r#"{"d":{"id":1},"d":{}}"#, Repeated),
        ("x", Malformed),
    ] {
        let pointer = Pointer::parse("/d/id").unwrap();
        assert_eq!(
            read_texts(body.as_bytes(), &[pointer])[..],
            [Err(expected)],
            "{body}"
        );
    }
}

#[test]
fn several_members_are_read_in_one_pass() {
    let pointers = ["/id", "/data/type"].map(|p| Pointer::parse(p).unwrap());
    let found = read_texts(br#"{"data":{"type":"t"},"id":"i"}"#, &pointers);
    assert_eq!(found[..], [Ok("i".into()), Ok("t".into())]);
    let missing = Err(LookupError::Missing);
    assert_eq!(read_texts(b"{}", &pointers)[..], [missing.clone(), missing]);
    let many = vec![Pointer::parse("/id").unwrap(); MAX_POINTERS];
    assert!(read_texts(br#"{"id":1}"#, &many).iter().all(Result::is_ok));
}

#[test]
fn the_first_text_is_read_and_nothing_after_it() {
    for (body, expected) in [
        (r#"{"a":"x","d":{"id":"1","id":"2"}}"#, Some("1")),
        (r#"{"d":{"id":7}} and no JSON"#, Some("7")),
        (r#"{"d":{"id":"1"#, None),
        (r#"{"d":{"id":null,"id":"2"}}"#, Some("2")),
        (r#"{"d":{"id":[],"id":"2"}}"#, None),
        (r#"{"d":{}}"#, None),
    ] {
        let pointer = Pointer::parse("/d/id").unwrap();
        let found = first_text(body.as_bytes(), &pointer);
        assert_eq!(found.as_deref(), expected, "{body}");
    }
}

#[test]
fn elements_keep_their_original_text() {
    let pointer = Pointer::parse("/a/b").unwrap();
    let read = |body: &str| {
        let elements = elements(body.as_bytes(), &pointer)?;
        Some(
            elements
                .iter()
                .map(|e| e.get().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let found = read(r#"{"x":1,"a":{"b":[{"c": 1}, 2]}}"#).unwrap();
    assert_eq!(found, [r#"{"c": 1}"#, "2"]);
    assert_eq!(read(r#"{"a":{"b":[]}}"#), Some(vec![]));
    for body in [
        "",
        "[]",
        r#"{"a":{"b":{}}}"#,
        r#"{"a":{"b":[1],"b":[]}}"#,
        r#"{"a":{}}"#,
    ] {
        assert_eq!(read(body), None, "{body}");
    }
}

#[test]
fn a_document_is_an_object_or_an_array() {
    for (body, expected) in [
        ("{}", true),
        (" [1]\n", true),
        ("{}x", false),
        ("1", false),
        ("", false),
        ("{", false),
    ] {
        assert_eq!(is_document(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn pointers_follow_rfc_6901() {
    for bad in ["", "id", "/a~2", "/a~"] {
        assert!(Pointer::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_member_of_any_type_is_present() {
    let pointer = Pointer::parse("/a/b").unwrap();
    for (body, expected) in [
        (r#"{"a":{"b":{}}}"#, Some(true)),
        (r#"{"a":{"b":null}}"#, Some(true)),
        (r#"{"a":{"b":[1],"c":2}}"#, Some(true)),
        (r#"{"a":{"b":1,"b":2}}"#, Some(false)),
        (r#"{"a":{"c":1}}"#, Some(false)),
        (r#"{"a":1,"b":2}"#, Some(false)),
        ("payload=%7B%22a%22", None),
    ] {
        assert_eq!(has_member(body.as_bytes(), &pointer), expected, "{body}");
    }
}
