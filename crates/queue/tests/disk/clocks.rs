//! Steps of the system clock, reboots, and long absences.

use std::time::Duration;

use hookgate_queue::{Changed, EntryState, FailureKind, QueueStore};

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: i64 = 365 * 24 * 3600;

#[tokio::test]
async fn a_step_of_the_system_clock_neither_delays_nor_hastens_an_attempt() {
    for step in [YEAR, -YEAR] {
        let fixture = Fixture::new();
        let queue = &fixture.queue;
        let id = store(queue, delivery("a", 1)).await;
        let leased = lease(queue, "a", 1).await.remove(0);
        let failure = failure(FailureKind::TimedOut);
        queue
            .retry_later(&leased.lease, HOUR, failure)
            .await
            .unwrap();
        store(queue, delivery("b", 2)).await;
        lease(queue, "b", 1).await;

        fixture.step(step);
        assert!(lease(queue, "a", 1).await.is_empty(), "not hastened");
        assert!(
            lease(queue, "b", 1).await.is_empty(),
            "the lease still runs"
        );
        let fixture = fixture.reopen();
        let queue = &fixture.queue;
        assert!(lease(queue, "a", 1).await.is_empty());
        let age = queue.entry(id).await.unwrap().unwrap().info.age;
        assert!(age < Duration::from_secs(60), "{age:?}");

        fixture.advance(HOUR);
        assert_eq!(lease(queue, "a", 1).await.len(), 1, "not delayed");
        assert_eq!(lease(queue, "b", 1).await.len(), 1);
    }
}

#[tokio::test]
async fn after_a_reboot_leases_are_over_and_entries_wait_for_the_rest_of_their_time() {
    let fixture = Fixture::new();
    let queue = &fixture.queue;
    store(queue, delivery("a", 1)).await;
    let leased = lease(queue, "a", 1).await.remove(0);
    let mut later = delivery("b", 2);
    later.first_due = HOUR;
    store(queue, later).await;
    fixture.advance(HOUR / 2);
    // A reboot continues from the last write.
    store(queue, delivery("c", 3)).await;
    store(queue, delivery("a", 4)).await;
    let second = lease(queue, "a", 1).await.remove(0);
    assert_eq!(second.lease.id, leased.lease.id);

    fixture.clock.reboot();
    // The machine was off for a day.
    fixture.step(24 * 3600);
    let fixture = fixture.reopen();
    let queue = &fixture.queue;
    let again = lease(queue, "a", 10).await;
    assert_eq!(again.len(), 2, "the lease has ended");
    let ended = again
        .iter()
        .find(|entry| entry.lease.id == leased.lease.id)
        .unwrap();
    let info = &ended.entry.info;
    assert_eq!(info.attempts, 3);
    assert_eq!(info.last_failure.unwrap().kind, FailureKind::Lost);
    // The age counts the time that the machine was off.
    assert!(
        info.age > 24 * HOUR && info.age < 26 * HOUR,
        "{:?}",
        info.age
    );
    assert!(lease(queue, "b", 1).await.is_empty());
    fixture.advance(HOUR / 2);
    assert_eq!(lease(queue, "b", 1).await.len(), 1);
}

#[tokio::test]
async fn the_clock_does_not_run_backwards_over_reboots() {
    let mut fixture = Fixture::new();
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(store(&fixture.queue, delivery("a", number)).await);
        fixture.clock.reboot();
        fixture = fixture.reopen();
    }
    let leased = lease(&fixture.queue, "a", 10).await;
    let order: Vec<_> = leased.iter().map(|entry| entry.lease.id).collect();
    assert_eq!(order, ids, "each entry was due before the next one");
}

#[tokio::test]
async fn every_waiting_entry_is_unconfirmed_after_an_absence_of_more_than_a_day() {
    let hour = 3600;
    for (absence, expected) in [(23 * hour, 0), (25 * hour, 3)] {
        let fixture = Fixture::new();
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(store(&fixture.queue, delivery("a", number)).await);
        }
        fixture.queue.confirm(&ids);
        let fixture = fixture.reopen();
        assert_eq!(fixture.queue.unconfirmed().await.unwrap().len(), 0);
        fixture.step(absence);
        let fixture = fixture.reopen();
        let unconfirmed = fixture.queue.unconfirmed().await.unwrap();
        assert_eq!(unconfirmed.len(), expected, "{absence} s");
    }
}

#[tokio::test]
async fn the_age_of_a_dead_letter_starts_again_and_the_oldest_is_still_known() {
    let fixture = Fixture::new();
    let queue = &fixture.queue;
    let id = store(queue, delivery("a", 1)).await;
    let leased = lease(queue, "a", 1).await.remove(0);
    let failure = failure(FailureKind::Response);
    queue.bury(&leased.lease, failure).await.unwrap();
    fixture.advance(HOUR);
    let second = store(queue, delivery("a", 2)).await;
    fixture.advance(HOUR);
    assert_eq!(queue.retry_now(id).await.unwrap(), Changed::Yes);
    let info = queue.entry(id).await.unwrap().unwrap().info;
    assert_eq!(info.state, EntryState::Waiting);
    assert!(info.age < HOUR);
    let oldest = async || queue.stats().await.unwrap().sources[0].1.oldest.unwrap();
    let age = oldest().await;
    assert!(age >= HOUR && age < 2 * HOUR, "{age:?}");
    // Without the second entry, the retried one is the oldest.
    queue.delete(second).await.unwrap();
    fixture.advance(HOUR / 2);
    let age = oldest().await;
    assert!(age >= HOUR / 2 && age < HOUR, "{age:?}");
}

#[tokio::test]
async fn a_wrong_system_clock_after_a_reboot_ages_an_entry_by_a_day_at_most() {
    let fixture = Fixture::new();
    let id = store(&fixture.queue, delivery("a", 1)).await;
    fixture.advance(HOUR / 2);
    // A reboot continues from the last write.
    store(&fixture.queue, delivery("a", 2)).await;
    fixture.clock.reboot();
    fixture.step(YEAR);
    let fixture = fixture.reopen();
    let age = fixture.queue.entry(id).await.unwrap().unwrap().info.age;
    assert!(age >= 24 * HOUR && age < 25 * HOUR, "{age:?}");
}

#[tokio::test]
async fn a_reboot_continues_from_the_last_recorded_time() {
    let fixture = Fixture::new();
    let mut later = delivery("a", 1);
    later.first_due = HOUR;
    let id = store(&fixture.queue, later).await;
    fixture.advance(HOUR / 2);
    // Each transaction records the time, even if it changes no entry.
    let unknown = hookgate_queue::EntryId(id.0 + 1);
    let deleted = fixture.queue.delete(unknown).await;
    assert_eq!(deleted.unwrap(), Changed::No);
    fixture.clock.reboot();
    let fixture = fixture.reopen();
    assert!(lease(&fixture.queue, "a", 1).await.is_empty());
    fixture.advance(HOUR / 2);
    assert_eq!(lease(&fixture.queue, "a", 1).await.len(), 1);
}

/// The boot clock alone would show that a year has passed.
#[tokio::test]
async fn a_reboot_is_noticed_if_the_machine_then_runs_for_longer_than_before() {
    let year = Duration::from_secs(YEAR.unsigned_abs());
    let fixture = Fixture::new();
    let mut later = delivery("a", 1);
    later.first_due = year / 2;
    store(&fixture.queue, later).await;
    fixture.clock.reboot();
    fixture.advance(year);
    let fixture = fixture.reopen();
    assert!(lease(&fixture.queue, "a", 1).await.is_empty());
    fixture.advance(year / 2);
    assert_eq!(lease(&fixture.queue, "a", 1).await.len(), 1);
}
