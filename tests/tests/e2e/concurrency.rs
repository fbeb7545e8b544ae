//! 64 concurrent copies of one delivery: the upstream receives one of them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, send};
use http::StatusCode;
use tokio::task::JoinSet;
use tower_hookgate::{
    Claim, ClaimOptions, Forgotten, Lease, ReplayKey, ReplayStore, Settled, StoreError,
};

const COPIES: usize = 64;

/// Sends the copies concurrently. Returns how many responses came from the upstream, and how many
/// were those of a duplicate.
async fn send_copies(address: SocketAddr, provider: &TestProvider) -> (usize, usize) {
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        copies.spawn(send(address, provider.delivery("evt_1")));
    }
    let responses = copies.join_all().await;
    let count = |status| {
        responses
            .iter()
            .filter(|response| response.status == status)
            .count()
    };
    (count(StatusCode::NO_CONTENT), count(StatusCode::OK))
}

/// Returns a response slow enough that every copy arrives while the first one is in flight.
fn slow() -> Behaviour {
    Behaviour::DelayedStatus(Duration::from_millis(500), StatusCode::NO_CONTENT)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layer_forwards_one_of_64_copies() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start_with(|router| router.layer(provider.layer())).await;
    upstream.queue_behaviour(slow());
    let responses = send_copies(upstream.address(), &provider).await;
    assert_eq!(
        (responses, upstream.take_received().len()),
        ((1, COPIES - 1), 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_forwards_one_of_64_copies() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    upstream.queue_behaviour(slow());
    let responses = send_copies(gateway.address(), &provider).await;
    assert_eq!(
        (responses, upstream.take_received().len()),
        ((1, COPIES - 1), 1)
    );
}

/// The waiting copies do not fail with the first one: the gateway forwards one of them, and the
/// others are its duplicates.
#[tokio::test(flavor = "multi_thread")]
async fn when_the_first_copy_fails_a_waiting_copy_is_forwarded() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    upstream.queue_behaviour(Behaviour::DelayedStatus(
        Duration::from_millis(500),
        StatusCode::BAD_GATEWAY,
    ));
    let responses = send_copies(gateway.address(), &provider).await;
    assert_eq!(
        (responses, upstream.take_received().len()),
        ((1, COPIES - 2), 2)
    );
}

/// A store with a race: it reads a key first and writes it later.
#[derive(Clone, Debug, Default)]
struct GetThenSet(Arc<Mutex<HashSet<ReplayKey>>>);

impl GetThenSet {
    fn set(&self) -> std::sync::MutexGuard<'_, HashSet<ReplayKey>> {
        self.0.lock().expect("no task panics")
    }
}

impl ReplayStore for GetThenSet {
    async fn claim(&self, key: ReplayKey, _: ClaimOptions) -> Result<Claim, StoreError> {
        let done = self.set().contains(&key);
        tokio::task::yield_now().await;
        if done {
            Ok(Claim::Done)
        } else {
            Ok(Claim::Granted(Lease::new(key, 1, 1)))
        }
    }

    async fn commit(&self, lease: &Lease, _: Duration) -> Result<Settled, StoreError> {
        self.set().insert(lease.key());
        Ok(Settled::Applied)
    }

    async fn release(&self, _: &Lease) -> Result<Settled, StoreError> {
        Ok(Settled::Applied)
    }

    async fn renew(&self, _: &Lease, _: Duration) -> Result<Settled, StoreError> {
        Ok(Settled::Applied)
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        match self.set().remove(&key) {
            true => Ok(Forgotten::Removed),
            false => Ok(Forgotten::Unknown),
        }
    }

    async fn record_done(&self, key: ReplayKey, _: Duration) -> Result<(), StoreError> {
        self.set().insert(key);
        Ok(())
    }
}

/// The control: the test detects a store with a race.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_atomic_forwards_more_than_one_copy() {
    let provider = TestProvider::named("beatapi");
    let layer = provider.layer().replay_store(GetThenSet::default());
    let upstream = Upstream::start_with(|router| router.layer(layer)).await;
    upstream.queue_behaviour(slow());
    send_copies(upstream.address(), &provider).await;
    assert!(upstream.take_received().len() > 1);
}
