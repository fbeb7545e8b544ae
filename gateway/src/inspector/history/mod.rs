//! The records of the inspector: the newest ones in memory, and all of them on disk if the
//! operator wants that.

mod disk;
mod memory;

use std::sync::Arc;

use hookgate_core::UnixTime;

pub(crate) use self::disk::{DiskHistory, Expired, OpenHistoryError};
pub(crate) use self::memory::{Batch, MemoryHistory};
use super::record::DeliveryRecord;

/// Records of a search, the newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<Arc<DeliveryRecord>>,
    /// The number before which the next page begins. `None` if there is no other page.
    pub(crate) next_before: Option<u64>,
    /// The time of the oldest record. `None` if there is no record.
    pub(crate) since: Option<UnixTime>,
}

impl Page {
    /// Merges two pages of the same search. A record that both have appears once.
    pub(crate) fn merge(self, other: Self, limit: usize) -> Self {
        let mut records = [self.records, other.records].concat();
        // Two processes can give two records the same number.
        records.sort_by(|a, b| (b.seq, &b.request_id).cmp(&(a.seq, &a.request_id)));
        records.dedup_by(|a, b| a.seq == b.seq && a.request_id == b.request_id);
        let has_more =
            records.len() > limit || self.next_before.is_some() || other.next_before.is_some();
        records.truncate(limit);
        let last = records.last().map(|record| record.seq);
        Self {
            records,
            next_before: last.filter(|_| has_more),
            since: self.since.into_iter().chain(other.since).min(),
        }
    }
}
