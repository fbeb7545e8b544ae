//! The sizes of the tests, and their seed.

use std::env;

use fastrand::Rng;

/// The size of a test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) events: usize,
    pub(super) crashes: usize,
}

impl Scale {
    /// Returns the size of the test of an outage. `HOOKGATE_QUEUE_PROOF=full` selects the size of
    /// `make queue-proof`.
    pub(super) fn of_outage() -> Self {
        match is_full() {
            true => Self {
                events: 100_000,
                crashes: 50,
            },
            false => Self {
                events: 2_000,
                crashes: 8,
            },
        }
    }

    /// Returns the size of the test with several gateways.
    pub(super) fn of_cluster() -> Self {
        match is_full() {
            true => Self {
                events: 20_000,
                crashes: 20,
            },
            false => Self {
                events: 600,
                crashes: 4,
            },
        }
    }

    /// Returns the number of events of a chaos test.
    pub(super) fn of_chaos() -> usize {
        if is_full() { 20_000 } else { 400 }
    }

    /// Returns the number of events of the test of lost outcomes.
    pub(super) fn of_lost_outcomes() -> usize {
        if is_full() { 20_000 } else { 300 }
    }
}

fn is_full() -> bool {
    env::var("HOOKGATE_QUEUE_PROOF").is_ok_and(|scale| scale == "full")
}

/// Returns a source of random numbers with its seed. `HOOKGATE_QUEUE_SEED` sets the seed.
pub(super) fn seeded() -> (Rng, u64) {
    let seed = match env::var("HOOKGATE_QUEUE_SEED") {
        Ok(seed) => seed.parse().expect("HOOKGATE_QUEUE_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("HOOKGATE_QUEUE_SEED={seed}");
    (Rng::with_seed(seed), seed)
}
