//! Random steps against a store and against the simplest model of one. Every answer
//! must be the model's.

use std::fmt;
use std::time::{Duration, Instant};

use hookgate_core::ReplayKey;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{CLAIM_OPTIONS, Harness};
use crate::store::{Claim, ClaimOptions, Lease, ReplayStore, Settled, StoreError};

const KEYS: usize = 3;

/// Fifty steps a case on the average, and down to one, so that shrinking may leave
/// steps out.
const STEPS: std::ops::RangeInclusive<usize> = 1..=99;

/// Those of a source that delivers at least once, and of one that delivers at most
/// once: the lease is the retention, and nothing is remembered after it.
const ALL_TERMS: [ClaimOptions; 2] = [
    CLAIM_OPTIONS,
    ClaimOptions::new(Duration::from_secs(661), Duration::ZERO),
];

/// One is shorter than what a claim is remembered for, the other longer.
const RETENTIONS: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(661)];

/// What clocks of stores can tell apart.
const GRAIN: Duration = Duration::from_millis(1);

/// Runs a store through `cases` random histories, of 50 steps on the average, on keys
/// that are new in each: claims, settlements by any lease that was ever granted, and
/// time that passes by chance or to just before and exactly to the next end of a lease
/// or of what is remembered. The harness is made once.
///
/// # Panics
///
/// An answer is not the one that follows from the contract. The message has the
/// shortest history that was found to show it.
pub async fn compare_with_model<H: Harness, F: Future<Output = H>>(
    new: impl FnOnce() -> F,
    cases: u32,
) {
    if let Some(difference) = find_difference(new, cases).await {
        panic!("{difference}");
    }
}

/// Does what [`compare_with_model`] does, and returns the difference that it finds.
///
/// # Panics
///
/// The harness's time runs on by itself by more than [`Harness::SLACK`], so that
/// nothing can be told from its answers.
pub async fn find_difference<H: Harness, F: Future<Output = H>>(
    new: impl FnOnce() -> F,
    cases: u32,
) -> Option<Difference> {
    /// How often a difference is looked at in the hope of a smaller one.
    const LOOKS: u32 = 2_000;

    let harness = new().await;
    let mut histories = Histories { harness, begun: 0 };
    let mut runner = TestRunner::default();
    for _ in 0..cases {
        let steps = vec(step(), STEPS);
        let mut tree = steps.new_tree(&mut runner).expect("no step is filtered");
        let Some(mut smallest) = histories.run(&tree.current()).await else {
            continue;
        };
        let mut looks = 0;
        let mut changed = tree.simplify();
        while changed && looks < LOOKS {
            looks += 1;
            changed = match histories.run(&tree.current()).await {
                Some(smaller) => {
                    smallest = smaller;
                    tree.simplify()
                }
                None => tree.complicate(),
            };
        }
        return Some(histories.leave_out(smallest).await);
    }
    None
}

/// Where a store's answer was not the model's.
#[derive(Debug)]
pub struct Difference {
    /// The last one was answered otherwise.
    steps: Vec<Step>,
    expected: Answer,
    actual: Answer,
}

impl Difference {
    /// How many steps show it.
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
        writeln!(f, "the store's answer is not the one of the contract:")?;
        for step in steps {
            writeln!(f, "  {step:?}")?;
        }
        write!(f, "expected: {expected}; got: {actual}")
    }
}

/// What a history is made of. A settlement is by the newest lease on its key, or by
/// one so many `back`, down to the first: said so, it means much the same when other
/// steps are left out.
#[derive(Clone, Copy, Debug)]
enum Step {
    Claim {
        key: usize,
        options: ClaimOptions,
    },
    Commit {
        key: usize,
        back: usize,
        retention: Duration,
    },
    Release {
        key: usize,
        back: usize,
    },
    Advance(Duration),
    AdvanceTo {
        next_end_of: usize,
        side: Side,
    },
}

/// Of an end.
#[derive(Clone, Copy, Debug)]
enum Side {
    JustBefore,
    Exactly,
}

#[derive(Debug)]
enum Answer {
    Granted {
        attempt: u32,
    },
    InFlight {
        remaining: Duration,
    },
    Done,
    Settled(Settled),
    /// One that no store may give here.
    Wrong(String),
}

impl Answer {
    fn is_what_follows(&self, expected: &Self, slack: Duration) -> bool {
        match (self, expected) {
            (Self::Granted { attempt }, Self::Granted { attempt: expected }) => attempt == expected,
            (
                Self::InFlight { remaining },
                Self::InFlight {
                    remaining: expected,
                },
            ) => remaining <= expected && *remaining >= expected.saturating_sub(slack),
            (Self::Done, Self::Done) => true,
            (Self::Settled(settled), Self::Settled(expected)) => settled == expected,
            _ => false,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { attempt } => write!(f, "granted, attempt {attempt}"),
            Self::InFlight { remaining } => write!(f, "in flight, {remaining:?} remaining"),
            Self::Done => f.write_str("done"),
            Self::Settled(settled) => write!(f, "{settled:?}"),
            Self::Wrong(answer) => f.write_str(answer),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let lease = || (0..KEYS, prop_oneof![3 => 0..1_usize, 1 => 1..10_usize]);
    let side = any::<bool>().prop_map(|exactly| match exactly {
        true => Side::Exactly,
        false => Side::JustBefore,
    });
    let durations = [
        GRAIN,
        Duration::from_secs(4),
        CLAIM_OPTIONS.lease,
        CLAIM_OPTIONS.attempt_retention,
        Duration::from_secs(661),
    ];
    prop_oneof![
        6 => (0..KEYS, select(&ALL_TERMS[..]))
            .prop_map(|(key, options)| Step::Claim { key, options }),
        2 => (lease(), select(&RETENTIONS[..]))
            .prop_map(|((key, back), retention)| Step::Commit { key, back, retention }),
        2 => lease().prop_map(|(key, back)| Step::Release { key, back }),
        1 => select(durations.to_vec()).prop_map(Step::Advance),
        4 => (0..KEYS, side)
            .prop_map(|(next_end_of, side)| Step::AdvanceTo { next_end_of, side }),
    ]
}

/// A store, and how many histories it has seen: each has keys of its own.
struct Histories<H> {
    harness: H,
    begun: u64,
}

impl<H: Harness> Histories<H> {
    async fn run(&mut self, steps: &[Step]) -> Option<Difference> {
        for _ in 0..3 {
            self.begun += 1;
            let begun = Instant::now();
            let difference = History::new(&self.harness, self.begun).run(steps).await;
            // Slower than its slack, a store has let leases run out by itself.
            if difference.is_none() || H::SLACK.is_zero() || begun.elapsed() <= H::SLACK {
                return difference;
            }
        }
        panic!("{} steps take longer than {:?}", steps.len(), H::SLACK);
    }

    /// Leaves out every step without which there is a difference still. Shrinking
    /// tries each once, and some can go only after others.
    async fn leave_out(&mut self, mut difference: Difference) -> Difference {
        let mut index = difference.steps.len();
        while index > 0 {
            index -= 1;
            let mut steps = difference.steps.clone();
            steps.remove(index);
            if let Some(smaller) = self.run(&steps).await {
                index = smaller.steps.len();
                difference = smaller;
            }
        }
        difference
    }
}

/// One case: the store and the model, side by side.
struct History<'h, H> {
    harness: &'h H,
    number: u64,
    model: Model,
    /// Every one that was granted, in the model's order.
    leases: Vec<Lease>,
}

impl<'h, H: Harness> History<'h, H> {
    fn new(harness: &'h H, number: u64) -> Self {
        Self {
            harness,
            number,
            model: Model::default(),
            leases: Vec::new(),
        }
    }

    async fn run(mut self, steps: &[Step]) -> Option<Difference> {
        for (index, step) in steps.iter().enumerate() {
            if let Some((expected, actual)) = self.step(*step).await
                && !actual.is_what_follows(&expected, H::SLACK)
            {
                return Some(Difference {
                    steps: steps[..=index].to_vec(),
                    expected,
                    actual,
                });
            }
            self.leave_what_cannot_be_told().await;
        }
        None
    }

    /// What the model and the store answer; none if there is nothing to answer.
    async fn step(&mut self, step: Step) -> Option<(Answer, Answer)> {
        let store = self.harness.store();
        match step {
            Step::Claim { key, options } => {
                let expected = self.model.claim(key, options);
                let actual = store.claim(self.key(key), options).await;
                Some((expected, self.claimed(key, actual)))
            }
            Step::Commit {
                key,
                back,
                retention,
            } => {
                let lease = self.lease(key, back)?;
                let expected = self.model.commit(lease, retention);
                let actual = store.commit(&self.leases[lease], retention).await;
                Some((Answer::Settled(expected), settled(actual)))
            }
            Step::Release { key, back } => {
                let lease = self.lease(key, back)?;
                let expected = self.model.release(lease);
                let actual = store.release(&self.leases[lease]).await;
                Some((Answer::Settled(expected), settled(actual)))
            }
            Step::Advance(duration) => {
                self.advance(duration).await;
                None
            }
            Step::AdvanceTo { next_end_of, side } => {
                let left = self.model.next_end(next_end_of)? - self.model.now;
                self.advance(match side {
                    Side::Exactly => left,
                    Side::JustBefore => left.saturating_sub(H::SLACK + GRAIN),
                })
                .await;
                None
            }
        }
    }

    fn claimed(&mut self, key: usize, claim: Result<Claim, StoreError>) -> Answer {
        let lease = match claim {
            Ok(Claim::Granted(lease)) => lease,
            Ok(Claim::InFlight { remaining }) => return Answer::InFlight { remaining },
            Ok(Claim::Done) => return Answer::Done,
            Ok(Claim::Full) => return Answer::Wrong("full".into()),
            Ok(Claim::Forgotten) => return Answer::Wrong("forgotten".into()),
            Ok(Claim::Conflict) => return Answer::Wrong("conflict".into()),
            Err(error) => return Answer::Wrong(error.to_string()),
        };
        if lease.key() != self.key(key) {
            return Answer::Wrong(format!("{lease:?}, on a key that was not claimed"));
        }
        let is_again =
            |earlier: &Lease| earlier.key() == lease.key() && earlier.token() == lease.token();
        if self.leases.iter().any(is_again) {
            return Answer::Wrong(format!("{lease:?}, with the token of an earlier one"));
        }
        let attempt = lease.attempt();
        self.leases.push(lease);
        Answer::Granted { attempt }
    }

    async fn advance(&mut self, duration: Duration) {
        self.model.now += duration;
        self.harness.advance(duration).await;
    }

    /// A store's time may be ahead of the model's by the slack. Where an end is so
    /// near that it may have passed for the store, lets it pass for both.
    async fn leave_what_cannot_be_told(&mut self) {
        let is_near = |left: &Duration| *left < H::SLACK + GRAIN;
        while let Some(left) = (0..KEYS)
            .filter_map(|key| self.model.next_end(key))
            .map(|end| end - self.model.now)
            .find(is_near)
        {
            self.advance(left).await;
        }
    }

    fn lease(&self, key: usize, back: usize) -> Option<usize> {
        let leases = self.model.leases.iter().enumerate().rev();
        let on_key = leases.filter(|(_, of)| **of == key).take(back + 1);
        on_key.last().map(|(lease, _)| lease)
    }

    fn key(&self, key: usize) -> ReplayKey {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..].copy_from_slice(&(key as u64).to_be_bytes());
        ReplayKey::from_bytes(bytes)
    }
}

fn settled(answer: Result<Settled, StoreError>) -> Answer {
    answer.map_or_else(|error| Answer::Wrong(error.to_string()), Answer::Settled)
}

/// A lease that was never granted.
const NOBODYS: usize = usize::MAX;

/// The contract, as simply as it can be put.
#[derive(Default)]
struct Model {
    now: Duration,
    entries: [Option<Entry>; KEYS],
    /// The keys of all leases.
    leases: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Entry {
    InFlight {
        lease: usize,
        attempt: u32,
        lease_end: Duration,
        forget_at: Duration,
    },
    Done {
        until: Duration,
    },
}

impl Model {
    fn claim(&mut self, key: usize, options: ClaimOptions) -> Answer {
        let attempt = match self.live(key) {
            Some(Entry::Done { .. }) => return Answer::Done,
            Some(Entry::InFlight { lease_end, .. }) if self.now < lease_end => {
                let remaining = lease_end - self.now;
                return Answer::InFlight { remaining };
            }
            Some(Entry::InFlight { attempt, .. }) => attempt + 1,
            None => 1,
        };
        let lease_end = self.now + options.lease;
        self.entries[key] = Some(Entry::InFlight {
            lease: self.leases.len(),
            attempt,
            lease_end,
            forget_at: lease_end + options.attempt_retention,
        });
        self.leases.push(key);
        Answer::Granted { attempt }
    }

    fn commit(&mut self, lease: usize, retention: Duration) -> Settled {
        let until = self.now + retention;
        self.settle(lease, Some(Entry::Done { until }))
    }

    fn release(&mut self, lease: usize) -> Settled {
        let left = match self.live(self.leases[lease]) {
            // The leases before it ended with nobody knowing; that is still so.
            Some(Entry::InFlight {
                attempt, forget_at, ..
            }) if attempt > 1 => Some(Entry::InFlight {
                lease: NOBODYS,
                attempt: attempt - 1,
                lease_end: self.now,
                forget_at,
            }),
            _ => None,
        };
        self.settle(lease, left)
    }

    fn settle(&mut self, by: usize, to: Option<Entry>) -> Settled {
        let key = self.leases[by];
        match self.live(key) {
            Some(Entry::InFlight { lease, .. }) if lease == by => {
                self.entries[key] = to;
                Settled::Applied
            }
            _ => Settled::Stale,
        }
    }

    /// What is remembered of a key.
    fn live(&self, key: usize) -> Option<Entry> {
        self.entries[key].filter(|entry| {
            self.now
                < match entry {
                    Entry::InFlight { forget_at, .. } => *forget_at,
                    Entry::Done { until } => *until,
                }
        })
    }

    /// The next moment at which time alone changes what a claim is answered.
    fn next_end(&self, key: usize) -> Option<Duration> {
        Some(match self.live(key)? {
            Entry::InFlight { lease_end, .. } if self.now < lease_end => lease_end,
            Entry::InFlight { forget_at, .. } => forget_at,
            Entry::Done { until } => until,
        })
    }
}
