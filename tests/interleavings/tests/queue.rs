//! Leases of the queue in memory, and the wake-ups of its workers.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hookgate_core::ReplayKey;
use hookgate_interleavings::copies::{queue, queue_ignores_tokens};
use hookgate_interleavings::explore;
use hookgate_interleavings::stand_ins::time;
use shuttle::future::block_on;
use shuttle::sync::Mutex;
use shuttle::thread;
use smallvec::smallvec;

const LEASE: Duration = Duration::from_secs(30);

macro_rules! new_entry {
    ($copy:ident, $number:expr) => {
        $copy::entry::NewEntry {
            keys: smallvec![ReplayKey::from_bytes([$number; 16])],
            token: $number.into(),
            source: "github".into(),
            tenant: None,
            event_id: None,
            key_id: "1".into(),
            request_id: "1".into(),
            attempts: 0,
            last_failure: None,
            envelope: Bytes::new(),
            body: Bytes::new(),
            first_due: Duration::ZERO,
            lease_if_first: None,
        }
    };
}

macro_rules! lease {
    ($copy:ident, $queue:expr) => {{
        use $copy::store::QueueStore;
        let request = $copy::store::LeaseRequest {
            source: "github",
            order: $copy::store::Order::Any,
            max: 1,
            lease: LEASE,
        };
        let leased = block_on($queue.lease(request)).expect("the queue answers");
        leased.into_iter().next().map(|leased| leased.lease)
    }};
}

/// The lease of an entry ends while its attempt runs. Another worker leases the entry, and both
/// record a result.
macro_rules! late_results {
    ($copy:ident) => {
        || {
            use $copy::store::{Changed, QueueStore};
            let queue = $copy::memory::MemoryQueue::new();
            block_on(queue.enqueue(new_entry!($copy, 1_u8))).expect("the queue has space");
            let first = lease!($copy, queue).expect("the entry is due");
            let newest = Arc::new(Mutex::new(first.token));
            time::advance(LEASE);
            let settle = |queue: $copy::memory::MemoryQueue, lease: $copy::entry::EntryLease| {
                let failure = $copy::entry::Failure {
                    kind: $copy::entry::FailureKind::Response,
                    status: Some(503),
                    at: SystemTime::UNIX_EPOCH,
                };
                block_on(queue.retry_later(&lease, Duration::ZERO, failure))
                    .expect("the queue answers")
            };
            let late = thread::spawn({
                let (queue, newest) = (queue.clone(), Arc::clone(&newest));
                move || {
                    let newest = newest.lock().expect("no thread panics");
                    let is_newest = *newest == first.token;
                    // The lock is held, so that the record of the newest lease is right.
                    if settle(queue, first) == Changed::Yes {
                        assert!(is_newest, "a lease that was replaced counts");
                    }
                }
            });
            let other = thread::spawn(move || {
                let mut newest = newest.lock().expect("no thread panics");
                let lease = lease!($copy, queue).expect("the entry is due");
                *newest = lease.token;
                drop(newest);
                assert_eq!(
                    settle(queue, lease),
                    Changed::Yes,
                    "the newest lease counts"
                );
            });
            late.join().expect("no thread panics");
            other.join().expect("no thread panics");
        }
    };
}

#[test]
fn only_the_newest_lease_of_an_entry_counts() {
    explore::holds(late_results!(queue));
}

#[test]
fn control_without_tokens_a_replaced_lease_counts() {
    explore::fails(late_results!(queue_ignores_tokens), "counts");
}

/// When a worker starts to wait for a change of the queue.
#[derive(Clone, Copy)]
enum Waits {
    /// Before it looks for due entries, as the dispatcher does.
    BeforeTheLook,
    AfterTheLook,
}

/// A delivery is stored while two workers look for due entries. One of them completes it.
fn woken(waits: Waits) {
    use queue::store::{Changed, QueueStore};
    let store = queue::memory::MemoryQueue::new();
    let completed = Arc::new(Mutex::new(0));
    let workers = [0, 1].map(|_| {
        let (queue, completed) = (store.clone(), Arc::clone(&completed));
        thread::spawn(move || {
            while *completed.lock().expect("no thread panics") < 2 {
                let mut changed = pin!(queue.changed());
                if let Waits::BeforeTheLook = waits {
                    let poll = |cx: &mut std::task::Context<'_>| {
                        Poll::Ready(changed.as_mut().poll(cx).is_ready())
                    };
                    if block_on(std::future::poll_fn(poll)) {
                        continue;
                    }
                }
                let Some(lease) = lease!(queue, queue) else {
                    let is_done = *completed.lock().expect("no thread panics") == 2;
                    if !is_done {
                        block_on(changed);
                    }
                    continue;
                };
                // Counted before the change of the queue that wakes the other worker.
                *completed.lock().expect("no thread panics") += 1;
                let done = block_on(queue.complete(&lease)).expect("the queue answers");
                assert_eq!(done, Changed::Yes);
            }
        })
    });
    for number in 1..3_u8 {
        block_on(store.enqueue(new_entry!(queue, number))).expect("the queue has space");
    }
    for worker in workers {
        worker.join().expect("no thread panics");
    }
    let stats = block_on(store.stats()).expect("the queue answers");
    assert_eq!(stats.bytes, 0, "an entry is left");
}

#[test]
fn a_worker_that_waits_before_its_look_misses_no_entry() {
    explore::holds(|| woken(Waits::BeforeTheLook));
}

#[test]
fn control_a_worker_that_looks_first_misses_an_entry() {
    explore::fails(|| woken(Waits::AfterTheLook), "deadlock");
}
