//! The store with a server that has come back with older data.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookgate_core::UnixTime;
use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, RedisStore, ReplayStore, Settled};
use hookgate_test_servers::redis::Server;
use tokio::time::{sleep, timeout};

use crate::lost_data::{claim_new, claim_signed, is_granted, now};
use crate::proxy::Proxy;
use crate::topologies::Cluster;
use crate::{SYNCED, claim, claim_within, config, connect, key};

const RETENTION: Duration = Duration::from_secs(661);
const LIMIT: Duration = Duration::from_secs(30);

/// Starts a server that can load its snapshot while it runs.
pub(crate) fn server() -> Server {
    Server::start(&["--enable-debug-command", "yes"])
}

pub(crate) fn load_snapshot(server: &Server) {
    server.cli(&["DEBUG", "RELOAD", "NOSAVE"]);
}

pub(crate) async fn done(store: &RedisStore, number: u32, signed: i64) {
    let claim = claim_signed(store, number, signed).await;
    let Claim::Granted(lease) = claim else {
        panic!("{number} is not new: {claim:?}");
    };
    let settled = store.commit(&lease, RETENTION).await;
    assert_eq!(settled.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn events_done_after_the_snapshot_are_refused() {
    let mut server = Server::start(&[]);
    let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
    server.set_early_epochs();
    let before = now();
    done(&one, 1, before).await;
    server.cli(&["SAVE"]);
    done(&one, 2, before).await;
    server.kill();
    server.restart();
    // The gate that committed the lost event probes the server when it reconnects.
    claim_within(&one, 1_000, LIMIT).await;
    claim_within(&other, 1_001, LIMIT).await;
    let late = connect(&server.url()).await;
    for store in [&other, &late, &one] {
        assert_eq!(claim_signed(store, 2, before).await, Claim::Forgotten);
        // Events of other slots may be lost as well.
        assert_eq!(claim_signed(store, 3, before).await, Claim::Forgotten);
        // The age is checked before the state of the key.
        assert_eq!(claim_signed(store, 1, before).await, Claim::Forgotten);
    }
    // New deliveries are accepted, except for events that the snapshot has as done.
    assert_eq!(claim_new(&one, 1).await, Claim::Done);
    assert!(is_granted(&claim_new(&one, 2).await));
    assert!(is_granted(&claim_new(&other, 3).await));
}

/// The control: no gate with a witness is left.
#[tokio::test]
async fn older_data_is_believed_when_all_gates_are_new() {
    let mut server = Server::start(&[]);
    let one = connect(&server.url()).await;
    server.set_early_epochs();
    let before = now();
    done(&one, 1, before).await;
    server.cli(&["SAVE"]);
    done(&one, 2, before).await;
    drop(one);
    server.kill();
    server.restart();
    let late = connect(&server.url()).await;
    assert_eq!(claim_signed(&late, 1, before).await, Claim::Done);
    assert!(is_granted(&claim_signed(&late, 2, before).await));
}

#[tokio::test]
async fn an_idle_gate_notices_the_loss_for_the_others() {
    let mut server = Server::start(&[]);
    let [_one, other] = {
        let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
        server.set_early_epochs();
        server.cli(&["SAVE"]);
        done(&one, 1, now()).await;
        [one, other]
    };
    let before = now();
    server.kill();
    server.restart();
    let noticed = async {
        for number in 2.. {
            let options = CLAIM_OPTIONS.with_signed_at(UnixTime::from_secs(before));
            if let Ok(Claim::Forgotten) = other.claim(key(number), options).await {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, noticed)
        .await
        .expect("the idle gate reconnects by itself");
}

/// The slots with a record look intact. Without a second record, the other slots would be
/// believed.
#[tokio::test]
async fn an_interrupted_record_of_a_loss_is_repeated() {
    let mut server = Server::start(&[]);
    let proxy = Proxy::to(server.port).await;
    let [one, other] = [connect(&proxy.url()).await, connect(&server.url()).await];
    server.set_early_epochs();
    let before = now();
    server.cli(&["SAVE"]);
    // The lost event is in a slot that is recorded early.
    done(&one, 2, before).await;
    proxy.close_after_records(100);
    server.kill();
    server.restart();
    claim_within(&one, 1_000, LIMIT).await;
    assert!(proxy.has_closed_after_records());
    claim_within(&other, 1_001, LIMIT).await;
    for number in [2, 50, 99, 100, 150, 255] {
        let claim = claim_signed(&other, number, before).await;
        assert_eq!(claim, Claim::Forgotten, "{number}");
    }
}

#[tokio::test]
async fn the_next_claim_notices_the_loss_on_an_open_connection() {
    let server = server();
    let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
    server.set_early_epochs();
    let before = now();
    server.cli(&["SAVE"]);
    done(&one, 2, before).await;
    done(&one, 3, before).await;
    load_snapshot(&server);
    // The control: the other gate did not commit the event, so it does not notice the loss.
    assert!(is_granted(&claim_signed(&other, 3, before).await));
    // Another event of the same first byte.
    assert_eq!(claim_signed(&one, 2 + 256, before).await, Claim::Forgotten);
    for number in [2, 4] {
        let claim = claim_signed(&other, number, before).await;
        assert_eq!(claim, Claim::Forgotten, "{number}");
    }
    // The loss is noticed once.
    let signed = now() + 2;
    done(&one, 4, signed).await;
    assert!(is_granted(&claim_signed(&one, 2, signed).await));
    assert_eq!(claim_signed(&one, 4, signed).await, Claim::Done);
}

#[tokio::test]
async fn a_snapshot_with_the_event_in_flight_is_noticed() {
    let server = server();
    let store = connect(&server.url()).await;
    server.set_early_epochs();
    let before = now();
    let Claim::Granted(lease) = claim_signed(&store, 1, before).await else {
        panic!("the key is new");
    };
    server.cli(&["SAVE"]);
    store.commit(&lease, RETENTION).await.unwrap();
    load_snapshot(&server);
    let claim = claim_signed(&store, 1 + 256, before).await;
    assert_eq!(claim, Claim::Forgotten);
}

#[tokio::test]
async fn a_loss_is_recorded_on_a_full_server() {
    let server = server();
    let store = connect(&server.url()).await;
    server.set_early_epochs();
    let before = now();
    server.cli(&["SAVE"]);
    done(&store, 1, before).await;
    load_snapshot(&server);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    for number in 1..4 {
        let claim = claim_signed(&store, number, before).await;
        assert_eq!(claim, Claim::Forgotten, "{number}");
    }
    assert_eq!(claim_new(&store, 1).await, Claim::Full);
}

#[tokio::test]
async fn complete_data_is_not_treated_as_older() {
    let mut server = Server::start(&SYNCED);
    let store = connect(&server.url()).await;
    server.set_early_epochs();
    let before = now();
    for number in 0..512 {
        done(&store, number, before).await;
    }
    server.kill();
    server.restart();
    claim_within(&store, 1_000_000, LIMIT).await;
    for number in 0..512 {
        assert_eq!(claim_signed(&store, number, before).await, Claim::Done);
        let new = claim_signed(&store, number + 512, before).await;
        assert!(is_granted(&new), "{number}: {new:?}");
    }
}

#[tokio::test]
async fn an_expired_witness_is_not_missed() {
    let server = Server::start(&[]);
    let shift = Arc::new(AtomicU64::new(0));
    let config = config(&server.url());
    let store = RedisStore::connect_with_clock_shift(config, Arc::clone(&shift)).await;
    let store = store.unwrap();
    server.set_early_epochs();
    let before = now();
    let reconnect = || server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    done(&store, 1, before).await;
    // After its retention the event is claimed again and released, so its key is removed.
    shift.fetch_add(661_000, Ordering::SeqCst);
    let Claim::Granted(lease) = claim_signed(&store, 1, before).await else {
        panic!("the retention has ended");
    };
    reconnect();
    assert!(is_granted(&claim_signed(&store, 1 + 256, before).await));
    store.release(&lease).await.unwrap();
    reconnect();
    assert!(is_granted(&claim_signed(&store, 1 + 512, before).await));

    // The control: the witness is missed if its key is removed before the retention ends.
    done(&store, 1, before).await;
    shift.fetch_add(655_000, Ordering::SeqCst);
    server.cli(&["DEL", &crate::name(1)]);
    let claim = claim_signed(&store, 1 + 768, before).await;
    assert_eq!(claim, Claim::Forgotten);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_of_a_cluster_with_older_data_is_noticed() {
    let cluster = Cluster::start();
    let [one, other] = [connect(&cluster.url()).await, connect(&cluster.url()).await];
    cluster.set_early_epochs();
    let before = now();
    for node in &cluster.0 {
        node.cli(&["SAVE"]);
    }
    for number in 0..256 {
        done(&one, number, before).await;
    }
    load_snapshot(&cluster.0[1]);
    // Each claim finds the loss of its own slot and records it for all gates.
    let mut forgotten = [Vec::new(), Vec::new()];
    for (store, forgotten) in [&one, &other].into_iter().zip(&mut forgotten) {
        for number in 0..256 {
            match claim_signed(store, number, before).await {
                Claim::Forgotten => forgotten.push(number),
                Claim::Done => {}
                other => panic!("{number}: {other:?}"),
            }
        }
    }
    // The master has about a third of the slots, and both gates refuse the same events.
    let [by_one, by_other] = forgotten;
    assert!((50..130).contains(&by_one.len()), "{by_one:?}");
    assert_eq!(by_one, by_other);
    assert!(matches!(claim(&other, 1_000).await, Claim::Granted(_)));
}
