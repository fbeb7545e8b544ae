//! The consequences of each outcome of an attempt.

use std::sync::Arc;
use std::time::Duration;

use hookgate_queue::{
    AttemptResult, BreakerState, End, EntryState, FailureKind, Order, RetrySchedule, Target,
};
use tokio::time::sleep;

use super::upstream::{Answer, LEASE, SCHEDULE, Upstream, assert_between, target};

#[tokio::test(start_paused = true)]
async fn an_accepted_delivery_is_done_after_its_event() {
    let upstream = Upstream::new([target("github", 8)]);
    let workers = upstream.start_workers();
    upstream.store("github", 1..=3).await;
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.results(), [AttemptResult::Delivered; 3]);
    let mut ended = upstream.ended();
    ended.sort_by_key(|(number, _)| *number);
    assert_eq!(ended, [1, 2, 3].map(|number| (number, End::Delivered)));
}

#[tokio::test(start_paused = true)]
async fn a_temporary_failure_is_retried_by_the_schedule_with_jitter() {
    let failures = [300, 307, 408, 425, 429, 500, 502, 503, 599].map(Answer::Status);
    let no_response = FailureKind::ALL
        .into_iter()
        .filter(|kind| *kind != FailureKind::Damaged)
        .map(Answer::Failed);
    for failure in failures.into_iter().chain(no_response) {
        let upstream = Upstream::new([target("github", 8)]);
        let workers = upstream.start_workers();
        let answers = [[failure; 4].as_slice(), &[Answer::Status(200)]].concat();
        upstream.answer(1, answers);
        upstream.store("github", [1]).await;
        upstream.drained().await;
        workers.stop().await;
        let waits = upstream.waits(1);
        assert_eq!(waits.len(), 4, "{failure:?}");
        for (wait, expected) in waits.into_iter().zip([10.0, 20.0, 40.0, 80.0]) {
            assert_between(wait, 0.8 * expected, 1.2 * expected);
        }
        let attempts: Vec<_> = upstream.sent().iter().map(|sent| sent.attempt).collect();
        assert_eq!(attempts, [1, 2, 3, 4, 5]);
    }
}

/// A damaged delivery neither opens the breaker nor holds up the deliveries behind it.
#[tokio::test(start_paused = true)]
async fn a_damaged_delivery_is_a_dead_letter_at_once() {
    let github = Target {
        order: Order::Source,
        ..target("github", 8)
    };
    let gate = Arc::clone(&github.upstream);
    let upstream = Upstream::new([github]);
    let workers = upstream.start_workers();
    for number in 1..=6 {
        upstream.answer(number, [Answer::Failed(FailureKind::Damaged)]);
    }
    upstream.store("github", 1..=7).await;
    sleep(Duration::from_secs(1)).await;
    workers.stop().await;
    let dead = (1..=6).map(|number| (number, EntryState::Dead));
    assert_eq!(upstream.left().await, dead.collect::<Vec<_>>());
    assert_eq!(gate.breaker().state(), BreakerState::Closed);
    assert_eq!(upstream.ended().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_respected_up_to_the_longest_wait() {
    for (seconds, shortest, longest) in [(1, 8.0, 12.0), (50, 50.0, 50.0), (86_400, 100.0, 100.0)] {
        let upstream = Upstream::new([target("github", 8)]);
        let workers = upstream.start_workers();
        upstream.answer(1, [Answer::RetryAfter(429, seconds), Answer::Status(200)]);
        upstream.store("github", [1]).await;
        upstream.drained().await;
        workers.stop().await;
        assert_between(upstream.waits(1)[0], shortest, longest);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_gone_is_a_dead_letter_at_once() {
    let upstream = Upstream::new([target("github", 8)]);
    let workers = upstream.start_workers();
    upstream.answer_all(Answer::Status(410));
    upstream.store("github", [1]).await;
    sleep(SCHEDULE.give_up).await;
    workers.stop().await;
    assert_eq!(upstream.left().await, [(1, EntryState::Dead)]);
    assert_eq!(upstream.results(), [AttemptResult::Dead]);
    assert_eq!(upstream.ended(), [(1, End::Dead)]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_delivery_is_a_dead_letter_after_three_attempts() {
    for status in [400, 401, 404, 413, 422] {
        let upstream = Upstream::new([target("github", 8)]);
        let workers = upstream.start_workers();
        upstream.answer_all(Answer::Status(status));
        upstream.store("github", [1]).await;
        sleep(SCHEDULE.give_up).await;
        workers.stop().await;
        assert_eq!(upstream.left().await, [(1, EntryState::Dead)]);
        let [.., failure] = &upstream.infos().await[..] else {
            panic!("the dead letter is listed");
        };
        assert_eq!(failure.last_failure.unwrap().status, Some(status));
        use AttemptResult::{Dead, Retried};
        assert_eq!(upstream.results(), [Retried, Retried, Dead]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_fails_for_too_long_is_a_dead_letter() {
    let upstream = Upstream::new([target("github", 8)]);
    let workers = upstream.start_workers();
    upstream.answer_all(Answer::Status(503));
    upstream.store("github", [1]).await;
    sleep(2 * SCHEDULE.give_up).await;
    workers.stop().await;
    assert_eq!(upstream.left().await, [(1, EntryState::Dead)]);
    let sent = upstream.sent();
    let before_last = sent[sent.len() - 2].at;
    assert!(before_last < SCHEDULE.give_up, "{before_last:?}");
    assert!(sent[sent.len() - 1].at >= SCHEDULE.give_up);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_cannot_be_tried_is_put_back_and_not_counted() {
    let upstream = Upstream::new([target("github", 1)]);
    let workers = upstream.start_workers();
    let not_tried = [Answer::NotTried; 8];
    upstream.answer(1, [not_tried.as_slice(), &[Answer::Status(200)]].concat());
    upstream.store("github", [1]).await;
    upstream.drained().await;
    workers.stop().await;
    let waits: Vec<_> = upstream.waits(1);
    for (wait, seconds) in waits
        .into_iter()
        .zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0])
    {
        assert_between(wait, seconds, seconds);
    }
    assert!(upstream.sent().iter().all(|sent| sent.attempt == 1));
    let results = upstream.results();
    assert_eq!(results[..8], [AttemptResult::Error; 8]);
    assert_eq!(results[8..], [AttemptResult::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn the_pause_of_a_source_is_short_again_after_a_delivery_was_tried() {
    let upstream = Upstream::new([target("github", 1)]);
    let workers = upstream.start_workers();
    let not_tried = Answer::NotTried;
    let tried = Answer::RetryAfter(503, 50);
    let answers = [not_tried, not_tried, not_tried, tried, not_tried];
    upstream.answer(1, answers.into_iter().chain([Answer::Status(200)]));
    upstream.store("github", [1]).await;
    upstream.drained().await;
    workers.stop().await;
    let waits = upstream.waits(1);
    for (wait, seconds) in waits.into_iter().zip([1.0, 2.0, 4.0, 50.0, 1.0]) {
        assert_between(wait, seconds, seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_deliveries_cannot_be_tried_pauses() {
    let upstream = Upstream::new([target("github", 4)]);
    let workers = upstream.start_workers();
    upstream.answer_all(Answer::NotTried);
    upstream.store("github", 0..1_000).await;
    sleep(Duration::from_secs(60)).await;
    let sent = upstream.sent().len();
    assert!(sent <= 4 * 8, "{sent} deliveries were prepared in a minute");
    upstream.answer_all(Answer::Status(200));
    upstream.drained().await;
    workers.stop().await;
}

/// After a downgrade, the queue can have entries of a newer version.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_another_version_can_read_holds_up_no_other_one() {
    let upstream = Upstream::new([target("github", 4)]);
    let workers = upstream.start_workers();
    for number in 0..10 {
        upstream.answer(
            number,
            [Answer::Unreadable, Answer::Unreadable, Answer::Status(200)],
        );
    }
    upstream.store("github", 0..1_000).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(upstream.left().await.len(), 10);
    upstream.drained().await;
    workers.stop().await;
    // The entries come again once a minute, and their attempts do not count.
    assert_between(upstream.waits(1)[0], 60.0, 62.0);
    assert!(upstream.sent().iter().all(|sent| sent.attempt == 1));
    let results = upstream.results();
    let errors = results
        .iter()
        .filter(|result| **result == AttemptResult::Error);
    assert_eq!(errors.count(), 20);
}

/// The deliveries of a tenant that was removed. The control is
/// [`a_source_whose_deliveries_cannot_be_tried_pauses`].
#[tokio::test(start_paused = true)]
async fn a_delivery_without_a_receiver_holds_up_no_other_one_and_dies_when_its_time_is_up() {
    let upstream = Upstream::new([target("github", 4)]);
    let workers = upstream.start_workers();
    for number in 0..10 {
        upstream.answer(number, [Answer::NoReceiver]);
    }
    upstream.store("github", 0..1_000).await;
    sleep(Duration::from_secs(30)).await;
    let waiting: Vec<_> = (0..10)
        .map(|number| (number, EntryState::Waiting))
        .collect();
    assert_eq!(upstream.left().await, waiting);
    // The tenant of one delivery comes back.
    upstream.answer(0, [Answer::Status(200)]);
    sleep(SCHEDULE.give_up + Duration::from_secs(60)).await;
    workers.stop().await;
    let dead: Vec<_> = (1..10).map(|number| (number, EntryState::Dead)).collect();
    assert_eq!(upstream.left().await, dead);
    let failure = upstream.infos().await[0].last_failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert_between(upstream.waits(0)[0], 60.0, 62.0);
    assert!(upstream.sent().iter().all(|sent| sent.attempt == 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_neither_loses_the_delivery_nor_stops_the_workers() {
    let upstream = Upstream::new([target("github", 1)]);
    let workers = upstream.start_workers();
    upstream.answer(1, [Answer::Panic, Answer::Status(200)]);
    upstream.store("github", 1..=20).await;
    upstream.drained().await;
    workers.stop().await;
    assert_between(upstream.waits(1)[0], 8.0, 12.0);
    let errors = upstream.results();
    let errors = errors
        .iter()
        .filter(|result| **result == AttemptResult::Error);
    assert_eq!(errors.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_with_its_lease() {
    let upstream = Upstream::new([target("github", 1)]);
    let workers = upstream.start_workers();
    upstream.answer(1, [Answer::Hang, Answer::Status(200)]);
    upstream.store("github", [1]).await;
    sleep(LEASE + Duration::from_secs(1)).await;
    let info = upstream.infos().await.remove(0);
    let failure = info.last_failure.unwrap();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    upstream.drained().await;
    workers.stop().await;
    // The attempt leaves an eighth of its lease for recording.
    let given_up = (LEASE - LEASE / 8).as_secs_f64();
    assert_between(upstream.waits(1)[0], given_up + 8.0, given_up + 12.0);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_delivery_includes_its_attempt() {
    let mut slow = target("github", 1);
    slow.schedule = RetrySchedule {
        give_up: LEASE / 2,
        ..SCHEDULE
    };
    let upstream = Upstream::new([slow]);
    let workers = upstream.start_workers();
    upstream.answer_all(Answer::Hang);
    upstream.store("github", [1]).await;
    sleep(2 * LEASE).await;
    workers.stop().await;
    assert_eq!(upstream.left().await, [(1, EntryState::Dead)]);
    assert_eq!(upstream.sent().len(), 1);
}
