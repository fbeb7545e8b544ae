//! Attempts that take longer than their lease.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_queue::{AttemptResult, FailureKind, Target};
use tokio::time::sleep;

use super::upstream::{Answer, LEASE, Upstream, target};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a target whose attempts may take 10 leases.
fn patient() -> Target {
    Target {
        max_run: 10 * LEASE,
        ..target("github", 8)
    }
}

/// Two processes lease from the queue. The control is a target whose leases are not renewed.
#[tokio::test(start_paused = true)]
async fn an_attempt_of_several_leases_is_one_attempt() {
    for (target, is_renewed) in [(patient(), true), (target("github", 8), false)] {
        let upstream = Upstream::new([target]);
        let workers = [upstream.start_workers(), upstream.start_workers()];
        upstream.answer_all(Answer::Slow(3 * LEASE));
        upstream.store("github", [1]).await;
        sleep(4 * LEASE).await;
        assert_eq!(upstream.sent_count() == 1, is_renewed);
        assert_eq!(upstream.most_in_flight.load(Ordering::SeqCst), 1);
        for workers in workers {
            workers.stop().await;
        }
        assert_eq!(upstream.left().await.is_empty(), is_renewed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_after_its_longest_run() {
    let upstream = Upstream::new([patient()]);
    let workers = upstream.start_workers();
    upstream.answer(1, [Answer::Hang, Answer::Status(200)]);
    upstream.store("github", [1]).await;
    sleep(10 * LEASE - SECOND).await;
    assert_eq!(upstream.results(), []);
    sleep(2 * SECOND).await;
    assert_eq!(upstream.results(), [AttemptResult::Retried]);
    let failure = upstream.infos().await[0].last_failure.unwrap();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    upstream.drained().await;
    workers.stop().await;
}

/// The attempt ends before another worker can lease the entry.
#[tokio::test(start_paused = true)]
async fn an_attempt_ends_with_its_lease_if_the_queue_does_not_renew_it() {
    for outage in [LEASE / 2, 2 * LEASE] {
        let upstream = Upstream::new([patient()]);
        let workers = upstream.start_workers();
        upstream.answer(1, [Answer::Slow(3 * LEASE), Answer::Status(200)]);
        upstream.store("github", [1]).await;
        sleep(SECOND).await;
        upstream.queue.is_down.store(true, Ordering::SeqCst);
        sleep(outage).await;
        upstream.queue.is_down.store(false, Ordering::SeqCst);
        upstream.drained().await;
        workers.stop().await;
        let attempts = 1 + usize::from(outage > LEASE);
        assert_eq!(upstream.sent_count(), attempts, "{outage:?}");
        assert_eq!(upstream.most_in_flight.load(Ordering::SeqCst), 1);
    }
}

/// Another process can lease the entry when the lease ends.
#[tokio::test(start_paused = true)]
async fn an_attempt_ends_before_its_lease_while_the_queue_is_down() {
    let upstream = Upstream::new([patient()]);
    let workers = upstream.start_workers();
    upstream.answer_all(Answer::Hang);
    upstream.store("github", [1]).await;
    sleep(SECOND).await;
    upstream.queue.is_down.store(true, Ordering::SeqCst);
    sleep(LEASE - 3 * SECOND).await;
    assert_eq!(upstream.in_flight.load(Ordering::SeqCst), 1);
    sleep(SECOND).await;
    assert_eq!(upstream.in_flight.load(Ordering::SeqCst), 0);
    drop(workers);
}

/// An eighth of the lease is for recording the result.
#[tokio::test(start_paused = true)]
async fn an_entry_whose_lease_is_almost_over_when_the_queue_answers_is_not_sent() {
    let late = LEASE - LEASE / 8;
    for (latency, sent) in [(late - SECOND / 100, 1), (late, 0)] {
        let upstream = Upstream::new([target("github", 8)]);
        *upstream.queue.lease_latency.lock() = latency;
        upstream.store("github", [1]).await;
        let workers = upstream.start_workers();
        sleep(LEASE).await;
        workers.stop().await;
        assert_eq!(upstream.sent_count(), sent, "{latency:?}");
        let left = upstream.left().await.len();
        assert_eq!(left, 1 - sent, "nothing is lost");
    }
}

/// A result that comes long after the first lease is recorded, too.
#[tokio::test(start_paused = true)]
async fn the_result_of_a_long_attempt_is_recorded_when_the_queue_is_back() {
    let upstream = Upstream::new([patient()]);
    let workers = upstream.start_workers();
    upstream.answer_all(Answer::Slow(8 * LEASE));
    upstream.store("github", [1]).await;
    sleep(8 * LEASE - SECOND).await;
    upstream.queue.is_down.store(true, Ordering::SeqCst);
    sleep(5 * SECOND).await;
    upstream.queue.is_down.store(false, Ordering::SeqCst);
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.results(), [AttemptResult::Delivered]);
    assert_eq!(upstream.sent_count(), 1);
}
