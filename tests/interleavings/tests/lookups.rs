//! Lookups that several requests share: one lookup of a name runs, and each request gets its result.

use std::ops::ControlFlow;
use std::sync::Arc;

use hookgate_interleavings::copies::{lookups, lookups_end_before_their_result};
use hookgate_interleavings::explore;
use shuttle::future::{block_on, yield_now};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

/// Three requests need one name. A lookup stores its result, as those of tenants and keys do.
macro_rules! requests {
    ($copy:ident) => {
        || {
            let lookups = Arc::new($copy::shared_lookups::SharedLookups::<u8>::default());
            let known = Arc::new(Mutex::new(None));
            let started = Arc::new(AtomicUsize::new(0));
            let threads = [0, 1, 2].map(|_| {
                let (lookups, known, started) = (
                    Arc::clone(&lookups),
                    Arc::clone(&known),
                    Arc::clone(&started),
                );
                thread::spawn(move || {
                    let start = |_| {
                        if let Some(found) = *known.lock().expect("no thread panics") {
                            return ControlFlow::Break(found);
                        }
                        started.fetch_add(1, Ordering::SeqCst);
                        let known = Arc::clone(&known);
                        ControlFlow::Continue(async move {
                            yield_now().await;
                            *known.lock().expect("no thread panics") = Some(7);
                            7
                        })
                    };
                    assert_eq!(block_on(lookups.get("acme", start)), Some(7));
                })
            });
            for thread in threads {
                thread.join().expect("no thread panics");
            }
            let started = started.load(Ordering::SeqCst);
            assert_eq!(started, 1, "a name is looked up twice");
        }
    };
}

#[test]
fn a_name_is_looked_up_once_for_all_requests() {
    explore::holds(requests!(lookups));
}

#[test]
fn control_a_lookup_that_ends_before_its_result_runs_twice() {
    explore::fails(
        requests!(lookups_end_before_their_result),
        "a name is looked up twice",
    );
}
