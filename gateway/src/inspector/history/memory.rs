//! The records in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookgate_core::UnixTime;

use super::Page;
use crate::inspector::compact::CompactRecord;
use crate::inspector::fair_queue::{Class, FairQueue};
use crate::inspector::filter::Filter;
use crate::inspector::record::DeliveryRecord;

/// The newest records, by their numbers.
#[derive(Debug)]
pub(crate) struct MemoryHistory {
    records: BTreeMap<u64, Box<CompactRecord>>,
    order: FairQueue<u64>,
}

/// The records after a number, for a stream.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The newest records in the order of their numbers.
    pub(crate) records: Vec<Arc<DeliveryRecord>>,
    /// The number of older records that match and were left out.
    pub(crate) skipped: usize,
    /// The number after which the next batch begins.
    pub(crate) newest: u64,
}

impl MemoryHistory {
    /// Creates a history of at most `keep` records.
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            records: BTreeMap::new(),
            order: FairQueue::new(keep),
        }
    }

    /// Returns the number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the time of the oldest record.
    pub(crate) fn since(&self) -> Option<UnixTime> {
        let oldest = self.records.values().next()?;
        Some(oldest.facts.time.0)
    }

    /// Adds a record.
    pub(crate) fn insert(&mut self, class: Class, record: Box<CompactRecord>) {
        let Self { records, order } = self;
        let seq = record.seq;
        records.insert(seq, record);
        order.push(class, seq, 1, |seq| {
            records.remove(&seq);
        });
    }

    /// Returns the record of a request.
    pub(crate) fn get(&self, request_id: &str) -> Option<Arc<DeliveryRecord>> {
        let mut newest_first = self.records.values().rev();
        newest_first
            .find(|record| record.texts().request_id == request_id)
            .map(|record| Arc::new(record.expand()))
    }

    /// Returns at most `limit` records before the number `before`, the newest first.
    pub(crate) fn find(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Page {
        let range = self.records.range(..before.unwrap_or(u64::MAX));
        let mut matching = range
            .rev()
            .map(|(_, record)| record)
            .filter(|record| filter.matches(record));
        let found = matching.by_ref().take(limit);
        let records: Vec<_> = found.map(|record| Arc::new(record.expand())).collect();
        let last = records.last().map(|record| record.seq);
        Page {
            next_before: last.filter(|_| matching.next().is_some()),
            since: self.since(),
            records,
        }
    }

    /// Returns the newest `limit` records after the number `after`.
    pub(crate) fn after(&self, filter: &Filter, after: u64, limit: usize) -> Batch {
        let mut batch = Batch {
            newest: after,
            ..Batch::default()
        };
        let newer = self.records.range(after.saturating_add(1)..);
        for (seq, record) in newer.rev() {
            batch.newest = batch.newest.max(*seq);
            if !filter.matches(record) {
                continue;
            }
            match batch.records.len() < limit {
                true => batch.records.push(Arc::new(record.expand())),
                false => batch.skipped += 1,
            }
        }
        batch.records.reverse();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspector::compact::{Facts, RouteNames, Texts};
    use crate::inspector::record::ReplayKeys;

    fn history(keep: usize, count: u64) -> MemoryHistory {
        let mut history = MemoryHistory::new(keep);
        for seq in 1..=count {
            let source = if seq % 2 == 0 { "even" } else { "odd" };
            let names = RouteNames {
                source: source.to_owned(),
                ..RouteNames::default()
            };
            let request_id = format!("request {seq}");
            let texts = Texts {
                request_id: &request_id,
                ..Texts::default()
            };
            let mut record = CompactRecord::new(
                Facts::default(),
                Some(names.into()),
                &texts,
                ReplayKeys::new(),
            );
            record.seq = seq;
            history.insert(Class::Verified, record.into());
        }
        history
    }

    fn numbers(records: &[Arc<DeliveryRecord>]) -> Vec<u64> {
        records.iter().map(|record| record.seq).collect()
    }

    fn of_source(source: &str) -> Filter {
        Filter {
            source: Some(source.to_owned()),
            ..Filter::default()
        }
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let history = history(100, 10);
        let (mut before, mut all) = (None, Vec::new());
        loop {
            let page = history.find(&of_source("odd"), before, 2);
            all.extend(numbers(&page.records));
            before = page.next_before;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(all, [9, 7, 5, 3, 1]);
    }

    #[test]
    fn the_oldest_records_go_and_are_not_found() {
        let history = history(4, 10);
        assert_eq!(
            numbers(&history.find(&Filter::default(), None, 50).records),
            [10, 9, 8, 7]
        );
        assert!(history.get("request 7").is_some());
        assert!(history.get("request 6").is_none());
    }

    #[test]
    fn a_batch_has_the_newest_records_and_counts_the_others() {
        let history = history(100, 10);
        let batch = history.after(&of_source("even"), 3, 2);
        assert_eq!(
            (numbers(&batch.records), batch.skipped, batch.newest),
            (vec![8, 10], 2, 10)
        );
        let nothing = history.after(&Filter::default(), 10, 2);
        assert_eq!(
            (nothing.records.len(), nothing.skipped, nothing.newest),
            (0, 0, 10)
        );
    }
}
