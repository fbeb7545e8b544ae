//! JSON that was parsed and written anew.
//!
//! A serializer chooses white space, escapes, the form of numbers and the order of members. The
//! provider signed the choices of its own serializer. So each candidate is the same document in
//! a style that a provider may use, the most common styles first. Characters are escaped in
//! classes, such as `/` or all above U+007F, and each class is independent of the others.
//!
//! The length of every style is known from counts. If the request declares the length of the
//! body, the styles of that length come first.

mod census;
mod character;
mod date;
mod escaping;
mod layout;
mod member;
mod number;
mod plan;
mod quantity;
mod search;
mod structure;
mod style;
mod summary;
#[cfg(test)]
mod tests;
mod token;
mod value;
mod writer;

use std::ops::ControlFlow;

use bytes::Bytes;

use self::census::{Census, Detail};
use self::layout::Layout;
use self::member::Objects;
pub(crate) use self::member::Order;
use self::search::Search;
use self::style::{Style, Values};
use self::token::BYTE_ORDER_MARK;
pub(crate) use self::token::{Kind, State, Token, Tokens, is_complete};
use self::writer::Changes;
pub(crate) use self::writer::Writer;
use super::{Hints, VisitBody};
use crate::attempt::Effort;

/// The largest text whose numbers, dates and members are considered.
const DETAILED: usize = 1024 * 1024;

/// Visits the forms in which the writer of `body` may have written it.
pub(super) fn rewrite(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitBody<'_>,
) -> ControlFlow<()> {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let first = text.iter().find(|byte| !token::is_white_space(**byte));
    if !matches!(first, Some(b'{' | b'[')) {
        return ControlFlow::Continue(());
    }
    let detail = match text.len() > DETAILED {
        true => Detail::Text,
        false => Detail::Values,
    };
    let Some(census) = Census::of(text, detail) else {
        return ControlFlow::Continue(());
    };
    let layout = own_layout(&census);
    let has_mark = text.len() < body.len();
    Search::new(&census, layout.as_ref(), has_mark, effort, visit).run(hints.declared_len)
}

/// Returns the rule by which the members of all objects in `body` are sorted. `None` if there
/// are few members, or no rule.
pub(crate) fn member_order(body: &[u8]) -> Option<Order> {
    /// The fewest members that show a rule.
    const FEWEST: usize = 8;

    let objects = Objects::of(body).filter(|objects| objects.members() >= FEWEST)?;
    [Order::Name, Order::Length]
        .into_iter()
        .find(|order| objects.are_sorted(*order))
}

/// Returns the serializer that has probably written `body`. `None` if it is not complete JSON, or
/// if it is large.
pub(crate) fn writer(body: &[u8]) -> Option<Writer> {
    if body.len() > DETAILED {
        return None;
    }
    let census = Census::of(body, Detail::Values)?;
    let changes = Changes {
        numbers: true,
        order: true,
    };
    Some(Writer::of(&census, own_layout(&census).as_ref(), changes))
}

/// Returns the layout of the text itself, if it is a known one.
fn own_layout(census: &Census<'_>) -> Option<Layout> {
    let escapes = escaping::own(census);
    let values = Values::kept(&census.numbers);
    let mut found = None;
    Layout::each(|layout, cost| {
        let is_better = found.is_none_or(|(_, other)| cost < other);
        if is_better && census.layout_delta(Some(&layout)) == 0 {
            let style = Style {
                layout: Some(&layout),
                escapes: &escapes,
                values: &values,
            };
            if style::write(census, &style) == census.text {
                found = Some((layout, cost));
            }
        }
    });
    found.map(|(layout, _)| layout)
}
