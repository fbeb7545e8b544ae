//! Duplicates that wait at the gate for another delivery of their event.

use std::sync::{Arc, LazyLock};

use hookgate_gate::{Admission, Outcome, Source};
use hookgate_interleavings::copies::{replay, replay_subscribes_at_the_first_poll};
use hookgate_interleavings::delivery::{OLD, admit, gate, headers, source};
use hookgate_interleavings::explore;
use hookgate_replay::ReplayStore;
use http::HeaderMap;
use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::thread;

static SOURCE: LazyLock<Arc<Source>> = LazyLock::new(|| source(OLD));
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| headers(OLD));

/// How a delivery ends that was forwarded.
#[derive(Clone, Copy, Debug)]
enum End {
    Delivered,
    Failed,
    /// The client has gone.
    Dropped,
}

/// Four deliveries of one event arrive. One of them is forwarded at a time, until the upstream
/// accepts it; each of the others waits, and then knows.
fn duplicates<S: ReplayStore>(store: S) {
    let gate = gate(store);
    let is_in_flight = Arc::new(AtomicBool::new(false));
    let delivered = Arc::new(AtomicUsize::new(0));
    let threads = [End::Failed, End::Delivered, End::Dropped, End::Delivered].map(|end| {
        let (gate, is_in_flight, delivered) = (
            gate.clone(),
            Arc::clone(&is_in_flight),
            Arc::clone(&delivered),
        );
        thread::spawn(move || {
            let admission = block_on(admit(&gate, &SOURCE, &HEADERS));
            let delivery = match admission.expect("no delivery is refused") {
                Admission::Forward(delivery) => delivery,
                Admission::Duplicate(_) => {
                    let delivered = delivered.load(Ordering::SeqCst);
                    assert_eq!(delivered, 1, "a duplicate of nothing");
                    return;
                }
                _ => panic!("neither forwarded nor a duplicate"),
            };
            assert!(
                !is_in_flight.swap(true, Ordering::SeqCst),
                "two are in flight"
            );
            assert_eq!(delivered.load(Ordering::SeqCst), 0, "delivered twice");
            is_in_flight.store(false, Ordering::SeqCst);
            match end {
                End::Delivered => {
                    delivered.fetch_add(1, Ordering::SeqCst);
                    block_on(delivery.settle(Outcome::Delivered));
                }
                End::Failed => block_on(delivery.settle(Outcome::Failed)),
                End::Dropped => drop(delivery),
            }
        })
    });
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    assert_eq!(delivered.load(Ordering::SeqCst), 1, "the event is lost");
    assert_eq!(gate.store().entries(), Some(1));
}

#[test]
fn an_event_is_delivered_once_and_no_duplicate_waits_in_vain() {
    explore::holds(|| duplicates(replay::memory::MemoryStore::new()));
}

#[test]
fn control_a_duplicate_that_subscribes_late_waits_in_vain() {
    explore::fails(
        || duplicates(replay_subscribes_at_the_first_poll::memory::MemoryStore::new()),
        "deadlock",
    );
}
