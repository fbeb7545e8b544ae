//! The limit of the work of one search.

use std::ops::ControlFlow;

/// The work that is left, in units of about one nanosecond on a usual server.
///
/// Work is counted, not timed, so that a search has the same result on every machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: u64,
}

impl Budget {
    pub(crate) const fn new(units: u64) -> Self {
        Self { left: units }
    }

    /// Takes `units`. Breaks if the budget is used up.
    pub(crate) fn spend(&mut self, units: u64) -> ControlFlow<()> {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                ControlFlow::Continue(())
            }
            None => {
                self.left = 0;
                ControlFlow::Break(())
            }
        }
    }

    /// Splits off `share` of the budget, so that one stage cannot use up the work of the next.
    pub(crate) fn split(&mut self, units: u64) -> Self {
        let units = units.min(self.left);
        self.left -= units;
        Self::new(units)
    }

    /// Adds the rest of the budget of a stage.
    pub(crate) fn give_back(&mut self, rest: Self) {
        self.left += rest.left;
    }
}
