//! A model of the claim protocol, checked in every order of its steps.
//!
//! Two gateways share a store. A sender, or an attacker with a captured delivery, delivers one
//! event again and again, also at the same time. At any step a gateway can crash, a lease can
//! end, a message to the store or its reply can be lost, and the response of the upstream can
//! be lost. In place of forwarding a delivery, a gateway can store it in a queue, from which a worker
//! sends it. The model covers one retention, within which a done event stays done.

mod model;
mod state;

use self::model::{
    COMMITTED, DONE, Disconnect, Forgetting, Guarantee, Holder, NOT_LOST, ONE_LEASE, ONE_MORE,
    Protocol, Queue, Record, Release, STALE, STORED_ONCE, THIRD_ATTEMPT, TRUE_ATTEMPT,
    TRUE_DUPLICATE, Token,
};
use self::state::{Action, Message};

/// The properties that hold for both delivery guarantees. [`NOT_LOST`] holds for at-least-once
/// delivery only, and [`TRUE_ATTEMPT`] has a test of its own.
const ALWAYS: [&str; 4] = [ONE_LEASE, COMMITTED, ONE_MORE, TRUE_DUPLICATE];
const AT_LEAST_ONCE: [&str; 5] = [ONE_LEASE, COMMITTED, ONE_MORE, TRUE_DUPLICATE, NOT_LOST];

#[test]
fn at_least_once_delivery_forwards_once_in_a_lease_and_loses_no_event() {
    Protocol::REAL.holds(&AT_LEAST_ONCE);
    let dropping = Protocol {
        on_disconnect: Disconnect::Drops,
        ..Protocol::REAL
    };
    dropping.holds(&AT_LEAST_ONCE);
}

#[test]
fn three_simultaneous_deliveries_keep_all_promises() {
    let checked = Protocol {
        lines: 3,
        sends: 5,
        ..Protocol::REAL
    };
    checked.holds(&AT_LEAST_ONCE);
}

#[test]
fn at_most_once_delivery_forwards_again_only_after_a_known_failure() {
    for on_disconnect in [Disconnect::Continues, Disconnect::Drops] {
        let checked = Protocol {
            guarantee: Guarantee::AtMostOnce,
            on_disconnect,
            ..Protocol::REAL
        };
        checked.holds(&ALWAYS);
    }
}

#[test]
fn at_most_once_delivery_can_lose_events() {
    let at_most_once = Protocol {
        guarantee: Guarantee::AtMostOnce,
        ..Protocol::REAL
    };
    // The shortest way to lose an event: the store grants the claim, its reply is lost, and
    // so the delivery is never forwarded.
    let (line, gateway, message) = (0, 0, Message::ReplyLost);
    assert_eq!(
        at_most_once.fails(NOT_LOST),
        [
            Action::Send { line, gateway },
            Action::Claim { line, message }
        ]
    );
}

/// A forgotten event counts as not delivered: it can be forwarded again, and no late settlement of
/// an earlier delivery makes it a duplicate.
#[test]
fn an_operator_who_forgets_the_event_breaks_no_promise() {
    for (guarantee, promises) in [
        (Guarantee::AtLeastOnce, &AT_LEAST_ONCE[..]),
        (Guarantee::AtMostOnce, &ALWAYS),
    ] {
        let forgetting = Protocol {
            guarantee,
            sends: 4,
            forgets: 2,
            ..Protocol::REAL
        };
        forgetting.holds(promises);
    }
}

/// A queue stores the delivery. A crash can come between that and the record of the event.
#[test]
fn a_queue_loses_no_event_and_stores_none_again() {
    let queued = Protocol {
        queue: Queue::StoresFirst,
        ..Protocol::REAL
    };
    queued.holds(&[NOT_LOST, TRUE_DUPLICATE, STORED_ONCE]);
}

/// The promises would also hold in a model in which nothing happens.
#[test]
fn the_interesting_states_are_reached() {
    for case in [THIRD_ATTEMPT, STALE, DONE] {
        Protocol::REAL.reaches(case);
    }
}

// === Controls: without a part of the protocol, a promise is broken. ===

#[test]
fn without_the_token_a_late_settlement_ends_the_lease_of_another_delivery() {
    let without = Protocol {
        token: Token::Ignored,
        ..Protocol::REAL
    };
    // A late release breaks the first promise, a late commit the second.
    without.fails(ONE_LEASE);
    without.fails(COMMITTED);
}

#[test]
fn recording_an_event_on_arrival_loses_it() {
    let on_arrival = Protocol {
        record: Record::OnArrival,
        ..Protocol::REAL
    };
    on_arrival.fails(NOT_LOST);
    on_arrival.fails(TRUE_DUPLICATE);
}

#[test]
fn recording_an_event_when_it_is_done_forwards_it_twice() {
    let when_done = Protocol {
        record: Record::WhenDone,
        ..Protocol::REAL
    };
    when_done.fails(ONE_LEASE);
    when_done.fails(COMMITTED);
}

#[test]
fn recording_an_event_before_it_is_stored_loses_it() {
    let records_first = Protocol {
        queue: Queue::RecordsFirst,
        ..Protocol::REAL
    };
    records_first.fails(NOT_LOST);
    records_first.fails(TRUE_DUPLICATE);
}

#[test]
fn a_worker_that_records_nothing_lets_an_event_be_stored_again() {
    let unrecorded = Protocol {
        queue: Queue::WorkersRecordNothing,
        ..Protocol::REAL
    };
    unrecorded.fails(STORED_ONCE);
    unrecorded.holds(&[NOT_LOST]);
}

#[test]
fn forgetting_an_event_in_flight_forwards_it_twice_in_a_lease() {
    let ending = Protocol {
        forgets: 1,
        forgetting: Forgetting::EndsOpenLeases,
        ..Protocol::REAL
    };
    ending.fails(ONE_LEASE);
}

/// This is why a lease must be longer than every delivery: the upstream checks no token. If a
/// machine is suspended between the claim and the forward for longer than the lease, its
/// gateway forwards during the lease of another delivery.
#[test]
fn a_holder_that_stalls_longer_than_its_lease_forwards_in_the_lease_of_another() {
    let stalling = Protocol {
        holder: Holder::MayStall,
        sends: 3,
        ..Protocol::REAL
    };
    stalling.fails(ONE_LEASE);
    stalling.fails(COMMITTED);
    stalling.holds(&[NOT_LOST, TRUE_DUPLICATE]);
}

#[test]
fn a_release_that_forgets_earlier_leases_makes_a_repetition_the_first_attempt() {
    Protocol::REAL.holds(&[TRUE_ATTEMPT]);
    let forgetting = Protocol {
        release: Release::Forgets,
        ..Protocol::REAL
    };
    forgetting.fails(TRUE_ATTEMPT);
}

/// A known limit: a delivery that is dropped after it was forwarded releases its claim, as if it
/// had failed.
#[test]
fn a_repetition_after_a_dropped_delivery_is_the_first_attempt() {
    let dropping = Protocol {
        on_disconnect: Disconnect::Drops,
        ..Protocol::REAL
    };
    dropping.fails(TRUE_ATTEMPT);
}
