//! Three gateways, three NATS servers and Redis: an outage of the upstream, gateways that crash,
//! and NATS servers that are killed lose no accepted event.
//!
//! `make queue-proof` runs the same test with 20 000 events and 20 crashes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hookgate_test_servers::{nats, redis};
use hookgate_tests::{Behaviour, DeadUpstream, Gateway, TestProvider};
use http::StatusCode;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::drain::{take_arrivals, wait_until_drained};
use super::history::{Limits, QueueKind};
use super::outage::{contains, random_moments, wait_until};
use super::scale::{Scale, seeded};
use super::senders::{CANARY, GENUINE, Senders};
use super::sources::{self, ORDERED_IN_NATS, SHORT_TIMEOUT, Stores};

const GATEWAYS: usize = 3;
/// The gateways refuse servers whose messages cannot hold the largest body.
const MAX_PAYLOAD: &str = "max_payload: 2000000";
/// How long the upstream takes for a response. A crash during this time repeats the delivery.
const RESPONSE_TIME: Duration = Duration::from_millis(2);
/// The longest time between two crashes.
const CRASH_TIMEOUT: Duration = Duration::from_secs(180);
/// The longest time until a gateway starts. It cannot start while the servers elect a leader.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const START_PAUSE: Duration = Duration::from_millis(200);

/// Gateways that share a queue, and start again after a crash.
struct Gateways {
    upstream: SocketAddr,
    redis: String,
    nats: String,
    senders: Senders,
    running: [Option<Gateway>; GATEWAYS],
}

/// The NATS servers that store the queue.
struct NatsServers([nats::Server; 3]);

impl Gateways {
    async fn start(
        upstream: SocketAddr,
        redis: &redis::Server,
        nats: &NatsServers,
        senders: &Senders,
    ) -> Self {
        let mut gateways = Self {
            upstream,
            redis: redis.url(),
            nats: nats::url(&nats.0),
            senders: senders.clone(),
            running: [const { None }; GATEWAYS],
        };
        for index in 0..GATEWAYS {
            gateways.start_one(index).await;
        }
        gateways
    }

    /// Starts a gateway until it runs, as a service manager does.
    async fn start_one(&mut self, index: usize) {
        let start = Instant::now();
        let gateway = loop {
            let stores = Stores::Shared {
                redis: &self.redis,
                nats: &self.nats,
            };
            let builder = sources::gateway(self.upstream, stores, SHORT_TIMEOUT);
            match block_in_place(|| builder.try_start_without_default_sources()) {
                Ok(gateway) => break gateway,
                Err(log) => assert!(start.elapsed() < START_TIMEOUT, "{log}"),
            }
            sleep(START_PAUSE).await;
        };
        self.running[index] = Some(gateway);
        self.tell_senders();
    }

    /// Kills a gateway as `kill -9` does, and starts it again.
    async fn crash(&mut self, index: usize) {
        let crashed = self.running[index].take();
        self.tell_senders();
        drop(crashed);
        self.start_one(index).await;
    }

    /// Crashes a random gateway each time that `progress` reaches one of `moments`.
    async fn crash_at(&mut self, moments: Vec<usize>, mut rng: Rng, progress: impl Fn() -> usize) {
        for moment in moments {
            wait_until(CRASH_TIMEOUT, || progress() >= moment).await;
            self.crash(rng.usize(..GATEWAYS)).await;
        }
    }

    fn tell_senders(&self) {
        let running = self.running.iter().flatten();
        self.senders.set_gateways(running.map(Gateway::address));
    }

    fn first(&self) -> &Gateway {
        self.running[0].as_ref().expect("the gateway runs")
    }
}

impl NatsServers {
    /// Kills a server when `progress` reaches `moment`, and starts it again when the others have
    /// made progress without it.
    async fn restart_at(&mut self, index: usize, moment: usize, progress: impl Fn() -> usize) {
        const EVENTS_WITHOUT: usize = 20;
        wait_until(CRASH_TIMEOUT, || progress() >= moment).await;
        self.0[index].kill();
        let enough = progress() + EVENTS_WITHOUT;
        wait_until(CRASH_TIMEOUT, || progress() >= enough).await;
        block_in_place(|| self.0[index].restart());
    }

    fn contain(&self, text: &str) -> bool {
        self.0.iter().any(|server| contains(server.files(), text))
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for gateway in self.running.iter().flatten() {
                println!("log of {}:\n{}", gateway.address(), gateway.log());
            }
        }
    }
}

impl Drop for NatsServers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for server in &self.0 {
                println!("log of {}:\n{}", server.url(), server.log());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gateways_and_nats_servers_that_crash_lose_no_event() {
    let scale = Scale::of_cluster();
    let (mut rng, seed) = seeded();
    let redis = redis::Server::start(&["--appendonly", "yes"]);
    redis.set_early_epochs();
    let mut nats = NatsServers(nats::Server::cluster(MAX_PAYLOAD));
    let down = DeadUpstream::new();
    let senders = Senders::new();
    let providers = TestProvider::all();
    let mut gateways = Gateways::start(down.address(), &redis, &nats, &senders).await;
    let outage = scale.events * 3 / 4;
    let during_outage = scale.crashes / 2;

    // While the upstream is down, one NATS server is killed.
    let moments = random_moments(&mut rng, during_outage, 0..outage);
    let (mut sending_rng, crash_rng) = (rng.fork(), rng.fork());
    let victim = rng.usize(..nats.0.len());
    let accepted = || senders.accepted();
    let faults = async {
        tokio::join!(
            gateways.crash_at(moments, crash_rng, accepted),
            nats.restart_at(victim, outage / 2, accepted),
        );
    };
    senders
        .send_during(faults, &providers, outage, 0, &mut sending_rng)
        .await;
    assert!(senders.forged() > 0);
    assert!(
        !nats.contain(CANARY),
        "forged bytes are stored, seed {seed}"
    );
    // The control: the search finds stored bytes.
    assert!(nats.contain(GENUINE));

    // While the deliveries arrive, all NATS servers are restarted in turn.
    let upstream = down.revive();
    upstream.set_default_behaviour(Behaviour::DelayedStatus(RESPONSE_TIME, StatusCode::OK));
    let arrived = || take_arrivals(&upstream, &senders);
    let moments = random_moments(&mut rng, scale.crashes - during_outage, 0..outage);
    let (mut sending_rng, crash_rng) = (rng.fork(), rng.fork());
    let restarts = async {
        for index in 0..nats.0.len() {
            nats.restart_at(index, (index + 1) * outage / 4, arrived)
                .await;
        }
    };
    let faults = async {
        tokio::join!(gateways.crash_at(moments, crash_rng, arrived), restarts);
    };
    senders
        .send_during(faults, &providers, scale.events, 1, &mut sending_rng)
        .await;
    wait_until_drained(gateways.first(), &upstream, &senders).await;

    let in_flight = sources::WORKERS + ORDERED_IN_NATS.len();
    let limits = Limits {
        // A crash of a gateway repeats at most one delivery of each of its workers. A NATS server
        // that is killed repeats at most those of every gateway.
        duplicates: (scale.crashes - during_outage) * in_flight
            + nats.0.len() * GATEWAYS * in_flight,
        ordered: &ORDERED_IN_NATS,
        queue: QueueKind::Nats,
    };
    let summary = senders.with_history(|history| history.check(limits));
    let summary = summary.unwrap_or_else(|faults| panic!("seed {seed}: {faults:#?}"));
    assert!(
        !nats.contain(CANARY),
        "forged bytes are stored, seed {seed}"
    );
    println!(
        "{} crashes, {} forged deliveries, at most {} duplicates, {summary:?}",
        scale.crashes,
        senders.forged(),
        limits.duplicates,
    );
    assert!(summary.accepted >= scale.events);
}
