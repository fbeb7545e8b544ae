//! What holds when the server has come back with older data than it had.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookgate_core::UnixTime;
use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, RedisConfig, RedisStore, ReplayStore, Settled};
use tokio::time::{sleep, timeout};

use crate::proxy::Proxy;
use crate::server::Server;
use crate::topologies::Cluster;
use crate::wiped::{claim_new, claim_signed, is_granted, now};
use crate::{claim, claim_within, connect, key};

const RETENTION: Duration = Duration::from_secs(661);
const PATIENCE: Duration = Duration::from_secs(5);

/// One that can be told to load its snapshot while it is used.
fn server() -> Server {
    Server::start(&["--enable-debug-command", "yes"])
}

fn go_back(server: &Server) {
    server.cli(&["DEBUG", "RELOAD", "NOSAVE"]);
}

async fn done(store: &RedisStore, number: u32, signed: i64) {
    let claim = claim_signed(store, number, signed).await;
    let Claim::Granted(lease) = claim else {
        panic!("{number} is new: {claim:?}");
    };
    let settled = store.commit(&lease, RETENTION).await;
    assert_eq!(settled.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn what_was_done_after_the_snapshot_is_granted_no_more() {
    let mut server = Server::start(&[]);
    let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
    server.in_use();
    let before = now();
    done(&one, 1, before).await;
    server.cli(&["SAVE"]);
    done(&one, 2, before).await;
    server.kill();
    server.restart();
    // By then the one that committed it has looked, and told all.
    claim_within(&one, 1_000, PATIENCE).await;
    claim_within(&other, 1_001, PATIENCE).await;
    let late = connect(&server.url()).await;
    for store in [&other, &late, &one] {
        assert_eq!(claim_signed(store, 2, before).await, Claim::Forgotten);
        // Nobody knows of which events of other slots that is true as well.
        assert_eq!(claim_signed(store, 3, before).await, Claim::Forgotten);
        // Age is looked at first.
        assert_eq!(claim_signed(store, 1, before).await, Claim::Forgotten);
    }
    // What is signed since counts; what the snapshot has is known.
    assert_eq!(claim_new(&one, 1).await, Claim::Done);
    assert!(is_granted(&claim_new(&one, 2).await));
    assert!(is_granted(&claim_new(&other, 3).await));
}

/// The control: the same, and nobody is left who knows what there was.
#[tokio::test]
async fn older_data_is_believed_when_all_gates_are_new() {
    let mut server = Server::start(&[]);
    let one = connect(&server.url()).await;
    server.in_use();
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
async fn a_gate_that_nobody_calls_tells_the_others() {
    let mut server = Server::start(&[]);
    let [_one, other] = {
        let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
        server.in_use();
        server.cli(&["SAVE"]);
        done(&one, 1, now()).await;
        [one, other]
    };
    let before = now();
    server.kill();
    server.restart();
    let told = async {
        for number in 2.. {
            let options = CLAIM_OPTIONS.with_signed_at(UnixTime::from_secs(before));
            if let Ok(Claim::Forgotten) = other.claim(key(number), options).await {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("it looks by itself");
}

/// Those that were told would say that everything is there, and the rest would be believed.
#[tokio::test]
async fn a_loss_of_which_not_all_could_be_told_is_told_again() {
    let mut server = Server::start(&[]);
    let proxy = Proxy::to(server.port).await;
    let [one, other] = [connect(&proxy.url()).await, connect(&server.url()).await];
    server.in_use();
    let before = now();
    server.cli(&["SAVE"]);
    // What is missing is among what is told first.
    done(&one, 2, before).await;
    proxy.close_after_tells(100);
    server.kill();
    server.restart();
    claim_within(&one, 1_000, PATIENCE).await;
    assert!(proxy.has_closed_after_tells());
    claim_within(&other, 1_001, PATIENCE).await;
    for number in [2, 50, 99, 100, 150, 255] {
        let claim = claim_signed(&other, number, before).await;
        assert_eq!(claim, Claim::Forgotten, "{number}");
    }
}

#[tokio::test]
async fn the_next_claim_notices_where_the_connection_was_not_lost() {
    let server = server();
    let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
    server.in_use();
    let before = now();
    server.cli(&["SAVE"]);
    done(&one, 2, before).await;
    done(&one, 3, before).await;
    go_back(&server);
    // The control: whoever did not commit it cannot know.
    assert!(is_granted(&claim_signed(&other, 3, before).await));
    // Another event of the same first byte.
    assert_eq!(claim_signed(&one, 2 + 256, before).await, Claim::Forgotten);
    for number in [2, 4] {
        let claim = claim_signed(&other, number, before).await;
        assert_eq!(claim, Claim::Forgotten, "{number}");
    }
    // It is noticed once.
    let signed = now() + 2;
    done(&one, 4, signed).await;
    assert!(is_granted(&claim_signed(&one, 2, signed).await));
    assert_eq!(claim_signed(&one, 4, signed).await, Claim::Done);
}

#[tokio::test]
async fn what_was_in_flight_at_the_time_of_the_snapshot_is_noticed() {
    let server = server();
    let store = connect(&server.url()).await;
    server.in_use();
    let before = now();
    let Claim::Granted(lease) = claim_signed(&store, 1, before).await else {
        panic!("it is new");
    };
    server.cli(&["SAVE"]);
    store.commit(&lease, RETENTION).await.unwrap();
    go_back(&server);
    let claim = claim_signed(&store, 1 + 256, before).await;
    assert_eq!(claim, Claim::Forgotten);
}

#[tokio::test]
async fn a_full_server_that_went_back_is_told() {
    let server = server();
    let store = connect(&server.url()).await;
    server.in_use();
    let before = now();
    server.cli(&["SAVE"]);
    done(&store, 1, before).await;
    go_back(&server);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    for number in 1..4 {
        let claim = claim_signed(&store, number, before).await;
        assert_eq!(claim, Claim::Forgotten, "{number}");
    }
    assert_eq!(claim_new(&store, 1).await, Claim::Full);
}

#[tokio::test]
async fn data_that_is_complete_is_not_taken_for_older() {
    let mut server = Server::start(&["--appendonly", "yes"]);
    let store = connect(&server.url()).await;
    server.in_use();
    let before = now();
    for number in 0..512 {
        done(&store, number, before).await;
    }
    server.kill();
    server.restart();
    claim_within(&store, 1_000_000, PATIENCE).await;
    for number in 0..512 {
        assert_eq!(claim_signed(&store, number, before).await, Claim::Done);
        let new = claim_signed(&store, number + 512, before).await;
        assert!(is_granted(&new), "{number}: {new:?}");
    }
}

#[tokio::test]
async fn an_event_that_is_due_to_be_forgotten_is_not_missed() {
    let server = Server::start(&[]);
    let shift = Arc::new(AtomicU64::new(0));
    let config = RedisConfig::new(&server.url()).unwrap();
    let store = RedisStore::connect_with_clock_shift(config, Arc::clone(&shift)).await;
    let store = store.unwrap();
    server.in_use();
    let before = now();
    let reconnect = || server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    done(&store, 1, before).await;
    // Claimed anew when it is due, given back, and so gone.
    shift.fetch_add(661_000, Ordering::SeqCst);
    let Claim::Granted(lease) = claim_signed(&store, 1, before).await else {
        panic!("it is due");
    };
    reconnect();
    assert!(is_granted(&claim_signed(&store, 1 + 256, before).await));
    store.release(&lease).await.unwrap();
    reconnect();
    assert!(is_granted(&claim_signed(&store, 1 + 512, before).await));

    // The control: it is missed when it is removed a moment before.
    done(&store, 1, before).await;
    shift.fetch_add(655_000, Ordering::SeqCst);
    server.cli(&["DEL", &crate::name(1)]);
    let claim = claim_signed(&store, 1 + 768, before).await;
    assert_eq!(claim, Claim::Forgotten);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_master_of_a_cluster_that_went_back_is_noticed() {
    let cluster = Cluster::start();
    let [one, other] = [connect(&cluster.url()).await, connect(&cluster.url()).await];
    cluster.in_use();
    let before = now();
    for node in &cluster.0 {
        node.cli(&["SAVE"]);
    }
    for number in 0..256 {
        done(&one, number, before).await;
    }
    go_back(&cluster.0[1]);
    // Any claim of an event that would be there tells all of that master.
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
    // About a third, and for both the same.
    let [one, other_too] = forgotten;
    assert!((50..130).contains(&one.len()), "{one:?}");
    assert_eq!(one, other_too);
    assert!(matches!(claim(&other, 1_000).await, Claim::Granted(_)));
}
