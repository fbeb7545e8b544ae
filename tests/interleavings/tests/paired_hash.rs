//! Bodies that are hashed in pairs: every delivery gets its own hash back, complete, and none waits
//! for a hash that does not return.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use hookgate_interleavings::copies::{paired_hash, paired_hash_returns_without_the_lock};
use hookgate_interleavings::stand_ins::hash::Pending;
use hookgate_interleavings::{executor, explore};
use shuttle::rand::{Rng, thread_rng};

const LENGTHS: [usize; 4] = [20_000, 45_000, 33_000, 100_000];

/// Hashes the bodies on two workers. The last delivery is dropped after a random number of polls.
macro_rules! hashing {
    ($copy:ident) => {
        || {
            let mut tasks: Vec<executor::BoxFuture> = Vec::new();
            for (delivery, len) in LENGTHS.into_iter().enumerate() {
                let hashing = async move {
                    let mut pending = Pending::new(delivery, len);
                    $copy::paired_hash::hash_paired(&mut pending).await;
                    assert_eq!(
                        pending.finish().delivery,
                        delivery,
                        "a hash of another delivery"
                    );
                };
                match delivery {
                    3 => tasks.push(Box::pin(dropped(hashing, thread_rng().gen_range(1..5)))),
                    _ => tasks.push(Box::pin(hashing)),
                }
            }
            executor::run(2, tasks);
        }
    };
}

/// Polls `future` up to `polls` times, and drops it, as a server does when its client has gone.
async fn dropped(future: impl Future<Output = ()>, polls: usize) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Pending if left > 0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

#[test]
fn every_delivery_gets_its_own_hash_back() {
    explore::holds(hashing!(paired_hash));
}

#[test]
fn control_a_hash_that_returns_after_the_wake_up_is_lost() {
    explore::fails(hashing!(paired_hash_returns_without_the_lock), "deadlock");
}
