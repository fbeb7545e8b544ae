//! [`Limits`]: the space of the queue, and how long copies stay.

use std::time::Duration;

/// The space of the queue, and how long copies stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_bytes: i64,
    pub(super) max_bytes_per_source: i64,
    pub(super) keep_delivered: Duration,
}
