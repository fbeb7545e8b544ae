//! Events that an operator makes the server forget: no loss of data, lost replies, full servers.

use std::time::{Duration, Instant};

use hookgate_core::internal::ErrorChain;
use hookgate_replay::{Claim, Forgotten, ReplayStore};
use hookgate_test_servers::redis::Server;

use crate::lost_data::{claim_signed, is_granted, now};
use crate::older_data::{done, load_snapshot, server};
use crate::proxy::Proxy;
use crate::topologies::Cluster;
use crate::{
    PROMPT, claim, claim_fails, claim_within, connect, connect_with_default_timeout, forget,
    granted, key, name,
};

const LIMIT: Duration = Duration::from_secs(30);

/// Another event whose key begins with the same byte, so that its claim checks the same witness.
const fn neighbour(number: u32) -> u32 {
    number + 256
}

#[tokio::test]
async fn a_witness_that_another_gate_has_forgotten_is_no_lost_event() {
    let server = Server::start(&[]);
    let [one, other] = [connect(&server.url()).await, connect(&server.url()).await];
    server.set_early_epochs();
    let before = now();
    done(&one, 1, before).await;
    assert_eq!(forget(&other, 1).await, Forgotten::Removed);
    assert!(is_granted(&claim_signed(&one, neighbour(1), before).await));
    // The event is delivered, done and forgotten again. Each gate has a witness of its own.
    done(&other, 1, before).await;
    assert!(is_granted(&claim_signed(&one, 1 + 512, before).await));
    assert_eq!(forget(&one, 1).await, Forgotten::Removed);
    for (store, number) in [(&one, 1 + 768), (&other, 1 + 1024)] {
        assert!(is_granted(&claim_signed(store, number, before).await));
    }
    // A new connection checks all witnesses.
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    for (store, number) in [(&one, 2), (&other, 3)] {
        assert!(is_granted(&claim_signed(store, number, before).await));
    }
    // The control: another client removes a witness.
    done(&one, 4, before).await;
    assert_eq!(server.cli(&["DEL", &name(4)]), "1");
    assert_eq!(
        claim_signed(&one, neighbour(4), before).await,
        Claim::Forgotten
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_forgets_events_of_every_slot() {
    let cluster = Cluster::start();
    let [one, other] = [connect(&cluster.url()).await, connect(&cluster.url()).await];
    cluster.set_early_epochs();
    let before = now();
    for number in 0..64 {
        done(&one, number, before).await;
        assert_eq!(forget(&other, number).await, Forgotten::Removed);
        assert!(is_granted(&claim_signed(&one, number, before).await));
        assert_eq!(forget(&other, number).await, Forgotten::InFlight);
    }
}

/// The set of forgotten events is lost together with the events.
#[tokio::test]
async fn a_loss_of_data_is_noticed_although_the_witness_was_forgotten() {
    let server = server();
    let one = connect(&server.url()).await;
    server.set_early_epochs();
    let before = now();
    server.cli(&["SAVE"]);
    done(&one, 1, before).await;
    assert_eq!(forget(&one, 1).await, Forgotten::Removed);
    load_snapshot(&server);
    assert_eq!(
        claim_signed(&one, neighbour(1), before).await,
        Claim::Forgotten
    );
}

#[tokio::test]
async fn the_server_keeps_the_values_of_forgotten_events_until_their_retention_ends() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    let forgotten = "hookgate:{01}forgotten";
    for (number, retention) in [(1, 100), (1 + 256, 900)] {
        let lease = granted(&store, number).await;
        let retention = Duration::from_secs(retention);
        store.commit(&lease, retention).await.unwrap();
        assert_eq!(forget(&store, number).await, Forgotten::Removed);
    }
    // Two events and the tokens of two calls.
    assert_eq!(server.cli(&["ZCARD", forgotten]), "4");
    let left: u64 = server.cli(&["PTTL", forgotten]).parse().unwrap();
    assert!((890_000..=901_000).contains(&left), "{left}");
    assert_eq!(server.cli(&["EXISTS", &name(1), &name(1 + 256)]), "0");
    // An event that was never done is no witness, so only the token is added.
    assert_eq!(forget(&store, 2).await, Forgotten::Unknown);
    assert_eq!(server.cli(&["EXISTS", "hookgate:{02}forgotten"]), "0");
}

#[tokio::test]
async fn a_lost_reply_does_not_hide_that_the_event_is_forgotten() {
    for lose in [Proxy::close_next, Proxy::swallow_next] {
        let server = Server::start(&[]);
        let proxy = Proxy::to(server.port).await;
        let other = connect(&server.url()).await;
        done(&other, 1, now() + 2).await;
        let store = connect_with_default_timeout(&proxy.url()).await;
        lose(&proxy);
        assert_eq!(forget(&store, 1).await, Forgotten::Removed);
        assert!(proxy.has_lost());
        assert_eq!(forget(&store, 1).await, Forgotten::Unknown);
        assert!(is_granted(&claim(&other, 1).await));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_leaves_the_outcome_unknown() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    done(&store, 1, now() + 2).await;
    server.signal("STOP");
    let start = Instant::now();
    store.forget(key(1)).await.expect_err("no answer");
    assert!(start.elapsed() < PROMPT);
    server.signal("CONT");
    claim_within(&store, 2, LIMIT).await;
    // The server has read the command meanwhile, or not. A second call is harmless.
    let again = forget(&store, 1).await;
    assert!(
        matches!(again, Forgotten::Removed | Forgotten::Unknown),
        "{again:?}"
    );
    assert!(is_granted(&claim(&store, 1).await));
}

#[tokio::test]
async fn a_full_server_can_forget() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    done(&store, 1, now() + 2).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(claim(&store, 2).await, Claim::Full);
    assert_eq!(forget(&store, 1).await, Forgotten::Removed);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(is_granted(&claim(&store, 1).await));
}

/// A script that fails in the middle has removed nothing.
#[tokio::test]
async fn a_user_without_the_commands_forgets_nothing_and_claims_as_before() {
    let server = Server::start(&[]);
    let user = |name: &str, rules: &[&str]| {
        let rule = ["ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all"];
        server.cli(&[&rule, rules].concat());
        format!("redis://{name}:pw@127.0.0.1:{}", server.port)
    };
    let commands = ["zadd", "zscore", "zrange", "zremrangebyscore", "pexpire"];
    for (number, command) in (1..).zip(commands) {
        let store = connect(&user(command, &[&format!("-{command}")])).await;
        done(&store, number, now() + 2).await;
        let error = store.forget(key(number)).await.expect_err(command);
        let text = ErrorChain(&error).to_string();
        // The words of Redis, and those of Valkey.
        let is_denied = ["can't run this command", "has no permissions to run"]
            .iter()
            .any(|denied| text.contains(denied));
        assert!(is_denied, "{command}: {text}");
        assert_eq!(claim(&store, number).await, Claim::Done, "{command}");
        assert!(is_granted(&claim(&store, neighbour(number)).await));
    }
}

#[tokio::test]
async fn a_key_with_foreign_data_is_not_removed() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.cli(&["SET", &name(1), "foreign"]);
    let error = store.forget(key(1)).await.expect_err("not hookgate's");
    let text = ErrorChain(&error).to_string();
    assert!(text.contains("not hookgate's"), "{text}");
    assert_eq!(server.cli(&["GET", &name(1)]), "foreign");
    claim_fails(&store, 1).await;
}

#[tokio::test]
async fn a_server_that_forgets_all_events_for_a_test_claims_at_once() {
    let server = Server::start(&[]);
    server.cli(&["SET", "foreign:{01}", "kept"]);
    let store = connect(&server.url()).await;
    for round in 0..3 {
        store.forget_all().await.unwrap();
        let before = now();
        done(&store, 1, before).await;
        assert!(
            matches!(claim_signed(&store, 1, before).await, Claim::Done),
            "{round}"
        );
        done(&store, neighbour(1), before).await;
    }
    assert_eq!(server.cli(&["GET", "foreign:{01}"]), "kept");
    // The control: a server that another client has emptied has lost its data.
    server.cli(&["FLUSHALL"]);
    assert_eq!(claim_signed(&store, 1, now()).await, Claim::Forgotten);
}
