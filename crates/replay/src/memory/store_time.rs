//! [`StoreTime`]: the time scale of the memory store.

use std::time::Duration;

/// Nanoseconds since the store was created. All times of entries use this scale.
pub(super) type StoreTime = u64;

pub(super) const SECOND: StoreTime = 1_000_000_000;

/// Converts a duration, and caps it at ten years so that sums of times do not overflow.
pub(super) fn store_time(duration: Duration) -> StoreTime {
    const MAX: StoreTime = 10 * 365 * 24 * 3600 * SECOND;
    u64::try_from(duration.as_nanos()).map_or(MAX, |nanos| nanos.min(MAX))
}
