//! The order in which styles are tried.

use std::collections::BTreeMap;

use super::census::{Census, difference};
use super::character::Escapes;
use super::layout::{Empty, Layout, Lines};
use super::style::{Style, Values};
use super::{escaping, value};

/// The depth of nesting up to which line breaks are considered. Beyond it, indentation is most
/// of the text.
const DEPTH: usize = 200;

/// The styles of one text. Each part of a style has a cost. The lower the sum of the costs, the
/// likelier is the style.
pub(super) struct Plan {
    /// The length of the text as it is.
    len: usize,
    layouts: Vec<Choice<Option<Layout>>>,
    escapes: Vec<Choice<Escapes>>,
    values: Vec<Choice<Values>>,
    most: u8,
}

/// A choice for one part of a style.
struct Choice<T> {
    part: T,
    cost: u8,
    /// The change of the length by the choice.
    delta: isize,
}

/// The indices of a style's parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    layout: usize,
    escapes: usize,
    values: usize,
}

impl Plan {
    /// Plans the styles whose cost is at most `most`. `own` is the layout of the text itself. If
    /// there is none, the white space of the text is one of the choices.
    pub(super) fn of(census: &Census<'_>, own: Option<&Layout>, most: u8) -> Self {
        let layouts = layouts(census, own, most).into_iter();
        let escapes = escaping::choices(census, most).into_iter();
        let values = value::choices(census, most).into_iter();
        Self {
            len: census.text.len(),
            layouts: layouts
                .map(|(part, cost)| Choice {
                    delta: census.layout_delta(part.as_ref()),
                    part,
                    cost,
                })
                .collect(),
            escapes: escapes
                .map(|(part, cost)| Choice {
                    delta: census.escapes_delta(&part),
                    part,
                    cost,
                })
                .collect(),
            values: values
                .map(|(part, cost)| Choice {
                    delta: census.values_delta(&part),
                    part,
                    cost,
                })
                .collect(),
            most,
        }
    }

    pub(super) fn style(&self, pick: Pick) -> Style<'_> {
        Style {
            layout: self.layouts[pick.layout].part.as_ref(),
            escapes: &self.escapes[pick.escapes].part,
            values: &self.values[pick.values].part,
        }
    }

    /// Returns the likeliest styles, at most `limit`. If `len` is given, the text has this length in
    /// each of them.
    pub(super) fn likeliest(&self, len: Option<usize>, limit: usize) -> Vec<Pick> {
        let mut escapes: BTreeMap<(u8, Option<isize>), Vec<usize>> = BTreeMap::new();
        for (index, choice) in self.escapes.iter().enumerate() {
            let key = (choice.cost, len.map(|_| choice.delta));
            escapes.entry(key).or_default().push(index);
        }
        let delta = len.map(|len| difference(len, self.len));
        let mut picks = Vec::new();
        for most in 0..=self.most {
            for (layout, first) in self.layouts.iter().enumerate() {
                for (values, second) in self.values.iter().enumerate() {
                    let Some(cost) = most.checked_sub(first.cost + second.cost) else {
                        break;
                    };
                    let key = (cost, delta.map(|delta| delta - first.delta - second.delta));
                    picks.extend(escapes.get(&key).into_iter().flatten().map(|index| Pick {
                        layout,
                        escapes: *index,
                        values,
                    }));
                    if picks.len() >= limit {
                        picks.truncate(limit);
                        return picks;
                    }
                }
            }
        }
        picks
    }
}

/// Returns the layouts that make a difference to the text, the most common ones first.
fn layouts(census: &Census<'_>, own: Option<&Layout>, most: u8) -> Vec<(Option<Layout>, u8)> {
    let structure = &census.structure;
    let mut best: BTreeMap<Option<Layout>, u8> = BTreeMap::new();
    if own.is_none() {
        best.insert(None, 1);
    }
    Layout::each(|mut layout, cost| {
        if !structure.has_empty() {
            layout.empty = Empty::Closed;
        }
        layout.lines = match layout.lines {
            Lines::Members(indent) if !structure.has_elements() => Lines::Each(indent),
            Lines::Events(_) if !structure.has_events() => Lines::One,
            lines => lines,
        };
        let is_deep = layout.lines.indent().is_some() && structure.deepest() > DEPTH;
        if cost <= most && !is_deep {
            let known = best.entry(Some(layout)).or_insert(cost);
            *known = cost.min(*known);
        }
    });
    let mut layouts: Vec<_> = best.into_iter().collect();
    layouts.sort_by_key(|(_, cost)| *cost);
    layouts
}
