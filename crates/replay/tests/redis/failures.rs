//! The store with a server that is slow, full, killed or unreachable.

use std::time::{Duration, Instant};

use hookgate_core::internal::ErrorChain;
use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, ReplayStore, Settled};
use hookgate_test_servers::redis::Server;

use crate::proxy::Proxy;
use crate::{
    PROMPT, RECOVERY, SYNCED, claim, claim_fails, claim_within, connect,
    connect_with_default_timeout, granted, key,
};

const RETENTION: Duration = Duration::from_secs(661);

#[tokio::test]
async fn claims_fail_at_once_while_the_server_is_down_and_succeed_when_it_is_back() {
    let mut server = Server::start(&[]);
    let store = connect(&server.url()).await;
    granted(&store, 1).await;
    server.kill();
    let start = Instant::now();
    claim_fails(&store, 2).await;
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    // The store knows that the server is down, so claims neither wait nor queue up.
    let start = Instant::now();
    for _ in 0..1_000 {
        let error = claim_fails(&store, 2).await;
        assert!(error.contains("cannot connect to 127.0.0.1"), "{error}");
    }
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());

    server.restart();
    let claim = claim_within(&store, 3, RECOVERY).await;
    assert!(matches!(claim, Claim::Granted(_)), "{claim:?}");
}

#[tokio::test]
async fn a_lost_connection_is_replaced_without_an_error() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    for number in 0..20 {
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        granted(&store, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_on_a_suspended_server_fail_in_time() {
    let server = Server::start(&[]);
    let stores = [connect(&server.url()).await, connect(&server.url()).await];
    server.signal("STOP");
    let start = Instant::now();
    let claimants: Vec<_> = (0..32_u32)
        .map(|number| {
            let store = stores[number as usize % 2].clone();
            tokio::spawn(async move {
                while start.elapsed() < Duration::from_secs(3) {
                    let claimed = Instant::now();
                    let claim = store.claim(key(number / 2), CLAIM_OPTIONS).await;
                    assert!(claim.is_err(), "{claim:?}");
                    let elapsed = claimed.elapsed();
                    assert!(elapsed < PROMPT, "{elapsed:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    for claimant in claimants {
        claimant.await.unwrap();
    }
    server.signal("CONT");
    for number in 0..16 {
        let mut granted = 0;
        for store in stores.iter().cycle().take(4) {
            let claim = claim_within(store, number, RECOVERY).await;
            granted += usize::from(matches!(claim, Claim::Granted(_)));
        }
        assert!(granted <= 1, "key {number}: {granted}");
    }
}

#[tokio::test]
async fn a_claim_whose_reply_came_too_late_is_released() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.signal("STOP");
    claim_fails(&store, 1).await;
    // The caller of this claim is dropped before the reply.
    let dropped = tokio::time::timeout(
        Duration::from_millis(50),
        store.claim(key(2), CLAIM_OPTIONS),
    );
    assert!(dropped.await.is_err());
    server.signal("CONT");
    let start = Instant::now();
    for number in [1, 2] {
        loop {
            match store.claim(key(number), CLAIM_OPTIONS).await {
                Ok(Claim::Granted(lease)) => {
                    assert_eq!(lease.attempt(), 1);
                    break;
                }
                // The key is in flight until the release arrives, not until the lease ends.
                other => assert!(start.elapsed() < CLAIM_OPTIONS.lease / 2, "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_claim_whose_connection_was_lost_is_released_over_another() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port).await;
    let store = connect(&proxy.url()).await;
    let direct = connect(&server.url()).await;
    // The first claim also sends the script, so it has one more reply.
    granted(&store, 0).await;
    proxy.refuse_connections(true);
    proxy.close_next();
    claim_fails(&store, 1).await;
    assert!(proxy.has_lost());
    // The control: the server has the claim, and the release cannot reach it.
    for _ in 0..20 {
        let other = claim(&direct, 1).await;
        assert!(matches!(other, Claim::InFlight { .. }), "{other:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.refuse_connections(false);
    let start = Instant::now();
    loop {
        match claim(&direct, 1).await {
            Claim::Granted(lease) => {
                assert_eq!(lease.attempt(), 1);
                break;
            }
            other => assert!(start.elapsed() < CLAIM_OPTIONS.lease / 2, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_call_whose_reply_was_lost_is_recognised() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port).await;
    let connect = async || connect_with_default_timeout(&proxy.url()).await;
    for (number, lose) in [Proxy::swallow_next, Proxy::close_next].iter().enumerate() {
        let number = u32::try_from(number).unwrap();
        let store = connect().await;
        lose(&proxy);
        let lease = granted(&store, number).await;
        assert!(proxy.has_lost());
        assert_eq!(lease.attempt(), 1);
        // The control: another token is not recognised.
        let other = claim(&store, number).await;
        assert!(matches!(other, Claim::InFlight { .. }), "{other:?}");

        let store = connect().await;
        lose(&proxy);
        let settled = store.commit(&lease, RETENTION).await.unwrap();
        assert!(proxy.has_lost());
        assert_eq!(settled, Settled::Applied);
        assert_eq!(claim(&store, number).await, Claim::Done);
        // A new commit is no second attempt, so the server reports it as stale.
        let again = store.commit(&lease, RETENTION).await.unwrap();
        assert_eq!(again, Settled::Stale);

        let lease = granted(&store, number + 100).await;
        let store = connect().await;
        lose(&proxy);
        let settled = store.release(&lease).await.unwrap();
        assert!(proxy.has_lost());
        assert_eq!(settled, Settled::Applied);
        granted(&store, number + 100).await;
    }
}

/// Limits the memory of the server to a few hundred keys more.
fn limit_memory(server: &Server) {
    let info = server.cli(&["INFO", "memory"]);
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used.unwrap().trim().parse().unwrap();
    let limit = (used + 300_000).to_string();
    server.cli(&["CONFIG", "SET", "maxmemory", &limit]);
}

#[tokio::test]
async fn a_full_server_refuses_new_keys_and_forgets_none() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    limit_memory(&server);
    let mut leases = Vec::new();
    loop {
        match claim(&store, leases.len().try_into().unwrap()).await {
            Claim::Granted(lease) => leases.push(lease),
            Claim::Full => break,
            other => panic!("{other:?}"),
        }
        assert!(leases.len() < 100_000);
    }
    assert!(leases.len() > 100, "{}", leases.len());
    // Claims in flight can still be settled.
    for lease in &leases {
        let settled = store.commit(lease, RETENTION).await.unwrap();
        assert_eq!(settled, Settled::Applied);
    }
    for number in 0..leases.len() {
        let claim = claim(&store, number.try_into().unwrap()).await;
        assert_eq!(claim, Claim::Done);
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    granted(&store, leases.len().try_into().unwrap()).await;
}

/// The control: this is why the store refuses a server with such a policy.
#[tokio::test]
async fn a_server_with_an_evicting_policy_loses_claims() {
    let evict_at_once = ["--maxmemory-eviction-tenacity", "100"];
    let server = Server::start(&[&["--enable-debug-command", "yes"], &evict_at_once[..]].concat());
    let store = connect(&server.url()).await;
    for number in 0..100 {
        granted(&store, number).await;
    }
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    limit_memory(&server);
    server.cli(&["DEBUG", "POPULATE", "100000"]);
    let names: Vec<String> = (0..100).map(crate::name).collect();
    let arguments: Vec<&str> = ["EXISTS"]
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    let entries: u32 = server.cli(&arguments).parse().unwrap();
    assert!(entries < 100, "{entries}");
}

#[tokio::test]
async fn a_server_that_evicts_is_refused_as_soon_as_an_epoch_is_lost() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    limit_memory(&server);
    for number in 0..100_000 {
        match store.claim(key(number), CLAIM_OPTIONS).await {
            Ok(Claim::Granted(_)) => {}
            // The server has evicted an epoch, so the store reconnects and checks the policy.
            Err(error)
                if ErrorChain(&error)
                    .to_string()
                    .contains("maxmemory-policy is allkeys-lru") =>
            {
                return;
            }
            Ok(Claim::Forgotten) | Err(_) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("the evictions are not noticed");
}

#[tokio::test]
async fn an_append_only_file_keeps_events_when_the_server_is_killed() {
    for (is_kept, arguments) in [(true, &SYNCED[..]), (false, &["--appendonly", "no"])] {
        let mut server = Server::start(arguments);
        let store = connect(&server.url()).await;
        let lease = granted(&store, 1).await;
        store.commit(&lease, RETENTION).await.unwrap();
        granted(&store, 2).await;
        server.kill();
        server.restart();
        let done = claim_within(&store, 1, RECOVERY).await;
        let in_flight = claim_within(&store, 2, RECOVERY).await;
        // Without the file replays pass, as the documentation says.
        assert_eq!(done == Claim::Done, is_kept, "{done:?}");
        assert_eq!(
            matches!(in_flight, Claim::InFlight { .. }),
            is_kept,
            "{in_flight:?}"
        );
    }
}
