//! Load balancing: the order in which the backends of an upstream are tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hookgate_gate::DeliveryGuarantee;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::backend::Backend;
use crate::config::{Balance, TransportAddress};

/// What balancing and the choice of a connection need to know about a delivery: `source` and
/// `id` for [`Balance::Hash`], `guarantee` for the reuse of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'d> {
    pub(crate) source: &'d str,
    /// `None` if no signed field identifies the event.
    pub(crate) id: Option<&'d str>,
    pub(crate) guarantee: DeliveryGuarantee,
}

/// Backends in the order of attempts.
pub(super) type Order = SmallVec<[Arc<Backend>; 2]>;

/// Returns all backends in the order of attempts. Healthy backends come first.
pub(super) fn order(
    balance: Balance,
    backends: &[Arc<Backend>],
    turn: &AtomicUsize,
    event: Event<'_>,
    body: &[u8],
) -> Order {
    let mut order = Order::from(backends);
    if order.len() < 2 {
        return order;
    }
    let turn = turn.fetch_add(1, Ordering::Relaxed) % order.len();
    order.rotate_left(turn);
    // These sorts are stable, so equal backends keep the order of their turns.
    match balance {
        Balance::RoundRobin => {}
        Balance::LeastRequests => order.sort_by_cached_key(|backend| backend.in_flight()),
        Balance::Hash => {
            let event = event_digest(event, body);
            order.sort_by_cached_key(|backend| rank(&event, &backend.address));
        }
    }
    order.sort_by_cached_key(|backend| backend.fitness());
    order
}

/// Returns the SHA-256 digest of the source's name and of the event.
///
/// The input is the length of the name (8 bytes, big endian), the name, and the event id. If
/// no signed field identifies the event, the body takes the place of the id. A byte before
/// them distinguishes the two: 1 for an id, 0 for a body.
fn event_digest(event: Event<'_>, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((event.source.len() as u64).to_be_bytes());
    hash.update(event.source);
    match event.id {
        Some(id) => {
            hash.update([1]);
            hash.update(id);
        }
        None => {
            hash.update([0]);
            hash.update(body);
        }
    }
    hash.finalize().into()
}

/// Returns the rank of a backend for an event (rendezvous hashing): the first 8 bytes of the
/// SHA-256 digest of the event's digest and the backend's address as text.
///
/// When a backend is added or removed, only the events of that backend move. Every gateway
/// and every version computes the same rank, because the hash is specified. In enforce mode,
/// a sender cannot choose a backend without a valid signature of the hashed value. A scheme
/// that uses a token signs no value, so a sender with the token can choose.
fn rank(event: &[u8; 32], backend: &TransportAddress) -> u64 {
    let mut hash = Sha256::new();
    hash.update(event);
    hash.update(backend.to_string());
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |rank, byte| rank << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::super::backend::InFlight;
    use super::*;
    use crate::config::{ServerAddress, TcpServer, UpstreamConfig};

    fn backends(count: u16) -> Vec<Arc<Backend>> {
        let upstream = UpstreamConfig::to_test(Duration::from_secs(1));
        let backend = |port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let server = ServerAddress::Tcp(TcpServer {
                secure: false,
                host: "127.0.0.1".to_owned(),
                port,
                addresses: vec![address],
            });
            let address = TransportAddress::Tcp(address);
            Arc::new(Backend::new(address, &server, &upstream))
        };
        (1..=count).map(backend).collect()
    }

    fn port(backend: &Arc<Backend>) -> u16 {
        match &backend.address {
            TransportAddress::Tcp(address) => address.port(),
            TransportAddress::Unix(path) => panic!("{} has no port", path.display()),
        }
    }

    fn ports(order: &[Arc<Backend>]) -> Vec<u16> {
        order.iter().map(port).collect()
    }

    const EVENT: Event<'static> = Event {
        source: "a",
        id: Some("evt_1"),
        guarantee: DeliveryGuarantee::AtLeastOnce,
    };

    #[test]
    fn round_robin_starts_with_the_next_backend_each_time() {
        let (backends, turn) = (backends(3), AtomicUsize::new(0));
        let next = || ports(&order(Balance::RoundRobin, &backends, &turn, EVENT, b""));
        assert_eq!(
            [next(), next(), next(), next()],
            [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]
        );
    }

    #[test]
    fn the_backend_with_the_fewest_requests_comes_first() {
        let (backends, turn) = (backends(3), AtomicUsize::new(0));
        let _in_flight = [
            InFlight::start(&backends[0]).expect("no limit"),
            InFlight::start(&backends[0]).expect("no limit"),
            InFlight::start(&backends[2]).expect("no limit"),
        ];
        for _ in 0..3 {
            let order = order(Balance::LeastRequests, &backends, &turn, EVENT, b"");
            assert_eq!(ports(&order), [2, 3, 1]);
        }
    }

    #[test]
    fn an_event_keeps_its_backend_when_another_backend_is_removed() {
        let (all, turn) = (backends(4), AtomicUsize::new(0));
        let mut counts = BTreeMap::new();
        for number in 0..1000 {
            let id = format!("evt_{number}");
            let event = Event {
                id: Some(&id),
                ..EVENT
            };
            let first = |backends: &[Arc<Backend>]| {
                let order = order(Balance::Hash, backends, &turn, event, b"");
                port(&order[0])
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

    /// Other gateways, perhaps of another version, must compute these values too. They were
    /// computed independently with Python's `hashlib`.
    #[test]
    fn the_rank_of_a_backend_is_the_same_in_every_process_and_version() {
        let no_id = Event { id: None, ..EVENT };
        for (event, body, address, expected) in [
            (
                EVENT,
                &b"ignored"[..],
                "127.0.0.1:80",
                0x2e3b_5f28_72cc_485e,
            ),
            (EVENT, b"", "[2001:db8::1]:443", 0xc5a3_eb5e_8ab2_7ed8),
            (no_id, b"body", "127.0.0.1:80", 0xd4ab_1e23_c780_7c7f),
        ] {
            let backend = TransportAddress::Tcp(address.parse().unwrap());
            let rank = rank(&event_digest(event, body), &backend);
            assert_eq!(rank, expected, "{event:?} {address}");
        }
    }

    #[test]
    fn unfit_backends_are_tried_last() {
        let (backends, turn) = (backends(3), AtomicUsize::new(0));
        backends[0].set_unhealthy(true);
        backends[1].mark_unreachable();
        for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::Hash] {
            let order = order(balance, &backends, &turn, EVENT, b"");
            assert_eq!(ports(&order), [3, 2, 1], "{balance:?}");
        }
    }
}
