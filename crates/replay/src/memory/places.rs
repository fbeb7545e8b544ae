//! How many entries there are, and of whom.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::slot::{Moment, SECOND};
use crate::store::Share;

/// Counted here because the cache's own limit would evict live keys.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Count>,
    max_entries: u64,
    sources: RwLock<Sources>,
    /// When to look again for room, once there is none.
    look_again: AtomicU64,
}

#[derive(Debug)]
struct Sources {
    held: HashMap<u64, Arc<Count>>,
    /// So many, and those of which there is nothing are looked for.
    many: usize,
}

/// How many entries there are of a source, or in all.
#[derive(Debug, Default)]
struct Count {
    held: AtomicU64,
    /// Of which these are a part.
    all: Option<Arc<Self>>,
}

/// Room for an entry, from before it is put until it is gone.
#[derive(Debug)]
pub(super) struct Place(Arc<Count>);

impl Place {
    /// A place, however many there are by then: how many there were before in all, and of
    /// the source.
    fn of(count: Arc<Count>) -> (Self, u64, u64) {
        let of_source = count.held.fetch_add(1, Ordering::Relaxed);
        let all = count.all.as_ref();
        let held = all.map_or(of_source, |all| all.held.fetch_add(1, Ordering::Relaxed));
        (Self(count), held, of_source)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        if let Some(all) = &self.0.all {
            all.held.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How often a full store looks for what is due. A flood of deliveries, each of which
/// would, must not take the processor from those that are settled.
const LOOK_EVERY: Moment = SECOND / 10;

impl Places {
    /// Sources that are kept without a look at whether they have entries.
    const FEW_SOURCES: usize = 64;

    pub(super) fn new(max_entries: u64) -> Self {
        Self {
            all: Arc::default(),
            max_entries,
            sources: RwLock::new(Sources {
                held: HashMap::new(),
                many: Self::FEW_SOURCES,
            }),
            look_again: AtomicU64::new(0),
        }
    }

    pub(super) fn held(&self) -> u64 {
        self.all.held.load(Ordering::Relaxed)
    }

    pub(super) fn max_entries(&self) -> u64 {
        self.max_entries
    }

    /// A place for one entry, if there is one, in all and in the share of its source.
    pub(super) fn take(&self, share: Option<Share>) -> Option<Place> {
        let count = share.map_or_else(|| Arc::clone(&self.all), |share| self.of(share.source));
        let most = share.map_or(u64::MAX, |share| share.max_entries);
        // It goes back at once if it is one too many.
        let (place, held, of_source) = Place::of(count);
        (held < self.max_entries && of_source < most).then_some(place)
    }

    /// The count of `source`.
    fn of(&self, source: u64) -> Arc<Count> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sources.held.get(&source) {
            return Arc::clone(count);
        }
        drop(sources);
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let Sources { held, many } = &mut *sources;
        if held.len() >= *many {
            // Nobody else holds the count: there is no entry that it counts, and while
            // the lock is held nobody comes by one.
            held.retain(|_, count| Arc::strong_count(count) > 1);
            *many = Self::FEW_SOURCES.max(2 * held.len());
            held.shrink_to(*many);
        }
        let new = || {
            Arc::new(Count {
                held: AtomicU64::new(0),
                all: Some(Arc::clone(&self.all)),
            })
        };
        Arc::clone(held.entry(source).or_insert_with(new))
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
        let take = |source| {
            places.take(Some(Share {
                source,
                max_entries: 1,
            }))
        };
        let stays = take(0).expect("there is room");
        for source in 1..10_000 {
            assert!(take(source).is_some());
        }
        assert!(places.sources() <= Places::FEW_SOURCES, "{places:?}");
        // What it counts is not forgotten.
        assert!(take(0).is_none());
        drop(stays);
        assert!(take(0).is_some());

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
