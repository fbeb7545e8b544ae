//! Which events of a provider can have the bytes of another event.

use memchr::memmem;

use super::facts::EqualBytes;
use crate::scheme::handshake::Condition;
use crate::scheme::json;
use crate::scheme::location::{self, Location};

impl EqualBytes {
    /// Whether only events whose signed values meet conditions can have equal bytes.
    pub fn is_conditional(&self) -> bool {
        !self.when().is_empty()
    }

    /// Whether the event with this body can have the bytes of another event.
    ///
    /// Call this for a body that verified: the conditions are about signed values.
    pub fn include(&self, body: &[u8]) -> bool {
        self.is_possible() && self.when().iter().all(|condition| holds(condition, body))
    }
}

/// Whether `condition` holds for a value of `body`.
///
/// If the body has another format than the condition reads, the condition holds if the name of
/// the value occurs anywhere. The event then leaves `"content"` rather than being lost.
fn holds(condition: &Condition, body: &[u8]) -> bool {
    match &condition.location {
        Location::Json(pointer) => {
            // Nearly no body has the name. Its search is much faster than parsing the body.
            if !pointer.last().is_none_or(|name| occurs(name, body)) {
                return false;
            }
            match &condition.value {
                None => json::has_member(body, pointer).unwrap_or(true),
                Some(wanted) => {
                    let found = json::read_texts(body, std::slice::from_ref(pointer)).pop();
                    match found {
                        Some(Ok(text)) => text == *wanted,
                        _ => !json::is_document(body),
                    }
                }
            }
        }
        Location::Form(name) => {
            let mut fields = location::form_fields(body);
            fields.any(|(field, value)| {
                let wanted = condition.value.as_ref();
                *field == *name.as_bytes()
                    && wanted.is_none_or(|wanted| *value == *wanted.as_bytes())
            })
        }
        _ => false,
    }
}

/// Whether `name` occurs in `body`, possibly in another spelling.
fn occurs(name: &str, body: &[u8]) -> bool {
    // A JSON writer may escape other characters. No writer escapes these.
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    !is_plain || memmem::find(body, name.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::facts::Facts;
    use crate::document::{Report, Section, parse};

    /// Returns the fact about events that meet `when`.
    fn equal_bytes(when: &str) -> EqualBytes {
        let text = format!("[facts]\nequal_bytes = {{ value = true, why = 'x', when = {when} }}");
        let table = parse(&text).unwrap();
        let report = Report::default();
        let facts = Facts::read(&Section::root(&table, &report), "");
        facts.equal_bytes().unwrap().value().clone()
    }

    #[test]
    fn a_condition_on_a_value_or_on_a_field_of_a_form_is_checked() {
        let of_type = equal_bytes("{ 'json:/type' = 'ping' }");
        for (body, expected) in [
            (r#"{"type":"ping"}"#, true),
            (r#"{"type":"pong"}"#, false),
            (r#"{"type":["ping"]}"#, false),
            ("{}", false),
        ] {
            assert_eq!(of_type.include(body.as_bytes()), expected, "{body}");
        }
        let of_call = equal_bytes("{ 'form:CallSid' = '*', 'form:State' = 'on' }");
        for (body, expected) in [
            ("CallSid=CA1&State=on", true),
            ("CallSid=CA1&State=off", false),
            ("State=on", false),
        ] {
            assert_eq!(of_call.include(body.as_bytes()), expected, "{body}");
        }
        // The control: without conditions, every event is included.
        let every = equal_bytes("{}");
        assert!(every.include(b"") && !every.is_conditional());
    }

    #[test]
    fn a_repeatable_event_is_recognised_by_its_signed_members() {
        let equal = equal_bytes("{ 'json:/client_payload' = '*' }");
        assert!(equal.is_conditional());
        for (body, expected) in [
            (r#"{"action":"nightly","client_payload":{}}"#, true),
            (r#"{"action":"nightly","client_payload":null}"#, true),
            (r#"{"action":"opened","number":1}"#, false),
            // The name inside of another member says nothing.
            (r#"{"action":"opened","title":"client_payload"}"#, false),
            (r#"{"commits":[{"client_payload":1}]}"#, false),
            // GitHub also sends forms, whose JSON is one field.
            ("payload=%7B%22client_payload%22%3A%7B%7D%7D", true),
            ("payload=%7B%22number%22%3A1%7D", false),
        ] {
            assert_eq!(equal.include(body.as_bytes()), expected, "{body}");
        }
    }
}
