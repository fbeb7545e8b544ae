//! Checks of the optional parts of a template, `[ … ]`: the message must show whether each one
//! is present.

use super::position::{Position, first_from};
use crate::scheme::template::{Segment, Variable};

/// Checks every `[ ]` in `segments`.
///
/// # Errors
///
/// Returns the reason if a message would not show whether a `[ ]` is present.
pub(super) fn check(segments: &[Segment], anchor: Option<Position>) -> Result<(), String> {
    for (index, segment) in segments.iter().enumerate() {
        let Segment::Optional(inner) = segment else {
            continue;
        };
        check_values(inner)?;
        if anchor.is_some_and(|anchor| index > anchor.index) {
            check_after_anchor(segments, index, anchor)?;
        } else {
            check_before_anchor(segments, index, inner)?;
        }
    }
    Ok(())
}

/// Checks that every value inside a `[ ]` may be absent.
fn check_values(inner: &[Segment]) -> Result<(), String> {
    let mut values = inner.iter().filter_map(|segment| match segment {
        Segment::Placeholder(value) => Some(value),
        _ => None,
    });
    if values.clone().next().is_none() {
        return Err("[ ] without a placeholder; expected a placeholder that may be absent".into());
    }
    if values.any(|value| {
        value.free
            || matches!(
                value.variable,
                Variable::Body | Variable::FormSorted | Variable::Timestamp | Variable::Id
            )
    }) {
        return Err(
            "{body}, {form-sorted}, {ts}, {id} or |free inside [ ]: a value that may be absent \
             identifies no delivery; move it out of the brackets"
                .to_owned(),
        );
    }
    Ok(())
}

/// Before the anchor, the first byte at the position of a `[ ]` shows whether it is present.
fn check_before_anchor(
    segments: &[Segment],
    index: usize,
    inner: &[Segment],
) -> Result<(), String> {
    let next = first_from(segments, index + 1);
    let first = match inner.first() {
        Some(Segment::Literal(text)) => text.first(),
        _ => None,
    };
    if next.value.is_some() || first.is_none_or(|first| next.bytes.contains(first)) {
        return Err(
            "[ ] whose first character does not show whether it is present: begin it with \
             literal text and, unless it ends the message, put literal text with another first \
             character after it"
                .to_owned(),
        );
    }
    Ok(())
}

/// After the anchor, a message is divided from its end. There a `[ ]` must be a line below its
/// label, and so must be the text before the first `[ ]`: the label shows which line it is.
fn check_after_anchor(
    segments: &[Segment],
    index: usize,
    anchor: Option<Position>,
) -> Result<(), String> {
    let is_optional = |segment: &Segment| matches!(segment, Segment::Optional(_));
    let first = segments[..index]
        .iter()
        .rposition(|segment| !is_optional(segment))
        .map_or(0, |last| last + 1);
    let required = first
        .checked_sub(3)
        .filter(|at| anchor.is_none_or(|anchor| anchor.index <= *at))
        .map(|at| &segments[at..first]);
    let groups = segments[first..=index]
        .iter()
        .filter_map(|segment| match segment {
            Segment::Optional(inner) => Some(inner.as_slice()),
            _ => None,
        });
    let labels: Option<Vec<&[u8]>> = std::iter::once(required.unwrap_or_default())
        .chain(groups)
        .map(label)
        .collect();
    if labels.is_some_and(|labels| are_distinct(&labels)) {
        return Ok(());
    }
    Err(
        "[ ] after the value that may contain any character: expected lines of the form \
         `LABEL\\n{…}\\n`, one before the brackets and one inside, whose labels do not end alike"
            .to_owned(),
    )
}

/// Returns the label of a labelled line.
fn label(line: &[Segment]) -> Option<&[u8]> {
    match line {
        [
            Segment::Literal(label),
            Segment::Placeholder(_),
            Segment::Literal(end),
        ] if label.ends_with(b"\n") && **end == *b"\n" => Some(label),
        _ => None,
    }
}

/// Whether no label ends with another one.
fn are_distinct(labels: &[&[u8]]) -> bool {
    labels.iter().enumerate().all(|(at, label)| {
        let mut others = labels.iter().enumerate().filter(|(other, _)| *other != at);
        others.all(|(_, other)| !other.ends_with(label))
    })
}
