//! [`ReplayStore`], the trait that every store implements, and the types that its
//! methods take and return.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hookgate_core::{ReplayKey, UnixTime};

/// Remembers which events are in flight and which are done.
///
/// # What a store promises
///
/// * [`claim`](Self::claim) is one atomic step. Of any number of simultaneous claims
///   of one key, the store grants at most one within a lease.
/// * The store does not grant a committed key again before its retention has passed.
///   It never evicts a live key to free memory, because an attacker could fill the
///   store and then replay the evicted event.
/// * [`commit`](Self::commit), [`release`](Self::release) and [`renew`](Self::renew) with a
///   token that is not the current one change nothing and return [`Settled::Stale`].
/// * [`record_done`](Self::record_done) needs no lease, and never shortens a record.
/// * [`forget`](Self::forget) is one atomic step, too. A simultaneous claim finds the event
///   either as it was before or unknown.
/// * An error means that the outcome is unknown. The gate then refuses the delivery.
///
/// The suite in the `conformance` module (feature `conformance`) checks the states of a
/// claim and its atomicity. How a store behaves when it is full, slow or unreachable is
/// a matter for the store's own tests.
///
/// # Implementing a store
///
/// This store keeps its events in a map:
///
/// ```
#[doc = include_str!("../doc/own_store.rs")]
/// ```
pub trait ReplayStore: Send + Sync + 'static {
    /// Claims `key` for one delivery.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the store cannot be reached or does not answer in time.
    /// The delivery must not be forwarded then.
    fn claim(
        &self,
        key: ReplayKey,
        options: ClaimOptions,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Marks the event as done for `retention`.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the store cannot be reached or does not answer in time.
    /// The lease may still be open until it ends.
    fn commit(
        &self,
        lease: &Lease,
        retention: Duration,
    ) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Releases the claim, so that another delivery of the event can claim the key.
    ///
    /// The attempt of this lease does not count. Earlier leases that ended unsettled
    /// still count, for as long as they would have without this claim.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the store cannot be reached or does not answer in time.
    /// The lease may still be open until it ends.
    fn release(&self, lease: &Lease) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Moves the end of the lease to `duration` from now, unless the lease ends later already.
    ///
    /// The time for which the store remembers the attempt moves with it. A lease that has ended
    /// is open again, if no other delivery has claimed the key meanwhile. Repeating the call does
    /// no harm.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the store cannot be reached or does not answer in time. The
    /// lease may end at the earlier or at the later time.
    fn renew(
        &self,
        lease: &Lease,
        duration: Duration,
    ) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Removes all that the store remembers of an event that is not in flight.
    ///
    /// This is the operator's override for an event that counts as done although its
    /// processing went wrong. The next claim of the key is granted, as attempt 1.
    ///
    /// * The record of a done event is removed.
    /// * A key whose leases all ended unsettled is forgotten together with its attempts. A
    ///   late settlement by such a lease is then [`Settled::Stale`].
    /// * A key with an open lease stays as it is, because the outcome of that delivery is
    ///   still open. Under at-most-once delivery a lease with an unknown outcome lasts for
    ///   the retention, so such an event cannot be forgotten.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the store cannot be reached or does not answer in time. The
    /// event may be forgotten or not. The caller can call again: a store that has already
    /// forgotten the event returns [`Forgotten::Unknown`].
    fn forget(&self, key: ReplayKey) -> impl Future<Output = Result<Forgotten, StoreError>> + Send;

    /// Records the event as done for at least `retention`, whatever its state is.
    ///
    /// This is for an event whose delivery is stored elsewhere, such as in a queue: it must not
    /// be accepted again, even if its lease has ended meanwhile.
    ///
    /// * A record of a done event that lasts longer stays as it is.
    /// * An open lease on the key ends. A settlement by it is then [`Settled::Stale`].
    /// * The record is added even if the store is [full](Claim::Full), and it counts for no
    ///   [quota](ClaimOptions::quota). The queue bounds the number of such events.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the store cannot be reached or does not answer in time. The
    /// event may be recorded or not. The caller can call again.
    fn record_done(
        &self,
        key: ReplayKey,
        retention: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Completes when the claim on `key` may have been settled.
    ///
    /// The future notices every settlement after this call, even before its first
    /// poll. It may also complete without a settlement, so the caller claims again and
    /// reads the result. The default implementation completes after 50 ms.
    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        let _ = key;
        tokio::time::sleep(Duration::from_millis(50))
    }

    /// Returns the number of remembered keys, or `None` if counting them is expensive.
    fn entries(&self) -> Option<u64> {
        None
    }
}

/// The lease, retention and limits of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimOptions {
    /// How long no other delivery can claim the key.
    pub lease: Duration,
    /// How long the store remembers an unsettled claim after its lease has ended. The
    /// next claim in that time is granted with a higher [attempt](Lease::attempt).
    pub attempt_retention: Duration,
    /// The part of the store that the key's source may fill. `None` sets no limit.
    pub quota: Option<SourceQuota>,
    /// A checksum of the delivered content. A store can use it to recognise that a done
    /// key was delivered with different content. `None` disables the comparison.
    pub content_checksum: Option<u32>,
    /// When the delivery was signed. A store that can lose its data while it is in use
    /// returns [`Claim::Forgotten`] for deliveries that were signed before the loss.
    /// `None` if the scheme signs no time; such a delivery is not checked.
    pub signed_at: Option<UnixTime>,
}

impl ClaimOptions {
    /// Creates options with a lease and an attempt retention, and without a quota, a
    /// checksum or a signing time.
    pub const fn new(lease: Duration, attempt_retention: Duration) -> Self {
        Self {
            lease,
            attempt_retention,
            quota: None,
            content_checksum: None,
            signed_at: None,
        }
    }

    /// Limits how much of the store the key's source may fill.
    #[must_use]
    pub const fn with_quota(mut self, quota: SourceQuota) -> Self {
        self.quota = Some(quota);
        self
    }

    /// Sets the checksum of the delivered content.
    #[must_use]
    pub const fn with_content_checksum(mut self, checksum: u32) -> Self {
        self.content_checksum = Some(checksum);
        self
    }

    /// Sets the time at which the delivery was signed.
    #[must_use]
    pub const fn with_signed_at(mut self, time: UnixTime) -> Self {
        self.signed_at = Some(time);
        self
    }
}

/// The part of a store that one source may fill.
///
/// It keeps a noisy source from filling the store, so that other sources can still
/// claim. The Redis store does not count entries by source and ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceQuota {
    /// Identifies the source.
    pub source: u64,
    /// The maximum number of keys of this source that are remembered at a time.
    pub max_entries: u64,
}

impl SourceQuota {
    /// Creates a quota of `max_entries` keys for the source with the number `source`.
    pub const fn new(source: u64, max_entries: u64) -> Self {
        Self {
            source,
            max_entries,
        }
    }
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// The key is claimed. Forward the delivery, then commit or release the lease.
    Granted(Lease),
    /// Another delivery of the event is in flight.
    InFlight {
        /// The time until its lease ends.
        remaining: Duration,
    },
    /// The event is done.
    Done,
    /// The event is done, and it was delivered with a different content checksum. Stores
    /// that do not remember checksums return [`Done`](Self::Done) instead.
    Conflict,
    /// The store is full, or the source has used its quota.
    Full,
    /// The delivery was signed before the store began to remember events: the store is
    /// new, or it has lost its data. Whether the event is done is unknown.
    Forgotten,
}

impl Claim {
    /// Returns [`Conflict`](Self::Conflict) if both checksums are known and differ, and
    /// [`Done`](Self::Done) otherwise.
    ///
    /// A store calls this for a done key, with the checksums of the claim and of the
    /// remembered delivery.
    pub fn done_or_conflict(claimed: Option<u32>, remembered: Option<u32>) -> Self {
        match (claimed, remembered) {
            (Some(claimed), Some(remembered)) if claimed != remembered => Self::Conflict,
            _ => Self::Done,
        }
    }
}

/// A granted claim. Its token ensures that only the holder settles the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    key: ReplayKey,
    token: u64,
    attempt: u32,
}

impl Lease {
    /// Creates a lease on `key`. Only stores need this.
    ///
    /// `token` must differ from the token of every other lease on the key. `attempt`
    /// counts from 1.
    pub const fn new(key: ReplayKey, token: u64, attempt: u32) -> Self {
        Self {
            key,
            token,
            attempt,
        }
    }

    /// Returns the claimed key.
    pub const fn key(&self) -> ReplayKey {
        self.key
    }

    /// Returns the token, which differs from that of every other lease on the key.
    pub const fn token(&self) -> u64 {
        self.token
    }

    /// Returns the number of the attempt, which starts at 1.
    ///
    /// It grows by one for each earlier lease that ended unsettled, because the outcome
    /// of that delivery is unknown. Released claims do not count.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// The result of a commit, a release or a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// The call took effect.
    Applied,
    /// The lease is not the current one. Nothing changed.
    Stale,
}

/// The result of a call to [`ReplayStore::forget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forgotten {
    /// The record of the key was removed.
    Removed,
    /// The store remembers nothing of the key.
    Unknown,
    /// A lease on the key is open. Nothing changed.
    InFlight,
}

/// A store could not be reached or did not answer in time.
///
/// The text does not contain the cause, so a log also needs the [`source`](Error::source).
#[derive(Debug)]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// Wraps the error of the backend. It appears in logs, never in a response.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the replay store did not answer")
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_a_store_error_is_its_source_and_not_in_its_text() {
        let error = StoreError::new("redis://user:password@cache is down");
        assert_eq!(error.to_string(), "the replay store did not answer");
        let source = error.source().expect("the error has a cause");
        assert_eq!(source.to_string(), "redis://user:password@cache is down");
    }
}
