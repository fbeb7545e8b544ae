//! The test suite that every queue must pass.
//!
//! Mount it once for each queue:
//!
//! ```
//! # mod my_queue {
//! use hookgate_queue::conformance::PausedClock;
//! hookgate_queue::conformance::suite!(paused, async |limits| PausedClock::memory(limits));
//! # }
//! ```
//!
//! The expression creates a [`Harness`] with an empty queue that has the [`Limits`]. Use
//! `paused` for a queue that reads tokio's clock, which the suite then pauses. Use `real` for
//! any other queue.
//!
//! The suite consists of single cases and of [`compare_with_model`], which compares the queue
//! with the reference implementation in random histories: 500 on a paused clock, 50 on a real
//! one. A test can call [`compare_with_model`] itself for more.
//!
//! A queue that cannot do something says so with a reason in [`Harness::DECLINED`].
//!
//! [`Limits`]: crate::memory::Limits

mod comparison;
mod harness;
mod history;
mod leasing;
mod operating;
mod restarting;
mod settling;
mod steps;
mod storing;
mod support;

pub use self::comparison::{compare_with_model, find_difference};
pub use self::harness::{Ability, Harness, PausedClock, ProcessEnd};
pub use self::history::Difference;
pub use self::leasing::*;
pub use self::operating::*;
pub use self::restarting::*;
pub use self::settling::*;
pub use self::storing::*;
pub use self::support::delivery;
pub use crate::memory::Limits;

/// Mounts the suite for the queue that `$new` creates.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_suite {
    (paused, $new:expr) => {
        $crate::__conformance_suite! { @all $new; (start_paused = true); 500 }
    };
    (real, $new:expr) => {
        $crate::__conformance_suite! { @all $new; (); 50 }
    };
    (@all $new:expr; $runtime:tt; $histories:literal) => {
        $crate::__conformance_suite! { @cases $new; $runtime; $crate::conformance::Limits::default();
            a_stored_delivery_is_leased_with_its_exact_facts,
            empty_and_large_bodies_are_stored,
            a_repeated_call_stores_a_delivery_once,
            a_key_is_unique_while_its_entry_waits_is_in_flight_or_is_dead,
            an_entry_that_may_be_withdrawn_is_undecided_until_its_lease_ends,
            an_entry_is_withdrawn_only_before_another_delivery_of_its_event_counts_as_stored,
            the_keys_of_a_completed_entry_are_free,
            deliveries_without_keys_are_told_apart_by_their_tokens,
            the_first_attempt_waits_until_it_is_due,
            the_caller_leases_an_entry_only_if_none_of_its_source_is_open,
            an_entry_is_leased_to_one_worker,
            sources_are_leased_apart,
            the_entry_that_is_due_longest_is_leased_first,
            an_entry_whose_lease_ended_waits_again_with_one_more_attempt,
            a_renewed_lease_keeps_other_workers_out,
            an_ordered_source_is_leased_one_at_a_time_in_the_order_of_storing,
            a_failed_entry_of_an_ordered_source_holds_up_the_others,
            the_queue_knows_which_sources_are_due,
            an_ordered_source_is_due_when_its_first_entry_is,
            a_waiting_worker_notices_each_change,
            a_completed_entry_is_gone,
            a_failed_entry_waits_for_its_next_attempt,
            an_entry_that_is_put_back_does_not_count_the_attempt,
            a_dead_letter_stays_until_the_operator_acts,
            an_earlier_holder_of_the_lease_changes_nothing,
            a_lease_is_settled_once,
            a_settlement_after_the_lease_applies_if_the_entry_was_not_leased_again,
            an_entry_that_waits_is_due_at_once_after_a_retry,
            a_dead_letter_starts_again_after_a_retry,
            a_dead_letter_of_an_ordered_source_goes_first_after_a_retry,
            an_entry_that_is_not_in_flight_can_be_deleted,
            dead_letters_are_deleted_by_their_age,
            entries_are_listed_by_filters_and_pages,
            an_event_is_found_by_its_key,
            the_numbers_of_each_source_are_counted,
            every_entry_outlives_its_process,
            every_settlement_outlives_its_process,
            a_lease_outlives_its_process_until_its_time,
            the_order_of_a_source_outlives_the_process,
            a_delivery_is_stored_once_across_processes,
            an_entry_whose_claim_is_open_is_listed_after_a_crash,
            a_confirmed_entry_is_not_listed_after_a_stop,
            only_the_confirmed_entries_are_not_listed_after_a_stop,
            an_entry_whose_claim_is_open_is_not_listed_while_it_is_leased,
        }
        $crate::__conformance_suite! { @cases $new; $runtime; $crate::conformance::SMALL;
            a_source_uses_no_more_than_its_share,
            a_full_queue_refuses_and_keeps_everything,
        }
        $crate::__conformance_suite! { @cases $new; $runtime; $crate::conformance::SMALL_WITH_COPIES;
            copies_of_delivered_entries_are_the_first_to_go,
            a_copy_is_kept_for_its_time_and_can_be_sent_again,
        }
        $crate::__conformance_suite! {
            @cases $new; (flavor = "multi_thread"); $crate::conformance::Limits::default();
            a_key_is_stored_once_by_simultaneous_calls,
            simultaneous_workers_lease_each_entry_once,
            simultaneous_workers_lease_an_ordered_source_one_at_a_time,
        }
        $crate::__conformance_suite! { @model $new; $runtime; $histories }
    };
    (@cases $new:expr; $runtime:tt; $limits:expr; $($case:ident,)*) => {$(
        $crate::__conformance_suite! { @case $new; $runtime; $limits; $case }
    )*};
    (@case $new:expr; ($($runtime:tt)*); $limits:expr; $case:ident) => {
        #[tokio::test($($runtime)*)]
        async fn $case() {
            let limits: $crate::conformance::Limits = $limits;
            let harness = $crate::conformance::create($new, limits).await;
            $crate::conformance::$case(harness).await;
        }
    };
    (@model $new:expr; ($($runtime:tt)*); $histories:literal) => {
        #[tokio::test($($runtime)*)]
        async fn every_result_matches_the_reference() {
            $crate::conformance::compare_with_model($new, $histories).await;
        }
    };
}

#[doc(inline)]
pub use crate::__conformance_suite as suite;

/// Creates a harness. The signature tells the compiler the types of the closure.
#[doc(hidden)]
pub async fn create<H>(new: impl AsyncFnOnce(Limits) -> H, limits: Limits) -> H {
    new(limits).await
}
