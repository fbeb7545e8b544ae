//! Runs a model under many schedules.

use std::panic::{AssertUnwindSafe, catch_unwind};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};

use crate::stand_ins::time;

/// How many schedules each scheduler runs. `HOOKGATE_SCHEDULES` sets another number.
const SCHEDULES: usize = 20_000;

/// The number of ordered switches that a fault needs at most, for the second scheduler.
const DEPTH: usize = 4;

/// The futures of the gate need more than shuttle's 60 KiB.
const STACK: usize = 512 * 1024;

/// Checks that `model` holds in random schedules, and in schedules with few switches. A failure
/// prints its schedule, for `shuttle::replay`.
pub fn holds(model: fn()) {
    let schedules = schedules();
    run(
        model,
        RandomScheduler::new(schedules),
        FailurePersistence::Print,
    );
    run(
        model,
        PctScheduler::new(DEPTH, schedules),
        FailurePersistence::Print,
    );
}

/// Checks that `model`, a control, fails with a message that contains `expected`.
pub fn fails(model: fn(), expected: &str) {
    let random = RandomScheduler::new(schedules());
    let run = AssertUnwindSafe(|| run(model, random, FailurePersistence::None));
    let panic = catch_unwind(run).expect_err("the fault of the control was not found");
    let message = match panic.downcast_ref::<String>() {
        Some(message) => message.as_str(),
        None => panic.downcast_ref::<&str>().copied().unwrap_or_default(),
    };
    assert!(message.contains(expected), "expected {expected}: {message}");
}

fn run(model: fn(), scheduler: impl Scheduler + 'static, failure: FailurePersistence) {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.failure_persistence = failure;
    config.silence_warnings = true;
    // The gate's timers need a runtime. Its clock stands still, so that a wait without a wake-up is a
    // deadlock, and does not end by its timeout.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("the runtime starts");
    // A control leaves timers behind, whose tasks have ended. The end of the runtime would wake them.
    let runtime = Box::leak(Box::new(runtime));
    let _entered = runtime.enter();
    Runner::new(scheduler, config).run(move || {
        time::reset();
        model();
    });
}

fn schedules() -> usize {
    let given = std::env::var("HOOKGATE_SCHEDULES").ok();
    given.map_or(SCHEDULES, |given| {
        given.parse().expect("HOOKGATE_SCHEDULES is a number")
    })
}
