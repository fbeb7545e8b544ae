//! Documents whose only value is the body.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::attempt::Effort;
use crate::body::{Hints, VisitPeel};
use crate::cause::{Cause, Code};

/// The usual text around the only event of a delivery.
const WRAPPERS: &[(&str, &str)] = &[
    ("[", "]"),
    (r#"{"data":"#, "}"),
    (r#"{"payload":"#, "}"),
    (r#"{"event":"#, "}"),
    (r#"{"body":"#, "}"),
    (r#"{"message":"#, "}"),
    (r#"{"notification":"#, "}"),
    (r#"{"object":"#, "}"),
    (r#"{"result":"#, "}"),
    (r#"{"events":["#, "]}"),
    (r#"{"value":["#, "]}"),
    (r#"{"data":["#, "]}"),
    (r#"{"notifications":["#, "]}"),
    (r#"{"items":["#, "]}"),
    (r#"{"events":"#, "}"),
];

/// Visits the documents in which `body` may have been the only value.
///
/// The value of a document around it, such as an id, is lost for good. So a document with other
/// members cannot be restored.
pub(super) fn peel(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    if !matches!(body.first(), Some(b'{' | b'[')) {
        return ControlFlow::Continue(());
    }
    for (start, end) in WRAPPERS {
        let len = start.len() + body.len() + end.len();
        let fits = match hints.declared_len {
            Some(declared) => declared == len,
            None => effort == Effort::Full,
        };
        if !fits {
            continue;
        }
        let outer = [start.as_bytes(), body, end.as_bytes()].concat();
        let cause = Cause::new(
            Code::BodyJsonWrapped,
            "the body is only a part of the signed document, because its array or its outer \
             object was removed",
        )
        .with_fix("verify the whole body of the request before its events are taken apart");
        visit(outer.into(), cause)?;
    }
    ControlFlow::Continue(())
}
