//! The controls of the model in the suite: it finds whatever a store gets wrong, and
//! nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::conformance::{Harness, PausedClock, compare_with_model, find_difference};
use hookgate_replay::{Claim, ClaimOptions, Lease, MemoryStore, ReplayStore, Settled, StoreError};
use tokio::time::Instant;

const GRAIN: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn whatever_a_store_gets_wrong_is_found_and_shown_in_a_few_steps() {
    for defect in DEFECTS {
        let new = || async { PausedClock(Broken::new(defect)) };
        let difference = find_difference(new, 1_000).await;
        let difference = difference.unwrap_or_else(|| panic!("{defect:?} goes unnoticed"));
        // Two to five as a rule, of up to 99.
        assert!(difference.steps() <= 20, "{defect:?}: {difference}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_runs_on_by_itself_is_no_difference() {
    compare_with_model(
        || async { Restless(PausedClock(MemoryStore::new())) },
        1_000,
    )
    .await;
}

/// What a store may get wrong.
#[derive(Clone, Copy, Debug)]
enum Defect {
    CommitsWithoutTheToken,
    ReleasesWithoutTheToken,
    ForgetsTheAttempt,
    ForgetsTheAttemptWithTheLease,
    TakesReleasesForAttempts,
    TakesStaleForApplied,
    UsesATokenAgain,
    EndsLeasesEarly,
    EndsLeasesLate,
    EndsRetentionEarly,
    EndsRetentionLate,
    TakesInFlightForDone,
    SettlesNothingAfterTheLease,
    MixesKeysUp,
}

const DEFECTS: [Defect; 14] = [
    Defect::CommitsWithoutTheToken,
    Defect::ReleasesWithoutTheToken,
    Defect::ForgetsTheAttempt,
    Defect::ForgetsTheAttemptWithTheLease,
    Defect::TakesReleasesForAttempts,
    Defect::TakesStaleForApplied,
    Defect::UsesATokenAgain,
    Defect::EndsLeasesEarly,
    Defect::EndsLeasesLate,
    Defect::EndsRetentionEarly,
    Defect::EndsRetentionLate,
    Defect::TakesInFlightForDone,
    Defect::SettlesNothingAfterTheLease,
    Defect::MixesKeysUp,
];

/// A store in memory with a defect.
struct Broken {
    store: MemoryStore,
    defect: Defect,
    /// The newest lease on each key, when it ends, and how many there were.
    granted: Mutex<HashMap<ReplayKey, (Lease, Instant, u32)>>,
}

impl Broken {
    fn new(defect: Defect) -> Self {
        Self {
            store: MemoryStore::new(),
            defect,
            granted: Mutex::default(),
        }
    }

    /// Where the store has `key`.
    fn at(&self, key: ReplayKey) -> ReplayKey {
        let mut bytes = *key.as_bytes();
        if let Defect::MixesKeysUp = self.defect {
            bytes[15] = 0;
        }
        ReplayKey::from_bytes(bytes)
    }

    /// The lease as the store has it.
    fn held(&self, lease: &Lease) -> Lease {
        Lease::new(self.at(lease.key()), lease.token(), lease.attempt())
    }

    fn newest(&self, key: ReplayKey) -> Option<(Lease, Instant, u32)> {
        let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.get(&key).cloned()
    }

    fn is_late(&self, lease: &Lease) -> bool {
        self.newest(lease.key())
            .is_some_and(|(_, end, _)| end <= Instant::now())
    }
}

impl ReplayStore for Broken {
    async fn claim(&self, key: ReplayKey, mut options: ClaimOptions) -> Result<Claim, StoreError> {
        match self.defect {
            Defect::EndsLeasesEarly => options.lease -= GRAIN,
            Defect::EndsLeasesLate => options.lease += GRAIN,
            Defect::ForgetsTheAttemptWithTheLease => options.attempt_retention = Duration::ZERO,
            _ => {}
        }
        let lease = match (self.defect, self.store.claim(self.at(key), options).await?) {
            (_, Claim::Granted(lease)) => Lease::new(key, lease.token(), lease.attempt()),
            (Defect::TakesInFlightForDone, Claim::InFlight { .. }) => return Ok(Claim::Done),
            (_, claim) => return Ok(claim),
        };
        let grants = self.newest(key).map_or(1, |(_, _, grants)| grants + 1);
        let end = Instant::now() + options.lease;
        self.granted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (lease.clone(), end, grants));
        Ok(Claim::Granted(match self.defect {
            Defect::ForgetsTheAttempt => Lease::new(key, lease.token(), 1),
            Defect::TakesReleasesForAttempts => Lease::new(key, lease.token(), grants),
            Defect::UsesATokenAgain => Lease::new(key, 1, lease.attempt()),
            _ => lease,
        }))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let (retention, lease) = match (self.defect, self.newest(lease.key())) {
            (Defect::EndsRetentionEarly, _) => (retention - GRAIN, lease.clone()),
            (Defect::EndsRetentionLate, _) => (retention + GRAIN, lease.clone()),
            (Defect::CommitsWithoutTheToken, Some((newest, ..))) => (retention, newest),
            (Defect::SettlesNothingAfterTheLease, _) if self.is_late(lease) => {
                return Ok(Settled::Stale);
            }
            _ => (retention, lease.clone()),
        };
        match (
            self.defect,
            self.store.commit(&self.held(&lease), retention).await?,
        ) {
            (Defect::TakesStaleForApplied, _) => Ok(Settled::Applied),
            (_, settled) => Ok(settled),
        }
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        match (self.defect, self.newest(lease.key())) {
            (Defect::ReleasesWithoutTheToken, Some((newest, ..))) => {
                self.store.release(&self.held(&newest)).await
            }
            _ => self.store.release(&self.held(lease)).await,
        }
    }
}

/// A store whose time runs on by itself, by less than its slack.
struct Restless(PausedClock<MemoryStore>);

impl Harness for Restless {
    type Store = MemoryStore;

    const SLACK: Duration = Duration::from_secs(5);

    fn store(&self) -> &MemoryStore {
        self.0.store()
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration).await;
        // At most 99 times a case.
        self.0.advance(Duration::from_millis(20)).await;
    }
}
