//! The order in which unverified bodies give way.
//!
//! The networks that hold the most memory give way first, and of their bodies the slowest. The order
//! of the rates alone would favour an attacker: a body that stops after 1 MiB is faster than the body
//! of a genuine delivery that is about to arrive. The order of the bytes alone would favour an
//! attacker with many networks: each of them holds less than a sender of a few deliveries. So bytes
//! count in whole shares, and between networks with as many shares the rate decides. A body in its
//! first second comes last, because its rate says little: it may just be about to arrive.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// Whether a body is in its first second, its bytes per second, and the time of its start. The least
/// one is the slowest body.
pub(super) type Speed = (bool, u128, Instant);

/// Iterates over the bodies of all networks in the order of their eviction.
pub(super) struct EvictionOrder<B> {
    networks: Vec<Vec<(Speed, usize, B)>>,
    heap: BinaryHeap<Network>,
    /// The bytes of one share.
    share: usize,
}

/// A network in the order of its eviction.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Network {
    /// The whole shares that it holds.
    shares: usize,
    slowest: Reverse<Speed>,
    held: usize,
    index: usize,
}

impl<B> EvictionOrder<B> {
    /// Sorts bodies, each with its network, its speed and its bytes. A body without a value counts
    /// for its network, and is not evicted. Networks that hold as many whole times `share` bytes are
    /// equal.
    pub(super) fn new<N: Eq + Hash>(
        share: usize,
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
            share: share.max(1),
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
            self.heap.push(Network {
                shares: held / self.share,
                slowest: Reverse(*speed),
                held,
                index,
            });
        }
    }
}

impl<B> Iterator for EvictionOrder<B> {
    type Item = B;

    fn next(&mut self) -> Option<B> {
        let Network { held, index, .. } = self.heap.pop()?;
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
        let order = |share| {
            let body = |network, rate, bytes, name| (network, (false, rate, now), bytes, name);
            let bodies = [
                body('a', 0, 16, Some("a waits")),
                body('b', 9, 60, Some("b fast")),
                body('b', 3, 50, Some("b slow")),
                body('c', 1, 10, Some("c")),
                // The body for which the others give way counts for its network.
                body('c', 0, 80, None),
            ];
            EvictionOrder::new(share, bodies.into_iter()).collect::<Vec<_>>()
        };
        // After its first body, network b holds 60 bytes, and c still holds 90.
        assert_eq!(order(1), ["b slow", "c", "b fast", "a waits"]);
        // Network b holds one share, and then all networks hold none.
        assert_eq!(order(100), ["b slow", "a waits", "c", "b fast"]);
        assert_eq!(order(1000), ["a waits", "c", "b slow", "b fast"]);
    }
}
