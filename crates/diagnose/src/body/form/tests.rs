use super::*;
use crate::cause::Code;

struct Row {
    name: &'static str,
    captured: &'static str,
    content_type: &'static str,
    signed: &'static str,
    code: Code,
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b0";

const ROWS: &[Row] = &[
    Row {
        name: "blanks as %20 in place of +",
        captured: "a=x%20y&b=%7E",
        content_type: FORM,
        signed: "a=x+y&b=~",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "escapes in lower case",
        captured: "a=%C3%A9%2F&b=1",
        content_type: FORM,
        signed: "a=%c3%a9%2f&b=1",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "decoded without being encoded anew",
        captured: "a=Ol\u{e1}! Is 1+1=2?&to=+1415&b=x & y",
        content_type: FORM,
        signed: "a=Ol%C3%A1%21+Is+1%2B1%3D2%3F&to=%2B1415&b=x+%26+y",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "decoded except for the blanks",
        captured: "a=Ol\u{e1}!+1+1=2?+See+a/b+&+c+&to=+1415",
        content_type: FORM,
        signed: "a=Ol%C3%A1%21+1%2B1%3D2%3F+See+a%2Fb+%26+c+&to=%2B1415",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "sorted",
        captured: "a=1&b=2&c=3",
        content_type: FORM,
        signed: "b=2&c=3&a=1",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "reversed",
        captured: "a=1&b=2&c=3&d=4&e=5&f=6&g=7",
        content_type: FORM,
        signed: "g=7&f=6&e=5&d=4&c=3&b=2&a=1",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "empty fields with another `=`",
        captured: "a=&b=2&c",
        content_type: FORM,
        signed: "a&b=2&c",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "empty fields that were added",
        captured: "a=&b=2&c=",
        content_type: FORM,
        signed: "b=2",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "a field that was added",
        captured: "a=%7e&b=2&c=3",
        content_type: FORM,
        signed: "a=%7e&c=3",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "a value that was trimmed",
        captured: "a=%7e&b=2&c=3",
        content_type: FORM,
        signed: "a=%7e&b=2+&c=3",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "a command of Slack that was sorted",
        captured: "channel_id=C&command=%2Fx&team_id=T&text=a+b&token=t&user_id=U",
        content_type: FORM,
        signed: "token=t&team_id=T&channel_id=C&user_id=U&command=%2Fx&text=a+b",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "other separators",
        captured: "a=1&amp;b=%20",
        content_type: FORM,
        signed: "a=1&b=+",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "fields in Latin-1",
        captured: "a=%C3%A9&b=1",
        content_type: FORM,
        signed: "a=%E9&b=1",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "the JSON of a field",
        captured: r#"{"a": "x/y [1]"}"#,
        content_type: FORM,
        signed: "payload=%7B%22a%22%3A+%22x%2Fy+%5B1%5D%22%7D",
        code: Code::BodyFormRewritten,
    },
    Row {
        name: "a form as JSON",
        captured: r#"{"a": "x y", "b": ["\u00e9", "+"], "c": ""}"#,
        content_type: FORM,
        signed: "a=x+y&b=%C3%A9&b=%2B&c=",
        code: Code::BodyTypeChanged,
    },
    Row {
        name: "a nested form as JSON",
        captured: r#"{"data":{"id":"7","list":["x"]},"type":"subscribe"}"#,
        content_type: JSON,
        signed: "data%5Bid%5D=7&data%5Blist%5D%5B%5D=x&type=subscribe",
        code: Code::BodyTypeChanged,
    },
    Row {
        name: "JSON as a form",
        captured: "a=1&b%5Bc%5D=x&d=true",
        content_type: JSON,
        signed: r#"{"a":1,"b":{"c":"x"},"d":true}"#,
        code: Code::BodyTypeChanged,
    },
    Row {
        name: "JSON as the name of a field",
        captured: r#"{"{\"a\":\"b=c&d\"}":""}"#,
        content_type: FORM,
        signed: r#"{"a":"b=c&d"}"#,
        code: Code::BodyTypeChanged,
    },
    Row {
        name: "JSON as the escaped name of a field",
        captured: "%7B%22a%22%3A%22b%22%7D=",
        content_type: FORM,
        signed: r#"{"a":"b"}"#,
        code: Code::BodyTypeChanged,
    },
    Row {
        name: "a form as a multipart form",
        captured: "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx y\r\n--b0--\r\n",
        content_type: MULTIPART,
        signed: "a=x+y",
        code: Code::BodyTypeChanged,
    },
    Row {
        name: "a multipart form as a form",
        captured: "a=x+y",
        content_type: MULTIPART,
        signed: "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx y\r\n--b0--\r\n",
        code: Code::BodyTypeChanged,
    },
    Row {
        name: "a multipart form as JSON",
        captured: r#"{"a":"x y"}"#,
        content_type: MULTIPART,
        signed: "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx y\r\n--b0--\r\n",
        code: Code::BodyTypeChanged,
    },
];

/// Returns the code of the first candidate that is `signed`, and the number of candidates.
fn search(row: &Row, declared_len: Option<usize>, effort: Effort) -> (Option<Code>, usize) {
    let hints = Hints {
        declared_len,
        content_type: Some(row.content_type),
        ..Hints::default()
    };
    let (mut found, mut tried) = (None, 0);
    let body = Bytes::from_static(row.captured.as_bytes());
    let _: ControlFlow<()> = rewrite(&body, hints, effort, &mut |candidate, causes| {
        tried += 1;
        assert_ne!(candidate, body, "{}: the body itself", row.name);
        if candidate == row.signed.as_bytes() {
            found = Some(causes()[0].code);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    (found, tried)
}

#[test]
fn the_signed_bytes_are_found_again() {
    for row in ROWS {
        let (code, tried) = search(row, Some(row.signed.len()), Effort::Full);
        assert_eq!(code, Some(row.code), "{}", row.name);
        assert!(tried < 300, "{}: {tried} with the length", row.name);
        let (code, tried) = search(row, None, Effort::Full);
        assert_eq!(code, Some(row.code), "{} without the length", row.name);
        assert!(tried < 1500, "{}: {tried} without the length", row.name);
    }
}

#[test]
fn other_bytes_are_not_found() {
    for row in ROWS {
        let control = Row {
            signed: "a=another+value",
            ..*row
        };
        assert_eq!(search(&control, None, Effort::Full).0, None, "{}", row.name);
        let (_, common) = search(&control, None, Effort::Common);
        assert!(common <= 60, "{}: {common} common candidates", row.name);
    }
}

#[test]
fn other_bodies_have_no_candidates() {
    for body in [
        "",
        "hello, world",
        "<a>b=c</a>",
        "\u{0}\u{1}=",
        "--",
        "=",
        "&&&",
    ] {
        let row = Row {
            name: "no form",
            captured: body,
            content_type: FORM,
            signed: "",
            code: Code::BodyFormRewritten,
        };
        assert_eq!(search(&row, None, Effort::Full), (None, 0), "{body:?}");
    }
}
