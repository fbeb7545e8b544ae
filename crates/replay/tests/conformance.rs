//! The suite on a store that is not of this crate: a table with a clock of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hookgate_core::ReplayKey;
use hookgate_replay::conformance::Shifted;
use hookgate_replay::{Claim, Lease, ReplayStore, Settled, StoreError, Terms};

hookgate_replay::conformance::suite!(real, || async {
    let shift = Arc::new(AtomicU64::new(0));
    let store = Table::new(Arc::clone(&shift));
    Shifted { store, shift }
});

struct Table {
    start: Instant,
    shift: Arc<AtomicU64>,
    rows: Mutex<HashMap<ReplayKey, Row>>,
    next_token: AtomicU64,
}

#[derive(Clone)]
struct Row {
    /// None: done.
    lease: Option<(Lease, Duration)>,
    forget_at: Duration,
}

impl Table {
    fn new(shift: Arc<AtomicU64>) -> Self {
        Self {
            start: Instant::now(),
            shift,
            rows: Mutex::default(),
            next_token: AtomicU64::new(1),
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed() + Duration::from_millis(self.shift.load(Ordering::SeqCst))
    }

    fn settle(&self, lease: &Lease, to: Option<Row>) -> Settled {
        let now = self.now();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current = rows.get(&lease.key()).is_some_and(|row| {
            let holder = row.lease.as_ref().map(|(holder, _)| holder);
            now < row.forget_at && holder == Some(lease)
        });
        match (is_current, to) {
            (false, _) => return Settled::Stale,
            (true, Some(row)) => rows.insert(lease.key(), row),
            (true, None) => rows.remove(&lease.key()),
        };
        Settled::Applied
    }
}

impl ReplayStore for Table {
    async fn claim(&self, key: ReplayKey, terms: Terms) -> Result<Claim, StoreError> {
        let now = self.now();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = match rows.get(&key).filter(|row| now < row.forget_at) {
            None => 1,
            Some(Row { lease: None, .. }) => return Ok(Claim::Done),
            Some(Row {
                lease: Some((_, end)),
                ..
            }) if now < *end => {
                let remaining = *end - now;
                return Ok(Claim::InFlight { remaining });
            }
            Some(Row {
                lease: Some((lease, _)),
                ..
            }) => lease.attempt() + 1,
        };
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let lease = Lease::new(key, token, attempt);
        let end = now + terms.lease;
        let row = Row {
            lease: Some((lease.clone(), end)),
            forget_at: end + terms.memory,
        };
        rows.insert(key, row);
        Ok(Claim::Granted(lease))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let forget_at = self.now() + retention;
        let done = Row {
            lease: None,
            forget_at,
        };
        Ok(self.settle(lease, Some(done)))
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        Ok(self.settle(lease, None))
    }
}
