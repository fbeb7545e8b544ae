//! Headers that occur more than once, and headers of two schemes side by side.

use std::ops::ControlFlow;

use hookgate_core::internal::Format;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Edits, list};
use crate::cause::{Cause, Code};

/// Most values of one header that are tried alone.
const VALUES: usize = 8;

/// Visits the headers with each of them once.
pub(super) fn each(edits: &mut Edits<'_>) -> ControlFlow<()> {
    one_scheme(edits)?;
    one_line(edits)?;
    one_of_joined(edits)
}

/// Visits the headers without the names that the scheme forbids beside its own.
///
/// # Security
///
/// Only forbidden headers are dropped. A stronger signature of the same scheme stays, so that no
/// advice leads to the weaker one.
fn one_scheme(edits: &mut Edits<'_>) -> ControlFlow<()> {
    for format in edits.formats {
        let forbidden = format.forbidden_headers().iter();
        let present: Vec<&HeaderName> = forbidden
            .filter(|name| edits.headers.contains_key(*name))
            .collect();
        let own = format.signature_headers();
        if present.is_empty() || !own.iter().any(|name| edits.headers.contains_key(*name)) {
            continue;
        }
        let mut headers = edits.headers.clone();
        for name in &present {
            headers.remove(*name);
        }
        let summary = format!(
            "headers of two schemes are side by side: {} beside {}",
            list(&present),
            list(&own)
        );
        let fix = format!(
            "forward the headers of one scheme, and drop {}",
            list(&present)
        );
        edits.pass(
            headers,
            1,
            Cause::new(Code::HeaderRepeated, summary).with_fix(fix),
        )?;
    }
    ControlFlow::Continue(())
}

/// Visits the headers with one line of each repeated one: all first ones, all last ones, and
/// then each line alone.
fn one_line(edits: &mut Edits<'_>) -> ControlFlow<()> {
    let headers = edits.headers;
    let repeated: Vec<(&HeaderName, Vec<&HeaderValue>)> = edits
        .read
        .iter()
        .map(|name| (*name, headers.get_all(*name).iter().collect::<Vec<_>>()))
        .filter(|(_, values)| values.len() > 1)
        .collect();
    let [(name, values), ..] = repeated.as_slice() else {
        return ControlFlow::Continue(());
    };
    let summary = describe(name, values);
    let cause = |which: &str| {
        Cause::new(
            Code::HeaderRepeated,
            format!("{summary}, and the signature matches with the {which} one"),
        )
    };
    let all = |pick: fn(&[&HeaderValue]) -> Option<HeaderValue>| {
        let mut changed = headers.clone();
        for (name, values) in &repeated {
            if let Some(value) = pick(values) {
                changed.insert(*name, value);
            }
        }
        changed
    };
    let first = all(|values| values.first().map(|value| (*value).clone()));
    edits.pass(first.clone(), 1, cause("first"))?;
    let last = all(|values| values.last().map(|value| (*value).clone()));
    edits.pass(last, 1, cause("last"))?;
    for (name, values) in &repeated {
        for value in values.iter().take(VALUES) {
            let mut changed: HeaderMap = first.clone();
            changed.insert(*name, (*value).clone());
            let summary = format!("{}, and one of them matches", describe(name, values));
            edits.pass(changed, 2, Cause::new(Code::HeaderRepeated, summary))?;
        }
    }
    ControlFlow::Continue(())
}

/// Describes a header that occurs more than once.
pub(super) fn describe(name: &HeaderName, values: &[&HeaderValue]) -> String {
    let are_equal = values.windows(2).all(|pair| pair[0] == pair[1]);
    let with = if are_equal { "equal" } else { "different" };
    format!(
        "the header `{name}` occurs {} times with {with} values",
        values.len()
    )
}

/// Visits the headers with one part of each value that a proxy has joined from several.
fn one_of_joined(edits: &mut Edits<'_>) -> ControlFlow<()> {
    let joined: Vec<(&HeaderName, Vec<(&str, &str)>)> = edits
        .read
        .iter()
        .filter_map(|name| {
            let mut halves = halves(edits.only(name)?);
            halves.retain(|pair| is_joined(name, *pair, edits.formats));
            (!halves.is_empty()).then_some((*name, halves))
        })
        .collect();
    let cause = |name: &HeaderName| {
        let summary = format!(
            "the header `{name}` has several values that were joined to one, and one of them \
             matches"
        );
        Cause::new(Code::HeaderRepeated, summary)
    };
    let Some((first, _)) = joined.first() else {
        return ControlFlow::Continue(());
    };
    for pick in [
        |pair: (&str, &str)| pair.0.to_owned(),
        |pair: (&str, &str)| pair.1.to_owned(),
    ] {
        let changes: Vec<_> = joined
            .iter()
            .filter_map(|(name, halves)| Some((*name, pick(*halves.first()?))))
            .collect();
        edits.replace(&changes, 3, cause(first))?;
    }
    for (name, halves) in &joined {
        for (left, right) in halves {
            for half in [left, right] {
                edits.replace(&[(name, (*half).to_owned())], 3, cause(name))?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Whether a proxy may have joined the two parts of the value of `name`.
fn is_joined(name: &HeaderName, pair: (&str, &str), formats: &[Format<'_>]) -> bool {
    let mut of_signature = formats
        .iter()
        .filter(|format| format.signature_headers().contains(&name))
        .peekable();
    if of_signature.peek().is_none() {
        return true;
    }
    of_signature.any(|format| {
        let accepts = |half: &str| format.accepts_signature(half.as_bytes());
        match format.list() {
            // The comma of a list is no sign of a proxy.
            Some(list) if list.separator == ',' => accepts(pair.0) && accepts(pair.1),
            _ => accepts(pair.0) || accepts(pair.1),
        }
    })
}

/// Returns the parts of `value` on both sides of each comma. Equal parts come first.
fn halves(value: &str) -> Vec<(&str, &str)> {
    let mut halves: Vec<(&str, &str)> = value
        .match_indices(',')
        .take(VALUES)
        .map(|(at, _)| (value[..at].trim(), value[at + 1..].trim()))
        .filter(|(left, right)| !left.is_empty() && !right.is_empty())
        .collect();
    halves.sort_by_key(|(left, right)| left != right);
    halves
}
