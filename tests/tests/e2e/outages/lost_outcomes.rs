//! A proxy that loses three responses of ten: no event is lost.
//!
//! `make queue-proof` runs the same test with 20 000 events.

use hookgate_tests::{ChaosProxy, NetworkFault, TestProvider, Upstream};

use super::drain::wait_until_drained;
use super::history::{Limits, QueueKind};
use super::scale::{Scale, seeded};
use super::senders::Senders;
use super::sources::{self, LONG_TIMEOUT, Stores};

/// The share of lost responses.
const LOSS: f64 = 0.3;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lost_outcomes_lose_no_event() {
    let events = Scale::of_lost_outcomes();
    let (mut rng, seed) = seeded();
    let upstream = Upstream::start().await;
    let proxy = ChaosProxy::start(upstream.address(), rng.u64(..), &[]).await;
    proxy.set_fault(Some(NetworkFault::LostResponses(LOSS)));
    let stores = tempfile::tempdir().expect("the temporary folder is created");
    let gateway = sources::gateway(proxy.address(), Stores::Disk(stores.path()), LONG_TIMEOUT);
    let gateway = gateway.start_without_default_sources();
    let senders = Senders::new();
    senders.set_gateways([gateway.address()]);
    senders
        .send_until(&TestProvider::all(), events, 0, &mut rng)
        .await;

    wait_until_drained(&gateway, &upstream, &senders).await;
    let limits = Limits {
        // Each lost response repeats its delivery once.
        duplicates: proxy.broken(),
        ordered: &sources::ORDERED,
        queue: QueueKind::Disk,
    };
    let summary = senders.with_history(|history| history.check(limits));
    let summary = summary.unwrap_or_else(|faults| panic!("seed {seed}: {faults:#?}"));
    println!("{} responses lost, {summary:?}", proxy.broken());
    assert!(summary.accepted >= events);
    // The control: the proxy does lose responses, and the deliveries are repeated.
    assert!(proxy.broken() > events / 5);
    assert!(summary.duplicates > events / 5);
}
