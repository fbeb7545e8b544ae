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
    /// It fits many sound deliveries as well.
    Faint,
    /// It is unusual in sound deliveries.
    Likely,
    /// It hardly ever occurs in sound deliveries.
    Strong,
    /// It prevents every verification.
    Certain,
}
