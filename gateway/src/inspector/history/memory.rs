//! The records in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use hookgate_core::UnixTime;

use super::Page;
use crate::inspector::compact::CompactRecord;
use crate::inspector::fair_queue::{Class, FairQueue};
use crate::inspector::filter::Filter;
use crate::inspector::record::DeliveryRecord;

/// Up to this number of slots, empty ones cost too little to remove them.
const MIN_SLOTS: usize = 64;

/// The newest records, by their numbers.
#[derive(Debug)]
pub(crate) struct MemoryHistory {
    slots: Slots,
    order: FairQueue<u64>,
}

/// Records in the order of their numbers. The oldest record is evicted most often, and a removal
/// from the middle leaves an empty slot.
#[derive(Debug, Default)]
struct Slots {
    /// The number of each record is here too, so that a search reads no record. The first slot is
    /// not empty.
    slots: VecDeque<(u64, Option<Box<CompactRecord>>)>,
    /// The number of records.
    len: usize,
}

impl Slots {
    /// Adds a record, whose number is larger than all others.
    fn push(&mut self, record: Box<CompactRecord>) {
        self.slots.push_back((record.seq, Some(record)));
        self.len += 1;
    }

    fn remove(&mut self, seq: u64) -> Option<Box<CompactRecord>> {
        let index = match self.slots.front() {
            Some((oldest, _)) if *oldest == seq => 0,
            _ => self
                .slots
                .binary_search_by_key(&seq, |(seq, _)| *seq)
                .ok()?,
        };
        let (_, slot) = self.slots.get_mut(index)?;
        let removed = slot.take()?;
        self.len -= 1;
        while let Some((_, None)) = self.slots.front() {
            self.slots.pop_front();
        }
        if self.slots.len() / 2 > self.len.max(MIN_SLOTS) {
            self.slots.retain(|(_, record)| record.is_some());
        }
        Some(removed)
    }

    /// Returns the records with numbers below `before`, the oldest first.
    fn before(&self, before: u64) -> impl DoubleEndedIterator<Item = &CompactRecord> {
        let end = self.slots.partition_point(|(seq, _)| *seq < before);
        let slots = self.slots.range(..end);
        slots.filter_map(|(_, record)| record.as_deref())
    }

    /// Returns the records with numbers above `after`, the oldest first, with their numbers.
    fn after(&self, after: u64) -> impl DoubleEndedIterator<Item = (u64, &CompactRecord)> {
        let start = self.slots.partition_point(|(seq, _)| *seq <= after);
        let slots = self.slots.range(start..);
        slots.filter_map(|(seq, record)| Some((*seq, record.as_deref()?)))
    }
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
            slots: Slots::default(),
            order: FairQueue::new(keep),
        }
    }

    /// Returns the number of records.
    pub(crate) fn len(&self) -> usize {
        self.slots.len
    }

    /// Returns the time of the oldest record.
    pub(crate) fn since(&self) -> Option<UnixTime> {
        let oldest = self.slots.before(u64::MAX).next()?;
        Some(oldest.facts.time.0)
    }

    /// Adds a record, and calls `evicted` with each record that goes. The record has a larger
    /// number than all earlier ones.
    pub(crate) fn insert(
        &mut self,
        class: Class,
        record: Box<CompactRecord>,
        mut evicted: impl FnMut(Box<CompactRecord>),
    ) {
        let Self { slots, order } = self;
        let seq = record.seq;
        slots.push(record);
        order.push(class, seq, 1, |seq| {
            if let Some(record) = slots.remove(seq) {
                evicted(record);
            }
        });
    }

    /// Returns the record of a request.
    pub(crate) fn get(&self, request_id: &str) -> Option<Arc<DeliveryRecord>> {
        let mut newest_first = self.slots.before(u64::MAX).rev();
        newest_first
            .find(|record| record.texts().request_id == request_id)
            .map(|record| Arc::new(record.expand()))
    }

    /// Returns at most `limit` records before the number `before`, the newest first.
    pub(crate) fn find(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Page {
        let range = self.slots.before(before.unwrap_or(u64::MAX));
        let mut matching = range.rev().filter(|record| filter.matches(record));
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
        let matches_all = filter.is_empty();
        for (seq, record) in self.slots.after(after).rev() {
            batch.newest = batch.newest.max(seq);
            if !matches_all && !filter.matches(record) {
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
        history_of(keep, count, |_| Class::Verified, |_| {})
    }

    fn history_of(
        keep: usize,
        count: u64,
        class: impl Fn(u64) -> Class,
        mut evicted: impl FnMut(Box<CompactRecord>),
    ) -> MemoryHistory {
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
            history.insert(class(seq), record.into(), &mut evicted);
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
    fn a_flood_leaves_no_empty_slots_behind_an_old_record() {
        let class = |seq| match seq {
            1 => Class::Verified,
            _ => Class::Unverified(7),
        };
        let mut evicted = Vec::new();
        let history = history_of(100, 10_000, class, |record| evicted.push(record.seq));
        let kept: Vec<u64> = (9_902..=10_000).rev().chain([1]).collect();
        let page = history.find(&Filter::default(), None, 200);
        assert_eq!(numbers(&page.records), kept);
        assert_eq!(evicted, Vec::from_iter(2..9_902));
        assert_eq!(history.len(), 100);
        assert!(
            history.slots.slots.len() <= 202,
            "{}",
            history.slots.slots.len()
        );
        assert_eq!(history.since(), Some(Facts::default().time.0));
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
