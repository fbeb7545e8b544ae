//! The store with a healthy server, and the requirements on the server.

use std::time::{Duration, Instant};

use hookgate_replay::conformance::CLAIM_OPTIONS;
use hookgate_replay::redis::WaitReplicas;
use hookgate_replay::{Claim, RedisConfig, RedisStore, ReplayStore, Settled};
use hookgate_test_servers::redis::Server;

use crate::{PROMPT, claim, claim_fails, connect, granted, key, name, refused};

mod conformance {
    use crate::Fixture;
    use hookgate_test_servers::redis::Server;

    hookgate_replay::conformance::suite!(real, || async {
        let server = Server::start(&[]);
        let url = server.url();
        Fixture::new(server, &url).await
    });
}

#[tokio::test]
async fn a_done_key_with_different_content_is_a_conflict() {
    let server = Server::start(&[]);
    let url = server.url();
    let fixture = crate::Fixture::new(server, &url).await;
    hookgate_replay::conformance::a_done_key_with_different_content_is_a_conflict(fixture).await;
}

#[tokio::test]
async fn a_thousand_histories_match_the_model() {
    let new = || async {
        let server = Server::start(&[]);
        let url = server.url();
        crate::Fixture::new(server, &url).await
    };
    hookgate_replay::conformance::compare_with_model(new, 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_claims_over_two_stores_is_granted() {
    let server = Server::start(&[]);
    let stores = [connect(&server.url()).await, connect(&server.url()).await];
    for number in 0..500 {
        let racers: Vec<_> = (0..64)
            .map(|racer| {
                let store = stores[racer % 2].clone();
                tokio::spawn(async move { store.claim(key(number), CLAIM_OPTIONS).await.unwrap() })
            })
            .collect();
        let mut granted = 0;
        for racer in racers {
            granted += usize::from(matches!(racer.await.unwrap(), Claim::Granted(_)));
        }
        assert_eq!(granted, 1, "key {number}");
    }
}

#[tokio::test]
async fn a_waiter_is_notified_of_the_settlement_of_another_store() {
    let server = Server::start(&[]);
    let (here, there) = (connect(&server.url()).await, connect(&server.url()).await);
    // The first waiter makes the store subscribe, which takes a moment.
    let notified = async {
        for number in 0.. {
            let lease = granted(&there, number).await;
            let settled = here.settled(key(number));
            there.commit(&lease, Duration::from_secs(9)).await.unwrap();
            let start = Instant::now();
            settled.await;
            if start.elapsed() < Duration::from_millis(100) {
                return;
            }
        }
    };
    let deadline = Duration::from_secs(60);
    tokio::time::timeout(deadline, notified).await.unwrap();

    // The control: without a settlement the waiter checks again by itself. The key shares no
    // notification with the keys above, whose messages may still arrive.
    let start = Instant::now();
    here.settled(key(1_000_063)).await;
    assert!(start.elapsed() > Duration::from_millis(200));
    assert!(start.elapsed() < PROMPT);
}

#[tokio::test]
async fn a_server_that_would_evict_claims_is_refused() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = Server::start(&["--maxmemory-policy", policy]);
        let error = refused(&server.url()).await;
        assert!(error.contains(policy), "{error}");
        assert!(
            error.contains("set `maxmemory-policy noeviction`"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_error_for_an_unreadable_policy_says_what_to_allow() {
    let server = Server::start(&[]);
    let user = |name, rules: &[&str]| {
        let rule = ["ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all"];
        server.cli(&[&rule, rules].concat());
        format!("redis://{name}:pw@127.0.0.1:{}", server.port)
    };
    let neither = user("neither", &["-info", "-config"]);
    let error = refused(&neither).await;
    assert!(error.contains("`+info`"), "{error}");
    connect(&user("info", &["-config"])).await;
    connect(&user("config", &["-info"])).await;

    // A user who may not publish can still settle.
    let store = connect(&user("quiet", &["-publish"])).await;
    let lease = granted(&store, 1).await;
    let settled = store.commit(&lease, Duration::from_secs(9)).await;
    assert_eq!(settled.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn errors_do_not_show_credentials() {
    let server = Server::start(&["--requirepass", "correct"]);
    let url = format!("redis://:sekret@127.0.0.1:{}", server.port);
    let error = refused(&url).await;
    assert!(
        error.contains("WRONGPASS") || error.contains("assword"),
        "{error}"
    );
    assert!(!error.contains("sekret"), "{error}");
    let config = RedisConfig::new(&url).unwrap();
    assert!(!format!("{config:?}").contains("sekret"));
}

#[tokio::test]
async fn data_of_another_program_is_an_error_and_never_a_grant() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    server.cli(&["LPUSH", &name(1), "x"]);
    let error = claim_fails(&store, 1).await;
    assert!(error.contains("WRONGTYPE"), "{error}");
    for text in ["", "x", "d:", "f:0:1:2", "d:00ff:12x", "F:0:1:2:3"] {
        server.cli(&["SET", &name(2), text]);
        let error = claim_fails(&store, 2).await;
        assert!(error.contains("not hookgate's"), "{text:?}: {error}");
    }
    // The control: the data was under the right name.
    server.cli(&["DEL", &name(2)]);
    granted(&store, 2).await;
    assert_eq!(server.cli(&["EXISTS", &name(2)]), "1");
}

#[tokio::test]
async fn scripts_are_sent_again_to_a_server_that_has_lost_them() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    let lease = granted(&store, 1).await;
    server.cli(&["SCRIPT", "FLUSH"]);
    let settled = store.commit(&lease, Duration::from_secs(9)).await;
    assert_eq!(settled.unwrap(), Settled::Applied);
    server.cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(claim(&store, 1).await, Claim::Done);
}

#[tokio::test]
async fn keys_have_a_time_to_live() {
    let server = Server::start(&[]);
    let store = connect(&server.url()).await;
    let lease = granted(&store, 1).await;
    let ttl: u64 = server.cli(&["PTTL", &name(1)]).parse().unwrap();
    assert!((65_000..=71_000).contains(&ttl), "{ttl}");
    store.commit(&lease, Duration::from_secs(9)).await.unwrap();
    let ttl: u64 = server.cli(&["PTTL", &name(1)]).parse().unwrap();
    assert!((5_000..=10_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_claim_with_too_few_replicas_is_an_error_and_is_released() {
    let server = Server::start(&[]);
    let port = server.port.to_string();
    let _replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    let connect = |replicas, timeout| {
        let config = RedisConfig::new(&server.url()).unwrap();
        let config = config.with_timeout(timeout * 2);
        RedisStore::connect(config.with_wait_replicas(WaitReplicas::new(replicas, timeout)))
    };
    let two = connect(2, Duration::from_secs(1)).await.unwrap();
    let error = claim_fails(&two, 1).await;
    assert!(error.contains("replicas have it"), "{error}");

    // The timeout is long, because a busy replica answers late.
    let one = connect(1, Duration::from_secs(5)).await.unwrap();
    let start = Instant::now();
    loop {
        match one.claim(key(1), CLAIM_OPTIONS).await {
            Ok(Claim::Granted(lease)) => {
                assert_eq!(lease.attempt(), 1);
                let settled = one.commit(&lease, Duration::from_secs(9)).await;
                assert_eq!(settled.unwrap(), Settled::Applied);
                break;
            }
            // The replica is not in sync yet, or the claim is not released yet.
            other => assert!(start.elapsed() < Duration::from_secs(60), "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
