//! The store with clusters, sentinels, replicas, TLS and Unix sockets.

use std::time::{Duration, Instant};

use hookgate_replay::{Claim, RedisStore, ReplayStore, Settled};
use hookgate_test_servers::process::free_port;
use hookgate_test_servers::redis::Server;

use crate::lost_data::{claim_signed, now};
use crate::{
    PROMPT, RECOVERY, claim, claim_fails, claim_within, config, connect, granted, name, refused,
};

/// A cluster of three masters.
pub(crate) struct Cluster(pub(crate) Vec<Server>);

impl Cluster {
    pub(crate) fn start() -> Self {
        let nodes: Vec<_> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                Server::start(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--enable-debug-command",
                    "yes",
                ])
            })
            .collect();
        for (node, slots) in nodes.iter().zip([[0, 5460], [5461, 10922], [10923, 16383]]) {
            let [first, last] = slots.map(|slot: u32| slot.to_string());
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            let port = nodes[0].port.to_string();
            let bus = nodes[0].cli(&["CONFIG", "GET", "cluster-port"]);
            let bus = bus.lines().last().unwrap();
            node.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        let start = Instant::now();
        let knows_all = |node: &Server| {
            let info = node.cli(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !nodes.iter().all(knows_all) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the cluster did not form"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Self(nodes)
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self
            .0
            .iter()
            .map(|n| format!("127.0.0.1:{}", n.port))
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Moves the epochs of all masters to the year 1970, so that no delivery is older.
    pub(crate) fn set_early_epochs(&self) {
        for slot in 0..=u8::MAX {
            let name = format!("hookgate:{{{slot:02x}}}since");
            self.0[0].cli(&["-c", "SET", &name, "0"]);
        }
    }
}

mod cluster_conformance {
    use super::Cluster;
    use crate::Fixture;

    hookgate_replay::conformance::suite!(real, || async {
        let cluster = Cluster::start();
        let url = cluster.url();
        Fixture::new(cluster, &url).await
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_an_unsuitable_master_is_refused() {
    let cluster = Cluster::start();
    connect(&cluster.url()).await;
    cluster.0[2].cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let error = refused(&cluster.url()).await;
    assert!(error.contains(&cluster.0[2].port.to_string()), "{error}");
    assert!(
        error.contains("set `maxmemory-policy noeviction`"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_on_a_suspended_cluster_fail_in_time_and_succeed_later() {
    let cluster = Cluster::start();
    let store = connect(&cluster.url()).await;
    for number in 0..30 {
        granted(&store, number).await;
    }
    cluster.0.iter().for_each(|node| node.signal("STOP"));
    for number in 30..36 {
        let start = Instant::now();
        claim_fails(&store, number).await;
        assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    }
    cluster.0.iter().for_each(|node| node.signal("CONT"));
    for number in 100..130 {
        let claim = claim_within(&store, number, RECOVERY).await;
        assert!(matches!(claim, Claim::Granted(_)), "{claim:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_server_with_an_untrusted_certificate_is_refused() {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis/tls");
    let file = |name: &str| format!("{files}/{name}");
    let port = free_port().to_string();
    let _server = Server::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    let ca = std::fs::read(file("ca.pem")).unwrap();
    let store = RedisStore::connect(config(&url).with_ca_pem(ca)).await;
    let store = store.unwrap();
    let lease = granted(&store, 1).await;
    assert_eq!(
        store.commit(&lease, Duration::from_secs(9)).await.unwrap(),
        Settled::Applied
    );
    assert_eq!(claim(&store, 1).await, Claim::Done);

    // The system does not trust this certificate authority.
    let error = refused(&url).await;
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_replica_is_refused_and_a_demoted_master_grants_no_claim() {
    let master = Server::start(&[]);
    let port = master.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    let error = refused(&replica.url()).await;
    assert!(error.contains("expected the master"), "{error}");

    let store = connect(&master.url()).await;
    granted(&store, 1).await;
    let port = free_port().to_string();
    master.cli(&["REPLICAOF", "127.0.0.1", &port]);
    claim_fails(&store, 2).await;
    master.cli(&["REPLICAOF", "NO", "ONE"]);
    let claim = claim_within(&store, 2, RECOVERY).await;
    assert!(matches!(claim, Claim::Granted(_)), "{claim:?}");
}

#[tokio::test]
async fn a_unix_socket_works_like_a_port() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("redis.sock");
    let path = path.to_str().unwrap();
    let server = Server::start(&["--unixsocket", path]);
    let store = connect(&format!("unix://{path}?db=3")).await;
    granted(&store, 1).await;
    assert_eq!(server.cli(&["-n", "3", "EXISTS", &name(1)]), "1");
}

#[tokio::test]
async fn the_store_follows_the_sentinels_to_a_new_master() {
    let mut master = Server::start(&[]);
    let port = master.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    let sentinel = Server::sentinel(&master);
    let url = format!("redis+sentinel://127.0.0.1:{}/", sentinel.port);
    let error = refused(&format!("{url}other")).await;
    assert!(
        error.contains("no sentinel knows the master other"),
        "{error}"
    );

    let store = connect(&format!("{url}main")).await;
    master.set_early_epochs();
    let before = now();
    let lease = granted(&store, 1).await;
    store
        .commit(&lease, Duration::from_secs(661))
        .await
        .unwrap();
    // The failover needs a replica that is in sync and that the sentinel knows.
    let start = Instant::now();
    let is_replicated = || replica.cli(&["EXISTS", &name(1)]) == "1";
    let is_known = || {
        sentinel
            .cli(&["SENTINEL", "MASTER", "main"])
            .contains("num-slaves\n1")
    };
    while !(is_replicated() && is_known()) {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the replica is not in sync"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    master.kill();
    let claim = claim_within(&store, 1, RECOVERY).await;
    assert_eq!(claim, Claim::Done);
    assert_eq!(replica.cli(&["ROLE"]).lines().next(), Some("master"));
    // No data was lost, and the store reports no loss.
    let claim = claim_signed(&store, 2, before).await;
    assert!(matches!(claim, Claim::Granted(_)), "{claim:?}");
}
