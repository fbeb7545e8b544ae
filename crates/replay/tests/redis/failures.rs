//! What holds when the server is slow, full, killed or gone.

use std::time::{Duration, Instant};

use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::{Claim, ReplayStore, Settled};

use crate::proxy::Proxy;
use crate::server::Server;
use crate::{claim, claim_fails, claim_within, connect, granted, key};

const RETENTION: Duration = Duration::from_secs(661);

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_at_once_and_used_again_when_it_is_back() {
    let mut server = Server::start(&[]);
    let store = connect(&server.url()).await;
    granted(&store, 1).await;
    server.kill();
    let start = Instant::now();
    claim_fails(&store, 2).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    // Known to be gone by now: no waiting, no queue.
    let start = Instant::now();
    for _ in 0..1_000 {
        let error = claim_fails(&store, 2).await;
        assert!(error.contains("cannot connect to 127.0.0.1"), "{error}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );

    server.restart();
    let claim = claim_within(&store, 3, Duration::from_secs(2)).await;
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
async fn while_a_server_stands_still_every_claim_fails_within_a_second() {
    let server = Server::start(&[]);
    let stores = [connect(&server.url()).await, connect(&server.url()).await];
    server.signal("STOP");
    let start = Instant::now();
    let claimants: Vec<_> = (0..32_u32)
        .map(|number| {
            let store = stores[number as usize % 2].clone();
            tokio::spawn(async move {
                while start.elapsed() < Duration::from_secs(3) {
                    let asked = Instant::now();
                    let claim = store.claim(key(number / 2), CLAIM_OPTIONS).await;
                    assert!(claim.is_err(), "{claim:?}");
                    let took = asked.elapsed();
                    assert!(took < Duration::from_secs(1), "{took:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    for claimant in claimants {
        claimant.await.unwrap();
    }
    server.signal("CONT");
    let patience = Duration::from_secs(2);
    for number in 0..16 {
        let mut granted = 0;
        for store in stores.iter().cycle().take(4) {
            let claim = claim_within(store, number, patience).await;
            granted += usize::from(matches!(claim, Claim::Granted(_)));
        }
        assert!(granted <= 1, "key {number}: {granted}");
    }
}

#[tokio::test]
async fn what_a_failed_claim_left_is_given_back() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.signal("STOP");
    claim_fails(&store, 1).await;
    // A claim whose asker goes away leaves nothing either.
    let gone = tokio::time::timeout(
        Duration::from_millis(50),
        store.claim(key(2), CLAIM_OPTIONS),
    );
    assert!(gone.await.is_err());
    server.signal("CONT");
    let start = Instant::now();
    for number in [1, 2] {
        loop {
            match store.claim(key(number), CLAIM_OPTIONS).await {
                Ok(Claim::Granted(lease)) => {
                    assert_eq!(lease.attempt(), 1);
                    break;
                }
                // In flight until its release is through, not for the lease.
                other => assert!(start.elapsed() < CLAIM_OPTIONS.lease / 2, "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_claim_whose_connection_was_lost_is_given_back_over_another() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port).await;
    let store = connect(&proxy.url()).await;
    let direct = connect(&server.url()).await;
    // Whoever claims first tells the server the script, which is an answer more.
    granted(&store, 0).await;
    proxy.refuse(true);
    proxy.close_next();
    claim_fails(&store, 1).await;
    assert!(proxy.has_lost());
    // The control: the server has the claim, and is not told for a while.
    for _ in 0..20 {
        let other = claim(&direct, 1).await;
        assert!(matches!(other, Claim::InFlight { .. }), "{other:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.refuse(false);
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
async fn a_claim_whose_answer_was_lost_is_recognised() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port).await;
    let store = connect(&proxy.url()).await;
    for (number, lose) in [Proxy::swallow_next, Proxy::close_next].iter().enumerate() {
        let number = u32::try_from(number).unwrap();
        lose(&proxy);
        let lease = granted(&store, number).await;
        assert!(proxy.has_lost());
        assert_eq!(lease.attempt(), 1);
        // The control: another token is not recognised.
        let other = claim(&store, number).await;
        assert!(matches!(other, Claim::InFlight { .. }), "{other:?}");

        lose(&proxy);
        let settled = store.commit(&lease, RETENTION).await.unwrap();
        assert!(proxy.has_lost());
        assert_eq!(settled, Settled::Applied);
        assert_eq!(claim(&store, number).await, Claim::Done);
        // Only what may have been applied is taken for its own.
        let again = store.commit(&lease, RETENTION).await.unwrap();
        assert_eq!(again, Settled::Stale);

        let lease = granted(&store, number + 100).await;
        lose(&proxy);
        let settled = store.release(&lease).await.unwrap();
        assert!(proxy.has_lost());
        assert_eq!(settled, Settled::Applied);
        granted(&store, number + 100).await;
    }
}

/// Leaves room for a few hundred keys.
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
async fn a_full_server_takes_no_new_key_and_forgets_none() {
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
    // What is in flight is settled all the same.
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

#[tokio::test]
async fn a_server_that_evicts_forgets_claims() {
    // The control of the test above: why such a policy is refused at the start.
    let at_once = ["--maxmemory-eviction-tenacity", "100"];
    let server = Server::start(&[&["--enable-debug-command", "yes"], &at_once[..]].concat());
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
async fn a_server_that_evicts_is_used_no_more_once_that_shows() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    limit_memory(&server);
    for number in 0..100_000 {
        match store.claim(key(number), CLAIM_OPTIONS).await {
            Ok(Claim::Granted(_)) => {}
            // It forgets since when it remembers, too.
            Err(error)
                if error
                    .to_string()
                    .contains("maxmemory-policy is allkeys-lru") =>
            {
                return;
            }
            Ok(Claim::Forgotten) | Err(_) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("it forgets, and nobody notices");
}

#[tokio::test]
async fn a_log_keeps_what_was_committed_when_the_server_is_killed() {
    for (keeps, arguments) in [
        (true, ["--appendonly", "yes"]),
        (false, ["--appendonly", "no"]),
    ] {
        let mut server = Server::start(&arguments);
        let store = connect(&server.url()).await;
        let lease = granted(&store, 1).await;
        store.commit(&lease, RETENTION).await.unwrap();
        granted(&store, 2).await;
        server.kill();
        server.restart();
        let patience = Duration::from_secs(2);
        let done = claim_within(&store, 1, patience).await;
        let in_flight = claim_within(&store, 2, patience).await;
        // Without it, what is documented: replays pass.
        assert_eq!(done == Claim::Done, keeps, "{done:?}");
        assert_eq!(
            matches!(in_flight, Claim::InFlight { .. }),
            keeps,
            "{in_flight:?}"
        );
    }
}
