//! The controls of the comparison with the model: it finds each defect of a store, and
//! reports no difference for a correct one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::conformance::{
    CLAIM_OPTIONS, Harness, PausedClock, compare_with_model, find_difference,
};
use hookgate_replay::{
    Claim, ClaimOptions, Forgotten, Lease, MemoryStore, ReplayStore, Settled, StoreError,
};
use tokio::time::Instant;

const CLOCK_RESOLUTION: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn every_defect_is_found_and_shown_in_a_few_steps() {
    for defect in DEFECTS {
        let new = || async { PausedClock(Broken::new(defect)) };
        let difference = find_difference(new, 1_000).await;
        let difference = difference.unwrap_or_else(|| panic!("{defect:?} is not found"));
        // Usually two to five steps are left of up to 99.
        assert!(difference.steps() <= 20, "{defect:?}: {difference}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_runs_ahead_within_the_slack_is_no_difference() {
    compare_with_model(
        || async { DriftingClock(PausedClock(MemoryStore::new())) },
        1_000,
    )
    .await;
}

/// A way in which a store can violate the contract.
#[derive(Clone, Copy, Debug)]
enum Defect {
    CommitsWithoutTheToken,
    ReleasesWithoutTheToken,
    ForgetsTheAttempt,
    ForgetsTheAttemptWhenTheLeaseEnds,
    CountsReleasedClaimsAsAttempts,
    ReportsStaleSettlementsAsApplied,
    ReusesATokenOnTheKey,
    EndsLeasesEarly,
    EndsLeasesLate,
    EndsRetentionEarly,
    EndsRetentionLate,
    ReportsInFlightKeysAsDone,
    RejectsSettlementsAfterTheLease,
    ConfusesKeys,
    ForgetsEventsInFlight,
    KeepsForgottenEvents,
    KeepsForgottenAttempts,
    ReportsUnknownEventsAsRemoved,
    RecordsNothing,
    RecordsOnlyUnknownEvents,
    ShortensRecords,
    KeepsOpenLeases,
    IgnoresRenewals,
    RenewsWithoutTheToken,
    EndsRenewedLeasesEarly,
    RejectsRenewalsAfterTheLease,
}

const DEFECTS: [Defect; 26] = [
    Defect::CommitsWithoutTheToken,
    Defect::ReleasesWithoutTheToken,
    Defect::ForgetsTheAttempt,
    Defect::ForgetsTheAttemptWhenTheLeaseEnds,
    Defect::CountsReleasedClaimsAsAttempts,
    Defect::ReportsStaleSettlementsAsApplied,
    Defect::ReusesATokenOnTheKey,
    Defect::EndsLeasesEarly,
    Defect::EndsLeasesLate,
    Defect::EndsRetentionEarly,
    Defect::EndsRetentionLate,
    Defect::ReportsInFlightKeysAsDone,
    Defect::RejectsSettlementsAfterTheLease,
    Defect::ConfusesKeys,
    Defect::ForgetsEventsInFlight,
    Defect::KeepsForgottenEvents,
    Defect::KeepsForgottenAttempts,
    Defect::ReportsUnknownEventsAsRemoved,
    Defect::RecordsNothing,
    Defect::RecordsOnlyUnknownEvents,
    Defect::ShortensRecords,
    Defect::KeepsOpenLeases,
    Defect::IgnoresRenewals,
    Defect::RenewsWithoutTheToken,
    Defect::EndsRenewedLeasesEarly,
    Defect::RejectsRenewalsAfterTheLease,
];

/// A memory store with a defect.
struct Broken {
    store: MemoryStore,
    defect: Defect,
    /// The newest lease on each key, with its end and the number of leases so far.
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

    /// Returns the key under which the inner store keeps `key`.
    fn inner_key(&self, key: ReplayKey) -> ReplayKey {
        let mut bytes = *key.as_bytes();
        if let Defect::ConfusesKeys = self.defect {
            bytes[15] = 0;
        }
        ReplayKey::from_bytes(bytes)
    }

    /// Returns the lease as the inner store knows it.
    fn inner_lease(&self, lease: &Lease) -> Lease {
        Lease::new(self.inner_key(lease.key()), lease.token(), lease.attempt())
    }

    fn newest(&self, key: ReplayKey) -> Option<(Lease, Instant, u32)> {
        let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.get(&key).cloned()
    }

    async fn is_leased(&self, key: ReplayKey) -> Result<bool, StoreError> {
        let claim = self.store.claim(self.inner_key(key), CLAIM_OPTIONS).await?;
        if let Claim::Granted(lease) = &claim {
            self.store.release(lease).await?;
        }
        Ok(matches!(claim, Claim::InFlight { .. }))
    }

    fn is_late(&self, lease: &Lease) -> bool {
        self.newest(lease.key())
            .is_some_and(|(_, end, _)| end <= Instant::now())
    }
}

impl ReplayStore for Broken {
    async fn claim(&self, key: ReplayKey, mut options: ClaimOptions) -> Result<Claim, StoreError> {
        match self.defect {
            Defect::EndsLeasesEarly => options.lease -= CLOCK_RESOLUTION,
            Defect::EndsLeasesLate => options.lease += CLOCK_RESOLUTION,
            Defect::ForgetsTheAttemptWhenTheLeaseEnds => options.attempt_retention = Duration::ZERO,
            _ => {}
        }
        let lease = match (
            self.defect,
            self.store.claim(self.inner_key(key), options).await?,
        ) {
            (_, Claim::Granted(lease)) => Lease::new(key, lease.token(), lease.attempt()),
            (Defect::ReportsInFlightKeysAsDone, Claim::InFlight { .. }) => return Ok(Claim::Done),
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
            Defect::CountsReleasedClaimsAsAttempts => Lease::new(key, lease.token(), grants),
            Defect::ReusesATokenOnTheKey => Lease::new(key, 1, lease.attempt()),
            _ => lease,
        }))
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let (retention, lease) = match (self.defect, self.newest(lease.key())) {
            (Defect::EndsRetentionEarly, _) => (retention - CLOCK_RESOLUTION, lease.clone()),
            (Defect::EndsRetentionLate, _) => (retention + CLOCK_RESOLUTION, lease.clone()),
            (Defect::CommitsWithoutTheToken, Some((newest, ..))) => (retention, newest),
            (Defect::RejectsSettlementsAfterTheLease, _) if self.is_late(lease) => {
                return Ok(Settled::Stale);
            }
            _ => (retention, lease.clone()),
        };
        match (
            self.defect,
            self.store
                .commit(&self.inner_lease(&lease), retention)
                .await?,
        ) {
            (Defect::ReportsStaleSettlementsAsApplied, _) => Ok(Settled::Applied),
            (_, settled) => Ok(settled),
        }
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        match (self.defect, self.newest(lease.key())) {
            (Defect::ReleasesWithoutTheToken, Some((newest, ..))) => {
                self.store.release(&self.inner_lease(&newest)).await
            }
            _ => self.store.release(&self.inner_lease(lease)).await,
        }
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        let key = lease.key();
        let inner = self.inner_lease(lease);
        match (self.defect, self.newest(key)) {
            (Defect::IgnoresRenewals, _) => self.store.renew(&inner, Duration::ZERO).await,
            (Defect::RenewsWithoutTheToken, Some((newest, ..))) => {
                self.store.renew(&self.inner_lease(&newest), duration).await
            }
            (Defect::EndsRenewedLeasesEarly, _) => {
                self.store.renew(&inner, duration - CLOCK_RESOLUTION).await
            }
            (Defect::RejectsRenewalsAfterTheLease, _) if self.is_late(lease) => Ok(Settled::Stale),
            _ => self.store.renew(&inner, duration).await,
        }
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        let inner_key = self.inner_key(key);
        let forgotten = self.store.forget(inner_key).await?;
        match (self.defect, forgotten, self.newest(key)) {
            (Defect::ForgetsEventsInFlight, Forgotten::InFlight, Some((newest, ..))) => {
                self.store.release(&self.inner_lease(&newest)).await?;
                Ok(Forgotten::Removed)
            }
            (Defect::KeepsForgottenEvents, Forgotten::Removed, _) => {
                let claim = self.store.claim(inner_key, CLAIM_OPTIONS).await?;
                if let Claim::Granted(lease) = claim {
                    let retention = CLAIM_OPTIONS.attempt_retention;
                    self.store.commit(&lease, retention).await?;
                }
                Ok(Forgotten::Removed)
            }
            (Defect::KeepsForgottenAttempts, Forgotten::Removed, _) => {
                let ended = ClaimOptions::new(Duration::ZERO, CLAIM_OPTIONS.attempt_retention);
                self.store.claim(inner_key, ended).await?;
                Ok(Forgotten::Removed)
            }
            (Defect::ReportsUnknownEventsAsRemoved, Forgotten::Unknown, _) => {
                Ok(Forgotten::Removed)
            }
            _ => Ok(forgotten),
        }
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        let inner_key = self.inner_key(key);
        let claim = match self.defect {
            Defect::RecordsNothing => return Ok(()),
            Defect::RecordsOnlyUnknownEvents => self.store.claim(inner_key, CLAIM_OPTIONS).await?,
            Defect::KeepsOpenLeases if self.is_leased(key).await? => return Ok(()),
            Defect::ShortensRecords => {
                self.store.forget(inner_key).await?;
                return self.store.record_done(inner_key, retention).await;
            }
            _ => return self.store.record_done(inner_key, retention).await,
        };
        match claim {
            Claim::Granted(lease) => self.store.commit(&lease, retention).await.map(drop),
            _ => Ok(()),
        }
    }
}

/// A harness whose clock runs ahead by itself, by less than its slack.
struct DriftingClock(PausedClock<MemoryStore>);

impl Harness for DriftingClock {
    type Store = MemoryStore;

    const SLACK: Duration = Duration::from_secs(5);

    fn store(&self) -> &MemoryStore {
        self.0.store()
    }

    async fn advance(&self, duration: Duration) {
        self.0.advance(duration).await;
        // A history has at most 99 steps, so the total stays below the slack.
        self.0.advance(Duration::from_millis(20)).await;
    }
}
