//! Documents around the body: JSON strings, messages of queues, events of API gateways.

mod content;
mod members;
mod outer;

use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;

use self::content::contents;
pub(crate) use self::content::is_gateway_event;
pub(super) use self::members::unquote;
use super::{Hints, VisitPeel};
use crate::attempt::Effort;

/// Visits the bodies that result from undoing a wrapping.
///
/// A document inside of a document inside of a document is one wrapping: Amazon SQS wraps a
/// message of SNS, which wraps the body.
pub(super) fn peel(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    let (mut left, levels) = match effort {
        Effort::Common => (24, 1),
        Effort::Full => (200, 4),
    };
    let mut documents = VecDeque::from([(body.clone(), 1)]);
    while let Some((document, level)) = documents.pop_front() {
        for content in contents(&document, hints.declared_len, left) {
            left -= 1;
            let Some(inner) = content.open(&document) else {
                continue;
            };
            visit(inner.clone(), content.cause(&document))?;
            if level < levels && content.may_wrap() {
                documents.push_back((inner, level + 1));
            }
        }
    }
    outer::peel(body, hints, effort, visit)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::cause::{Cause, Code};

    const SIGNED: &str = "{\"id\":\"evt_1\",  \"name\":\"Zo\u{eb} \\/ \\u00e9\"}";

    fn peeled(body: &str, effort: Effort) -> Vec<(String, Cause)> {
        let mut found = Vec::new();
        let body = Bytes::copy_from_slice(body.as_bytes());
        // The declared length excludes documents around the body.
        let hints = Hints {
            declared_len: Some(body.len()),
            ..Hints::default()
        };
        let _: ControlFlow<()> = peel(&body, hints, effort, &mut |inner, cause| {
            found.push((String::from_utf8_lossy(&inner).into_owned(), cause));
            ControlFlow::Continue(())
        });
        found
    }

    fn quoted(text: &str) -> String {
        serde_json::to_string(text).unwrap()
    }

    /// Returns the code with which the signed text is found in `body`, and its position.
    fn found(body: &str, effort: Effort) -> Option<(Code, usize)> {
        let found = peeled(body, effort);
        let at = found.iter().position(|(inner, _)| inner == SIGNED)?;
        Some((found[at].1.code, at))
    }

    #[test]
    fn the_signed_document_is_found_inside_of_the_usual_wrappings() {
        let text = quoted(SIGNED);
        let base64 = quoted(&STANDARD.encode(SIGNED));
        let sns = quoted(&format!(r#"{{"Type":"Notification","Message":{text}}}"#));
        let twice = quoted(&text);
        let rows: &[(&str, String, Code)] = &[
            ("a JSON string", text.clone(), Code::BodyJsonWrapped),
            ("a JSON string in one", twice, Code::BodyJsonWrapped),
            ("a JSON string of base64", base64.clone(), Code::BodyBase64),
            (
                "an event of AWS API Gateway",
                format!(
                    r#"{{"version":"2.0","headers":{{"a":"b"}},"requestContext":{{"http":{{}}}},"body":{text},"isBase64Encoded":false}}"#
                ),
                Code::BodyJsonWrapped,
            ),
            (
                "an event with base64",
                format!(r#"{{"headers":{{}},"body":{base64},"isBase64Encoded":true}}"#),
                Code::BodyBase64,
            ),
            (
                "a record of Amazon SQS",
                format!(r#"{{"Records":[{{"messageId":"1","body":{text}}}]}}"#),
                Code::BodyJsonWrapped,
            ),
            (
                "a message of SNS in a record of SQS",
                format!(r#"{{"Records":[{{"messageId":"1","body":{sns}}}]}}"#),
                Code::BodyJsonWrapped,
            ),
            (
                "a message of Google Pub/Sub",
                format!(r#"{{"message":{{"data":{base64},"messageId":"1"}},"subscription":"s"}}"#),
                Code::BodyBase64,
            ),
            (
                "an event of Amazon EventBridge",
                format!(r#"{{"detail-type":"t","resources":[],"detail":{SIGNED}}}"#),
                Code::BodyJsonWrapped,
            ),
            (
                "a member of an unknown name",
                format!(r#"{{"a":{{"zzz":{text}}}}}"#),
                Code::BodyJsonWrapped,
            ),
            ("an array", format!("[\n{SIGNED}\n]"), Code::BodyJsonWrapped),
            (
                "CDATA",
                format!("<soap><a>1</a><b><![CDATA[{SIGNED}]]></b></soap>"),
                Code::BodyJsonWrapped,
            ),
            (
                "an element of XML",
                format!("<event><data>{SIGNED}</data></event>"),
                Code::BodyJsonWrapped,
            ),
            (
                "a part of a multipart form",
                format!(
                    "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\n\
                     Content-Disposition: form-data; name=\"json\"\r\n\r\n{SIGNED}\r\n--x--\r\n"
                ),
                Code::BodyTypeChanged,
            ),
            (
                "a field of a form",
                format!(
                    "a=b&payload={}",
                    percent_encoding::percent_encode(
                        SIGNED.as_bytes(),
                        percent_encoding::NON_ALPHANUMERIC
                    )
                ),
                Code::BodyTypeChanged,
            ),
        ];
        for (name, body, code) in rows {
            let found = found(body, Effort::Full).unwrap_or_else(|| panic!("{name} hides it"));
            assert_eq!(found.0, *code, "{name}");
            assert!(found.1 < 6, "{name}: candidate {}", found.1);
            // The control: the document itself is not inside of itself.
            assert_eq!(peeled(SIGNED, Effort::Full).len(), 0, "{name}");
        }
    }

    #[test]
    fn the_only_part_that_was_kept_is_put_back_into_its_document() {
        let found = |body: &str, declared_len| {
            let hints = Hints {
                declared_len,
                ..Hints::default()
            };
            let mut found = Vec::new();
            let body = Bytes::copy_from_slice(body.as_bytes());
            let _: ControlFlow<()> = peel(&body, hints, Effort::Full, &mut |outer, _| {
                found.push(String::from_utf8_lossy(&outer).into_owned());
                ControlFlow::Continue(())
            });
            found
        };
        assert_eq!(found(r#"{"a":1}"#, Some(9)), [r#"[{"a":1}]"#]);
        assert_eq!(found(r#"{"a":1}"#, Some(7)), [""; 0]);
        let payload = r#"{"payload":{"a":1}}"#;
        let found = found(r#"{"a":1}"#, Some(payload.len()));
        assert_eq!(found[0], payload);
        assert!(found.iter().all(|outer| outer.len() == payload.len()));
    }

    #[test]
    fn the_fix_names_the_member_of_a_known_event() {
        let event = format!(
            r#"{{"requestContext":{{}},"body":{},"isBase64Encoded":false}}"#,
            quoted(SIGNED)
        );
        let (_, cause) = peeled(&event, Effort::Full).swap_remove(0);
        assert_eq!(
            cause.fix,
            "verify `event.body`, decoded from base64 if `isBase64Encoded` is true"
        );
        let unknown = format!(r#"{{"whsec_leak":{}}}"#, quoted(SIGNED));
        let (_, cause) = peeled(&unknown, Effort::Full).swap_remove(0);
        assert!(!format!("{cause:?}").contains("whsec_leak"), "{cause:?}");
    }

    #[test]
    fn the_number_of_candidates_is_bounded() {
        for (effort, most) in [(Effort::Common, 24), (Effort::Full, 200)] {
            for body in [
                "[".repeat(10_000) + &"]".repeat(10_000),
                format!("[{}1]", r#"{"body":"{}"},"#.repeat(10_000)),
                quoted(&quoted(&quoted(&quoted(&quoted(&quoted("{}")))))),
                "--x\r\n\r\n".repeat(10_000),
                "<a><![CDATA[{".repeat(10_000),
                "a={&".repeat(10_000),
            ] {
                let count = peeled(&body, effort).len();
                assert!(count <= most, "{count} of {}", &body[..20]);
            }
        }
    }
}
