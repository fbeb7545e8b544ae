//! [`History`]: a sequence of steps that runs against a store and against the model.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_core::internal::ErrorChain;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;

use super::harness::{CLAIM_OPTIONS, Harness};
use super::model::{KEYS, Model, Outcome};
use crate::store::{Claim, ClaimOptions, Lease, ReplayStore, Settled, StoreError};

/// A history has 50 steps on average. The minimum is one, so that shrinking can remove steps.
const STEPS: RangeInclusive<usize> = 1..=99;

/// The options of at-least-once and of at-most-once delivery. With the latter the lease lasts
/// for the retention, and the store remembers nothing after it.
const ALL_OPTIONS: [ClaimOptions; 2] = [
    CLAIM_OPTIONS,
    ClaimOptions::new(Duration::from_secs(661), Duration::ZERO),
];

/// The first retention is shorter than the time for which an unsettled claim is remembered, the
/// second is longer.
const RETENTIONS: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(661)];

/// The first renewal does not always move the end of a lease, the second does.
const RENEWALS: [Duration; 2] = [Duration::from_secs(7), Duration::from_secs(31)];

/// The resolution of the stores' clocks.
const CLOCK_RESOLUTION: Duration = Duration::from_millis(1);

/// One step of a history.
///
/// A settlement names its lease by the key and by the number of newer leases on the key. So it
/// keeps its meaning when shrinking removes other steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Claim {
        key: usize,
        options: ClaimOptions,
    },
    Commit {
        key: usize,
        lease_age: usize,
        retention: Duration,
    },
    Release {
        key: usize,
        lease_age: usize,
    },
    Renew {
        key: usize,
        lease_age: usize,
        duration: Duration,
    },
    Forget {
        key: usize,
    },
    RecordDone {
        key: usize,
        retention: Duration,
    },
    Advance(Duration),
    /// Advances to the next time at which a claim of the key changes its result.
    AdvanceToNextChange {
        key: usize,
        target: Target,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    JustBefore,
    Exactly,
}

impl Target {
    /// Returns the time to advance if the change is `left` away.
    fn of(self, left: Duration, slack: Duration) -> Duration {
        match self {
            Self::Exactly => left,
            Self::JustBefore => left.saturating_sub(slack + CLOCK_RESOLUTION),
        }
    }
}

/// Returns a strategy for random histories.
pub(super) fn random_steps() -> impl Strategy<Value = Vec<Step>> {
    vec(random_step(), STEPS)
}

fn random_step() -> impl Strategy<Value = Step> {
    let lease = || (0..KEYS, prop_oneof![3 => 0..1_usize, 1 => 1..10_usize]);
    let target = any::<bool>().prop_map(|is_exact| match is_exact {
        true => Target::Exactly,
        false => Target::JustBefore,
    });
    let durations = [
        CLOCK_RESOLUTION,
        Duration::from_secs(4),
        CLAIM_OPTIONS.lease,
        CLAIM_OPTIONS.attempt_retention,
        Duration::from_secs(661),
    ];
    prop_oneof![
        6 => (0..KEYS, select(&ALL_OPTIONS[..]))
            .prop_map(|(key, options)| Step::Claim { key, options }),
        2 => (lease(), select(&RETENTIONS[..])).prop_map(|((key, lease_age), retention)| {
            Step::Commit { key, lease_age, retention }
        }),
        2 => lease().prop_map(|(key, lease_age)| Step::Release { key, lease_age }),
        2 => (lease(), select(&RENEWALS[..])).prop_map(|((key, lease_age), duration)| {
            Step::Renew { key, lease_age, duration }
        }),
        1 => (0..KEYS).prop_map(|key| Step::Forget { key }),
        1 => (0..KEYS, select(&RETENTIONS[..]))
            .prop_map(|(key, retention)| Step::RecordDone { key, retention }),
        1 => select(durations.to_vec()).prop_map(Step::Advance),
        4 => (0..KEYS, target)
            .prop_map(|(key, target)| Step::AdvanceToNextChange { key, target }),
    ]
}

/// The first step at which a store and the model returned different results.
#[derive(Debug)]
pub struct Difference {
    /// The history up to this step.
    pub(super) steps: Vec<Step>,
    expected: Outcome,
    actual: Outcome,
}

impl Difference {
    /// Returns the number of steps in the history.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            steps,
            expected,
            actual,
        } = self;
        writeln!(
            f,
            "the store violates the contract in the last of these steps:"
        )?;
        for step in steps {
            writeln!(f, "  {step:?}")?;
        }
        write!(f, "expected: {expected}; got: {actual}")
    }
}

/// A run of the store and the model, side by side.
pub(super) struct History<'h, H> {
    harness: &'h H,
    /// Part of each key, so that every history has its own keys.
    number: u64,
    model: Model,
    /// The store's leases, in the order of the model's.
    leases: Vec<Lease>,
}

impl<'h, H: Harness> History<'h, H> {
    pub(super) fn new(harness: &'h H, number: u64) -> Self {
        Self {
            harness,
            number,
            model: Model::default(),
            leases: Vec::new(),
        }
    }

    /// Runs the steps until the store and the model disagree.
    pub(super) async fn run(mut self, steps: &[Step]) -> Option<Difference> {
        for (index, step) in steps.iter().enumerate() {
            if let Some((expected, actual)) = self.step(*step).await
                && !actual.agrees_with(&expected, H::SLACK)
            {
                return Some(Difference {
                    steps: steps[..=index].to_vec(),
                    expected,
                    actual,
                });
            }
            self.pass_near_changes().await;
        }
        None
    }

    /// Runs one step. Returns the outcomes of the model and of the store, if it has any.
    async fn step(&mut self, step: Step) -> Option<(Outcome, Outcome)> {
        let store = self.harness.store();
        match step {
            Step::Claim { key, options } => {
                let expected = self.model.claim(key, options);
                let actual = store.claim(self.key(key), options).await;
                Some((expected, self.claim_outcome(key, actual)))
            }
            Step::Commit {
                key,
                lease_age,
                retention,
            } => {
                let lease = self.model.lease(key, lease_age)?;
                let expected = self.model.commit(lease, retention);
                let actual = store.commit(&self.leases[lease], retention).await;
                Some((Outcome::Settled(expected), settled_outcome(actual)))
            }
            Step::Release { key, lease_age } => {
                let lease = self.model.lease(key, lease_age)?;
                let expected = self.model.release(lease);
                let actual = store.release(&self.leases[lease]).await;
                Some((Outcome::Settled(expected), settled_outcome(actual)))
            }
            Step::Renew {
                key,
                lease_age,
                duration,
            } => {
                let lease = self.model.lease(key, lease_age)?;
                let expected = self.model.renew(lease, duration);
                let actual = store.renew(&self.leases[lease], duration).await;
                Some((Outcome::Settled(expected), settled_outcome(actual)))
            }
            Step::Forget { key } => {
                let expected = self.model.forget(key);
                let actual = store.forget(self.key(key)).await;
                let actual = actual.map_or_else(invalid, Outcome::Forgotten);
                Some((Outcome::Forgotten(expected), actual))
            }
            Step::RecordDone { key, retention } => {
                self.model.record_done(key, retention);
                let actual = store.record_done(self.key(key), retention).await;
                let actual = actual.map_or_else(invalid, |()| Outcome::RecordedDone);
                Some((Outcome::RecordedDone, actual))
            }
            Step::Advance(duration) => {
                self.advance(duration).await;
                None
            }
            Step::AdvanceToNextChange { key, target } => {
                let left = self.model.next_change(key)? - self.model.now;
                self.advance(target.of(left, H::SLACK)).await;
                None
            }
        }
    }

    fn claim_outcome(&mut self, key: usize, claim: Result<Claim, StoreError>) -> Outcome {
        let lease = match claim {
            Ok(Claim::Granted(lease)) => lease,
            Ok(Claim::InFlight { remaining }) => return Outcome::InFlight { remaining },
            Ok(Claim::Done) => return Outcome::Done,
            Ok(Claim::Full) => return Outcome::Invalid("full".into()),
            Ok(Claim::Forgotten) => return Outcome::Invalid("forgotten".into()),
            Ok(Claim::Conflict) => return Outcome::Invalid("conflict".into()),
            Err(error) => return invalid(error),
        };
        if lease.key() != self.key(key) {
            return Outcome::Invalid(format!("{lease:?}, on a key that was not claimed"));
        }
        let has_same_token =
            |earlier: &Lease| earlier.key() == lease.key() && earlier.token() == lease.token();
        if self.leases.iter().any(has_same_token) {
            return Outcome::Invalid(format!("{lease:?}, with the token of an earlier lease"));
        }
        let attempt = lease.attempt();
        self.leases.push(lease);
        Outcome::Granted { attempt }
    }

    async fn advance(&mut self, duration: Duration) {
        self.model.now += duration;
        self.harness.advance(duration).await;
    }

    /// Advances both clocks past every change that is within the slack. The store's clock may
    /// already be past such a change, so the outcome of a step would not be predictable.
    async fn pass_near_changes(&mut self) {
        let is_near = |left: &Duration| *left < H::SLACK + CLOCK_RESOLUTION;
        while let Some(left) = (0..KEYS)
            .filter_map(|key| self.model.next_change(key))
            .map(|change| change - self.model.now)
            .find(is_near)
        {
            self.advance(left).await;
        }
    }

    fn key(&self, key: usize) -> ReplayKey {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..].copy_from_slice(&(key as u64).to_be_bytes());
        ReplayKey::from_bytes(bytes)
    }
}

fn settled_outcome(settled: Result<Settled, StoreError>) -> Outcome {
    settled.map_or_else(invalid, Outcome::Settled)
}

fn invalid(error: StoreError) -> Outcome {
    Outcome::Invalid(ErrorChain(&error).to_string())
}
