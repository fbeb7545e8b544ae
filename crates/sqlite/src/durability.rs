//! [`Durability`]: which failures the written data survives.

/// The failure that answered calls survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A crash or `kill -9` of the process.
    #[default]
    Process,
    /// A loss of power as well. Each batch waits for the disk.
    Power,
}
