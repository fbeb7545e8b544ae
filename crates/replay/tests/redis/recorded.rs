//! Events that are recorded as done without a lease: witnesses, full servers, foreign data.

use std::time::Duration;

use hookgate_replay::{Claim, ReplayStore};
use hookgate_test_servers::redis::Server;

use crate::lost_data::{claim_signed, is_granted, now};
use crate::older_data::done;
use crate::{claim, connect, granted, key, name};

/// Longer than that of the events that [`done`] commits.
const RETENTION: Duration = Duration::from_secs(10_000);

/// Another event whose key begins with the same byte, so that its claim checks the same witness.
const fn neighbour(number: u32) -> u32 {
    number + 256
}

#[tokio::test]
async fn a_witness_that_another_gate_has_recorded_for_longer_is_no_lost_event() {
    let server = Server::start(&[]);
    let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
    server.set_early_epochs();
    let before = now();
    done(&one, 1, before).await;
    other.record_done(key(1), RETENTION).await.unwrap();
    assert!(is_granted(&claim_signed(&one, neighbour(1), before).await));
    // A new connection checks all witnesses.
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    for (store, number) in [(&one, 2), (&other, 3)] {
        assert!(is_granted(&claim_signed(store, number, before).await));
    }
    // The control: the record is a witness, too.
    other.record_done(key(4), RETENTION).await.unwrap();
    assert_eq!(server.cli(&["DEL", &name(4)]), "1");
    let claim = claim_signed(&other, neighbour(4), before).await;
    assert_eq!(claim, Claim::Forgotten);
}

#[tokio::test]
async fn a_full_server_records_what_a_queue_has_stored() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    granted(&store, 1).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(claim(&store, 3).await, Claim::Full);
    for number in [1, 2] {
        store.record_done(key(number), RETENTION).await.unwrap();
        assert_eq!(claim(&store, number).await, Claim::Done);
    }
}

#[tokio::test]
async fn a_record_that_lasts_long_enough_is_not_written_again() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    store.record_done(key(1), RETENTION).await.unwrap();
    let value = server.cli(&["GET", &name(1)]);
    store.record_done(key(1), RETENTION / 2).await.unwrap();
    assert_eq!(server.cli(&["GET", &name(1)]), value);
    // The control.
    store.record_done(key(1), 2 * RETENTION).await.unwrap();
    assert_ne!(server.cli(&["GET", &name(1)]), value);
}

/// The key holds data that is not hookgate's.
#[tokio::test]
async fn foreign_data_is_not_overwritten() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.cli(&["SET", &name(1), "foreign"]);
    assert!(store.record_done(key(1), RETENTION).await.is_err());
    assert_eq!(server.cli(&["GET", &name(1)]), "foreign");
}
