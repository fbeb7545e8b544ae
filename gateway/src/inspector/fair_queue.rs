//! A bounded queue that a flood of requests cannot empty of other entries.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;

/// The class of an entry. A class pushes out its own entries first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// Verified deliveries, for which half of the queue is reserved.
    Verified,
    /// Other requests: a hash of the source, the reason, and the network of the client.
    Unverified(u64),
}

/// Entries with weights, whose sum stays within a limit.
///
/// Above the limit, the oldest entry of the largest class goes. Half of the limit is reserved for
/// verified deliveries, and the other half for the rest; either part can use space that the other
/// part does not need. A flood of forged requests fills its own classes only.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    limit: usize,
    verified: Entries<T>,
    unverified: HashMap<u64, Entries<T>>,
    /// The weight of each unverified class, with its hash.
    sizes: BTreeSet<(usize, u64)>,
    unverified_weight: usize,
}

/// The entries of one class, the oldest first.
#[derive(Debug)]
struct Entries<T> {
    entries: VecDeque<(T, usize)>,
    weight: usize,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            weight: 0,
        }
    }
}

impl<T> Entries<T> {
    fn push(&mut self, entry: T, weight: usize) {
        self.entries.push_back((entry, weight));
        self.weight += weight;
    }

    /// Removes and returns the entries for which `is_expired` returns true.
    fn expire(&mut self, is_expired: impl Fn(&T) -> bool) -> Vec<T> {
        if !self.entries.iter().any(|(entry, _)| is_expired(entry)) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        for (entry, weight) in mem::take(&mut self.entries) {
            if is_expired(&entry) {
                self.weight -= weight;
                expired.push(entry);
            } else {
                self.entries.push_back((entry, weight));
            }
        }
        expired
    }

    fn pop(&mut self) -> Option<T> {
        let (entry, weight) = self.entries.pop_front()?;
        self.weight -= weight;
        Some(entry)
    }
}

impl<T> FairQueue<T> {
    /// Creates a queue whose weights have the sum `limit` at most.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            verified: Entries::default(),
            unverified: HashMap::new(),
            sizes: BTreeSet::new(),
            unverified_weight: 0,
        }
    }

    /// Returns the sum of all weights.
    pub(crate) fn weight(&self) -> usize {
        self.verified.weight + self.unverified_weight
    }

    /// Returns all entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let classes = self.unverified.values().chain([&self.verified]);
        classes.flat_map(|class| class.entries.iter().map(|(entry, _)| entry))
    }

    /// Changes the limit. The next [`push`](Self::push) applies it.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds an entry, and calls `evicted` with each entry that goes, the new one included.
    pub(crate) fn push(
        &mut self,
        class: Class,
        entry: T,
        weight: usize,
        mut evicted: impl FnMut(T),
    ) {
        match class {
            Class::Verified => self.verified.push(entry, weight),
            Class::Unverified(class) => {
                self.update(class, |entries| entries.push(entry, weight));
            }
        }
        while self.weight() > self.limit
            && let Some(entry) = self.evict(class)
        {
            evicted(entry);
        }
    }

    /// Removes the entries for which `is_expired` returns true. An entry whose time is wrong, because
    /// the clock was ahead, keeps no later entry.
    pub(crate) fn expire(&mut self, is_expired: impl Fn(&T) -> bool, mut expired: impl FnMut(T)) {
        let verified = self.verified.expire(&is_expired);
        verified.into_iter().for_each(&mut expired);
        let classes: Vec<u64> = self.unverified.keys().copied().collect();
        for class in classes {
            let entries = self.update(class, |entries| entries.expire(&is_expired));
            entries.into_iter().for_each(&mut expired);
        }
    }

    /// Removes the oldest entry of the part that exceeds its half, or of the part of `newest`.
    fn evict(&mut self, newest: Class) -> Option<T> {
        let half = self.limit / 2;
        let from_verified = match newest {
            _ if self.unverified_weight == 0 => true,
            _ if self.verified.weight == 0 => false,
            Class::Verified => self.unverified_weight <= half,
            Class::Unverified(_) => self.verified.weight > half && self.unverified_weight <= half,
        };
        if from_verified {
            return self.verified.pop();
        }
        let (_, largest) = *self.sizes.last()?;
        self.update(largest, Entries::pop)
    }

    /// Changes the entries of an unverified class, and updates the weights.
    fn update<R>(&mut self, class: u64, change: impl FnOnce(&mut Entries<T>) -> R) -> R {
        let entries = self.unverified.entry(class).or_default();
        let before = entries.weight;
        let result = change(entries);
        let after = entries.weight;
        let is_empty = entries.entries.is_empty();
        self.sizes.remove(&(before, class));
        match is_empty {
            true => drop(self.unverified.remove(&class)),
            false => drop(self.sizes.insert((after, class))),
        }
        self.unverified_weight = self.unverified_weight - before + after;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes entries of weight 1 and returns the entries that stay.
    fn kept(limit: usize, pushed: &[(Class, u32)]) -> Vec<u32> {
        let mut queue = FairQueue::new(limit);
        let mut kept = Vec::new();
        for (class, entry) in pushed {
            kept.push(*entry);
            queue.push(*class, *entry, 1, |gone| {
                kept.retain(|entry| *entry != gone)
            });
        }
        assert_eq!(queue.weight(), kept.len());
        kept
    }

    fn entries(class: Class, entries: std::ops::Range<u32>) -> Vec<(Class, u32)> {
        entries.map(|entry| (class, entry)).collect()
    }

    #[test]
    fn one_class_keeps_its_newest_entries() {
        for class in [Class::Verified, Class::Unverified(1)] {
            assert_eq!(kept(10, &entries(class, 0..100)), Vec::from_iter(90..100));
        }
    }

    #[test]
    fn a_flood_pushes_out_neither_verified_entries_nor_other_classes() {
        let pushed = [
            entries(Class::Verified, 0..4),
            entries(Class::Unverified(1), 4..6),
            entries(Class::Unverified(2), 1000..100_000),
        ];
        let kept_entries = kept(10, &pushed.concat());
        assert_eq!(&kept_entries[..6], [0, 1, 2, 3, 4, 5]);
        assert_eq!(kept_entries.len(), 10);
        // The control: without classes, the flood pushes out all of them.
        let one_class = pushed
            .concat()
            .into_iter()
            .map(|(_, entry)| (Class::Unverified(2), entry));
        assert!(
            kept(10, &one_class.collect::<Vec<_>>())
                .iter()
                .all(|entry| *entry >= 1000)
        );
    }

    #[test]
    fn each_half_can_use_the_space_of_the_other_until_that_needs_it() {
        let mut pushed = entries(Class::Verified, 0..10);
        assert_eq!(kept(10, &pushed).len(), 10);
        pushed.extend(entries(Class::Unverified(1), 10..30));
        let unverified = |kept: &[u32]| kept.iter().filter(|entry| **entry >= 10).count();
        assert_eq!(unverified(&kept(10, &pushed)), 5);
        pushed.extend(entries(Class::Verified, 1..3));
        assert_eq!(kept(10, &pushed).len(), 10);
    }

    #[test]
    fn weights_count() {
        let mut queue = FairQueue::new(100);
        let mut gone = Vec::new();
        for (entry, weight) in [("a", 40), ("b", 40), ("c", 60), ("large", 101)] {
            queue.push(Class::Unverified(7), entry, weight, |entry| {
                gone.push(entry)
            });
        }
        assert_eq!(gone, ["a", "b", "c", "large"]);
        assert_eq!(queue.weight(), 0);
    }

    #[test]
    fn expired_entries_leave_every_class() {
        let mut queue = FairQueue::new(100);
        for (class, entry) in [
            (Class::Verified, 8),
            (Class::Verified, 1),
            (Class::Unverified(1), 2),
            (Class::Verified, 9),
        ] {
            queue.push(class, entry, 10, |_| panic!("nothing is evicted"));
        }
        let mut gone = Vec::new();
        queue.expire(|entry| *entry < 5, |entry| gone.push(entry));
        gone.sort_unstable();
        assert_eq!(gone, [1, 2]);
        assert_eq!(queue.weight(), 20);
    }
}
