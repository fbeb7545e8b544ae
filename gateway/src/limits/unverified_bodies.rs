//! Limits the memory for bodies that are not verified yet, over all connections.
//!
//! The budget counts the bytes that were received, not connections or declared lengths. A
//! request that has to wait for more bytes costs [`STALLED_REQUEST_COST`] besides. When the
//! budget is exceeded, the slowest bodies of the networks that hold most are evicted, because an
//! attack consists of many slow bodies. A signed delivery that arrives at once never waits: it
//! counts only while it is checked, and is never evicted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hookgate_core::Chunk;
use hookgate_core::internal::client_network;
use hookgate_gate::{BodyError, BodySource};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::eviction_order::{EvictionOrder, Speed};
use crate::poll::now_or_never;

/// Memory in bytes that a waiting request takes besides its body. It counts because a client
/// can open a hundred requests on one HTTP/2 connection without sending a byte of their bodies.
const STALLED_REQUEST_COST: usize = 16 * 1024;

/// An eviction frees this fraction of the budget (one eighth). A smaller eviction would have
/// to examine all bodies again for the next chunk.
const EVICTION_DIVISOR: usize = 8;

/// Networks that hold as many whole times this fraction of the budget are equal, and the slowest of
/// their bodies give way first. With a larger share, few networks could keep out the deliveries of
/// others: a body of 4 MiB that stops is for minutes faster than a body that is about to arrive.
const SHARE_DIVISOR: usize = 1024;

/// The least share in bytes. A sender of a few deliveries at a time holds less.
const MIN_SHARE: usize = 4 * STALLED_REQUEST_COST;

/// The budget, and the bodies that may be evicted.
#[derive(Debug, Default)]
pub(crate) struct UnverifiedBodies {
    total: AtomicUsize,
    next_id: AtomicU64,
    /// The bodies that have waited for bytes at least once.
    stalled: Mutex<HashMap<u64, Arc<StalledBody>>>,
}

/// A body that has waited for bytes at least once.
#[derive(Debug)]
struct StalledBody {
    /// `None` for all clients without an address.
    network: Option<IpAddr>,
    bytes: AtomicUsize,
    since: Instant,
    /// The bytes no longer count, and the request is about to be refused.
    is_evicted: AtomicBool,
    evicted: Notify,
}

/// The first second of a body counts as complete, so that a few bytes in a short time are not a high
/// rate.
const FULL_SECOND: Duration = Duration::from_secs(1);

impl UnverifiedBodies {
    /// Returns the number of bytes that count.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Wraps `body` so that its bytes count towards the budget of all bodies until it is dropped.
    ///
    /// `limit` is the current budget in bytes, which a reload can change. All bodies together
    /// may have [`STALLED_REQUEST_COST`] more, so that one body of `limit` bytes may wait.
    pub(crate) fn track<'b, B>(&'b self, body: &'b mut B, limit: usize) -> BudgetedBody<'b, B> {
        BudgetedBody {
            body,
            reservation: Reservation {
                bodies: self,
                limit: limit.saturating_add(STALLED_REQUEST_COST),
                bytes: 0,
                stalled: None,
            },
        }
    }

    /// Counts `more` bytes and returns the new total.
    fn add(&self, more: usize) -> usize {
        self.total.fetch_add(more, Ordering::Relaxed) + more
    }

    fn register(&self, network: Option<IpAddr>, bytes: usize) -> (u64, Arc<StalledBody>) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let stalled = Arc::new(StalledBody {
            network,
            bytes: AtomicUsize::new(bytes),
            since: Instant::now(),
            is_evicted: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        self.stalled.lock().insert(id, Arc::clone(&stalled));
        (id, stalled)
    }

    /// Evicts bodies in the order of [`EvictionOrder`], except `exempt`, until a fraction of the
    /// budget is free. Returns whether the total is within `limit`.
    fn evict(&self, limit: usize, exempt: Option<u64>) -> bool {
        let target = limit - limit / EVICTION_DIVISOR;
        let stalled = self.stalled.lock();
        let counted = stalled
            .iter()
            .filter(|(_, body)| !body.is_evicted.load(Ordering::Relaxed));
        let counted = counted.map(|(id, body)| {
            let bytes = body.bytes.load(Ordering::Relaxed);
            let candidate = (Some(*id) != exempt).then_some(body);
            (body.network, body.speed(), bytes, candidate)
        });
        let share = (limit / SHARE_DIVISOR).max(MIN_SHARE);
        let order = EvictionOrder::new(share, counted);
        for body in order {
            if self.total() <= target {
                break;
            }
            // Once the total is within the limit, the margin does not justify the loss of a
            // large body.
            let is_large = body.bytes.load(Ordering::Acquire) > limit / EVICTION_DIVISOR;
            if is_large && self.total() <= limit {
                continue;
            }
            if !body.is_evicted.swap(true, Ordering::AcqRel) {
                let bytes = body.bytes.load(Ordering::Acquire);
                self.total.fetch_sub(bytes, Ordering::Relaxed);
                body.evicted.notify_one();
            }
        }
        self.total() <= limit
    }
}

impl StalledBody {
    fn speed(&self) -> Speed {
        let bytes = self.bytes.load(Ordering::Relaxed) as u128;
        let age = self.since.elapsed().max(FULL_SECOND);
        let rate = bytes * 1_000_000 / age.as_micros();
        (age == FULL_SECOND, rate, self.since)
    }
}

/// A body whose received bytes count towards the budget until this wrapper is dropped or the
/// body is evicted.
#[derive(Debug)]
pub(crate) struct BudgetedBody<'b, B> {
    body: &'b mut B,
    reservation: Reservation<'b>,
}

#[derive(Debug)]
struct Reservation<'b> {
    bodies: &'b UnverifiedBodies,
    limit: usize,
    bytes: usize,
    stalled: Option<(u64, Arc<StalledBody>)>,
}

impl<B: BodySource> BodySource for BudgetedBody<'_, B> {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        let network = self.body.client().map(client_network);
        let chunk = {
            let mut next = pin!(self.body.chunk());
            match now_or_never(next.as_mut()).await {
                Some(chunk) => chunk?,
                None => {
                    let stalled = self.reservation.mark_stalled(network)?;
                    tokio::select! {
                        chunk = next => chunk?,
                        () = stalled.evicted.notified() => return Err(BodyError::Overloaded),
                    }
                }
            }
        };
        if let Some(chunk) = &chunk {
            self.reservation.add(chunk.len())?;
        }
        Ok(chunk)
    }

    fn client(&self) -> Option<IpAddr> {
        self.body.client()
    }
}

impl Reservation<'_> {
    /// Makes the body a candidate for eviction.
    fn mark_stalled(&mut self, network: Option<IpAddr>) -> Result<Arc<StalledBody>, BodyError> {
        if let Some((_, stalled)) = &self.stalled {
            return Ok(Arc::clone(stalled));
        }
        let (id, stalled) = self.bodies.register(network, self.bytes);
        self.stalled = Some((id, Arc::clone(&stalled)));
        self.add(STALLED_REQUEST_COST)?;
        Ok(stalled)
    }

    fn add(&mut self, more: usize) -> Result<(), BodyError> {
        let (id, total) = match &self.stalled {
            Some((id, stalled)) => {
                // The lock keeps an eviction from subtracting a count that changes here.
                let _all = self.bodies.stalled.lock();
                if stalled.is_evicted.load(Ordering::Acquire) {
                    return Err(BodyError::Overloaded);
                }
                stalled.bytes.fetch_add(more, Ordering::AcqRel);
                (Some(*id), self.bodies.add(more))
            }
            None => (None, self.bodies.add(more)),
        };
        self.bytes += more;
        if total > self.limit && !self.bodies.evict(self.limit, id) {
            return Err(BodyError::Overloaded);
        }
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let is_evicted = self.stalled.take().is_some_and(|(id, stalled)| {
            self.bodies.stalled.lock().remove(&id);
            stalled.is_evicted.load(Ordering::Acquire)
        });
        if !is_evicted {
            self.bodies.total.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
