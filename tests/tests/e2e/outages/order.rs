//! `order = "source"`: no delivery overtakes a waiting delivery.

use fastrand::Rng;
use hookgate_tests::{Behaviour, TestProvider, Upstream};
use http::StatusCode;

use super::drain::wait_until_drained;
use super::history::{Limits, QueueKind};
use super::senders::Senders;
use super::sources::{self, LONG_TIMEOUT, Stores};

const EVENTS: usize = 30;
/// Number of failed attempts of the first delivery.
const FAILURES: usize = 3;

/// Sends deliveries of an ordered source one after the other. The first attempts fail.
async fn no_delivery_overtakes_the_first_one(source: &str) {
    let upstream = Upstream::start().await;
    for _ in 0..FAILURES {
        upstream.queue_behaviour(Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE));
    }
    let stores = tempfile::tempdir().expect("the temporary folder is created");
    let gateway = sources::gateway(
        upstream.address(),
        Stores::Disk(stores.path()),
        LONG_TIMEOUT,
    );
    let gateway = gateway.start_without_default_sources();
    let senders = Senders::new();
    senders.set_gateways([gateway.address()]);
    let provider = TestProvider::named(source);
    senders
        .send_until(&[provider], EVENTS, 0, &mut Rng::with_seed(7))
        .await;
    wait_until_drained(&gateway, &upstream, &senders).await;

    let limits = Limits {
        duplicates: FAILURES,
        ordered: &sources::ORDERED,
        queue: QueueKind::Disk,
    };
    let summary = senders.with_history(|history| history.check(limits));
    let summary = summary.unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(summary.duplicates, FAILURES);
    let attempts: Vec<_> = senders.with_history(|history| {
        let first = history.arrivals[0].event.clone();
        let arrivals = history.arrivals.iter();
        let of_first = arrivals.take_while(|arrival| arrival.event == first);
        of_first.map(|arrival| arrival.attempt).collect()
    });
    assert_eq!(attempts, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_deliveries_of_an_ordered_source_keep_their_order() {
    no_delivery_overtakes_the_first_one("standard-webhooks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_deliveries_of_an_ordered_source_do_not_overtake_stored_ones() {
    no_delivery_overtakes_the_first_one("videogen").await;
}
