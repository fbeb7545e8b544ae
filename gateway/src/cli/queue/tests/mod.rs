//! The output of `list` and `show`. Hostile values do nothing, and lines fit the width.

use serde_json::{Value, json};

use crate::cli::captured_request::Style;
use crate::cli::queue::entry::{Detail, List};
use crate::cli::queue::list::write_list;
use crate::cli::queue::show::write_detail;
use crate::cli::terminal::printable_tests::{HOSTILE, is_safe};
use crate::cli::terminal::{Colours, printable, width};

/// Returns an entry of the API in which every text is `text`.
fn hostile_entry(text: &str) -> Value {
    json!({
        "id": text, "state": text, "source": text, "tenant": text, "event_id": text,
        "key_id": text, "request_id": text, "stored": text, "age_s": 7200, "attempts": 3,
        "due_in_s": 90, "last_failure": { "kind": text, "time": text }, "body_bytes": 12,
    })
}

fn hostile_detail(text: &str) -> Value {
    json!({
        "entry": hostile_entry(text),
        "request": {
            "method": text, "target": text, "headers": [[text, text]], "redactions": [text],
            "body": { "base64": "eyJhIjoxfQ==", "bytes": 7 }, "redacted": true,
        },
        "cannot_retry_because": text, "cannot_drop_because": text,
    })
}

fn list_of(entries: &[Value], source: &str) -> Value {
    let numbers = json!({
        "source": source, "orphaned": true, "waiting": 3, "in_flight": 1, "dead": 2,
        "delivered": 0, "oldest_s": 7200, "bytes": 1_234_567,
    });
    let stats =
        json!({ "sources": [numbers], "bytes": 1_234_567, "max_bytes": 10_737_418_240_u64 });
    json!({ "entries": entries, "stats": stats })
}

fn list(value: Value, columns: usize) -> String {
    let list: List = serde_json::from_value(value).expect("the value has the form of the API");
    let mut out = Vec::new();
    write_list(&list, None, columns, Colours::Off, &mut out).expect("memory accepts the text");
    String::from_utf8(out).expect("the output is UTF-8")
}

fn detail(value: Value) -> String {
    let detail: Detail = serde_json::from_value(value).expect("the value has the form of the API");
    let style = Style {
        width: 80,
        colours: Colours::Off,
    };
    let mut out = Vec::new();
    write_detail(&detail, style, true, &mut out).expect("memory accepts the text");
    String::from_utf8(out).expect("the output is UTF-8")
}

#[test]
fn hostile_values_are_shown_and_do_nothing() {
    let lines = detail(hostile_detail("x")).lines().count();
    for text in HOSTILE {
        for columns in [40, 80, 200] {
            let shown = list(list_of(&vec![hostile_entry(text); 3], text), columns);
            assert_eq!(shown.lines().count(), 8, "{text:?}\n{shown}");
            assert!(shown.lines().all(is_safe), "{text:?}\n{shown:?}");
        }
        let shown = detail(hostile_detail(text));
        assert_eq!(shown.lines().count(), lines, "{text:?}\n{shown}");
        assert!(shown.lines().all(is_safe), "{text:?}\n{shown:?}");
        assert!(shown.contains(&printable(text)), "{text:?}\n{shown}");
    }
    // The control: the same check finds a text that is not escaped.
    assert!(HOSTILE.iter().any(|text| !text.lines().all(is_safe)));
}

/// Returns entries with the lengths of real ones.
fn entries() -> Vec<Value> {
    let base = json!({
        "key_id": "2026", "stored": "2026-11-30T07:02:48.123Z", "source": "github",
        "body_bytes": 1_234, "request_id": "5f0c8a6de2b94a13000000000000002f",
    });
    let entry = |changes: Value| {
        let mut entry = base.clone();
        let changes = changes.as_object().expect("an object").clone();
        entry.as_object_mut().expect("an object").extend(changes);
        entry
    };
    vec![
        entry(json!({
            "id": "17", "state": "waiting", "age_s": 7200, "attempts": 3, "due_in_s": 90,
            "event_id": "evt_1PqRsTuVwXyZ0123456789ab",
            "last_failure": { "kind": "response", "status": 503, "time": "" },
        })),
        entry(json!({
            "id": "18", "state": "dead", "age_s": 300_000, "attempts": 40,
            "last_failure": { "kind": "unreachable", "time": "" },
        })),
        entry(json!({ "id": "19", "state": "in_flight", "age_s": 3, "attempts": 1 })),
        entry(json!({
            "id": "20", "state": "waiting", "source": "old-shop", "orphaned": true,
            "age_s": 86_400, "attempts": 2, "due_in_s": 0,
        })),
    ]
}

#[test]
fn every_line_fits_the_width() {
    for columns in 40..=200 {
        let text = list(list_of(&entries(), "a-long-name-of-a-source"), columns);
        for line in text.lines() {
            assert!(width(line) <= columns, "{columns} {line}");
        }
    }
}

#[test]
fn the_list_has_the_state_of_each_entry_and_the_numbers_of_each_source() {
    let expected = "\
entry state     source   event                 age    due      tries failure
17    waiting   github   evt_1PqRsTuVwXyZ0123… 2 h    in 1 min 3     503
18    dead      github                         3 days          40    unreachable
19    in_flight github                         3 s             1
20    orphaned  old-shop                       1 days          2

source            waiting in flight dead oldest space
github (orphaned) 3       1         2    2 h    1.2 MiB
the queue uses 1.2 MiB of 10.0 GiB
";
    assert_eq!(list(list_of(&entries(), "github"), 80), expected);
    let empty = list(
        json!({ "entries": [], "stats": { "bytes": 0, "max_bytes": 1024 } }),
        80,
    );
    assert_eq!(
        empty,
        "the queue has no such entry\nthe queue uses 0 B of 1.0 KiB\n"
    );
}

#[test]
fn an_entry_has_every_fact() {
    let value = json!({
        "entry": {
            "id": "17", "state": "waiting", "source": "github", "tenant": "acme",
            "event_id": "evt_1", "key_id": "2026", "request_id": "5f0c",
            "stored": "2026-11-30T07:02:48.123Z", "age_s": 7200, "attempts": 3, "due_in_s": 90,
            "last_failure": {
                "kind": "response", "status": 503, "time": "2026-11-30T09:01:00.000Z",
            },
            "body_bytes": 7,
        },
        "request": {
            "method": "POST", "target": "/hooks/github",
            "headers": [["authorization", "[redacted]"]], "redacted": true,
            "redactions": ["header authorization"],
            "body": { "base64": "eyJhIjoxfQ==", "bytes": 7 },
        },
        "can_retry": true, "can_drop": false, "cannot_drop_because": "the token may only read",
    });
    let expected = "\
entry           17
state           waiting, due in 1 min
source          github, tenant acme
event           evt_1
key             2026
request         5f0c
stored          2026-11-30 07:02:48.123 UTC, 2 h ago
attempts        3
last failure    status 503, 2026-11-30 09:01:00.000 UTC
body            7 B
retry           hookgate queue retry 17
drop            not possible: the token may only read
removed         header authorization

request
  POST /hooks/github
  authorization: [redacted]

body
{\"a\":1}
";
    assert_eq!(detail(value), expected);
}
