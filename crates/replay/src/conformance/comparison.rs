//! Compares a store with the model in random histories, and shrinks a difference.

use std::time::Instant;

use proptest::prelude::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::harness::Harness;

use super::history::{Difference, History, Step, random_steps};

/// Runs `cases` random histories against a store and the model.
///
/// A history has 50 steps on average. A step is a claim, a settlement or a renewal by any lease that
/// was granted before, a key that is forgotten or recorded as done, or an advance of the clock. The clock advances by a random time, or to the
/// next end of a lease or a retention, exactly or just before. The harness is created once,
/// and each history uses new keys.
///
/// # Panics
///
/// Panics if a result of the store violates the contract. The message contains the shortest
/// history that was found to show it.
pub async fn compare_with_model<H: Harness, F: Future<Output = H>>(
    new: impl FnOnce() -> F,
    cases: u32,
) {
    if let Some(difference) = find_difference(new, cases).await {
        panic!("{difference}");
    }
}

/// Does the same as [`compare_with_model`], but returns the difference.
///
/// # Panics
///
/// Panics if the harness's clock runs ahead by more than [`Harness::SLACK`] during a history,
/// because the results prove nothing then.
pub async fn find_difference<H: Harness, F: Future<Output = H>>(
    new: impl FnOnce() -> F,
    cases: u32,
) -> Option<Difference> {
    /// The maximum number of histories that are run to shrink a difference.
    const MAX_SHRINK_RUNS: u32 = 2_000;

    let mut comparison = Comparison {
        harness: new().await,
        histories: 0,
    };
    let mut runner = TestRunner::default();
    for _ in 0..cases {
        let mut tree = random_steps()
            .new_tree(&mut runner)
            .expect("the strategy rejects no value");
        let Some(mut smallest) = comparison.run(&tree.current()).await else {
            continue;
        };
        let mut runs = 0;
        let mut is_changed = tree.simplify();
        while is_changed && runs < MAX_SHRINK_RUNS {
            runs += 1;
            is_changed = match comparison.run(&tree.current()).await {
                Some(smaller) => {
                    smallest = smaller;
                    tree.simplify()
                }
                None => tree.complicate(),
            };
        }
        return Some(comparison.remove_needless_steps(smallest).await);
    }
    None
}

/// A harness, and the number of histories that it has run.
struct Comparison<H> {
    harness: H,
    histories: u64,
}

impl<H: Harness> Comparison<H> {
    async fn run(&mut self, steps: &[Step]) -> Option<Difference> {
        const MAX_RUNS: usize = 3;
        for _ in 0..MAX_RUNS {
            self.histories += 1;
            let start = Instant::now();
            let history = History::new(&self.harness, self.histories);
            let difference = history.run(steps).await;
            // In a history that took longer than the slack, leases may have ended by
            // themselves. It proves nothing and is run again.
            if difference.is_none() || H::SLACK.is_zero() || start.elapsed() <= H::SLACK {
                return difference;
            }
        }
        panic!("{} steps take longer than {:?}", steps.len(), H::SLACK);
    }

    /// Removes every step without which the difference remains.
    ///
    /// Shrinking tries each step once, but some steps can only be removed after others. So
    /// this starts over after each removal.
    async fn remove_needless_steps(&mut self, mut difference: Difference) -> Difference {
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
