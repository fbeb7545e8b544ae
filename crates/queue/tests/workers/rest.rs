//! The cost of idle workers, and the time until they notice a new entry.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_queue::conformance::delivery;
use hookgate_queue::{BreakerEvent, Order, Target};
use tokio::time::sleep;

use super::upstream::{Answer, Upstream, target};

const MINUTE: Duration = Duration::from_secs(60);

/// Returns the numbers of looks and of leases in a minute.
async fn calls_in_a_minute(upstream: &Upstream) -> (u64, u64) {
    let queue = &upstream.queue;
    let count = || {
        (
            queue.looks.load(Ordering::SeqCst),
            queue.leases.load(Ordering::SeqCst),
        )
    };
    let before = count();
    sleep(MINUTE).await;
    let after = count();
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_is_looked_at_once_a_second() {
    let upstream = Upstream::new([target("github", 8), target("stripe", 8)]);
    let workers = upstream.start_workers();
    let (looks, leases) = calls_in_a_minute(&upstream).await;
    assert!((59..=61).contains(&looks), "{looks} looks");
    assert_eq!(leases, 0);
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_know_its_sources_is_asked_once_a_second() {
    let upstream = Upstream::new([target("github", 8), target("stripe", 8)]);
    upstream.queue.hides_sources.store(true, Ordering::SeqCst);
    let workers = upstream.start_workers();
    let (_, leases) = calls_in_a_minute(&upstream).await;
    assert!((2 * 59..=2 * 61).contains(&leases), "{leases} leases");
    upstream.store("github", 0..100).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(upstream.sent().len(), 100);
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn thousands_of_due_entries_of_a_blocked_upstream_cost_nothing() {
    // One upstream hangs, the breaker of another one is open, and a source has no target.
    let hangs = target("hangs", 4);
    let open = target("open", 4);
    let gate = std::sync::Arc::clone(&open.upstream);
    for _ in 0..5 {
        gate.breaker().record(BreakerEvent::Failure);
    }
    let upstream = Upstream::new([hangs, open]);
    upstream.answer_all(Answer::Hold);
    for (index, source) in ["hangs", "open", "orphaned"].into_iter().enumerate() {
        let first = 1_000 * index as u64;
        upstream.store(source, first..first + 1_000).await;
    }
    let workers = upstream.start_workers();
    let (looks, leases) = calls_in_a_minute(&upstream).await;
    // Held attempts end with their leases of 15 s. Each end is followed by a look, and so is
    // each time of a retry.
    let ended = upstream.results().len() as u64;
    assert!(ended <= 40, "{ended} attempts");
    assert!(looks <= 61 + 2 * ended, "{looks} looks");
    assert!(leases <= 2 * ended + 20, "{leases} leases");
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn an_ordered_source_whose_first_entry_waits_costs_no_lease() {
    let shop = Target {
        order: Order::Source,
        ..target("shop", 8)
    };
    let upstream = Upstream::new([shop]);
    let mut first = delivery("shop", 0);
    first.first_due = 10 * MINUTE;
    upstream.store_entry(first).await;
    upstream.store("shop", 1..1_000).await;
    let workers = upstream.start_workers();
    let (looks, leases) = calls_in_a_minute(&upstream).await;
    assert!((59..=61).contains(&looks), "{looks} looks");
    assert_eq!(leases, 0);
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_entry_of_an_ordered_source_is_sent_at_its_due_time() {
    let shop = Target {
        order: Order::Source,
        ..target("shop", 8)
    };
    for due in [1, 437, 999, 1_003, 2_718].map(Duration::from_millis) {
        let upstream = Upstream::new([shop.clone()]);
        let mut first = delivery("shop", 0);
        first.first_due = due;
        upstream.store_entry(first).await;
        upstream.store("shop", 1..10).await;
        let workers = upstream.start_workers();
        upstream.drained().await;
        workers.stop().await;
        assert!(upstream.sent_numbers().into_iter().eq(0..10));
        let late = upstream.sent()[0].at.checked_sub(due);
        let late = late.expect("not before its time");
        assert!(late <= Duration::from_millis(12), "{late:?} late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_new_entries_of_a_blocked_upstream_causes_few_looks() {
    // A look at a queue that does not know its sources costs more, so it is rarer.
    for (hides_sources, most) in [(false, 102), (true, 12)] {
        let upstream = Upstream::new([target("github", 1)]);
        let queue = &upstream.queue;
        queue.hides_sources.store(hides_sources, Ordering::SeqCst);
        upstream.answer_all(Answer::Hold);
        let workers = upstream.start_workers();
        sleep(Duration::from_secs(1)).await;
        let before = queue.looks.load(Ordering::SeqCst);
        for number in 0..1_000 {
            upstream.store("github", [number]).await;
            sleep(Duration::from_millis(1)).await;
        }
        let looks = queue.looks.load(Ordering::SeqCst) - before;
        assert!(looks <= most, "{looks} looks in a second");
        drop(workers);
    }
}

#[tokio::test(start_paused = true)]
async fn every_new_entry_is_sent_within_ten_milliseconds() {
    let upstream = Upstream::with_latency([target("github", 64)], Duration::from_millis(3));
    let workers = upstream.start_workers();
    for number in 0..2_000_u64 {
        // The distances are 0 to 16 ms, in no order.
        sleep(Duration::from_micros(number * 7_919 % 16_384)).await;
        let before = upstream.sent_count();
        upstream.store("github", [number]).await;
        let is_sent = async {
            while upstream.sent_count() == before {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let sent = tokio::time::timeout(Duration::from_millis(13), is_sent).await;
        sent.unwrap_or_else(|_| panic!("delivery {number} waits"));
    }
    workers.stop().await;
}

/// An entry that is stored while the workers look at the queue does not wait for the next look.
#[tokio::test(start_paused = true)]
async fn an_entry_that_is_stored_during_a_look_is_sent_at_once() {
    let upstream = Upstream::new([target("github", 8)]);
    let workers = upstream.start_workers();
    for number in 0..10 {
        let before = upstream.queue.looks.load(Ordering::SeqCst);
        *upstream.queue.stored_in_look.lock() = Some(delivery("github", number));
        while upstream.queue.looks.load(Ordering::SeqCst) == before {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(20)).await;
        assert_eq!(upstream.sent_count() as u64, number + 1);
    }
    workers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_no_other_entry_is_leased_once() {
    let upstream = Upstream::with_latency([target("github", 8)], Duration::from_millis(50));
    let workers = upstream.start_workers();
    upstream.store("github", [1]).await;
    let (_, leases) = calls_in_a_minute(&upstream).await;
    workers.stop().await;
    assert_eq!((upstream.sent_count(), leases), (1, 1));
}

/// A call leases 64 entries at most, so that their bodies do not fill the memory.
#[tokio::test(start_paused = true)]
async fn a_call_leases_several_entries() {
    let upstream = Upstream::new([target("github", 130)]);
    upstream.answer_all(Answer::Hold);
    upstream.store("github", 0..130).await;
    let workers = upstream.start_workers();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(upstream.sent_count(), 130);
    assert_eq!(upstream.queue.leases.load(Ordering::SeqCst), 3);
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_sent_at_its_due_time() {
    let upstream = Upstream::new([target("github", 8)]);
    for number in 1..100 {
        let mut new = delivery("github", number);
        new.first_due = Duration::from_millis(437) * number as u32;
        upstream.store_entry(new).await;
    }
    let workers = upstream.start_workers();
    upstream.drained().await;
    workers.stop().await;
    for sent in upstream.sent() {
        let due = Duration::from_millis(437) * sent.number as u32;
        let late = sent.at.checked_sub(due).expect("not before its time");
        assert!(late <= Duration::from_millis(12), "{late:?} late");
    }
}

/// On real threads: no entry waits for the next look of once a second.
#[tokio::test(flavor = "multi_thread")]
async fn no_wake_up_is_lost_between_threads() {
    const ENTRIES: u64 = 4_000;
    let upstream = Upstream::new([target("github", 32)]);
    let workers = upstream.start_workers();
    for number in 0..ENTRIES {
        upstream.store("github", [number]).await;
        // The workers are often about to wait at this moment.
        while number % 4 == 3 && (upstream.sent_count() as u64) < number {
            tokio::task::yield_now().await;
        }
    }
    upstream.drained().await;
    workers.stop().await;
    assert_eq!(upstream.sent_count() as u64, ENTRIES);
    // A lost wake-up costs a second, which adds a look of its own.
    let looks = upstream.queue.looks.load(Ordering::SeqCst);
    assert!(looks >= ENTRIES / 8, "{looks} looks");
}
