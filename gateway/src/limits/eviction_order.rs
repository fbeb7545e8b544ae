//! The order in which unverified bodies give way.
//!
//! The network that holds the most memory gives way first, and of its bodies the slowest. The order
//! of the rates alone would favour an attacker: a body that stops after 1 MiB is faster than the body
//! of a genuine delivery that is about to arrive.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// The bytes per second of a body, and its age. The least one is the slowest body.
pub(super) type Speed = (u128, Instant);

/// Iterates over the bodies of all networks in the order of their eviction.
pub(super) struct EvictionOrder<B> {
    networks: Vec<Vec<(Speed, usize, B)>>,
    /// The bytes that each network holds, with its slowest body and its index.
    heap: BinaryHeap<(usize, Reverse<Speed>, usize)>,
}

impl<B> EvictionOrder<B> {
    /// Sorts bodies, each with its network, its speed and its bytes. A body without a value counts
    /// for its network, and is not evicted.
    pub(super) fn new<N: Eq + Hash>(
        bodies: impl Iterator<Item = (N, Speed, usize, Option<B>)>,
    ) -> Self {
        let mut indices = HashMap::new();
        let mut held = Vec::new();
        let mut networks: Vec<Vec<_>> = Vec::new();
        for (network, speed, bytes, body) in bodies {
            let index = *indices.entry(network).or_insert_with(|| {
                held.push(0);
                networks.push(Vec::new());
                networks.len() - 1
            });
            held[index] += bytes;
            if let Some(body) = body {
                networks[index].push((speed, bytes, body));
            }
        }
        let mut order = Self {
            networks,
            heap: BinaryHeap::new(),
        };
        for (index, held) in held.into_iter().enumerate() {
            // The slowest body is the last one.
            order.networks[index].sort_by_key(|(speed, ..)| Reverse(*speed));
            order.enqueue(index, held);
        }
        order
    }

    fn enqueue(&mut self, index: usize, held: usize) {
        if let Some((speed, ..)) = self.networks[index].last() {
            self.heap.push((held, Reverse(*speed), index));
        }
    }
}

impl<B> Iterator for EvictionOrder<B> {
    type Item = B;

    fn next(&mut self) -> Option<B> {
        let (held, _, index) = self.heap.pop()?;
        let (_, bytes, body) = self.networks[index].pop()?;
        self.enqueue(index, held.saturating_sub(bytes));
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_body_of_the_largest_network_is_next() {
        let now = Instant::now();
        let body = |network, rate, bytes, name| (network, (rate, now), bytes, name);
        let order = EvictionOrder::new(
            [
                body('a', 0, 16, Some("a waits")),
                body('b', 9, 60, Some("b fast")),
                body('b', 3, 50, Some("b slow")),
                body('c', 1, 10, Some("c")),
                // The body for which the others give way counts for its network.
                body('c', 0, 80, None),
            ]
            .into_iter(),
        );
        let names: Vec<_> = order.collect();
        // After its first body, network b holds 60 bytes, and c still holds 90.
        assert_eq!(names, ["b slow", "c", "b fast", "a waits"]);
    }
}
