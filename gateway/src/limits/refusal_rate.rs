//! Limits the rate of refused requests for each client network and each source.
//!
//! The budget counts refusals, not requests. The gateway still verifies the deliveries of a
//! client without budget, and accepts the genuine ones. Providers share addresses, and so do
//! machines behind a NAT: an attacker must not be able to exhaust a limit that genuine
//! deliveries need.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client_address::ClientAddress;
use crate::config::RefusalLimits;
use crate::telemetry::log_throttle::LogThrottle;

/// Number of cells that hold the budgets. Clients that share a cell share its budget, which
/// costs neither of them a delivery.
const CELLS: usize = 16 * 1024;
const MINUTE: Duration = Duration::from_secs(60);

/// The budgets of all clients and sources, in a table of fixed size.
#[derive(Debug)]
pub(crate) struct RefusalRateLimiter<S = RandomState> {
    start: Instant,
    /// When each budget will be complete again, in microseconds since `start`.
    cells: Box<[AtomicU64]>,
    /// Has random keys, so that an attacker cannot choose whose cell to share.
    hasher: S,
    throttle: LogThrottle,
}

/// Whether a refusal is within the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateDecision {
    Allowed,
    Limited,
    /// The first limited refusal within a minute, which is logged.
    LimitedFirst,
}

impl<S: BuildHasher + Default> RefusalRateLimiter<S> {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            hasher: S::default(),
            throttle: LogThrottle::default(),
        }
    }

    /// Counts a refusal by `source`, whose name is empty if no source has the path.
    pub(crate) fn check(
        &self,
        source: &str,
        client: Option<ClientAddress>,
        limits: RefusalLimits,
    ) -> RateDecision {
        self.check_at(self.start.elapsed(), source, client, limits)
    }

    fn check_at(
        &self,
        now: Duration,
        source: &str,
        client: Option<ClientAddress>,
        limits: RefusalLimits,
    ) -> RateDecision {
        let address = client.map(ClientAddress::network);
        // A refusal above the budget of its address does not count against the source, whose
        // budget other addresses share.
        let is_allowed = self.spend(now, (source, address), limits.per_address)
            && self.spend(now, (source, None::<ClientAddress>), limits.per_source);
        if is_allowed {
            return RateDecision::Allowed;
        }
        match self.throttle.should_log() {
            true => RateDecision::LimitedFirst,
            false => RateDecision::Limited,
        }
    }

    /// Spends one of `limit` refusals a minute, by the generic cell rate algorithm: a full
    /// budget may be spent at once, and it refills evenly. Returns whether one was left.
    fn spend(&self, now: Duration, key: (&str, Option<ClientAddress>), limit: u32) -> bool {
        let index = self.hasher.hash_one(key) as usize % CELLS;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (now, minute) = (micros(now), micros(MINUTE));
        let cost = minute / u64::from(limit.max(1));
        let spent =
            self.cells[index].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |complete_at| {
                let complete_at = complete_at.max(now) + cost;
                (complete_at <= now + minute).then_some(complete_at)
            });
        spent.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use super::*;

    /// A limiter with fixed keys, so that the same clients share a cell in every run.
    type RefusalRateLimiter = super::RefusalRateLimiter<BuildHasherDefault<DefaultHasher>>;

    const LIMITS: RefusalLimits = RefusalLimits {
        per_address: 10,
        per_source: 100,
    };

    const LIMITS_OF_ONE: RefusalLimits = RefusalLimits {
        per_address: 1,
        per_source: 1,
    };

    fn client(text: &str) -> Option<ClientAddress> {
        Some(text.parse().unwrap())
    }

    /// Returns how many of `count` refusals are allowed.
    fn allowed(
        limiter: &RefusalRateLimiter,
        now: u64,
        count: usize,
        source: &str,
        client: Option<ClientAddress>,
    ) -> usize {
        let now = Duration::from_secs(now);
        (0..count)
            .filter(|_| limiter.check_at(now, source, client, LIMITS) == RateDecision::Allowed)
            .count()
    }

    #[test]
    fn a_budget_is_spent_and_refills() {
        let limiter = RefusalRateLimiter::new();
        let one = client("192.0.2.1");
        assert_eq!(allowed(&limiter, 0, 30, "a", one), 10);
        assert_eq!(allowed(&limiter, 30, 30, "a", one), 5);
        assert_eq!(allowed(&limiter, 3600, 30, "a", one), 10);
    }

    #[test]
    fn each_source_and_each_network_has_a_budget() {
        let limiter = RefusalRateLimiter::new();
        assert_eq!(allowed(&limiter, 0, 30, "a", client("192.0.2.1")), 10);
        assert_eq!(allowed(&limiter, 0, 30, "b", client("192.0.2.1")), 10);
        assert_eq!(allowed(&limiter, 0, 30, "a", client("192.0.2.2")), 10);
        // A client can choose the lower half of an IPv6 address.
        assert_eq!(allowed(&limiter, 0, 30, "a", client("2001:db8::1")), 10);
        assert_eq!(allowed(&limiter, 0, 30, "a", client("2001:db8::2")), 0);
        assert_eq!(allowed(&limiter, 0, 30, "a", client("2001:db8:0:1::1")), 10);
        // The IPv4-mapped form is the same address.
        assert_eq!(allowed(&limiter, 0, 30, "a", client("::ffff:192.0.2.1")), 0);
    }

    #[test]
    fn all_addresses_share_the_budget_of_their_source() {
        let limiter = RefusalRateLimiter::new();
        let all: usize = (0..200)
            .map(|host| allowed(&limiter, 0, 5, "a", client(&format!("192.0.2.{host}"))))
            .sum();
        assert_eq!(all, 100);
        // The other source keeps its budget.
        assert_eq!(allowed(&limiter, 0, 30, "b", client("192.0.2.1")), 10);
    }

    #[test]
    fn only_the_first_limited_refusal_is_logged() {
        let limiter = RefusalRateLimiter::new();
        let one = client("192.0.2.1");
        let decisions = (0..12).map(|_| limiter.check_at(Duration::ZERO, "a", one, LIMITS_OF_ONE));
        let decisions: Vec<RateDecision> = decisions.collect();
        assert_eq!(
            decisions[..2],
            [RateDecision::Allowed, RateDecision::LimitedFirst]
        );
        let rest = &decisions[2..];
        assert!(
            rest.iter()
                .all(|decision| *decision == RateDecision::Limited)
        );
    }
}
