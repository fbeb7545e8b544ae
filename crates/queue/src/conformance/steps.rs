//! [`Step`]: one step of a random history.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;

use super::harness::ProcessEnd;
use super::support::{ANY, ORDERED, OTHER};

/// The minimum is one, so that shrinking can remove steps.
const STEPS: RangeInclusive<usize> = 1..=79;

const SOURCES: [&str; 3] = [ANY, OTHER, ORDERED];

/// One step of a history.
///
/// A settlement names its lease by the number of newer leases, and an operator's act names its
/// entry in the same way. So a step keeps its meaning when shrinking removes others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Enqueue {
        source: &'static str,
        /// The numbers of its keys. Equal numbers make one key.
        keys: [u64; 2],
        is_due: bool,
        lease_if_first: bool,
    },
    Lease {
        source: &'static str,
        max: usize,
    },
    Settle {
        lease_age: usize,
        settlement: Settlement,
    },
    RetryNow {
        entry_age: usize,
    },
    Delete {
        entry_age: usize,
    },
    DeleteDead,
    Reopen(ProcessEnd),
    /// Advances to the next time at which an entry changes its state, or just before.
    Advance {
        just_before: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Settlement {
    Complete,
    RetryLater,
    RetryAtOnce,
    PutBack,
    Bury,
    Withdraw,
    Renew,
}

const SETTLEMENTS: [Settlement; 7] = [
    Settlement::Complete,
    Settlement::RetryLater,
    Settlement::RetryAtOnce,
    Settlement::PutBack,
    Settlement::Bury,
    Settlement::Withdraw,
    Settlement::Renew,
];

/// Returns a strategy for random histories.
pub(super) fn random_steps() -> impl Strategy<Value = Vec<Step>> {
    vec(random_step(), STEPS)
}

fn random_step() -> impl Strategy<Value = Step> {
    let age = || prop_oneof![3 => 0..1_usize, 2 => 1..8_usize];
    let end = any::<bool>().prop_map(|is_killed| match is_killed {
        true => ProcessEnd::Killed,
        false => ProcessEnd::Stopped,
    });
    prop_oneof![
        6 => (select(&SOURCES[..]), [0..8_u64, 0..8_u64], any::<bool>(), any::<bool>()).prop_map(
            |(source, keys, is_due, lease_if_first)| Step::Enqueue {
                source,
                keys,
                is_due,
                lease_if_first,
            }
        ),
        6 => (select(&SOURCES[..]), 1..4_usize)
            .prop_map(|(source, max)| Step::Lease { source, max }),
        6 => (age(), select(&SETTLEMENTS[..]))
            .prop_map(|(lease_age, settlement)| Step::Settle { lease_age, settlement }),
        2 => age().prop_map(|entry_age| Step::RetryNow { entry_age }),
        1 => age().prop_map(|entry_age| Step::Delete { entry_age }),
        1 => (0..1_u8).prop_map(|_| Step::DeleteDead),
        1 => end.prop_map(Step::Reopen),
        4 => any::<bool>().prop_map(|just_before| Step::Advance { just_before }),
    ]
}
