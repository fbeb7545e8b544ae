//! How many entries there are, and of whom.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::slot::{Moment, SECOND};
use crate::store::Share;

/// Every entry put counts up, every one that the cache reports gone counts down, for
/// whatever reason. Counted here because the cache's own limit would evict live keys;
/// signed because the two halves of a replacement are not one step.
#[derive(Debug)]
pub(super) struct Places {
    held: AtomicI64,
    max_entries: i64,
    sources: RwLock<Sources>,
    /// When to look again for room, once there is none.
    look_again: AtomicU64,
}

#[derive(Debug)]
struct Sources {
    held: HashMap<u64, OfSource>,
    /// So many, and those of which there is nothing are looked for.
    many: usize,
}

/// The count of a source. Who holds it has an entry, or is about to.
pub(super) type OfSource = Arc<AtomicI64>;

/// How often a full store looks for what is due. A flood of deliveries, each of which
/// would, must not take the processor from those that are settled.
const LOOK_EVERY: Moment = SECOND / 10;

impl Places {
    /// Sources that are kept without a look at whether they have entries.
    const FEW_SOURCES: usize = 64;

    pub(super) fn new(max_entries: u64) -> Self {
        Self {
            held: AtomicI64::new(0),
            max_entries: i64::try_from(max_entries).unwrap_or(i64::MAX),
            sources: RwLock::new(Sources {
                held: HashMap::new(),
                many: Self::FEW_SOURCES,
            }),
            look_again: AtomicU64::new(0),
        }
    }

    pub(super) fn held(&self) -> i64 {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn max_entries(&self) -> i64 {
        self.max_entries
    }

    /// Counts a new entry, unless there is no room for it.
    pub(super) fn take(&self, of: Option<&OfSource>, share: Option<Share>) -> bool {
        let (held, of_source) = self.count(of, 1);
        let most = share.map_or(u64::MAX, |share| share.max_entries);
        let has_room = held < self.max_entries && u64::try_from(of_source).is_ok_and(|s| s < most);
        if !has_room {
            self.count(of, -1);
        }
        has_room
    }

    /// Counts entries that are put, or are gone; how many there were before, and of
    /// their source.
    pub(super) fn count(&self, of: Option<&OfSource>, entries: i64) -> (i64, i64) {
        let add = |held: &AtomicI64| held.fetch_add(entries, Ordering::Relaxed);
        (add(&self.held), of.map_or(0, |of| add(of)))
    }

    /// The count of `source`.
    pub(super) fn of(&self, source: u64) -> OfSource {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = sources.held.get(&source) {
            return Arc::clone(held);
        }
        drop(sources);
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let Sources { held, many } = &mut *sources;
        if held.len() >= *many {
            // Nobody else holds the count: there is no entry that it counts, and while
            // the lock is held nobody comes by one.
            held.retain(|_, held| Arc::strong_count(held) > 1);
            *many = Self::FEW_SOURCES.max(2 * held.len());
            held.shrink_to(*many);
        }
        Arc::clone(held.entry(source).or_default())
    }

    /// Whether to look for what is due, as there is no room.
    pub(super) fn may_look(&self, now: Moment) -> bool {
        let due = self.look_again.load(Ordering::Relaxed);
        let next = now.saturating_add(LOOK_EVERY);
        let take = |from| {
            let order = Ordering::Relaxed;
            self.look_again.compare_exchange(from, next, order, order)
        };
        now >= due && take(due).is_ok()
    }

    #[cfg(test)]
    pub(super) fn sources(&self) -> usize {
        self.sources.read().unwrap().held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_which_there_is_nothing_take_no_room() {
        let places = Places::new(u64::MAX);
        let share = |source| {
            Some(Share {
                source,
                max_entries: 1,
            })
        };
        let stays = places.of(0);
        assert!(places.take(Some(&stays), share(0)));
        for source in 1..10_000 {
            let goes = places.of(source);
            assert!(places.take(Some(&goes), share(source)));
            places.count(Some(&goes), -1);
        }
        assert!(places.sources() <= Places::FEW_SOURCES, "{places:?}");
        // What it counts is not forgotten.
        assert!(!places.take(Some(&places.of(0)), share(0)));

        // The control: those that have entries stay, however many.
        let held: Vec<_> = (0..1_000).map(|source| places.of(source)).collect();
        assert_eq!(places.sources(), held.len());
    }

    #[test]
    fn a_full_store_looks_for_room_now_and_then() {
        let places = Places::new(0);
        let looks = |now| (0..1_000).filter(|_| places.may_look(now)).count();
        assert_eq!([looks(0), looks(LOOK_EVERY - 1)], [1, 0]);
        assert_eq!([looks(LOOK_EVERY), looks(SECOND)], [1, 1]);
    }
}
