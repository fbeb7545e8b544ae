//! Targets that change while the workers run.

use std::time::Duration;

use hookgate_queue::{EntryState, RetrySchedule, Target};
use tokio::time::sleep;

use super::upstream::{Answer, SCHEDULE, Upstream, assert_between, target};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_new_schedule_applies_to_attempts_in_flight() {
    let github = target("github", 1);
    let upstream = Upstream::with_latency([github.clone()], SECOND);
    upstream.answer(1, [Answer::Status(503), Answer::Status(200)]);
    upstream.store("github", [1]).await;
    let workers = upstream.start_workers();
    sleep(SECOND / 2).await;
    upstream.set_targets([Target {
        schedule: RetrySchedule {
            first: 90 * SECOND,
            ..SCHEDULE
        },
        ..github
    }]);
    upstream.drained().await;
    workers.stop().await;
    assert_between(upstream.waits(1)[0], 1.0 + 72.0, 1.0 + 100.0);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_target_is_kept_and_not_sent() {
    let github = target("github", 8);
    let upstream = Upstream::new([github.clone()]);
    upstream.store("github", [1]).await;
    upstream.store("removed", [2]).await;
    let workers = upstream.start_workers();
    sleep(3600 * SECOND).await;
    assert_eq!(upstream.left().await, [(2, EntryState::Waiting)]);

    upstream.set_targets([github, target("removed", 8)]);
    sleep(SECOND).await;
    assert!(upstream.left().await.is_empty());
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_target_is_noticed_within_a_second() {
    let upstream = Upstream::new([]);
    upstream.store("github", [1]).await;
    let workers = upstream.start_workers();
    sleep(10 * SECOND).await;
    assert!(upstream.sent().is_empty());
    upstream.set_targets([target("github", 8)]);
    sleep(SECOND).await;
    assert_eq!(upstream.sent().len(), 1);
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_removed_source_is_recorded() {
    let upstream = Upstream::with_latency([target("github", 1)], SECOND);
    upstream.store("github", [1]).await;
    let workers = upstream.start_workers();
    sleep(SECOND / 2).await;
    upstream.set_targets([]);
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.sent().len(), 1);
}
