//! What every store must do, as a suite to mount once a store:
//!
//! ```
//! # mod my_store {
//! # use hookgate_replay::MemoryStore as MyStore;
//! # use hookgate_replay::conformance::PausedClock;
//! hookgate_replay::conformance::suite!(paused, || async { PausedClock(MyStore::new()) });
//! # }
//! ```
//!
//! The expression makes a [`Harness`] of an empty store. `paused` is for stores that
//! keep time by tokio's clock, which stands still then; `real` for others, which have
//! a clock that can be put forward, as [`ShiftedClock`] does.
//!
//! Besides single cases the suite has [`compare_with_model`], which compares the store with a model
//! step by step: 1 000 random histories with a clock that stands still, and 100 on
//! other stores, which may ask for more by calling it themselves.

mod model;

pub use self::model::{Difference, compare_with_model, find_difference};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::time::{Instant, timeout};

use crate::store::{Claim, ClaimOptions, Lease, ReplayStore, Settled};

/// A store, and the means to make time pass for it.
pub trait Harness: Send + Sync + 'static {
    /// The store under test.
    type Store: ReplayStore;

    /// By how much its time may run on by itself while a case runs.
    const SLACK: Duration;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Makes `duration` pass.
    fn advance(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// A store that keeps time by tokio's clock.
#[derive(Debug)]
pub struct PausedClock<S>(pub S);

impl<S: ReplayStore> Harness for PausedClock<S> {
    type Store = S;

    const SLACK: Duration = Duration::ZERO;

    fn store(&self) -> &S {
        &self.0
    }

    async fn advance(&self, duration: Duration) {
        tokio::time::advance(duration).await;
    }
}

/// A store whose clock is ahead of the real one by so many milliseconds.
#[derive(Debug)]
pub struct ShiftedClock<S> {
    /// The store.
    pub store: S,
    /// What its clock adds to the time.
    pub shift: Arc<AtomicU64>,
}

impl<S: ReplayStore> Harness for ShiftedClock<S> {
    type Store = S;

    const SLACK: Duration = Duration::from_secs(5);

    fn store(&self) -> &S {
        &self.store
    }

    async fn advance(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.shift.fetch_add(millis, Ordering::SeqCst);
    }
}

/// ClaimOptions that the cases use.
pub const CLAIM_OPTIONS: ClaimOptions =
    ClaimOptions::new(Duration::from_secs(10), Duration::from_secs(60));
const RETENTION: Duration = Duration::from_secs(661);

const KEY: ReplayKey = ReplayKey::from_bytes([1; 16]);
const OTHER: ReplayKey = ReplayKey::from_bytes([2; 16]);

/// Mounts the suite for the store that `$new` makes.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_suite {
    (paused, $new:expr) => {
        $crate::__conformance_suite! { @all $new; (start_paused = true); 1_000 }
    };
    (real, $new:expr) => {
        $crate::__conformance_suite! { @all $new; (); 100 }
    };
    (@all $new:expr; $runtime:tt; $histories:literal) => {
        $crate::__conformance_suite! { @cases $new; $runtime;
            a_key_is_granted_once,
            a_committed_key_is_done_until_its_retention_ends,
            a_released_key_is_claimable_at_once,
            a_lease_that_ran_out_is_granted_again_and_counted,
            what_ran_out_before_a_release_still_counts,
            a_stale_settlement_changes_nothing,
            a_late_settlement_after_the_lease_still_counts_if_nobody_claimed,
            keys_do_not_affect_each_other,
            a_waiter_learns_of_every_settlement,
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn of_simultaneous_claims_one_is_granted() {
            let new = $new;
            $crate::conformance::of_simultaneous_claims_one_is_granted(new().await).await;
        }

        $crate::__conformance_suite! { @model $new; $runtime; $histories }
    };
    (@cases $new:expr; $runtime:tt; $($case:ident,)*) => {$(
        $crate::__conformance_suite! { @case $new; $runtime; $case }
    )*};
    (@case $new:expr; ($($runtime:tt)*); $case:ident) => {
        #[tokio::test($($runtime)*)]
        async fn $case() {
            let new = $new;
            $crate::conformance::$case(new().await).await;
        }
    };
    (@model $new:expr; ($($runtime:tt)*); $histories:literal) => {
        #[tokio::test($($runtime)*)]
        async fn every_answer_is_the_one_of_the_model() {
            $crate::conformance::compare_with_model($new, $histories).await;
        }
    };
}

#[doc(inline)]
pub use crate::__conformance_suite as suite;

async fn granted(store: &impl ReplayStore, key: ReplayKey) -> Lease {
    match store.claim(key, CLAIM_OPTIONS).await {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("expected a lease, got {other:?}"),
    }
}

async fn claim(store: &impl ReplayStore, key: ReplayKey) -> Claim {
    store
        .claim(key, CLAIM_OPTIONS)
        .await
        .expect("the store answers")
}

async fn commit(store: &impl ReplayStore, lease: &Lease) -> Settled {
    let settled = store.commit(lease, RETENTION).await;
    settled.expect("the store answers")
}

async fn release(store: &impl ReplayStore, lease: &Lease) -> Settled {
    store.release(lease).await.expect("the store answers")
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_key_is_granted_once<H: Harness>(of: H) {
    let store = of.store();
    let lease = granted(store, KEY).await;
    assert_eq!((lease.key(), lease.attempt()), (KEY, 1));
    of.advance(Duration::from_secs(4)).await;
    let Claim::InFlight { remaining } = claim(store, KEY).await else {
        panic!("it is in flight");
    };
    let most = CLAIM_OPTIONS.lease - Duration::from_secs(4);
    assert!(remaining <= most && remaining >= most.saturating_sub(H::SLACK));
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_committed_key_is_done_until_its_retention_ends<H: Harness>(of: H) {
    let store = of.store();
    let lease = granted(store, KEY).await;
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(store, KEY).await, Claim::Done);
    let margin = H::SLACK + Duration::from_millis(1);
    of.advance(RETENTION - margin).await;
    assert_eq!(claim(store, KEY).await, Claim::Done);
    of.advance(margin).await;
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_released_key_is_claimable_at_once<H: Harness>(of: H) {
    let store = of.store();
    let lease = granted(store, KEY).await;
    assert_eq!(release(store, &lease).await, Settled::Applied);
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_lease_that_ran_out_is_granted_again_and_counted<H: Harness>(of: H) {
    let store = of.store();
    for attempt in 1..=3 {
        let lease = granted(store, KEY).await;
        assert_eq!(lease.attempt(), attempt);
        of.advance(CLAIM_OPTIONS.lease).await;
    }
    of.advance(CLAIM_OPTIONS.attempt_retention).await;
    assert_eq!(granted(store, KEY).await.attempt(), 1);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn what_ran_out_before_a_release_still_counts<H: Harness>(of: H) {
    let store = of.store();
    granted(store, KEY).await;
    of.advance(CLAIM_OPTIONS.lease).await;
    for _ in 0..2 {
        let second = granted(store, KEY).await;
        assert_eq!(second.attempt(), 2);
        assert_eq!(release(store, &second).await, Settled::Applied);
        // It has been given back, and to nobody else.
        assert_eq!(release(store, &second).await, Settled::Stale);
        assert_eq!(commit(store, &second).await, Settled::Stale);
    }
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_stale_settlement_changes_nothing<H: Harness>(of: H) {
    let store = of.store();
    let first = granted(store, KEY).await;
    of.advance(CLAIM_OPTIONS.lease).await;
    let second = granted(store, KEY).await;
    assert_eq!(commit(store, &first).await, Settled::Stale);
    assert_eq!(release(store, &first).await, Settled::Stale);
    assert!(matches!(claim(store, KEY).await, Claim::InFlight { .. }));

    assert_eq!(commit(store, &second).await, Settled::Applied);
    assert_eq!(release(store, &second).await, Settled::Stale);
    assert_eq!(commit(store, &second).await, Settled::Stale);
    assert_eq!(claim(store, KEY).await, Claim::Done);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_late_settlement_after_the_lease_still_counts_if_nobody_claimed<H: Harness>(of: H) {
    let store = of.store();
    let lease = granted(store, KEY).await;
    of.advance(CLAIM_OPTIONS.lease).await;
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(store, KEY).await, Claim::Done);
}

/// For stores that remember the checksum of what is delivered.
pub async fn a_done_key_with_different_content_is_a_conflict<H: Harness>(of: H) {
    let store = of.store();
    let claim = async |content| {
        let options = ClaimOptions {
            content_checksum: content,
            ..CLAIM_OPTIONS
        };
        store.claim(KEY, options).await.expect("the store answers")
    };
    let Claim::Granted(lease) = claim(Some(1)).await else {
        panic!("it is new");
    };
    assert!(matches!(claim(Some(2)).await, Claim::InFlight { .. }));
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    assert_eq!(claim(Some(1)).await, Claim::Done);
    assert_eq!(claim(None).await, Claim::Done);
    assert_eq!(claim(Some(2)).await, Claim::Conflict);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn keys_do_not_affect_each_other<H: Harness>(of: H) {
    let store = of.store();
    let lease = granted(store, KEY).await;
    let other = granted(store, OTHER).await;
    assert_eq!(release(store, &other).await, Settled::Applied);
    assert_eq!(commit(store, &lease).await, Settled::Applied);
    granted(store, OTHER).await;
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_waiter_learns_of_every_settlement<H: Harness>(of: H) {
    let store = of.store();
    let patience = Duration::from_secs(5);
    for commits in [false, true] {
        let lease = granted(store, KEY).await;
        // Asked for before the settlement, polled after it.
        let settled = store.settled(KEY);
        let start = Instant::now();
        let applied = match commits {
            true => commit(store, &lease).await,
            false => release(store, &lease).await,
        };
        assert_eq!(applied, Settled::Applied);
        timeout(patience, settled)
            .await
            .expect("the waiter is told");
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "told late: {:?}",
            start.elapsed()
        );
    }
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn of_simultaneous_claims_one_is_granted<H: Harness>(of: H) {
    const RACERS: usize = 8;
    let of = Arc::new(of);
    for round in 0..500_u32 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&round.to_be_bytes());
        let key = ReplayKey::from_bytes(bytes);
        let barrier = Arc::new(tokio::sync::Barrier::new(RACERS));
        let racers: Vec<_> = (0..RACERS)
            .map(|_| {
                let (of, barrier) = (Arc::clone(&of), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    matches!(
                        of.store().claim(key, CLAIM_OPTIONS).await,
                        Ok(Claim::Granted(_))
                    )
                })
            })
            .collect();
        let mut granted = 0;
        for racer in racers {
            granted += usize::from(racer.await.expect("no racer panics"));
        }
        assert_eq!(granted, 1, "round {round}");
    }
}
