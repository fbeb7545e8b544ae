//! Which delivery is sent next, and how many at the same time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_queue::{EntryState, Order, Target};
use tokio::time::sleep;

use super::upstream::{Answer, Upstream, beside, target};

const SECOND: Duration = Duration::from_secs(1);

fn ordered(source: &str) -> Target {
    Target {
        order: Order::Source,
        ..target(source, 8)
    }
}

#[tokio::test(start_paused = true)]
async fn an_ordered_source_is_sent_one_at_a_time_in_order() {
    let upstream = Upstream::with_latency([ordered("shop")], SECOND);
    let workers = upstream.start_workers();
    upstream.store("shop", 1..=20).await;
    upstream.drained().await;
    workers.stop().await;
    assert!(upstream.sent_numbers().into_iter().eq(1..=20));
    assert_eq!(upstream.most_in_flight.load(Ordering::SeqCst), 1);
    // No time passes between the deliveries.
    assert_eq!(upstream.sent()[19].at.as_secs(), 19);
}

/// The end of an attempt is enough to lease the next delivery.
#[tokio::test(start_paused = true)]
async fn an_ordered_source_continues_without_a_notice_of_the_queue() {
    let upstream = Upstream::with_latency([ordered("shop")], SECOND / 10);
    upstream.queue.is_silent.store(true, Ordering::SeqCst);
    upstream.store("shop", 1..=20).await;
    let workers = upstream.start_workers();
    upstream.drained().await;
    workers.stop().await;
    assert!(upstream.sent_numbers().into_iter().eq(1..=20));
    let last = upstream.sent()[19].at;
    assert!(last < 2 * SECOND, "{last:?}");
}

/// The control: without an order, the same deliveries are sent at the same time.
#[tokio::test(start_paused = true)]
async fn a_source_without_an_order_is_sent_several_at_a_time() {
    let upstream = Upstream::with_latency([target("shop", 8)], SECOND);
    let workers = upstream.start_workers();
    upstream.store("shop", 1..=20).await;
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.most_in_flight.load(Ordering::SeqCst), 8);
}

#[tokio::test(start_paused = true)]
async fn a_failed_delivery_of_an_ordered_source_holds_up_the_others() {
    let upstream = Upstream::new([ordered("shop")]);
    let workers = upstream.start_workers();
    let answers = [503, 503, 200].map(Answer::Status);
    upstream.answer(2, answers);
    upstream.store("shop", 1..=4).await;
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.sent_numbers(), [1, 2, 2, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_of_an_ordered_source_frees_the_others() {
    let upstream = Upstream::new([ordered("shop")]);
    let workers = upstream.start_workers();
    upstream.answer(1, [Answer::Status(410)]);
    upstream.answer(2, [Answer::Status(404)]);
    upstream.store("shop", 1..=3).await;
    sleep(60 * SECOND).await;
    workers.stop().await;
    assert_eq!(upstream.sent_numbers(), [1, 2, 2, 2, 3]);
    let dead = [(1, EntryState::Dead), (2, EntryState::Dead)];
    assert_eq!(upstream.left().await, dead);
}

#[tokio::test(start_paused = true)]
async fn a_failed_delivery_without_an_order_holds_up_nothing() {
    let upstream = Upstream::new([target("github", 1)]);
    let workers = upstream.start_workers();
    upstream.answer(1, [503, 200].map(Answer::Status));
    upstream.store("github", 1..=4).await;
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.sent_numbers(), [1, 2, 3, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn sources_of_an_upstream_share_its_attempts_evenly() {
    for concurrency in [1, 2, 3, 8] {
        let busy = target("busy", concurrency);
        // Sources of other upstreams lie between the two.
        let other = target("other", 1);
        let quiet = beside(&busy, "quiet");
        let upstream = Upstream::with_latency([busy, other, quiet], SECOND);
        upstream.store("busy", 0..1_000).await;
        upstream.store("quiet", 1_000..1_020).await;
        let workers = upstream.start_workers();
        sleep(2 * SECOND * (20 / concurrency as u32 + 3)).await;
        workers.stop().await;
        let sent = upstream.sent();
        let quiet: Vec<_> = sent.iter().filter(|sent| sent.source == "quiet").collect();
        assert_eq!(quiet.len(), 20, "with {concurrency} at a time");
        assert!(sent.len() > 30, "the busy source is served meanwhile");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_gets_no_more_deliveries_at_a_time_than_it_may() {
    let first = target("first", 5);
    let second = beside(&first, "second");
    let upstream = Upstream::with_latency([first, second], SECOND);
    let workers = upstream.start_workers();
    upstream.store("first", 0..40).await;
    upstream.store("second", 40..80).await;
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.most_in_flight.load(Ordering::SeqCst), 5);
    // All permits are always in use.
    assert_eq!(upstream.sent().last().unwrap().at.as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_hangs_does_not_hold_up_another() {
    let upstream = Upstream::new([target("hangs", 4), target("well", 1)]);
    for number in 0..100 {
        upstream.answer(number, [Answer::Hang]);
    }
    let workers = upstream.start_workers();
    upstream.store("hangs", 0..100).await;
    upstream.store("well", 100..600).await;
    sleep(SECOND).await;
    let sent = upstream.sent();
    let well = sent.iter().filter(|sent| sent.source == "well").count();
    assert_eq!(well, 500);
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn a_steady_stream_of_one_upstream_does_not_starve_another() {
    let upstream = Upstream::with_latency(
        [target("steady", 4), target("rare", 1)],
        Duration::from_millis(1),
    );
    upstream.store("steady", 0..1_000).await;
    let workers = upstream.start_workers();
    sleep(Duration::from_millis(100)).await;
    upstream.store("rare", [10_000]).await;
    sleep(Duration::from_millis(20)).await;
    workers.stop().await;
    let sent = upstream.sent_numbers();
    assert!(sent.contains(&10_000));
    assert!(sent.len() < 1_000, "the steady source has entries left");
}
