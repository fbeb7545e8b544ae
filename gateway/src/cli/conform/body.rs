//! The bodies of the deliveries: an event with an id, a type and an amount.

use bytes::Bytes;
use serde_json::{Value, json};

/// The type of the events.
const KIND: &str = "conform.test";

/// The type of an event whose first run the application answers with status 500.
pub(super) const FAILS_ONCE: &str = "conform.fail_once";

/// The amount in each body, and the amount that a forger writes instead.
pub(super) const AMOUNTS: [&str; 2] = ["1250", "9250"];

/// The format of the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFormat {
    Json,
    Form,
    Empty,
}

/// An event of a body.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: String,
    kind: &'static str,
    spelling: Spelling,
}

/// How a JSON body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    Compact,
    /// Blanks, line ends, escapes and a number that no JSON writer writes like this.
    Unusual,
}

impl Event {
    /// Creates an event that the application accepts.
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            kind: KIND,
            spelling: Spelling::Compact,
        }
    }

    /// Lets the application fail on its first run of the event.
    pub(super) fn failing_once(self) -> Self {
        let kind = FAILS_ONCE;
        Self { kind, ..self }
    }

    /// Writes the event in bytes that change if a receiver parses the body and writes it anew.
    pub(super) fn spelled_unusually(self) -> Self {
        let spelling = Spelling::Unusual;
        Self { spelling, ..self }
    }
}

impl BodyFormat {
    /// Writes `event`, with its id also in the `places` where the scheme reads it.
    pub(super) fn write(self, event: &Event, places: &[&str]) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Form => form(event, places).into(),
            Self::Json => json_text(event, places).into(),
        }
    }
}

fn form(event: &Event, places: &[&str]) -> String {
    let Event { id, kind, .. } = event;
    let mut text = format!("id={id}&type={kind}&event={kind}&amount={}", AMOUNTS[0]);
    let names = places
        .iter()
        .filter_map(|place| place.strip_prefix("form:"));
    for name in names.filter(|name| *name != "id") {
        text.push_str(&format!("&{name}={id}"));
    }
    text
}

fn json_text(event: &Event, places: &[&str]) -> String {
    let mut value = json!({
        "id": event.id,
        "type": event.kind,
        "event": event.kind,
        "amount": 1250,
        "note": "?",
    });
    for pointer in places
        .iter()
        .filter_map(|place| place.strip_prefix("json:/"))
    {
        insert(&mut value, pointer, &event.id);
    }
    match event.spelling {
        Spelling::Compact => value.to_string(),
        Spelling::Unusual => {
            let text = format!("{value:#}\n");
            text.replace("1250", "1250.00")
                .replace("\"?\"", r#""caf\u00e9 \/ é""#)
        }
    }
}

/// Inserts `id` at a JSON Pointer without its first slash.
fn insert(value: &mut Value, pointer: &str, id: &str) {
    let mut value = value;
    for step in pointer.split('/') {
        if !value.is_object() {
            *value = json!({});
        }
        value = &mut value[step];
    }
    *value = id.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stands_where_the_scheme_reads_it() {
        let event = Event::new("msg_1");
        let body = BodyFormat::Json.write(&event, &["json:/event/id", "header:x-id"]);
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["event"]["id"], "msg_1");
        assert_eq!(value["id"], "msg_1");
        let body = BodyFormat::Form.write(&event, &["form:token"]);
        assert!(body.starts_with(b"id=msg_1&"), "{body:?}");
        assert!(body.ends_with(b"&token=msg_1"), "{body:?}");
    }

    #[test]
    fn an_unusual_spelling_does_not_survive_a_json_writer() {
        let event = Event::new("msg_1").spelled_unusually();
        let body = BodyFormat::Json.write(&event, &[]);
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["note"], "café / é");
        assert_ne!(value.to_string().into_bytes(), body);
        assert_ne!(format!("{value:#}\n").into_bytes(), body);
    }
}
