//! The breaker, seen from the workers and from direct attempts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_queue::{
    AttemptOutcome, Breaker, BreakerEvent, BreakerState, DirectAttempt, FailureKind, UpstreamGate,
    Workers,
};
use http::StatusCode;
use tokio::time::{advance, sleep};

use super::upstream::{Answer, Upstream, beside, target};

const SECOND: Duration = Duration::from_secs(1);

const FAILED: AttemptOutcome = AttemptOutcome::Failed(FailureKind::Unreachable);

const ACCEPTED: AttemptOutcome = AttemptOutcome::Response {
    status: StatusCode::OK,
    retry_after: None,
};

fn open_breaker() -> Breaker {
    let breaker = Breaker::new();
    for _ in 0..5 {
        let attempt = breaker.direct_attempt();
        attempt.expect("the breaker is closed").record(FAILED);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_open_the_breaker() {
    let breaker = Breaker::new();
    for _ in 0..10 {
        for _ in 0..4 {
            breaker.record(BreakerEvent::Failure);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.record(BreakerEvent::Success);
    }
    for _ in 0..5 {
        breaker.direct_attempt().unwrap().record(FAILED);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(breaker.direct_attempt().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_direct_delivery_probes_after_each_pause() {
    let breaker = open_breaker();
    // Workers have one more second to probe first.
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        advance(pause * SECOND + SECOND - Duration::from_millis(1)).await;
        assert!(breaker.direct_attempt().is_none(), "{pause} s");
        advance(Duration::from_millis(1)).await;
        let probe = breaker.direct_attempt().unwrap();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(breaker.direct_attempt().is_none(), "a second one");
        probe.record(FAILED);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
    advance(31 * SECOND).await;
    breaker.direct_attempt().unwrap().record(ACCEPTED);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert!(breaker.direct_attempt().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_first_pause_is_short_again_after_a_success() {
    let breaker = open_breaker();
    advance(2 * SECOND).await;
    breaker.direct_attempt().unwrap().record(FAILED);
    breaker.record(BreakerEvent::Success);
    for _ in 0..5 {
        breaker.record(BreakerEvent::Failure);
    }
    advance(2 * SECOND).await;
    assert!(breaker.direct_attempt().is_some());
}

#[tokio::test(start_paused = true)]
async fn attempts_from_before_the_opening_do_not_lengthen_the_pause() {
    let breaker = open_breaker();
    for _ in 0..50 {
        breaker.record(BreakerEvent::Failure);
    }
    advance(2 * SECOND).await;
    assert!(breaker.direct_attempt().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_a_result_is_followed_by_another() {
    let breaker = open_breaker();
    advance(2 * SECOND).await;
    let _probe = breaker.direct_attempt().unwrap();
    advance(29 * SECOND).await;
    assert!(breaker.direct_attempt().is_none());
    advance(SECOND).await;
    assert!(breaker.direct_attempt().is_some());
}

/// The limit of connections of the gateway is no result, and a sender can hang up.
#[tokio::test(start_paused = true)]
async fn a_direct_probe_that_was_not_sent_is_followed_by_another_after_a_pause() {
    let not_sent: [fn(DirectAttempt<'_>); 2] = [
        |probe| probe.record(AttemptOutcome::NotTried),
        |probe| drop(probe),
    ];
    for end in not_sent {
        let breaker = open_breaker();
        advance(2 * SECOND).await;
        end(breaker.direct_attempt().unwrap());
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.direct_attempt().is_none());
        advance(2 * SECOND).await;
        assert!(breaker.direct_attempt().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_direct_delivery_in_order_never_probes() {
    let breaker = Breaker::new();
    assert!(breaker.direct_attempt_if_closed().is_some());
    let breaker = open_breaker();
    advance(2 * SECOND).await;
    assert!(breaker.direct_attempt_if_closed().is_none());
    assert!(breaker.direct_attempt().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_gets_single_probes() {
    let github = target("github", 8);
    let gate = Arc::clone(&github.upstream);
    let stripe = beside(&github, "stripe");
    let upstream = Upstream::with_latency([github, stripe], Duration::from_millis(10));
    upstream.answer_all(Answer::Failed(FailureKind::Unreachable));
    upstream.store("github", 0..500).await;
    upstream.store("stripe", 500..1_000).await;
    let workers = upstream.start_workers();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(gate.breaker().state(), BreakerState::Open);
    let before = upstream.sent().len();
    assert!(before <= 16, "{before} attempts until the breaker opened");
    sleep(121 * SECOND).await;
    // The probes come 1, 2, 4, 8, 16, 30, 30 and 30 seconds after each other.
    let probes = upstream.sent().len() - before;
    assert!((7..=8).contains(&probes), "{probes} probes");
    let [first, last] = [before + 1, before + probes - 1].map(|probe| upstream.sent()[probe].at);
    assert!(last - first >= 80 * SECOND);

    upstream.answer_all(Answer::Status(200));
    upstream.drained().await;
    assert_eq!(gate.breaker().state(), BreakerState::Closed);
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_deliveries_of_another_upstream_do_not_wait_for_a_breaker() {
    let upstream = Upstream::new([target("down", 8), target("well", 8)]);
    for number in 0..100 {
        upstream.answer(number, [Answer::Status(500)]);
    }
    let workers = upstream.start_workers();
    upstream.store("down", 0..100).await;
    sleep(SECOND).await;
    upstream.store("well", 100..200).await;
    sleep(SECOND).await;
    workers.stop().await;
    let sent = upstream.sent();
    assert_eq!(
        sent.iter().filter(|sent| sent.source == "well").count(),
        100
    );
}

#[tokio::test(start_paused = true)]
async fn rejected_deliveries_do_not_open_the_breaker() {
    let github = target("github", 1);
    let gate = Arc::clone(&github.upstream);
    let upstream = Upstream::new([github]);
    upstream.answer_all(Answer::Status(404));
    upstream.store("github", 0..20).await;
    let workers = upstream.start_workers();
    sleep(SECOND).await;
    workers.stop().await;
    assert_eq!(gate.breaker().state(), BreakerState::Closed);
}

/// Opens the breaker of a gate by direct attempts, and starts workers without entries.
fn open_by_direct_attempts(gate: &UpstreamGate, upstream: &Arc<Upstream>) -> Workers {
    for _ in 0..5 {
        gate.breaker().record(BreakerEvent::Failure);
    }
    upstream.start_workers()
}

#[tokio::test(start_paused = true)]
async fn a_direct_delivery_probes_if_nothing_waits() {
    // The workers ask a queue that does not know its sources for an entry, and return the probe.
    for hides_sources in [false, true] {
        let github = target("github", 8);
        let gate = Arc::clone(&github.upstream);
        let upstream = Upstream::new([github]);
        let queue = &upstream.queue;
        queue.hides_sources.store(hides_sources, Ordering::SeqCst);
        let workers = open_by_direct_attempts(&gate, &upstream);
        sleep(10 * SECOND).await;
        let probe = gate.breaker().direct_attempt().unwrap();
        assert!(gate.breaker().direct_attempt().is_none());
        // While the direct delivery probes, the workers wait.
        upstream.store("github", 0..10).await;
        sleep(2 * SECOND).await;
        assert_eq!(upstream.sent().len(), 0);
        probe.record(ACCEPTED);
        sleep(2 * SECOND).await;
        assert_eq!(upstream.sent().len(), 10);
        workers.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_delivery_probes_before_a_direct_one() {
    let github = target("github", 8);
    let gate = Arc::clone(&github.upstream);
    let upstream = Upstream::with_latency([github], SECOND);
    let workers = open_by_direct_attempts(&gate, &upstream);
    upstream.store("github", [1]).await;
    sleep(SECOND + Duration::from_millis(100)).await;
    assert_eq!(upstream.sent().len(), 1);
    assert_eq!(gate.breaker().state(), BreakerState::HalfOpen);
    assert!(gate.breaker().direct_attempt().is_none());
    sleep(SECOND).await;
    assert_eq!(gate.breaker().state(), BreakerState::Closed);
    workers.stop().await;
}

/// The workers look once a second, and the pause ends between two looks.
#[tokio::test(start_paused = true)]
async fn a_waiting_delivery_probes_when_the_pause_ends() {
    let github = target("github", 8);
    let gate = Arc::clone(&github.upstream);
    let upstream = Upstream::new([github]);
    let workers = upstream.start_workers();
    sleep(SECOND * 3 / 10).await;
    for _ in 0..5 {
        gate.breaker().record(BreakerEvent::Failure);
    }
    upstream.store("github", [1]).await;
    upstream.drained().await;
    workers.stop().await;
    let probed_at = upstream.sent()[0].at.as_secs_f64();
    assert!((1.3..1.35).contains(&probed_at), "{probed_at} s");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_cannot_be_sent_is_repeated() {
    let github = target("github", 8);
    let gate = Arc::clone(&github.upstream);
    let upstream = Upstream::new([github]);
    let workers = open_by_direct_attempts(&gate, &upstream);
    upstream.answer_all(Answer::NotTried);
    upstream.store("github", 0..50).await;
    sleep(20 * SECOND).await;
    let tried = upstream.sent().len();
    assert!((3..=6).contains(&tried), "{tried} probes");
    upstream.answer_all(Answer::Status(200));
    upstream.drained().await;
    workers.stop().await;
}

/// The attempt started before the breaker opened.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_not_sent_does_not_end_the_probe_of_another() {
    let github = target("github", 8);
    let gate = Arc::clone(&github.upstream);
    let upstream = Upstream::with_latency([github], 3 * SECOND);
    upstream.answer_all(Answer::NotTried);
    upstream.store("github", [1]).await;
    let workers = upstream.start_workers();
    sleep(SECOND / 10).await;
    for _ in 0..5 {
        gate.breaker().record(BreakerEvent::Failure);
    }
    sleep(2 * SECOND).await;
    let probe = gate.breaker().direct_attempt().unwrap();
    sleep(SECOND).await;
    assert_eq!(upstream.results().len(), 1);
    assert_eq!(gate.breaker().state(), BreakerState::HalfOpen);
    probe.record(ACCEPTED);
    workers.stop().await;
}
