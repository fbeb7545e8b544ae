use std::error::Error;
use std::fmt;
use std::time::Duration;

use hookgate_core::{ReplayKey, UnixTime};

/// Remembers which events are in flight and which are done.
///
/// # What a store promises
///
/// * [`claim`](Self::claim) is one atomic step: of any number of simultaneous
///   claims of one key, at most one is granted within a lease.
/// * A committed key is not granted again before its retention has passed. A
///   live key is never evicted to make room: that boundary is an attack.
/// * [`commit`](Self::commit) and [`release`](Self::release) with a token that
///   is not the current one change nothing and answer [`Settled::Stale`].
/// * An error means that the outcome is not known. The gate fails closed.
///
/// The suite in `conformance` (behind the feature of that name) checks the state
/// machine and the first promise; how a store is when it is full, slow or gone is
/// for its own tests.
///
/// # A store of one's own
///
/// ```
#[doc = include_str!("../doc/own_store.rs")]
/// ```
pub trait ReplayStore: Send + Sync + 'static {
    /// Claims `key` for one delivery.
    ///
    /// # Errors
    ///
    /// The store could not be asked; nothing may be forwarded.
    fn claim(
        &self,
        key: ReplayKey,
        terms: Terms,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Marks the event as done for `retention`.
    ///
    /// # Errors
    ///
    /// The store could not be asked; the lease will run out.
    fn commit(
        &self,
        lease: &Lease,
        retention: Duration,
    ) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Gives the event back, as if it had never arrived; leases before this one that
    /// ran out still count as attempts, for as long as they would have.
    ///
    /// # Errors
    ///
    /// The store could not be asked; the lease will run out.
    fn release(&self, lease: &Lease) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Completes when the claim on `key` may have been settled. Must notice
    /// every settlement after this call, whether or not the future was polled
    /// yet; may complete for no reason. The default looks again every 50 ms.
    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        let _ = key;
        tokio::time::sleep(Duration::from_millis(50))
    }

    /// How many keys are remembered, if the store knows without looking far.
    fn entries(&self) -> Option<u64> {
        None
    }
}

/// The terms of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// For how long nobody else may claim the key.
    pub lease: Duration,
    /// For how long after an unsettled lease to remember that there was one,
    /// so that the next delivery knows it is not the first attempt.
    pub memory: Duration,
    /// How much of the store the key's source may fill; none: all of it.
    pub share: Option<Share>,
    /// A checksum of what is delivered, by which a store can tell that a key is done
    /// under other content. None: nothing is compared.
    pub content: Option<u32>,
    /// When the delivery was signed, if that is known. A store that can lose what it
    /// remembers while it is in use answers [`Claim::Forgotten`] to what is older than
    /// its memory. None: that cannot be told, and is not asked.
    pub signed: Option<UnixTime>,
}

/// How much of a store one source may fill, so that a noisy one does not keep the
/// others out. A store that does not count by source takes no notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Tells the source from others.
    pub source: u64,
    /// Most keys of it that are remembered at a time.
    pub max_entries: u64,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key is claimed: forward the delivery, then settle.
    Granted(Lease),
    /// Another delivery of the key is in flight.
    InFlight {
        /// How long its lease has to run.
        remaining: Duration,
    },
    /// The key is done.
    Done,
    /// The key is done, and what was delivered under it was something else. From
    /// stores that remember the checksum; others say [`Done`](Self::Done).
    Conflict,
    /// No room for another key, or not for one of this source.
    Full,
    /// The store remembers only since after the delivery was signed: it is new, or has
    /// lost its data. Nobody knows whether the event is done.
    Forgotten,
}

impl Claim {
    /// What a claim with the checksum `claimed` is told of a key that is done, if
    /// `delivered` is that of what was delivered.
    pub fn done(claimed: Option<u32>, delivered: Option<u32>) -> Self {
        match (claimed, delivered) {
            (Some(claimed), Some(delivered)) if claimed != delivered => Self::Conflict,
            _ => Self::Done,
        }
    }
}

/// A claim that was granted. The token makes sure that only its holder settles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    key: ReplayKey,
    token: u64,
    attempt: u32,
}

impl Lease {
    /// A lease on `key`, for stores. `token` differs from that of every other
    /// lease on the key; `attempt` counts from 1.
    pub const fn new(key: ReplayKey, token: u64, attempt: u32) -> Self {
        Self {
            key,
            token,
            attempt,
        }
    }

    /// The key that is claimed.
    pub const fn key(&self) -> ReplayKey {
        self.key
    }

    /// Tells this lease from every other on the key.
    pub const fn token(&self) -> u64 {
        self.token
    }

    /// 1, and one more for each lease on the event that ran out unsettled, so
    /// that nobody knows what became of it. Deliveries that failed for certain
    /// do not count.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// The answer to a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It took effect.
    Applied,
    /// The lease was no longer the current one; nothing changed.
    Stale,
}

/// The store could not be asked, or did not answer.
#[derive(Debug)]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// Wraps what the backend reported. It is logged, never shown to senders.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// The backend's report alone, to be wrapped again.
    #[cfg(feature = "redis")]
    pub(crate) fn cause(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the replay store did not answer: {}", self.0)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
