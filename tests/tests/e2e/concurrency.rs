//! 64 copies of one delivery at once: the program behind the door sees one.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, send};
use http::StatusCode;
use tokio::task::JoinSet;
use tower_hookgate::{Claim, ClaimOptions, Lease, ReplayKey, ReplayStore, Settled, StoreError};

const COPIES: usize = 64;

/// Sends the copies at once; how many were answered by the program itself, and
/// how many as duplicates.
async fn send_copies(address: SocketAddr, provider: &TestProvider) -> (usize, usize) {
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        copies.spawn(send(address, provider.delivery("evt_1")));
    }
    let replies = copies.join_all().await;
    let count = |status| {
        replies
            .iter()
            .filter(|reply| reply.status == status)
            .count()
    };
    (count(StatusCode::NO_CONTENT), count(StatusCode::OK))
}

/// Long enough for all copies to arrive while the first is under way.
fn slow() -> Behaviour {
    Behaviour::DelayedStatus(Duration::from_millis(500), StatusCode::NO_CONTENT)
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_layer_one_of_64_copies_arrives() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start_with(|router| router.layer(provider.layer())).await;
    upstream.queue_behaviour(slow());
    let answers = send_copies(upstream.address(), &provider).await;
    assert_eq!(
        (answers, upstream.take_received().len()),
        ((1, COPIES - 1), 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_gateway_one_of_64_copies_arrives() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    upstream.queue_behaviour(slow());
    let answers = send_copies(gateway.address(), &provider).await;
    assert_eq!(
        (answers, upstream.take_received().len()),
        ((1, COPIES - 1), 1)
    );
}

/// When the first fails, the copies that wait do not fail with it: one of them
/// is forwarded, and the rest are its duplicates.
#[tokio::test(flavor = "multi_thread")]
async fn when_the_first_copy_fails_one_that_waited_is_forwarded() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    upstream.queue_behaviour(Behaviour::DelayedStatus(
        Duration::from_millis(500),
        StatusCode::BAD_GATEWAY,
    ));
    let answers = send_copies(gateway.address(), &provider).await;
    assert_eq!(
        (answers, upstream.take_received().len()),
        ((1, COPIES - 2), 2)
    );
}

/// A store that looks first and writes then, as nearly everybody's does.
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
}

/// The control: the test can tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_atomic_is_found_out() {
    let provider = TestProvider::named("beatapi");
    let layer = provider.layer().replay_store(GetThenSet::default());
    let upstream = Upstream::start_with(|router| router.layer(layer)).await;
    upstream.queue_behaviour(slow());
    send_copies(upstream.address(), &provider).await;
    assert!(upstream.take_received().len() > 1);
}
