//! Chooses the connections that close when `limits.connections` is reached.
//!
//! Only connections that wait for their clients can be chosen. They close in this order:
//!
//! 1. unproven connections: idle connections whose last request did not verify, then connections
//!    whose head has been incomplete for [`GRACE`];
//! 2. idle connections whose last request verified, because they lose nothing;
//! 3. connections whose body has stalled for [`GRACE`];
//! 4. connections that have waited for less than [`GRACE`], because their next bytes are
//!    probably on the way.
//!
//! A client with more than its share of unproven connections keeps less: its heads close in the
//! first step at once, and so do its bodies after [`GRACE`]. A flood of new connections would
//! otherwise close those of genuine senders. The body of a connection whose last request verified
//! is not unproven.
//!
//! Within each step, the client with the most such connections loses the next one, and the one
//! that has waited for longest is its first. One host therefore closes its own connections,
//! before those of other hosts are touched.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::client_address::ClientAddress;

/// How long a connection waits before it counts as stalled.
const GRACE: Duration = Duration::from_secs(1);
/// The part of the limit that one client may hold with unproven connections (a sixteenth).
const SHARE_DIVISOR: usize = 16;
/// The least share of a client.
const MIN_SHARE: usize = 8;

/// The next bytes that a connection expects from its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WaitsFor {
    /// Another request; the last request did not verify.
    RequestAfterRefusal,
    /// The rest of a head, or of a handshake.
    Head,
    /// The rest of a body. Over HTTP/2, that of every request in progress.
    Body,
    /// Another request; the last request verified.
    Request,
}

/// A connection that may be closed.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) id: u64,
    /// The state of the slot when it was read.
    pub(super) state: u64,
    pub(super) waits_for: WaitsFor,
    /// Whether the last complete request verified.
    pub(super) has_verified: bool,
    /// `None`: a trusted proxy, whose connections count as those of different clients.
    pub(super) client: Option<ClientAddress>,
    pub(super) waited: Duration,
}

/// The order in which groups of connections close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Unproven,
    Idle,
    Stalled,
    Recent,
}

impl WaitsFor {
    pub(crate) const ALL: [Self; 4] = [
        Self::RequestAfterRefusal,
        Self::Head,
        Self::Body,
        Self::Request,
    ];

    /// Returns the stable label for metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::RequestAfterRefusal => "idle_unverified",
            Self::Head => "incomplete_head",
            Self::Body => "incomplete_body",
            Self::Request => "idle",
        }
    }
}

impl Waiting {
    /// Returns whether the connection counts towards the share of its client.
    const fn is_unproven(&self) -> bool {
        match self.waits_for {
            WaitsFor::RequestAfterRefusal | WaitsFor::Head => true,
            WaitsFor::Body => !self.has_verified,
            WaitsFor::Request => false,
        }
    }
}

/// Returns at most `count` connections, in the order in which they close.
pub(super) fn choose(waiting: Vec<Waiting>, limit: usize, count: usize) -> Vec<Waiting> {
    let share = (limit / SHARE_DIVISOR).max(MIN_SHARE);
    let mut unproven: HashMap<ClientAddress, usize> = HashMap::new();
    for connection in &waiting {
        if let Some(client) = connection.client
            && connection.is_unproven()
        {
            *unproven.entry(client).or_default() += 1;
        }
    }
    let step = |connection: &Waiting| {
        let exceeds_share = connection.is_unproven()
            && connection
                .client
                .and_then(|client| unproven.get(&client))
                .is_some_and(|unproven| *unproven > share);
        let is_recent = connection.waited < GRACE;
        match connection.waits_for {
            WaitsFor::Body | WaitsFor::Request if is_recent => Step::Recent,
            WaitsFor::Request => Step::Idle,
            WaitsFor::Body if !exceeds_share => Step::Stalled,
            WaitsFor::RequestAfterRefusal | WaitsFor::Head if is_recent && !exceeds_share => {
                Step::Recent
            }
            _ => Step::Unproven,
        }
    };
    let mut steps = [const { Vec::new() }; 4];
    for connection in waiting {
        steps[step(&connection) as usize].push(connection);
    }
    let mut chosen = Vec::new();
    for connections in steps {
        choose_in_step(connections, count, &mut chosen);
    }
    chosen
}

/// Adds connections of one step to `chosen`, up to `count` in all.
fn choose_in_step(connections: Vec<Waiting>, count: usize, chosen: &mut Vec<Waiting>) {
    if chosen.len() >= count {
        return;
    }
    let mut by_client: HashMap<ClientAddress, Vec<Waiting>> = HashMap::new();
    let mut groups = Vec::new();
    for connection in connections {
        match connection.client {
            Some(client) => by_client.entry(client).or_default().push(connection),
            None => groups.push(vec![connection]),
        }
    }
    groups.extend(by_client.into_values());
    // The connection that closes first is the last one of its group.
    for group in &mut groups {
        group.sort_by_key(|connection| Reverse(order(connection)));
    }
    let rank = |index: usize, group: &[Waiting]| {
        let next = group.last()?;
        Some((group.len(), Reverse(order(next)), index))
    };
    let mut heap: BinaryHeap<_> = groups
        .iter()
        .enumerate()
        .filter_map(|(index, group)| rank(index, group))
        .collect();
    while chosen.len() < count
        && let Some((_, _, index)) = heap.pop()
    {
        chosen.extend(groups[index].pop());
        heap.extend(rank(index, &groups[index]));
    }
}

/// The connection with the least order closes first.
fn order(connection: &Waiting) -> (WaitsFor, Reverse<Duration>) {
    (connection.waits_for, Reverse(connection.waited))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 320;
    /// The share of a client at this limit.
    const SHARE: usize = 20;

    fn waiting(id: u64, client: &str, waits_for: WaitsFor, waited_ms: u64) -> Waiting {
        Waiting {
            id,
            state: 0,
            waits_for,
            has_verified: waits_for == WaitsFor::Request,
            client: (client != "proxy").then(|| client.parse().expect("the address is valid")),
            waited: Duration::from_millis(waited_ms),
        }
    }

    /// Returns the ids of the first `count` connections that close.
    fn chosen(waiting: Vec<Waiting>, count: usize) -> Vec<u64> {
        let chosen = choose(waiting, LIMIT, count);
        chosen.iter().map(|connection| connection.id).collect()
    }

    #[test]
    fn connections_close_in_the_documented_order() {
        use WaitsFor::{Body, Head, Request, RequestAfterRefusal};
        let connections = vec![
            waiting(1, "192.0.2.1", Request, 50_000),
            waiting(2, "192.0.2.2", Head, 900),
            waiting(3, "192.0.2.3", Head, 5_000),
            waiting(4, "192.0.2.4", RequestAfterRefusal, 1_000),
            waiting(5, "192.0.2.5", Request, 60_000),
            waiting(6, "192.0.2.6", Head, 6_000),
            waiting(7, "192.0.2.7", RequestAfterRefusal, 2_000),
            waiting(8, "192.0.2.8", Request, 10),
            waiting(9, "192.0.2.9", Body, 9_000),
            waiting(10, "192.0.2.10", Body, 900),
        ];
        assert_eq!(chosen(connections, 11), [7, 4, 6, 3, 5, 1, 9, 2, 10, 8]);
    }

    #[test]
    fn the_client_with_the_most_connections_loses_first() {
        let mut connections: Vec<Waiting> = (0..6)
            .map(|id| waiting(id, "192.0.2.1", WaitsFor::Head, 2_000 + id))
            .collect();
        connections.push(waiting(6, "192.0.2.2", WaitsFor::Head, 9_000));
        connections.push(waiting(
            7,
            "192.0.2.2",
            WaitsFor::RequestAfterRefusal,
            9_000,
        ));
        // The larger client loses its longest-waiting connections, until both have two. Then the
        // idle connection closes, and then the connection that has waited for longest.
        assert_eq!(chosen(connections, 6), [5, 4, 3, 2, 7, 1]);
    }

    #[test]
    fn a_flood_of_new_heads_closes_its_own_connections() {
        let flood = |count: u64| (0..count).map(|id| waiting(id, "192.0.2.1", WaitsFor::Head, id));
        let genuine = [
            waiting(1_000, "192.0.2.2", WaitsFor::Request, 30_000),
            waiting(1_001, "192.0.2.3", WaitsFor::Head, 500),
        ];
        let beyond_share = SHARE as u64 + 10;
        let connections = flood(beyond_share).chain(genuine.clone()).collect();
        let ids = chosen(connections, beyond_share as usize);
        assert!(ids.iter().all(|id| *id < 1_000), "{ids:?}");
        // The control: a client within its share keeps its new connections.
        let connections = flood(SHARE as u64).chain(genuine).collect();
        assert_eq!(chosen(connections, 1), [1_000]);
    }

    #[test]
    fn stalled_bodies_close_before_idle_connections_only_above_the_share() {
        let idle = waiting(1_000, "192.0.2.2", WaitsFor::Request, 30_000);
        let beyond_share = SHARE as u64 + 10;
        let bodies = |count: u64, has_verified: bool, waited_ms: u64| {
            let bodies = (0..count).map(move |id| Waiting {
                has_verified,
                ..waiting(id, "192.0.2.1", WaitsFor::Body, waited_ms)
            });
            bodies.chain([idle.clone()]).collect::<Vec<_>>()
        };
        assert_ne!(chosen(bodies(beyond_share, false, 2_000), 1), [1_000]);
        // The controls: a client within its share, connections that have verified, and new bodies.
        assert_eq!(chosen(bodies(SHARE as u64, false, 2_000), 1), [1_000]);
        assert_eq!(chosen(bodies(beyond_share, true, 2_000), 1), [1_000]);
        assert_eq!(chosen(bodies(beyond_share, false, 900), 1), [1_000]);
    }

    #[test]
    fn connections_of_a_proxy_count_as_those_of_different_clients() {
        let mut connections: Vec<Waiting> = (0..30)
            .map(|id| waiting(id, "proxy", WaitsFor::Request, 90_000))
            .collect();
        connections.push(waiting(30, "192.0.2.1", WaitsFor::Request, 2_000));
        connections.push(waiting(31, "192.0.2.1", WaitsFor::Request, 3_000));
        assert_eq!(chosen(connections, 1), [31]);
    }
}
