//! Which server is tried first, and which after it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hookgate_gate::DeliveryGuarantee;

use super::backend::Backend;
use crate::config::Balance;

/// What tells one event from another, for servers that are chosen by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'d> {
    pub(crate) source: &'d str,
    /// None where nothing signed names the event.
    pub(crate) id: Option<&'d str>,
    pub(crate) promise: DeliveryGuarantee,
}

/// Every server, in the order in which they are to be tried: fit ones first.
pub(super) fn order(
    balance: Balance,
    servers: &[Arc<Backend>],
    turn: &AtomicUsize,
    event: Event<'_>,
    body: &[u8],
) -> Vec<Arc<Backend>> {
    let mut order = servers.to_vec();
    if order.len() < 2 {
        return order;
    }
    let turn = turn.fetch_add(1, Ordering::Relaxed) % order.len();
    order.rotate_left(turn);
    // Sorting keeps equals in the order of turns.
    match balance {
        Balance::RoundRobin => {}
        Balance::LeastRequests => order.sort_by_cached_key(|server| server.requests()),
        Balance::Hash => order.sort_by_cached_key(|server| rank(server.address, event, body)),
    }
    order.sort_by_cached_key(|server| server.fitness());
    order
}

/// Rendezvous hashing: when a server goes or comes, only its own events move.
/// Senders cannot choose what is hashed without signing it.
fn rank(server: SocketAddr, event: Event<'_>, body: &[u8]) -> u64 {
    // The same in every process, so that several gateways choose alike.
    let mut hasher = DefaultHasher::new();
    server.hash(&mut hasher);
    event.source.hash(&mut hasher);
    match event.id {
        Some(id) => id.hash(&mut hasher),
        None => body.hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::backend::InFlight;
    use super::*;
    use crate::config;

    fn servers(count: u16) -> Vec<Arc<Backend>> {
        let upstream = config::UpstreamConfig::to_test(Duration::from_secs(1));
        let server = |port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let name = config::ServerAddress {
                secure: false,
                host: "127.0.0.1".to_owned(),
                port,
                addresses: vec![address],
            };
            Arc::new(Backend::new(address, &name, &upstream))
        };
        (1..=count).map(server).collect()
    }

    fn ports(order: &[Arc<Backend>]) -> Vec<u16> {
        order.iter().map(|server| server.address.port()).collect()
    }

    const EVENT: Event<'static> = Event {
        source: "a",
        id: Some("evt_1"),
        promise: DeliveryGuarantee::AtLeastOnce,
    };

    #[test]
    fn servers_take_turns() {
        let (servers, turn) = (servers(3), AtomicUsize::new(0));
        let next = || ports(&order(Balance::RoundRobin, &servers, &turn, EVENT, b""));
        assert_eq!(
            [next(), next(), next(), next()],
            [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]
        );
    }

    #[test]
    fn the_server_with_the_fewest_requests_comes_first() {
        let (servers, turn) = (servers(3), AtomicUsize::new(0));
        let _busy = [
            InFlight::with(&servers[0]).expect("no limit"),
            InFlight::with(&servers[0]).expect("no limit"),
            InFlight::with(&servers[2]).expect("no limit"),
        ];
        for _ in 0..3 {
            let order = order(Balance::LeastRequests, &servers, &turn, EVENT, b"");
            assert_eq!(ports(&order), [2, 3, 1]);
        }
    }

    #[test]
    fn an_event_keeps_its_server_when_another_one_goes() {
        let (all, turn) = (servers(4), AtomicUsize::new(0));
        let mut counts = BTreeMap::new();
        for number in 0..1000 {
            let id = format!("evt_{number}");
            let event = Event {
                source: "a",
                id: Some(&id),
                ..EVENT
            };
            let first = |servers: &[Arc<Backend>]| {
                let order = order(Balance::Hash, servers, &turn, event, b"");
                order[0].address.port()
            };
            let chosen = first(&all);
            assert_eq!(first(&all), chosen);
            *counts.entry(chosen).or_insert(0) += 1;
            if chosen != 4 {
                assert_eq!(first(&all[..3]), chosen);
            }
        }
        assert!(
            counts.values().all(|count| (150..350).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn servers_that_are_not_fit_are_tried_last() {
        let (servers, turn) = (servers(3), AtomicUsize::new(0));
        servers[0].set_out(true);
        servers[1].was_unreachable();
        for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::Hash] {
            let order = order(balance, &servers, &turn, EVENT, b"");
            assert_eq!(ports(&order), [3, 2, 1], "{balance:?}");
        }
    }
}
