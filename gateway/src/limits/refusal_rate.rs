//! How often senders may be refused before they are told to slow down.
//!
//! It is a budget of refusals, not of requests: whoever has spent it is still verified,
//! and gets in with a good delivery. Providers share addresses, and so do the machines
//! behind a NAT; an attacker must not be able to spend what others need.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::RefusalLimits;
use crate::telemetry::log_throttle::LogThrottle;

/// Budgets are kept in so many cells, whoever comes. Two that share one have less
/// between them, which costs neither a delivery.
const CELLS: usize = 16 * 1024;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct RefusalRateLimiter<S = RandomState> {
    start: Instant,
    /// When the budget of a cell will be whole again, in microseconds from the start.
    cells: Box<[AtomicU64]>,
    /// Keyed at random, so that nobody can choose whom to share with.
    hasher: S,
    error_for_log: LogThrottle,
}

/// Whether a refusal is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateDecision {
    Allowed,
    Limited,
    /// Likewise, and it was not said in the log for a minute.
    LimitedFirst,
}

impl<S: BuildHasher + Default> RefusalRateLimiter<S> {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            hasher: S::default(),
            error_for_log: LogThrottle::default(),
        }
    }

    /// Counts a refusal of `source`, none if it has no name.
    pub(crate) fn count(
        &self,
        source: &str,
        client: Option<IpAddr>,
        budget: RefusalLimits,
    ) -> RateDecision {
        self.count_at(self.start.elapsed(), source, client, budget)
    }

    fn count_at(
        &self,
        now: Duration,
        source: &str,
        client: Option<IpAddr>,
        budget: RefusalLimits,
    ) -> RateDecision {
        let address = client.map(network);
        // What is beyond the address's own budget is not taken from what others share.
        let fair = self.spend(now, (source, address), budget.per_address)
            && self.spend(now, (source, None::<IpAddr>), budget.per_source);
        if fair {
            return RateDecision::Allowed;
        }
        match self.error_for_log.should_log() {
            true => RateDecision::LimitedFirst,
            false => RateDecision::Limited,
        }
    }

    /// Takes one of `most` a minute: all of them at once, or one by one as they come back
    /// (the generic cell rate algorithm). Whether there was one.
    fn spend(&self, now: Duration, key: (&str, Option<IpAddr>), most: u32) -> bool {
        let index = self.hasher.hash_one(key) as usize % CELLS;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (now, minute) = (micros(now), micros(MINUTE));
        let one = minute / u64::from(most.max(1));
        let spent = self.cells[index].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |whole| {
            let whole = whole.max(now) + one;
            (whole <= now + minute).then_some(whole)
        });
        spent.is_ok()
    }
}

/// What one client has to itself: of IPv6, the half that it does not choose.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            const HALF: u128 = u128::MAX << 64;
            Ipv6Addr::from_bits(address.to_bits() & HALF).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use super::*;

    /// Keyed with nothing, so that who shares a cell is the same in every run.
    type RefusalRateLimiter = super::RefusalRateLimiter<BuildHasherDefault<DefaultHasher>>;

    const BUDGET: RefusalLimits = RefusalLimits {
        per_address: 10,
        per_source: 100,
    };

    const BUDGET_OF_ONE: RefusalLimits = RefusalLimits {
        per_address: 1,
        per_source: 1,
    };

    fn client(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// How many of `count` refusals were fair.
    fn fair(
        refusals: &RefusalRateLimiter,
        now: u64,
        count: usize,
        source: &str,
        client: Option<IpAddr>,
    ) -> usize {
        let now = Duration::from_secs(now);
        (0..count)
            .filter(|_| refusals.count_at(now, source, client, BUDGET) == RateDecision::Allowed)
            .count()
    }

    #[test]
    fn a_budget_is_spent_and_comes_back() {
        let refusals = RefusalRateLimiter::new();
        let one = client("192.0.2.1");
        assert_eq!(fair(&refusals, 0, 30, "a", one), 10);
        assert_eq!(fair(&refusals, 30, 30, "a", one), 5);
        assert_eq!(fair(&refusals, 3600, 30, "a", one), 10);
    }

    #[test]
    fn sources_and_addresses_have_their_own() {
        let refusals = RefusalRateLimiter::new();
        assert_eq!(fair(&refusals, 0, 30, "a", client("192.0.2.1")), 10);
        assert_eq!(fair(&refusals, 0, 30, "b", client("192.0.2.1")), 10);
        assert_eq!(fair(&refusals, 0, 30, "a", client("192.0.2.2")), 10);
        // The lower half is the client's to choose.
        assert_eq!(fair(&refusals, 0, 30, "a", client("2001:db8::1")), 10);
        assert_eq!(fair(&refusals, 0, 30, "a", client("2001:db8::2")), 0);
        assert_eq!(fair(&refusals, 0, 30, "a", client("2001:db8:0:1::1")), 10);
        // The same address in another spelling.
        assert_eq!(fair(&refusals, 0, 30, "a", client("::ffff:192.0.2.1")), 0);
    }

    #[test]
    fn many_addresses_share_the_budget_of_their_source() {
        let refusals = RefusalRateLimiter::new();
        let all: usize = (0..200)
            .map(|host| fair(&refusals, 0, 5, "a", client(&format!("192.0.2.{host}"))))
            .sum();
        assert_eq!(all, 100);
        // Of the other source nothing was spent.
        assert_eq!(fair(&refusals, 0, 30, "b", client("192.0.2.1")), 10);
    }

    #[test]
    fn the_log_is_told_of_the_first_that_is_too_fast() {
        let refusals = RefusalRateLimiter::new();
        let one = client("192.0.2.1");
        let paces = (0..12).map(|_| refusals.count_at(Duration::ZERO, "a", one, BUDGET_OF_ONE));
        let paces: Vec<RateDecision> = paces.collect();
        assert_eq!(
            paces[..2],
            [RateDecision::Allowed, RateDecision::LimitedFirst]
        );
        assert!(paces[2..].iter().all(|pace| *pace == RateDecision::Limited));
    }
}
