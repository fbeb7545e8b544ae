//! The secrets, files and names that a configuration refers to.

/// Whether the secrets, certificates and names that a configuration refers to are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// The secrets, certificates and names are read and checked.
    Read,
    /// Nothing but the configuration file is read. Such a configuration describes a gateway, and can
    /// start none.
    Assumed,
}

impl Inputs {
    pub(crate) fn are_read(self) -> bool {
        self == Self::Read
    }
}
