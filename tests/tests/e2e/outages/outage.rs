//! An upstream that is down, and a gateway that crashes: no accepted event is lost.
//!
//! `make queue-proof` runs the same test with 100 000 events and 50 crashes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hookgate_tests::{Behaviour, DeadUpstream, Gateway, TestProvider};
use http::StatusCode;
use tempfile::TempDir;
use tokio::time::sleep;

use super::drain::{take_arrivals, wait_until_drained};
use super::history::{Limits, QueueKind};
use super::scale::{Scale, seeded};
use super::senders::{CANARY, GENUINE, Senders};
use super::sources::{self, SHORT_TIMEOUT, Stores};

/// How long the upstream takes for a response. A crash during this time repeats the delivery.
const RESPONSE_TIME: Duration = Duration::from_millis(2);
/// The longest time between two crashes.
const CRASH_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A gateway that crashes and starts again with the same stores.
struct Crashing {
    upstream: SocketAddr,
    stores: TempDir,
    senders: Senders,
    gateway: Option<Gateway>,
    crashes: usize,
}

impl Crashing {
    fn start(upstream: SocketAddr, senders: &Senders) -> Self {
        let mut crashing = Self {
            upstream,
            stores: tempfile::tempdir().expect("the temporary folder is created"),
            senders: senders.clone(),
            gateway: None,
            crashes: 0,
        };
        crashing.start_gateway();
        crashing
    }

    fn start_gateway(&mut self) {
        let gateway = tokio::task::block_in_place(|| {
            let stores = Stores::Disk(self.stores.path());
            sources::gateway(self.upstream, stores, SHORT_TIMEOUT).start_without_default_sources()
        });
        self.senders.set_gateways([gateway.address()]);
        self.gateway = Some(gateway);
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("the gateway runs")
    }

    /// Kills the gateway as `kill -9` does, and starts it again.
    fn crash(&mut self) {
        self.senders.set_gateways([]);
        self.gateway = None;
        self.crashes += 1;
        self.start_gateway();
    }

    /// Crashes the gateway each time that `progress` reaches one of `moments`.
    async fn crash_at(&mut self, moments: Vec<usize>, progress: impl Fn() -> usize) {
        for moment in moments {
            wait_until(CRASH_TIMEOUT, || progress() >= moment).await;
            self.crash();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_with_crashes_loses_no_event() {
    let scale = Scale::of_outage();
    let (mut rng, seed) = seeded();
    let down = DeadUpstream::new();
    let (senders, providers) = (Senders::new(), TestProvider::all());
    let mut gateway = Crashing::start(down.address(), &senders);
    // Most events arrive at the gateway while the upstream is down, and some while it catches up.
    let outage = scale.events * 9 / 10;
    let during_outage = scale.crashes / 2;

    let moments = random_moments(&mut rng, during_outage, 0..outage);
    let progress = || senders.accepted();
    let mut sending_rng = rng.fork();
    let crashes = gateway.crash_at(moments, progress);
    senders
        .send_during(crashes, &providers, outage, 0, &mut sending_rng)
        .await;
    let is_stored = |text| contains(gateway.stores.path(), text);
    assert!(senders.forged() > 0);
    assert!(!is_stored(CANARY), "forged bytes are on disk, seed {seed}");
    // The control: the search finds stored bytes.
    assert!(is_stored(GENUINE));

    let upstream = down.revive();
    upstream.set_default_behaviour(Behaviour::DelayedStatus(RESPONSE_TIME, StatusCode::OK));
    let moments = random_moments(&mut rng, scale.crashes - during_outage, 0..outage);
    let arrived = || take_arrivals(&upstream, &senders);
    let mut sending_rng = rng.fork();
    let crashes = gateway.crash_at(moments, arrived);
    senders
        .send_during(crashes, &providers, scale.events, 1, &mut sending_rng)
        .await;
    wait_until_drained(gateway.gateway(), &upstream, &senders).await;

    let limits = Limits {
        // A crash repeats at most one delivery of each worker, and that of each sender whose
        // delivery is the first of its ordered source. No delivery arrives during the outage.
        duplicates: (scale.crashes - during_outage) * (sources::WORKERS + sources::ORDERED.len()),
        ordered: &sources::ORDERED,
        queue: QueueKind::Disk,
    };
    let summary = senders.with_history(|history| history.check(limits));
    let summary = summary.unwrap_or_else(|faults| panic!("seed {seed}: {faults:#?}"));
    assert!(
        !contains(gateway.stores.path(), CANARY),
        "forged bytes are on disk, seed {seed}"
    );
    println!(
        "{} crashes, {} forged deliveries, {summary:?}",
        gateway.crashes,
        senders.forged()
    );
    assert!(summary.accepted >= scale.events);
}

/// Returns `count` random numbers in `range`, the smallest first.
pub(super) fn random_moments(
    rng: &mut Rng,
    count: usize,
    range: std::ops::Range<usize>,
) -> Vec<usize> {
    let mut moments: Vec<_> = (0..count).map(|_| rng.usize(range.clone())).collect();
    moments.sort_unstable();
    moments
}

pub(super) async fn wait_until(timeout: Duration, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < timeout,
            "the condition does not become true"
        );
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns whether a file in `folder` contains `text`.
pub(super) fn contains(folder: &Path, text: &str) -> bool {
    let search = Command::new("grep")
        .args(["--recursive", "--quiet", "--text", "--fixed-strings", text])
        .arg(folder)
        .status();
    match search.expect("`grep` is installed").code() {
        Some(0) => true,
        Some(1) => false,
        code => panic!("grep ended with {code:?}"),
    }
}
