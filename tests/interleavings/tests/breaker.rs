//! The circuit breaker: one probe at a time, and two records of its state that agree.

use std::sync::Arc;
use std::time::Duration;

use hookgate_interleavings::copies::{queue, queue_probes_twice};
use hookgate_interleavings::explore;
use hookgate_interleavings::stand_ins::time;
use http::StatusCode;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

/// The breaker has opened, and its pause is over. Three requests ask for an attempt, and the results
/// of older attempts arrive meanwhile. The control leaves the records out: they disagree there, too,
/// and each run would find one of the two faults first.
macro_rules! probes {
    ($copy:ident, records: $checks_records:literal) => {
        || {
            use $copy::breaker::{Breaker, BreakerEvent, BreakerState};
            use $copy::outcome::AttemptOutcome;
            let breaker = Arc::new(Breaker::new());
            for _ in 0..5 {
                breaker.record(BreakerEvent::Failure);
            }
            assert_eq!(breaker.state(), BreakerState::Open);
            time::advance(Duration::from_secs(60));
            let probing = Arc::new(AtomicUsize::new(0));
            let mut threads = Vec::new();
            for number in 0..3 {
                let (breaker, probing) = (Arc::clone(&breaker), Arc::clone(&probing));
                threads.push(thread::spawn(move || {
                    let Some(attempt) = breaker.direct_attempt() else {
                        return;
                    };
                    // After a successful probe, every request gets an attempt.
                    let is_probe = breaker.state() != BreakerState::Closed;
                    if is_probe {
                        let others = probing.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(others, 0, "two probes at a time");
                        probing.fetch_sub(1, Ordering::SeqCst);
                    }
                    let status = [StatusCode::OK, StatusCode::BAD_GATEWAY]
                        .get(number)
                        .copied();
                    match status {
                        Some(status) => attempt.record(AttemptOutcome::Response {
                            status,
                            retry_after: None,
                        }),
                        None => drop(attempt),
                    }
                }));
            }
            for thread in threads {
                thread.join().expect("no thread panics");
            }
            let is_closed = breaker.state() == BreakerState::Closed;
            let passes = breaker.direct_attempt_if_closed().is_some();
            if $checks_records {
                assert_eq!(passes, is_closed, "the two records disagree");
            }
        }
    };
}

#[test]
fn an_upstream_gets_one_probe_at_a_time() {
    explore::holds(probes!(queue, records: true));
}

#[test]
fn control_two_requests_probe_if_the_lock_is_released_in_between() {
    explore::fails(
        probes!(queue_probes_twice, records: false),
        "two probes at a time",
    );
}
