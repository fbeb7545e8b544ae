//! Changed, renamed, missing and repeated headers of the scheme.

mod date;
mod moment;
mod names;
mod repeated;
mod signature;
mod signs;
#[cfg(test)]
mod tests;
mod timestamp;
mod values;

use std::ops::ControlFlow;

use hookgate_core::internal::{Format, formats};
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use self::signs::signs;
use crate::attempt::{Case, Change, Edit, Effort, VisitEdit};
use crate::cause::Cause;

/// Most edits of [`Effort::Common`].
const COMMON: usize = 40;

/// Most edits that are compared with later ones, and most headers of such an edit.
const SEEN: usize = 100;

/// Visits the edits that may undo the cause, the most likely ones first.
pub(crate) fn each(case: Case<'_>, effort: Effort, visit: VisitEdit<'_>) -> ControlFlow<()> {
    let setup = case.setup;
    let formats = formats(&setup.scheme, setup.variant.as_deref());
    let mut edits = Edits {
        headers: &case.capture.headers,
        read: read_headers(case, &formats),
        formats: &formats,
        seen: Vec::new(),
        left: match effort {
            Effort::Common => COMMON,
            Effort::Full => usize::MAX,
        },
        visit,
    };
    names::each(&mut edits)?;
    repeated::each(&mut edits)?;
    signature::each(&mut edits)?;
    timestamp::each(effort, &mut edits)?;
    values::each(&mut edits)?;
    match (effort, case.capture.arrived) {
        (Effort::Full, Some(arrived)) => moment::each(arrived, &mut edits),
        _ => ControlFlow::Continue(()),
    }
}

/// Returns the headers that the scheme reads, without repetition.
fn read_headers<'c>(case: Case<'c>, formats: &[Format<'c>]) -> Vec<&'c HeaderName> {
    let mut all: Vec<&HeaderName> = Vec::new();
    let of_formats = formats.iter().flat_map(|format| {
        let signature = format.signature_headers().into_iter();
        signature.chain(format.required_headers())
    });
    for name in of_formats.chain(case.setup.scheme.headers()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// The headers of a delivery, and the receiver of changed ones.
struct Edits<'e> {
    headers: &'e HeaderMap,
    /// The headers that the scheme reads.
    read: Vec<&'e HeaderName>,
    formats: &'e [Format<'e>],
    seen: Vec<HeaderMap>,
    left: usize,
    visit: VisitEdit<'e>,
}

impl<'e> Edits<'e> {
    /// Returns the text of the header `name`, if it occurs once.
    fn only(&self, name: &HeaderName) -> Option<&'e str> {
        only(self.headers, name)
    }

    /// Visits the headers with `changes` to their values.
    fn replace(
        &mut self,
        changes: &[(&HeaderName, String)],
        cost: u8,
        cause: Cause,
    ) -> ControlFlow<()> {
        let mut headers = self.headers.clone();
        for (name, text) in changes {
            let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else {
                return ControlFlow::Continue(());
            };
            headers.insert(*name, value);
        }
        self.pass(headers, cost, cause)
    }

    fn pass(&mut self, headers: HeaderMap, cost: u8, cause: Cause) -> ControlFlow<()> {
        if self.left == 0 || headers == *self.headers || self.seen.contains(&headers) {
            return ControlFlow::Continue(());
        }
        self.left -= 1;
        // A comparison with thousands of edits would take longer than to verify one twice.
        let is_small = headers.len() <= SEEN;
        if is_small && self.seen.len() < SEEN {
            self.seen.push(headers.clone());
        }
        (self.visit)(Edit {
            cause,
            change: Change::Headers(headers),
            cost,
        })
    }
}

/// Returns the text of the header `name`, if it occurs once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    match values.next() {
        None => std::str::from_utf8(value.as_bytes()).ok(),
        Some(_) => None,
    }
}

/// Writes the names of headers, such as "`a` and `b`".
fn list(names: &[&HeaderName]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
