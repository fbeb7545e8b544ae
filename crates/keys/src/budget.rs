//! The budget of requests that unknown keys cause.
//!
//! A provider with one document for each key cannot be asked for every name that a sender
//! invents. Each client network has a share of the requests of a minute, and half of all requests
//! belong to networks from which a new event has arrived. A flood from many addresses therefore
//! leaves requests for the genuine sender, who begins to use a new key.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use hookgate_core::UnixTime;
use hookgate_core::internal::client_network;

/// Requests of one minute.
const TOTAL: u32 = 60;
/// Requests of one minute for networks from which no new event has arrived.
const UNPROVEN: u32 = TOTAL / 2;
/// Requests of one minute for one network.
const PER_NETWORK: u32 = 5;
/// The most networks that count as proven. The oldest network goes first.
const MAX_PROVEN: usize = 4096;

/// A client network: an IPv4 address or an IPv6 /64.
///
/// All clients without an address, such as those of a Unix socket, are one network. Otherwise
/// they would have no share, and their flood could spend the requests of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(Option<IpAddr>);

impl Network {
    pub(crate) fn of(client: Option<IpAddr>) -> Self {
        Self(client.map(client_network))
    }
}

/// Whether the budget has a request left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Granted,
    /// The network has spent its own share.
    ShareSpent,
    /// Other networks have spent the requests.
    BudgetSpent,
}

/// The requests of the current minute, and the networks that are proven.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    minute: i64,
    total: u32,
    unproven: u32,
    per_network: HashMap<Network, u32>,
    proven: HashSet<Network>,
    proven_order: VecDeque<Network>,
}

impl Budget {
    /// Takes one request of the budget of `network` at `now`.
    pub(crate) fn take(&mut self, network: Network, now: UnixTime) -> Grant {
        let minute = now.secs().div_euclid(60);
        if minute != self.minute {
            self.minute = minute;
            self.total = 0;
            self.unproven = 0;
            self.per_network.clear();
        }
        let is_proven = self.proven.contains(&network);
        let of_network = self.per_network.get(&network).copied();
        if of_network.unwrap_or(0) >= PER_NETWORK {
            return Grant::ShareSpent;
        }
        if self.total >= TOTAL || (!is_proven && self.unproven >= UNPROVEN) {
            return Grant::BudgetSpent;
        }
        self.total += 1;
        self.unproven += u32::from(!is_proven);
        *self.per_network.entry(network).or_default() += 1;
        Grant::Granted
    }

    /// Takes over the proven networks of `previous`.
    pub(crate) fn inherit(&mut self, previous: &Self) {
        for network in &previous.proven_order {
            self.prove(*network);
        }
    }

    /// Notes that a delivery from `network` has verified and claimed its event.
    pub(crate) fn prove(&mut self, network: Network) {
        if !self.proven.insert(network) {
            return;
        }
        self.proven_order.push_back(network);
        if self.proven_order.len() > MAX_PROVEN
            && let Some(first) = self.proven_order.pop_front()
        {
            self.proven.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(60_000);

    fn network(number: u32) -> Network {
        Network::of(Some(Ipv4Addr::from(number).into()))
    }

    #[test]
    fn a_flood_from_one_network_has_the_share_of_that_network() {
        let mut budget = Budget::default();
        let taken = (0..1000).filter(|_| budget.take(network(1), NOW) == Grant::Granted);
        assert_eq!(taken.count(), 5);
        assert_eq!(budget.take(network(1), NOW), Grant::ShareSpent);
        assert_eq!(budget.take(network(2), NOW), Grant::Granted);
        let later = NOW.plus(std::time::Duration::from_secs(60));
        assert_eq!(budget.take(network(1), later), Grant::Granted);
    }

    #[test]
    fn a_flood_from_many_networks_leaves_half_for_proven_ones() {
        let mut budget = Budget::default();
        budget.prove(network(7));
        let mut take = |network| budget.take(network, NOW);
        let taken = (1000..11_000).filter(|number| take(network(*number)) == Grant::Granted);
        assert_eq!(taken.count(), 30);
        assert_eq!(take(network(7)), Grant::Granted);
        // The control is not proven.
        assert_eq!(take(network(8)), Grant::BudgetSpent);
        assert_eq!(take(Network::of(None)), Grant::BudgetSpent);
    }

    #[test]
    fn clients_without_an_address_are_one_network() {
        let mut budget = Budget::default();
        let unaddressed = Network::of(None);
        let taken = (0..1000).filter(|_| budget.take(unaddressed, NOW) == Grant::Granted);
        assert_eq!(taken.count(), 5);
        assert_eq!(budget.take(unaddressed, NOW), Grant::ShareSpent);
        // The others have the rest of the unproven requests.
        for number in 0..25 {
            assert_eq!(
                budget.take(network(number), NOW),
                Grant::Granted,
                "{number}"
            );
        }
        assert_eq!(budget.take(network(25), NOW), Grant::BudgetSpent);
        // An event from such a client proves their network, too.
        let mut proven = Budget::default();
        proven.prove(unaddressed);
        for number in 0..30 {
            proven.take(network(number), NOW);
        }
        assert_eq!(proven.take(network(30), NOW), Grant::BudgetSpent);
        assert_eq!(proven.take(unaddressed, NOW), Grant::Granted);
    }

    #[test]
    fn the_number_of_networks_in_memory_is_bounded() {
        let mut budget = Budget::default();
        for number in 0..100_000 {
            budget.prove(network(number));
            budget.take(network(number), NOW);
        }
        assert!(budget.proven.len() <= MAX_PROVEN && budget.proven_order.len() <= MAX_PROVEN);
        assert!(budget.per_network.len() <= TOTAL as usize);
    }

    #[test]
    fn an_ipv6_client_counts_by_its_64_bits() {
        let of = |text: &str| Network::of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
