//! A second value that may contain any character, in the deliveries that a signed value marks.

use super::position::{Position, positions};
use super::{SchemeContext, check_unambiguous};
use crate::scheme::delimiters::Delimiters;
use crate::scheme::handshake::Condition;
use crate::scheme::location::Location;
use crate::scheme::template::{Exemption, Placeholder, Segment, Variable};

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
        let [usual, special] = self.free_positions(segments)?;
        let all = positions(segments);
        // The same message, in which the special value is free instead of the usual one.
        let mut other = segments.to_vec();
        for at in &all {
            if let Some(value) = at.placeholder_mut(&mut other) {
                value.free = *at == special;
                value.delimiters = Delimiters::default();
            }
        }
        check_unambiguous(&mut other, context, &mut Delimiters::default())?;
        for at in all {
            let (Some(value), Some(other)) = (at.placeholder_mut(segments), at.placeholder(&other))
            else {
                continue;
            };
            value.delimiters.add(&other.delimiters);
            if at == usual || at == special {
                value.exemption = Some(Box::new(Exemption {
                    variable: Variable::At(self.when.location.clone()),
                    value: self.when.value.clone().unwrap_or_default(),
                    if_equal: at == special,
                }));
            }
        }
        Ok(())
    }

    /// Returns the position of the `|free` value, and that of the value that this key names.
    fn free_positions(&self, segments: &[Segment]) -> Result<[Position; 2], String> {
        let all = positions(segments);
        let find = |is: &dyn Fn(&Placeholder) -> bool| {
            let mut all = all.iter().copied();
            all.find(|at| at.placeholder(segments).is_some_and(is))
        };
        let find_location = |location: &Location| {
            let variable = Variable::At(location.clone());
            find(&|value| value.variable == variable && value.filters.is_empty())
        };
        let usual = find(&|value| value.free);
        let special = find_location(&self.location);
        let deciding = find_location(&self.when.location);
        let (Some(usual), Some(special), Some(deciding)) = (usual, special, deciding) else {
            return Err(
                "expected values of `msg` without a filter, beside one value with |free".to_owned(),
            );
        };
        // A value is checked with the part of the delivery that has it. The value that decides
        // would be unknown there if another part had it.
        let in_body = [usual, special, deciding].map(|at| {
            let value = at.placeholder(segments);
            value.is_some_and(|value| value.variable.is_in_body())
        });
        if in_body != [in_body[0]; 3] {
            return Err(
                "expected all three values of `free` in the head, or all in the body".to_owned(),
            );
        }
        let mut brackets = segments.iter();
        if deciding < usual
            || deciding < special
            || brackets.any(|segment| matches!(segment, Segment::Optional(_)))
        {
            return Err(
                "expected a value in `when` that `msg` has behind both free values, and no [ ]: \
                 otherwise one signature would fit several ways to divide the message"
                    .to_owned(),
            );
        }
        Ok([usual, special])
    }
}
