//! The captures in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookgate_core::UnixTime;

use super::Captured;
use crate::inspector::fair_queue::{Class, FairQueue};

/// The captures in memory, by the numbers of their records.
#[derive(Debug)]
pub(crate) struct Captures {
    captured: BTreeMap<u64, Arc<Captured>>,
    order: FairQueue<u64>,
}

impl Captures {
    /// Creates an empty store of captures.
    pub(crate) fn new() -> Self {
        Self {
            captured: BTreeMap::new(),
            order: FairQueue::new(0),
        }
    }

    /// Adds the capture of the record `seq`. Returns the captures that are evicted because all
    /// together have more than `max_bytes`.
    pub(crate) fn insert(
        &mut self,
        seq: u64,
        class: Class,
        captured: Arc<Captured>,
        max_bytes: usize,
    ) -> Vec<Arc<Captured>> {
        let weight = captured.weight();
        self.order.set_limit(max_bytes);
        self.captured.insert(seq, captured);
        let mut evicted = Vec::new();
        let Self { captured, order } = self;
        order.push(class, seq, weight, |seq| {
            evicted.extend(remove(captured, seq));
        });
        evicted
    }

    /// Removes and returns the captures that expired.
    pub(crate) fn expire(&mut self, now: UnixTime) -> Vec<Arc<Captured>> {
        let Self { captured, order } = self;
        let mut expired = Vec::new();
        let is_expired = |seq: &u64| {
            captured
                .get(seq)
                .is_none_or(|captured| captured.expires <= now)
        };
        order.expire(is_expired, |seq| expired.push(seq));
        let expired = expired.into_iter();
        expired.filter_map(|seq| remove(captured, seq)).collect()
    }

    /// Returns the capture of the record `seq`.
    pub(crate) fn get(&self, seq: u64) -> Option<Arc<Captured>> {
        self.captured.get(&seq).cloned()
    }

    /// Returns the number of captures.
    pub(crate) fn len(&self) -> usize {
        self.captured.len()
    }

    /// Returns the number of bytes that the captures take.
    pub(crate) fn bytes(&self) -> usize {
        self.order.weight()
    }
}

fn remove(captured: &mut BTreeMap<u64, Arc<Captured>>, seq: u64) -> Option<Arc<Captured>> {
    let removed = captured.remove(&seq)?;
    removed.mark.set_gone();
    Some(removed)
}
