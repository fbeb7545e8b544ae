//! Compares a queue with the reference in random histories, and shrinks a difference.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::harness::Harness;
use super::history::{Difference, History};
use super::steps::{Step, random_steps};
use crate::memory::Limits;

/// Runs `cases` random histories against a queue and the reference implementation.
///
/// A history has 40 steps on average: deliveries, leases, settlements by any lease that was
/// granted before, acts of the operator, ends of the process, and advances of the clock. After
/// each step, the results and all entries are compared.
///
/// A queue that declines an ability is not compared.
///
/// # Panics
///
/// Panics if the queue differs. The message has the shortest history that was found.
pub async fn compare_with_model<H: Harness>(new: impl AsyncFn(Limits) -> H, cases: u32) {
    if let [(ability, reason), ..] = H::DECLINED {
        eprintln!("skipped: {ability:?} is declined, because {reason}");
        return;
    }
    if let Some(difference) = find_difference(new, cases).await {
        panic!("{difference}");
    }
}

/// Does the same as [`compare_with_model`], but returns the difference.
///
/// # Panics
///
/// Panics if the queue does not answer.
pub async fn find_difference<H: Harness>(
    new: impl AsyncFn(Limits) -> H,
    cases: u32,
) -> Option<Difference> {
    /// The maximum number of histories that are run to shrink a difference.
    const MAX_SHRINK_RUNS: u32 = 500;

    let run = async |steps: &[Step]| {
        let history = History::new(new(Limits::default()).await);
        history.run(steps).await
    };
    let mut runner = TestRunner::default();
    for _ in 0..cases {
        let mut tree = random_steps()
            .new_tree(&mut runner)
            .expect("the strategy rejects no value");
        let Some(mut smallest) = run(&tree.current()).await else {
            continue;
        };
        let mut runs = 0;
        let mut is_changed = tree.simplify();
        while is_changed && runs < MAX_SHRINK_RUNS {
            runs += 1;
            is_changed = match run(&tree.current()).await {
                Some(smaller) => {
                    smallest = smaller;
                    tree.simplify()
                }
                None => tree.complicate(),
            };
        }
        return Some(smallest);
    }
    None
}
