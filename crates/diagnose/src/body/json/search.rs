//! The texts that are visited, and their order.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::ops::ControlFlow;

use super::census::{Census, Detail};
use super::layout::Layout;
use super::member::{Objects, Variant};
use super::plan::Plan;
use super::style::{self, Style};
use super::summary::Rewriting;
use crate::attempt::Effort;
use crate::body::VisitBody;
use crate::cause::{Cause, Code};

/// How many texts are visited.
#[derive(Clone, Copy, Debug)]
struct Limits {
    total: usize,
    /// The likeliest styles.
    styles: usize,
    /// The likeliest styles, if their length is not the declared one.
    other_length: usize,
    /// The styles of a text whose members are moved or dropped.
    variant: usize,
    /// The highest cost of a style.
    cost: u8,
}

impl Limits {
    fn of(len: usize, effort: Effort) -> Self {
        let total = |bytes: usize, most| (bytes / len.max(1)).clamp(5, most);
        match effort {
            Effort::Common => Self {
                total: total(12 << 20, 60),
                styles: 60,
                other_length: 12,
                variant: 0,
                cost: 6,
            },
            Effort::Full => Self {
                total: total(24 << 20, 12_000),
                styles: 4_000,
                other_length: 2_000,
                variant: 12,
                cost: 14,
            },
        }
    }
}

/// The search for texts of one document.
pub(super) struct Search<'a, 'v> {
    census: &'a Census<'a>,
    /// The layout of the text, if it is a known one.
    layout: Option<&'a Layout>,
    has_mark: bool,
    /// The hashes of the texts that were visited.
    seen: HashSet<u64>,
    /// How many more texts are visited.
    left: usize,
    limits: Limits,
    visit: VisitBody<'v>,
}

impl<'a, 'v> Search<'a, 'v> {
    pub(super) fn new(
        census: &'a Census<'a>,
        layout: Option<&'a Layout>,
        has_mark: bool,
        effort: Effort,
        visit: VisitBody<'v>,
    ) -> Self {
        let limits = Limits::of(census.text.len(), effort);
        Self {
            census,
            layout,
            has_mark,
            seen: HashSet::from([hash(census.text)]),
            left: limits.total,
            limits,
            visit,
        }
    }

    /// Visits the texts, the ones of the declared length first.
    pub(super) fn run(mut self, declared_len: Option<usize>) -> ControlFlow<()> {
        let limits = self.limits;
        let plan = Plan::of(self.census, self.layout, limits.cost);
        let mut most = limits.styles;
        if declared_len.is_some() {
            self.styles(&plan, declared_len, most)?;
            self.variants(declared_len)?;
            most = limits.other_length;
        }
        self.styles(&plan, None, most)?;
        self.variants(None)?;
        self.permutations(declared_len)
    }

    /// Visits the text in other styles.
    fn styles(&mut self, plan: &Plan, len: Option<usize>, most: usize) -> ControlFlow<()> {
        for pick in plan.likeliest(len, most.min(self.left)) {
            self.candidate(self.census, plan.style(pick), None)?;
        }
        ControlFlow::Continue(())
    }

    /// Visits texts whose members are moved or dropped.
    fn variants(&mut self, len: Option<usize>) -> ControlFlow<()> {
        if self.limits.variant == 0 {
            return ControlFlow::Continue(());
        }
        let Some(objects) = Objects::of(self.census.text) else {
            return ControlFlow::Continue(());
        };
        for variant in objects.variants() {
            if self.left == 0 {
                break;
            }
            let text = objects.write(variant);
            let Some(census) = Census::of(&text, Detail::Values) else {
                continue;
            };
            let plan = Plan::of(&census, Some(&Layout::COMPACT), self.limits.cost / 2);
            for pick in plan.likeliest(len, self.limits.variant) {
                let members = Some((variant, objects.left_out(variant)));
                self.candidate(&census, plan.style(pick), members)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits texts whose members are in any other order, if there are few orders.
    fn permutations(&mut self, len: Option<usize>) -> ControlFlow<()> {
        /// The styles of each order.
        const STYLES: usize = 2;

        if self.limits.variant == 0 {
            return ControlFlow::Continue(());
        }
        let Some(objects) = Objects::of(self.census.text) else {
            return ControlFlow::Continue(());
        };
        let mut first = None;
        for variant in objects.permutations() {
            if self.left == 0 {
                break;
            }
            let text = objects.write(variant);
            let Some(census) = Census::of(&text, Detail::Text) else {
                continue;
            };
            // All orders have the same counts, so the styles are the same, too.
            let (plan, picks) = first.get_or_insert_with(|| {
                let plan = Plan::of(&census, Some(&Layout::COMPACT), self.limits.cost / 2);
                let picks = plan.likeliest(len, STYLES);
                (plan, picks)
            });
            for pick in picks {
                self.candidate(&census, plan.style(*pick), Some((variant, None)))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn candidate(
        &mut self,
        census: &Census<'_>,
        style: Style<'_>,
        members: Option<(Variant, Option<&[u8]>)>,
    ) -> ControlFlow<()> {
        if self.left == 0 {
            return ControlFlow::Continue(());
        }
        let text = style::write(census, &style);
        if !self.seen.insert(hash(&text)) || differs_in_line_ends(&text, self.census.text) {
            return ControlFlow::Continue(());
        }
        self.left -= 1;
        let rewriting = Rewriting {
            census: self.census,
            layout: self.layout,
            provider: style,
            members,
        };
        let has_mark = self.has_mark;
        (self.visit)(text.into(), &|| {
            let mark = Cause::new(
                Code::BodyTextEdited,
                "a byte order mark was added at the start of the body",
            );
            let mark = has_mark.then_some(mark);
            mark.into_iter().chain([rewriting.cause()]).collect()
        })
    }
}

/// Whether the texts differ in line ends alone, also at the end. That is an edited text.
fn differs_in_line_ends(text: &[u8], other: &[u8]) -> bool {
    let bytes = |text| {
        let end = <[u8]>::iter(text).rposition(|byte| !matches!(byte, b'\r' | b'\n'));
        let end = end.map_or(0, |end| end + 1);
        text[..end].iter().filter(|byte| **byte != b'\r')
    };
    bytes(text).eq(bytes(other))
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}
