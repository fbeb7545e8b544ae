//! Limits that several modules share, so that none of them imports another for a constant.

/// Most signatures that one delivery may offer.
pub const MAX_CANDIDATES: usize = 8;

/// Most keys of one verifier. Each key costs one MAC over every body, and a second one if the
/// scheme has two readings of the secret.
pub const MAX_KEYS: usize = 8;

/// Most readings of a secret that a scheme may declare.
pub(crate) const MAX_READINGS: usize = 2;

/// Longest text of a secret, in bytes. A PEM key fits.
pub(crate) const MAX_SECRET_LEN: usize = 16 * 1024;
