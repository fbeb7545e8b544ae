//! Bodies that the provider may have sent, in place of the captured body.
//!
//! Each generator undoes one change. A *peel* removes one layer around or over the whole body,
//! such as a byte order mark or base64, and has few results. A *rewriting* turns a document back
//! into the forms that its writer may have used, and has many. Real changes combine: JSON that
//! was indented, and then got a byte order mark. So peels come first, and rewritings of their
//! results follow.

mod charset;
mod compression;
mod document;
mod encoding;
mod escape;
pub(crate) mod form;
pub(crate) mod json;
mod part;
mod text;
mod undo;

use std::ops::ControlFlow;

use bytes::Bytes;

pub(crate) use self::document::is_gateway_event;
use crate::attempt::{Case, Effort};
use crate::cause::Cause;
use crate::sign::Sign;

/// A function that receives a body and the causes that it would prove. It breaks when it needs
/// no more. The causes are made only if they are needed.
pub(crate) type VisitBody<'v> =
    &'v mut dyn FnMut(Bytes, &dyn Fn() -> Vec<Cause>) -> ControlFlow<()>;

/// A function that receives the result of a peel.
pub(crate) type VisitPeel<'v> = &'v mut dyn FnMut(Bytes, Cause) -> ControlFlow<()>;

/// The facts of the head that help to order candidates.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints<'a> {
    /// The value of `content-length`, if the request has exactly one.
    pub(crate) declared_len: Option<usize>,
    /// The value of `content-type`, in its original case.
    pub(crate) content_type: Option<&'a str>,
    /// The value of `content-encoding`.
    pub(crate) content_encoding: Option<&'a str>,
}

impl<'a> Hints<'a> {
    pub(crate) fn of(case: Case<'a>) -> Self {
        let headers = &case.capture.headers;
        let only = |name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?;
            values.next().is_none().then_some(value)
        };
        Self {
            declared_len: only("content-length").and_then(|len| len.trim().parse().ok()),
            content_type: only("content-type"),
            content_encoding: only("content-encoding"),
        }
    }
}

/// Visits bodies that may have been signed in place of `body`, the most likely ones first.
pub(crate) fn each(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitBody<'_>,
) -> ControlFlow<()> {
    peels(body, hints, effort, &mut |peeled, cause| {
        visit(peeled, &|| vec![cause.clone()])
    })?;
    rewritings(body, hints, effort, visit)?;
    if effort == Effort::Common {
        return ControlFlow::Continue(());
    }
    peels(body, hints, effort, &mut |peeled, cause| {
        rewritings(&peeled, hints, Effort::Common, &mut |inner, causes| {
            visit(inner, &|| [vec![cause.clone()], causes()].concat())
        })?;
        peels(&peeled, hints, Effort::Common, &mut |inner, second| {
            visit(inner, &|| vec![cause.clone(), second.clone()])
        })
    })
}

/// Visits the results of removing one layer.
fn peels(body: &Bytes, hints: Hints<'_>, effort: Effort, visit: VisitPeel<'_>) -> ControlFlow<()> {
    text::peel(body, hints, effort, visit)?;
    document::peel(body, hints, effort, visit)?;
    encoding::peel(body, hints, effort, visit)?;
    escape::peel(body, hints, effort, visit)?;
    charset::peel(body, hints, effort, visit)?;
    compression::peel(body, hints, effort, visit)?;
    part::peel(body, hints, effort, visit)
}

/// Visits the forms in which the writer of the document in `body` may have written it.
fn rewritings(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitBody<'_>,
) -> ControlFlow<()> {
    json::rewrite(body, hints, effort, visit)?;
    form::rewrite(body, hints, effort, visit)
}

/// Returns the signs of a changed text: its charset, its escapes, its encoding, its compression.
pub(crate) fn signs(body: &Bytes, hints: Hints<'_>) -> Vec<Sign> {
    [
        compression::sign(body, hints),
        encoding::sign(body),
        escape::sign(body),
        charset::sign(body, hints),
    ]
    .into_iter()
    .flatten()
    .collect()
}
