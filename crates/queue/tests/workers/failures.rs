//! A queue that fails, and processes that end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_queue::{AttemptResult, EntryState, LeaseRequest, Order, QueueStore};
use tokio::time::sleep;

use super::upstream::{Answer, LEASE, SCHEDULE, Upstream, target};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_down_is_asked_less_and_less_often() {
    let upstream = Upstream::new([target("github", 8)]);
    upstream.store("github", 0..10).await;
    upstream.queue.is_down.store(true, Ordering::SeqCst);
    let workers = upstream.start_workers();
    sleep(60 * SECOND).await;
    let looks = upstream.queue.looks.load(Ordering::SeqCst);
    assert!((8..=14).contains(&looks), "{looks} looks in a minute");
    upstream.queue.is_down.store(false, Ordering::SeqCst);
    sleep(11 * SECOND).await;
    assert!(upstream.left().await.is_empty());
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn new_entries_do_not_make_the_workers_ask_a_queue_that_is_down() {
    let upstream = Upstream::new([target("github", 8)]);
    upstream.queue.is_down.store(true, Ordering::SeqCst);
    let workers = upstream.start_workers();
    for number in 0..600 {
        upstream.store("github", [number]).await;
        sleep(SECOND / 10).await;
    }
    let looks = upstream.queue.looks.load(Ordering::SeqCst);
    assert!((8..=14).contains(&looks), "{looks} looks in a minute");
    upstream.queue.is_down.store(false, Ordering::SeqCst);
    upstream.drained().await;
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_is_recorded_when_the_queue_is_back() {
    let upstream = Upstream::with_latency([target("github", 8)], SECOND);
    upstream.store("github", 0..8).await;
    let workers = upstream.start_workers();
    sleep(Duration::from_millis(500)).await;
    upstream.queue.is_down.store(true, Ordering::SeqCst);
    sleep(5 * SECOND).await;
    assert_eq!(upstream.left().await.len(), 8);
    upstream.queue.is_down.store(false, Ordering::SeqCst);
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.sent().len(), 8, "nothing is sent twice");
    assert_eq!(upstream.results(), [AttemptResult::Delivered; 8]);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_recorded_after_the_lease_if_no_other_worker_has_the_entry() {
    let upstream = Upstream::with_latency([target("github", 8)], SECOND);
    upstream.store("github", [1]).await;
    let workers = upstream.start_workers();
    sleep(Duration::from_millis(500)).await;
    upstream.queue.is_down.store(true, Ordering::SeqCst);
    sleep(2 * LEASE).await;
    upstream.queue.is_down.store(false, Ordering::SeqCst);
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.results(), [AttemptResult::Delivered]);
    assert_eq!(upstream.sent_numbers(), [1], "nothing is sent twice");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_the_queue_refuses_waits_the_longest_time() {
    let upstream = Upstream::new([target("github", 8)]);
    upstream.answer_all(Answer::Status(410));
    upstream.store("github", [1]).await;
    upstream.queue.refuses_burials.store(true, Ordering::SeqCst);
    let workers = upstream.start_workers();
    sleep(4 * LEASE).await;
    assert_eq!(
        upstream.sent_numbers(),
        [1],
        "it is not sent after each lease"
    );
    upstream
        .queue
        .refuses_burials
        .store(false, Ordering::SeqCst);
    sleep(SCHEDULE.max).await;
    workers.stop().await;
    assert_eq!(upstream.sent_numbers(), [1, 1]);
    assert_eq!(upstream.left().await, [(1, EntryState::Dead)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_the_queue_refuses_once_is_not_sent_again() {
    let upstream = Upstream::new([target("github", 8)]);
    upstream.answer_all(Answer::Status(410));
    upstream.store("github", [1]).await;
    upstream.queue.refuses_burials.store(true, Ordering::SeqCst);
    let workers = upstream.start_workers();
    sleep(Duration::from_millis(50)).await;
    let refused = upstream.queue.settlements.load(Ordering::SeqCst);
    assert_eq!(refused, 1);
    upstream
        .queue
        .refuses_burials
        .store(false, Ordering::SeqCst);
    sleep(2 * SCHEDULE.max).await;
    workers.stop().await;
    assert_eq!(upstream.left().await, [(1, EntryState::Dead)]);
    assert_eq!(upstream.sent_numbers(), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_leaves_time_to_record_its_result() {
    let upstream = Upstream::new([target("github", 8)]);
    upstream.answer_all(Answer::Hang);
    upstream.store("github", [1]).await;
    let workers = upstream.start_workers();
    sleep(LEASE - SECOND).await;
    assert_eq!(upstream.results(), [AttemptResult::Retried]);
    upstream.answer_all(Answer::Status(200));
    upstream.drained().await;
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_result_could_not_be_recorded_is_sent_again() {
    let upstream = Upstream::with_latency([target("github", 8)], SECOND);
    upstream.store("github", [1]).await;
    let workers = upstream.start_workers();
    sleep(Duration::from_millis(500)).await;
    upstream.queue.is_down.store(true, Ordering::SeqCst);
    // The lease, and the time after it.
    sleep(LEASE + 62 * SECOND).await;
    assert_eq!(upstream.results(), [AttemptResult::Error]);
    upstream.queue.is_down.store(false, Ordering::SeqCst);
    upstream.drained().await;
    workers.stop().await;
    let attempts: Vec<_> = upstream.sent().iter().map(|sent| sent.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_whose_answer_was_lost_is_repeated_without_harm() {
    let upstream = Upstream::with_latency([target("github", 1)], SECOND);
    upstream.answer(1, [Answer::Status(503), Answer::Status(200)]);
    upstream.store("github", [1, 2]).await;
    upstream.queue.loses_answers.store(true, Ordering::SeqCst);
    let workers = upstream.start_workers();
    sleep(Duration::from_millis(1_500)).await;
    assert!(upstream.queue.settlements.load(Ordering::SeqCst) > 1);
    upstream.queue.loses_answers.store(false, Ordering::SeqCst);
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.sent_numbers(), [1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_a_process_that_died_is_sent_when_its_lease_ends() {
    let upstream = Upstream::new([target("github", 8)]);
    upstream.store("github", [1, 2]).await;
    let request = LeaseRequest {
        source: "github",
        order: Order::Any,
        max: 1,
        lease: LEASE,
    };
    let lost = upstream.queue.lease(request).await.unwrap();
    assert_eq!(lost.len(), 1);
    let workers = upstream.start_workers();
    upstream.drained().await;
    workers.stop().await;
    let sent = upstream.sent();
    assert_eq!([sent[0].number, sent[1].number], [2, 1]);
    assert_eq!(sent[1].attempt, 2);
    assert!(sent[1].at >= LEASE && sent[1].at <= LEASE + SECOND);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_attempts_in_flight_and_leases_nothing_more() {
    let upstream = Upstream::new([target("github", 4)]);
    upstream.answer_all(Answer::Hold);
    upstream.store("github", 0..20).await;
    let workers = upstream.start_workers();
    sleep(SECOND).await;
    assert_eq!(upstream.sent().len(), 4);
    let stopped = tokio::spawn(workers.stop());
    sleep(SECOND).await;
    assert!(!stopped.is_finished());
    upstream.release(4);
    stopped.await.unwrap();
    assert_eq!(upstream.sent().len(), 4);
    let left = upstream.left().await;
    assert_eq!(left.len(), 16);
    assert!(left.iter().all(|(_, state)| *state == EntryState::Waiting));

    // The next process continues.
    upstream.answer_all(Answer::Status(200));
    let workers = upstream.start_workers();
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.sent().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn dropped_workers_finish_the_attempts_in_flight() {
    let upstream = Upstream::new([target("github", 4)]);
    upstream.answer_all(Answer::Hold);
    upstream.store("github", 0..20).await;
    let workers = upstream.start_workers();
    sleep(SECOND).await;
    drop(workers);
    sleep(SECOND).await;
    upstream.release(20);
    sleep(SECOND).await;
    assert_eq!(upstream.sent().len(), 4);
    assert_eq!(upstream.left().await.len(), 16);
}

#[tokio::test(start_paused = true)]
async fn two_processes_share_the_entries() {
    let upstream = Upstream::with_latency([target("github", 4)], SECOND);
    let queue = Arc::clone(&upstream.queue);
    let other = Upstream::of_queue(queue, [target("github", 4)], SECOND);
    upstream.store("github", 0..80).await;
    let workers = [upstream.start_workers(), other.start_workers()];
    upstream.drained().await;
    for workers in workers {
        workers.stop().await;
    }
    let mut sent = upstream.sent_numbers();
    assert_eq!(sent.len(), 40);
    sent.extend(other.sent_numbers());
    sent.sort_unstable();
    assert!(sent.into_iter().eq(0..80));
}
