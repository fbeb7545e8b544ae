//! A sign of a cause that no verification proves.

use crate::cause::Cause;

/// A sign of a cause.
#[derive(Clone, Debug)]
pub(crate) struct Sign {
    pub(crate) cause: Cause,
    pub(crate) strength: Strength,
}

/// How strong a sign is. A stronger sign ranks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// The sign occurs in many sound deliveries.
    Faint,
    /// The sign is unusual in sound deliveries.
    Likely,
    /// The sign hardly ever occurs in sound deliveries.
    Strong,
    /// The sign prevents every verification.
    Certain,
}
