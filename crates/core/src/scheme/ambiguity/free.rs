//! A second value that may contain any character, in the deliveries that a signed value marks.

use super::position::{Position, positions};
use super::{SchemeContext, check_unambiguous};
use crate::scheme::delimiters::Delimiters;
use crate::scheme::handshake::Condition;
use crate::scheme::location::Location;
use crate::scheme::template::{Exemption, Segment, Variable};

/// The value that may contain any character instead of the `|free` value, if a signed value has
/// this text.
#[derive(Clone, Debug)]
pub(crate) struct FreeValue {
    pub(crate) location: Location,
    pub(crate) when: Condition,
}

impl FreeValue {
    /// Sets the delimiters and exemptions of `segments`, which [`check_unambiguous`] has checked.
    ///
    /// # Security
    ///
    /// The message still has one division. The value that decides stands behind both values in
    /// question, and only values with delimiters stand behind it. A reader who divides the
    /// message from its end therefore finds the deciding value first, whichever value is free.
    ///
    /// # Errors
    ///
    /// Returns the reason and the remedy if the message would have two divisions.
    pub(crate) fn apply(
        &self,
        segments: &mut [Segment],
        context: SchemeContext<'_>,
    ) -> Result<(), String> {
        let here = |location: &Location| {
            let variable = Variable::At(location.clone());
            move |segments: &[Segment], at: Position| {
                at.placeholder(segments)
                    .is_some_and(|value| value.variable == variable && value.filters.is_empty())
            }
        };
        let all = positions(segments);
        let find = |is: &dyn Fn(&[Segment], Position) -> bool| {
            all.iter().copied().find(|at| is(segments, *at))
        };
        let is_free = |segments: &[Segment], at: Position| {
            at.placeholder(segments).is_some_and(|value| value.free)
        };
        let (Some(usual), Some(special), Some(deciding)) = (
            find(&is_free),
            find(&here(&self.location)),
            find(&here(&self.when.location)),
        ) else {
            return Err(
                "expected values of `msg` without a filter, beside one value with |free".to_owned(),
            );
        };
        let has_brackets = segments
            .iter()
            .any(|segment| matches!(segment, Segment::Optional(_)));
        if deciding < usual || deciding < special || has_brackets {
            return Err(
                "expected a value in `when` that `msg` has behind both free values, and no [ ]: \
                 otherwise one signature would fit several ways to divide the message"
                    .to_owned(),
            );
        }
        let mut other = segments.to_vec();
        for at in &all {
            if let Some(value) = at.placeholder_mut(&mut other) {
                value.free = *at == special;
                value.delimiters = Delimiters::default();
            }
        }
        check_unambiguous(&mut other, context, &mut Delimiters::default())?;
        let exemption = |if_equal| {
            Some(Box::new(Exemption {
                variable: Variable::At(self.when.location.clone()),
                value: self.when.value.clone().unwrap_or_default(),
                if_equal,
            }))
        };
        for at in all {
            let (Some(value), Some(other)) = (at.placeholder_mut(segments), at.placeholder(&other))
            else {
                continue;
            };
            if at == usual {
                value.delimiters = other.delimiters.clone();
                value.exemption = exemption(false);
            } else if at == special {
                value.exemption = exemption(true);
            } else {
                value.delimiters.add(&other.delimiters);
            }
        }
        Ok(())
    }
}
