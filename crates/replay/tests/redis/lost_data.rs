//! The store with a server that has lost all its data.

use std::time::{Duration, SystemTime};

use hookgate_core::UnixTime;
use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, ClaimOptions, RedisStore, ReplayStore, Settled};
use hookgate_test_servers::redis::Server;

use crate::topologies::Cluster;
use crate::{RECOVERY, SYNCED, claim, claim_within, connect, granted, key};

/// Seconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the store uses the system clock")]
    let now = SystemTime::now();
    UnixTime::from(now).secs()
}

/// Claims a key for a delivery that was signed at `at`.
pub(crate) async fn claim_signed(store: &RedisStore, number: u32, at: i64) -> Claim {
    let options = CLAIM_OPTIONS.with_signed_at(UnixTime::from_secs(at));
    store.claim(key(number), options).await.unwrap()
}

/// Claims a key for a delivery that was signed after the epoch of the server.
pub(crate) async fn claim_new(store: &RedisStore, number: u32) -> Claim {
    claim_signed(store, number, now() + 2).await
}

pub(crate) fn is_granted(claim: &Claim) -> bool {
    matches!(claim, Claim::Granted(_))
}

#[tokio::test]
async fn deliveries_signed_before_the_server_was_emptied_are_refused() {
    for flush in ["FLUSHALL", "FLUSHDB"] {
        let server = Server::start(&[]);
        let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
        server.set_early_epochs();
        let before = now();
        for number in 0..8 {
            let Claim::Granted(lease) = claim_signed(&one, number, before).await else {
                panic!("{number} is new");
            };
            one.commit(&lease, Duration::from_secs(661)).await.unwrap();
        }
        server.cli(&[flush]);
        // The gate that notices the loss, another gate, and a new gate.
        for number in 0..8 {
            assert_eq!(claim_signed(&one, number, before).await, Claim::Forgotten);
            assert_eq!(claim_signed(&other, number, before).await, Claim::Forgotten);
            let late = connect(&server.url()).await;
            assert_eq!(claim_signed(&late, number, before).await, Claim::Forgotten);
        }
        // A delivery of the same event that is signed after the loss is granted: the server no
        // longer knows that the event is done.
        for number in 0..8 {
            assert!(is_granted(&claim_new(&one, number).await));
        }
    }
}

/// The control: with an early epoch replays pass, except at the gate that committed the event.
#[tokio::test]
async fn an_emptied_server_with_an_early_epoch_is_believed() {
    let server = Server::start(&[]);
    let before = now();
    let store = connect(&server.url()).await;
    let Claim::Granted(lease) = claim_new(&store, 1).await else {
        panic!("the key is new");
    };
    let settled = store.commit(&lease, Duration::from_secs(661)).await;
    assert_eq!(settled.unwrap(), Settled::Applied);
    assert_eq!(claim_signed(&store, 1, before).await, Claim::Forgotten);
    server.cli(&["FLUSHALL"]);
    server.set_early_epochs();
    let other = connect(&server.url()).await;
    assert!(is_granted(&claim_signed(&other, 1, before).await));
    assert_eq!(claim_signed(&store, 1, before).await, Claim::Forgotten);
}

#[tokio::test]
async fn a_server_that_was_restarted_without_its_data_is_noticed() {
    let mut server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.set_early_epochs();
    let before = now();
    assert!(is_granted(&claim_signed(&store, 1, before).await));
    server.kill();
    server.restart();
    claim_within(&store, 99, RECOVERY).await;
    assert_eq!(claim_signed(&store, 1, before).await, Claim::Forgotten);
}

#[tokio::test]
async fn a_server_that_was_restarted_with_its_data_is_used_as_before() {
    let mut server = Server::start(&SYNCED);
    let store = connect(&server.url()).await;
    server.set_early_epochs();
    let before = now();
    // On a busy machine the restart takes longer than the usual lease.
    let options = ClaimOptions::new(Duration::from_secs(600), Duration::from_secs(600))
        .with_signed_at(UnixTime::from_secs(before));
    let first = store.claim(key(1), options).await.unwrap();
    assert!(is_granted(&first));
    server.kill();
    server.restart();
    claim_within(&store, 99, RECOVERY).await;
    let again = claim_signed(&store, 1, before).await;
    assert!(matches!(again, Claim::InFlight { .. }), "{again:?}");
    assert!(is_granted(&claim_signed(&store, 2, before).await));
}

/// A delivery without a signing time cannot be compared with the epoch, and is not refused
/// forever.
#[tokio::test]
async fn an_emptied_server_grants_deliveries_without_a_signing_time() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    granted(&store, 1).await;
    server.cli(&["FLUSHALL"]);
    granted(&store, 1).await;
    let again = claim(&store, 1).await;
    assert!(matches!(again, Claim::InFlight { .. }), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_master_of_a_cluster_is_noticed() {
    let cluster = Cluster::start();
    let store = connect(&cluster.url()).await;
    cluster.set_early_epochs();
    let before = now();
    for number in 0..256 {
        assert!(is_granted(&claim_signed(&store, number, before).await));
    }
    cluster.0[1].cli(&["FLUSHALL"]);
    let mut forgotten = 0;
    for number in 0..256 {
        match claim_signed(&store, number, before).await {
            Claim::Forgotten => forgotten += 1,
            Claim::InFlight { .. } => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    // The master has about a third of the slots.
    assert!((50..130).contains(&forgotten), "{forgotten}");
    for number in 0..256 {
        let claim = claim_new(&store, number).await;
        assert!(!matches!(claim, Claim::Forgotten), "{number}: {claim:?}");
    }
}

#[tokio::test]
async fn a_full_server_without_events_reports_that_it_is_full() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.cli(&["FLUSHALL"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(claim(&store, 1).await, Claim::Full);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    granted(&store, 1).await;
}
