//! The test suite that every store must pass.
//!
//! Mount it once for each store:
//!
//! ```
//! # mod my_store {
//! # use hookgate_replay::MemoryStore as MyStore;
//! # use hookgate_replay::conformance::PausedClock;
//! hookgate_replay::conformance::suite!(paused, || async { PausedClock(MyStore::new()) });
//! # }
//! ```
//!
//! The expression creates a [`Harness`] with an empty store. Use `paused` for a store that
//! reads tokio's clock, which the suite then pauses. Use `real` for any other store, with a
//! clock that can be put forward, as in [`ShiftedClock`].
//!
//! The suite consists of single test cases and of [`compare_with_model`], which compares the
//! store with a model step by step. It runs 1 000 random histories on a paused clock and 100
//! on a real one. A test can call [`compare_with_model`] itself for more histories.

mod cases;
mod comparison;
mod forget_cases;
mod harness;
mod history;
mod model;
mod record_cases;
mod renew_cases;

pub use self::cases::*;
pub use self::comparison::{compare_with_model, find_difference};
pub use self::forget_cases::*;
pub use self::harness::{CLAIM_OPTIONS, Harness, PausedClock, ShiftedClock};
pub use self::history::Difference;
pub use self::record_cases::*;
pub use self::renew_cases::*;

/// Mounts the suite for the store that `$new` creates.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_suite {
    (paused, $new:expr) => {
        $crate::__conformance_suite! { @all $new; (start_paused = true); 1_000 }
    };
    (real, $new:expr) => {
        $crate::__conformance_suite! { @all $new; (); 100 }
    };
    (@all $new:expr; $runtime:tt; $histories:literal) => {
        $crate::__conformance_suite! { @cases $new; $runtime;
            a_key_is_granted_once,
            a_committed_key_is_done_until_its_retention_ends,
            a_released_key_is_claimable_at_once,
            a_key_whose_lease_expired_is_granted_again_and_counted,
            leases_that_expired_before_a_release_still_count,
            a_stale_settlement_changes_nothing,
            a_settlement_after_the_lease_applies_if_the_key_was_not_claimed_again,
            keys_do_not_affect_each_other,
            a_waiter_is_notified_of_every_settlement,
            a_renewed_lease_ends_later,
            a_renewal_never_shortens_a_lease,
            a_stale_renewal_changes_nothing,
            an_ended_lease_is_renewed_if_the_key_was_not_claimed_again,
            a_forgotten_event_is_new,
            an_event_in_flight_is_not_forgotten,
            earlier_attempts_are_forgotten,
            nothing_is_forgotten_twice,
            an_event_that_nothing_claims_is_recorded_as_done,
            an_event_in_flight_is_recorded_as_done,
            a_record_is_never_shortened,
            a_recorded_event_can_be_forgotten,
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn one_of_several_simultaneous_claims_is_granted() {
            let new = $new;
            $crate::conformance::one_of_several_simultaneous_claims_is_granted(new().await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn an_event_is_forgotten_in_one_step() {
            let new = $new;
            $crate::conformance::an_event_is_forgotten_in_one_step(new().await).await;
        }

        $crate::__conformance_suite! { @model $new; $runtime; $histories }
    };
    (@cases $new:expr; $runtime:tt; $($case:ident,)*) => {$(
        $crate::__conformance_suite! { @case $new; $runtime; $case }
    )*};
    (@case $new:expr; ($($runtime:tt)*); $case:ident) => {
        #[tokio::test($($runtime)*)]
        async fn $case() {
            let new = $new;
            $crate::conformance::$case(new().await).await;
        }
    };
    (@model $new:expr; ($($runtime:tt)*); $histories:literal) => {
        #[tokio::test($($runtime)*)]
        async fn every_result_matches_the_model() {
            $crate::conformance::compare_with_model($new, $histories).await;
        }
    };
}

#[doc(inline)]
pub use crate::__conformance_suite as suite;
