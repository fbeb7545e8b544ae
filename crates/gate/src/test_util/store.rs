//! [`TestStore`]: a store in memory that forgets its events on demand.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{
    Claim, ClaimOptions, Forgotten, Lease, MemoryStore, ReplayStore, Settled, StoreError,
};

/// A store in memory that forgets its events on demand, so that tests can share one receiver.
/// Clones share the events.
///
/// Call [`forget_all`](Self::forget_all) between two tests.
#[derive(Clone, Debug, Default)]
pub struct TestStore(Arc<Mutex<MemoryStore>>);

impl TestStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets every event, also those in flight: the end of such a delivery records nothing.
    pub fn forget_all(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = MemoryStore::new();
    }

    fn current(&self) -> MemoryStore {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl ReplayStore for TestStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        self.current().claim(key, options).await
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.current().commit(lease, retention).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.current().release(lease).await
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        self.current().renew(lease, duration).await
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        self.current().forget(key).await
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        self.current().record_done(key, retention).await
    }

    fn entries(&self) -> Option<u64> {
        self.current().entries()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lease_from_before_settles_nothing_after_all_is_forgotten() {
        let retention = Duration::from_secs(300);
        let (key, options) = (
            ReplayKey::from_bytes([7; 16]),
            ClaimOptions::new(Duration::from_secs(60), retention),
        );
        let store = TestStore::new();
        let claim = async || match store.claim(key, options).await {
            Ok(Claim::Granted(lease)) => lease,
            other => panic!("{other:?}"),
        };
        let before = claim().await;
        store.forget_all();
        assert_eq!(
            store.commit(&before, retention).await.ok(),
            Some(Settled::Stale)
        );
        let after = claim().await;
        for late in [
            store.renew(&before, retention).await,
            store.release(&before).await,
            store.commit(&before, retention).await,
        ] {
            assert_eq!(late.ok(), Some(Settled::Stale));
        }
        // The control: the lease from after settles.
        assert_eq!(
            store.commit(&after, retention).await.ok(),
            Some(Settled::Applied)
        );
    }
}
