//! Positions of segments in a template, and the neighbours of a position.

use crate::scheme::template::{Placeholder, Segment};

/// The position of a literal or a placeholder: in the template, or in one of its `[ ]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) index: usize,
    inner: Option<usize>,
}

/// The segments that can stand next to a position. There are several where a `[ ]` may be absent.
#[derive(Default)]
pub(super) struct Neighbour<'t> {
    /// The adjacent bytes of the literal texts.
    pub(super) bytes: Vec<u8>,
    pub(super) value: Option<&'t Placeholder>,
}

/// Returns every position in `segments`, in order.
pub(super) fn positions(segments: &[Segment]) -> Vec<Position> {
    let mut all = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        match segment {
            Segment::Optional(inner) => all.extend((0..inner.len()).map(|inner| Position {
                index,
                inner: Some(inner),
            })),
            _ => all.push(Position { index, inner: None }),
        }
    }
    all
}

impl Position {
    /// Index in the template, unless the position is in a `[ ]`.
    pub(super) fn top_level_index(self) -> Option<usize> {
        self.inner.is_none().then_some(self.index)
    }

    fn segment(self, segments: &[Segment]) -> Option<&Segment> {
        match (segments.get(self.index)?, self.inner) {
            (Segment::Optional(inner), Some(at)) => inner.get(at),
            (segment, _) => Some(segment),
        }
    }

    pub(super) fn is_literal(self, segments: &[Segment]) -> bool {
        matches!(self.segment(segments), Some(Segment::Literal(_)))
    }

    pub(super) fn placeholder(self, segments: &[Segment]) -> Option<&Placeholder> {
        match self.segment(segments)? {
            Segment::Placeholder(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn placeholder_mut(self, segments: &mut [Segment]) -> Option<&mut Placeholder> {
        let segment = match (segments.get_mut(self.index)?, self.inner) {
            (Segment::Optional(inner), Some(at)) => inner.get_mut(at)?,
            (segment, _) => segment,
        };
        match segment {
            Segment::Placeholder(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the segments that can follow this position.
    pub(super) fn next(self, segments: &[Segment]) -> Neighbour<'_> {
        if let (Some(Segment::Optional(inner)), Some(at)) = (segments.get(self.index), self.inner)
            && at + 1 < inner.len()
        {
            return first_from(inner, at + 1);
        }
        first_from(segments, self.index + 1)
    }

    /// Returns the segment that precedes this position.
    ///
    /// If the segment ends a `[ ]`, it speaks for the absent `[ ]` too: [`super::optional`] has
    /// checked that the lines before and inside the brackets end alike.
    pub(super) fn previous(self, segments: &[Segment]) -> Neighbour<'_> {
        let mut neighbour = Neighbour::default();
        let before = match self.inner {
            Some(at) => at.checked_sub(1).map(|inner| Position {
                index: self.index,
                inner: Some(inner),
            }),
            None => positions(segments).into_iter().rfind(|at| *at < self),
        };
        match before.and_then(|at| at.segment(segments)) {
            Some(Segment::Literal(text)) => neighbour.bytes.extend(text.last()),
            Some(Segment::Placeholder(value)) => neighbour.value = Some(value),
            _ => {}
        }
        neighbour
    }
}

/// Returns the segments that can come first in `segments[index..]`.
pub(super) fn first_from(segments: &[Segment], index: usize) -> Neighbour<'_> {
    let mut neighbour = Neighbour::default();
    for segment in segments.get(index..).unwrap_or_default() {
        match segment {
            Segment::Literal(text) => {
                neighbour.bytes.extend(text.first());
                break;
            }
            Segment::Placeholder(value) => {
                neighbour.value = Some(value);
                break;
            }
            // A `[ ]` may be absent, so the segment after it can come first as well.
            Segment::Optional(inner) => {
                if let Some(Segment::Literal(text)) = inner.first() {
                    neighbour.bytes.extend(text.first());
                }
            }
        }
    }
    neighbour
}
