//! Runs the conformance suite on the example store in the documentation of `ReplayStore`, and
//! on a copy of it that forgets in two steps.

include!("../doc/own_store.rs");

use hookgate_replay::conformance::{self, PausedClock};

conformance::suite!(paused, || async { PausedClock(MapStore::default()) });

/// A store that reads a key first and removes it later.
#[derive(Debug, Default)]
struct ReadsThenRemoves(MapStore);

impl ReplayStore for ReadsThenRemoves {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.0.claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.0.commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.0.release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        self.0.renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        let is_done =
            matches!(self.0.lock().entries.get(&key), Some(entry) if entry.in_flight.is_none());
        tokio::task::yield_now().await;
        match is_done {
            true => {
                self.0.lock().entries.remove(&key);
                Ok(Forgotten::Removed)
            }
            false => self.0.forget(key).await,
        }
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.0.record_done(key, retention).await
    }
}

/// The control: the case notices that two callers removed the same record.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forgets_in_two_steps_fails_the_suite() {
    let harness = PausedClock(ReadsThenRemoves::default());
    let case = tokio::spawn(conformance::an_event_is_forgotten_in_one_step(harness));
    assert!(case.await.is_err_and(|error| error.is_panic()));
}
