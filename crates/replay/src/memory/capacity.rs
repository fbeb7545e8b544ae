//! [`Capacity`]: the number of entries in the memory store, in total and by source.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::store_time::{SECOND, StoreTime};
use crate::store::SourceQuota;

/// Limits the entries of the store and of each source.
///
/// The store counts its entries here because moka's own size limit evicts live keys.
#[derive(Debug)]
pub(super) struct Capacity {
    total: Arc<Count>,
    max_entries: u64,
    sources: RwLock<SourceCounts>,
    /// When a full store may next sweep for expired entries.
    next_sweep: AtomicU64,
}

#[derive(Debug)]
struct SourceCounts {
    counts: HashMap<u64, Arc<Count>>,
    /// At this number of counts, those of sources without entries are removed.
    prune_at: usize,
}

/// The number of entries of one source or of the whole store.
#[derive(Debug, Default)]
struct Count {
    entries: AtomicU64,
    /// The count of the whole store, if this is the count of a source.
    total: Option<Arc<Self>>,
}

/// The permission to keep one entry. Dropping it frees the capacity.
#[derive(Debug)]
pub(super) struct Permit(Arc<Count>);

/// The entry counts before a permit was added.
struct CountsBefore {
    total: u64,
    source: u64,
}

impl Permit {
    /// Adds an entry to `count` without checking a limit.
    fn add_to(count: Arc<Count>) -> (Self, CountsBefore) {
        let source = count.entries.fetch_add(1, Ordering::Relaxed);
        let total = count.total.as_ref().map_or(source, |total| {
            total.entries.fetch_add(1, Ordering::Relaxed)
        });
        (Self(count), CountsBefore { total, source })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.entries.fetch_sub(1, Ordering::Relaxed);
        if let Some(total) = &self.0.total {
            total.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How often a full store sweeps for expired entries. Each delivery of a flood could cause
/// a sweep, and the sweeps must not starve the settlements of CPU time.
const SWEEP_INTERVAL: StoreTime = SECOND / 10;

impl Capacity {
    /// The number of source counts up to which none is removed.
    const MIN_PRUNE_AT: usize = 64;

    pub(super) fn new(max_entries: u64) -> Self {
        Self {
            total: Arc::default(),
            max_entries,
            sources: RwLock::new(SourceCounts {
                counts: HashMap::new(),
                prune_at: Self::MIN_PRUNE_AT,
            }),
            next_sweep: AtomicU64::new(0),
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.total.entries.load(Ordering::Relaxed)
    }

    pub(super) fn max_entries(&self) -> u64 {
        self.max_entries
    }

    /// Acquires a permit for one entry. Returns `None` if the store is full or the source
    /// has used its quota.
    pub(super) fn acquire(&self, quota: Option<SourceQuota>) -> Option<Permit> {
        let (count, source_limit) = match quota {
            Some(quota) => (self.source_count(quota.source), quota.max_entries),
            None => (Arc::clone(&self.total), u64::MAX),
        };
        // A permit above a limit is dropped at once, which undoes its count.
        let (permit, before) = Permit::add_to(count);
        (before.total < self.max_entries && before.source < source_limit).then_some(permit)
    }

    /// Returns a permit for one entry, even if the store is full.
    pub(super) fn acquire_beyond_limit(&self) -> Permit {
        Permit::add_to(Arc::clone(&self.total)).0
    }

    fn source_count(&self, source: u64) -> Arc<Count> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sources.counts.get(&source) {
            return Arc::clone(count);
        }
        drop(sources);
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let SourceCounts { counts, prune_at } = &mut *sources;
        if counts.len() >= *prune_at {
            // A count with one owner belongs to a source without entries. No permit can
            // be added to it while this thread holds the write lock.
            counts.retain(|_, count| Arc::strong_count(count) > 1);
            *prune_at = Self::MIN_PRUNE_AT.max(2 * counts.len());
            counts.shrink_to(*prune_at);
        }
        let new = || {
            Arc::new(Count {
                entries: AtomicU64::new(0),
                total: Some(Arc::clone(&self.total)),
            })
        };
        Arc::clone(counts.entry(source).or_insert_with(new))
    }

    /// Returns whether a full store should sweep for expired entries now. Of all callers
    /// within an interval, one gets `true`.
    pub(super) fn should_sweep(&self, now: StoreTime) -> bool {
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = now.saturating_add(SWEEP_INTERVAL);
        now >= due
            && self
                .next_sweep
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    #[cfg(test)]
    fn source_counts(&self) -> usize {
        self.sources.read().unwrap().counts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_sources_without_entries_are_removed() {
        let capacity = Capacity::new(u64::MAX);
        let acquire = |source| capacity.acquire(Some(SourceQuota::new(source, 1)));
        let permit = acquire(0).expect("the store is empty");
        for source in 1..10_000 {
            assert!(acquire(source).is_some());
        }
        let counts = capacity.source_counts();
        assert!(counts <= Capacity::MIN_PRUNE_AT, "{counts}");
        // The count of a source with an entry is kept.
        assert!(acquire(0).is_none());
        drop(permit);
        assert!(acquire(0).is_some());

        // The control: counts of sources with entries are kept, however many there are.
        let counts: Vec<_> = (0..1_000)
            .map(|source| capacity.source_count(source))
            .collect();
        assert_eq!(capacity.source_counts(), counts.len());
    }

    #[test]
    fn a_full_store_sweeps_once_in_an_interval() {
        let capacity = Capacity::new(0);
        let sweeps = |now| (0..1_000).filter(|_| capacity.should_sweep(now)).count();
        assert_eq!([sweeps(0), sweeps(SWEEP_INTERVAL - 1)], [1, 0]);
        assert_eq!([sweeps(SWEEP_INTERVAL), sweeps(SECOND)], [1, 1]);
    }
}
