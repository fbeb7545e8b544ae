//! Limits the memory for bodies that are not verified yet, over all connections.
//!
//! The budget counts the bytes that were received, not connections or declared lengths. A
//! request that has to wait for more bytes costs [`STALLED_REQUEST_COST`] besides. When the
//! budget is exceeded, the slowest bodies are evicted, because an attack consists of slow
//! bodies. A signed delivery that arrives at once never waits: it counts only while it is
//! checked, and is never evicted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hookgate_core::Chunk;
use hookgate_gate::{BodyError, BodySource};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::poll::now_or_never;

/// Memory in bytes that a waiting request takes besides its body. It counts because a client
/// can open a hundred requests on one HTTP/2 connection without sending a byte of their bodies.
const STALLED_REQUEST_COST: usize = 16 * 1024;

/// An eviction frees this fraction of the budget (one eighth). A smaller eviction would have
/// to examine all bodies again for the next chunk.
const EVICTION_DIVISOR: usize = 8;

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
    bytes: AtomicUsize,
    since: Instant,
    /// The bytes no longer count, and the request is about to be refused.
    is_evicted: AtomicBool,
    evicted: Notify,
}

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

    fn register(&self, bytes: usize) -> (u64, Arc<StalledBody>) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let stalled = Arc::new(StalledBody {
            bytes: AtomicUsize::new(bytes),
            since: Instant::now(),
            is_evicted: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        self.stalled.lock().insert(id, Arc::clone(&stalled));
        (id, stalled)
    }

    /// Evicts the slowest bodies, except `exempt`, until a fraction of the budget is free.
    /// Returns whether the total is within `limit`.
    fn evict(&self, limit: usize, exempt: Option<u64>) -> bool {
        let target = limit - limit / EVICTION_DIVISOR;
        let stalled = self.stalled.lock();
        let mut slowest: Vec<((u128, Instant), &Arc<StalledBody>)> = stalled
            .iter()
            .filter(|(id, body)| Some(**id) != exempt && !body.is_evicted.load(Ordering::Relaxed))
            .map(|(_, body)| ((body.rate(), body.since), body))
            .collect();
        slowest.sort_by_key(|(order, _)| *order);
        for (_, body) in slowest {
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
    /// Returns the bytes per second. The first second counts as complete, so that a few bytes
    /// in a short time are not a high rate.
    fn rate(&self) -> u128 {
        let bytes = self.bytes.load(Ordering::Relaxed) as u128;
        bytes * 1_000_000 / self.since.elapsed().as_micros().max(1_000_000)
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
        let chunk = {
            let mut next = pin!(self.body.chunk());
            match now_or_never(next.as_mut()).await {
                Some(chunk) => chunk?,
                None => {
                    let stalled = self.reservation.mark_stalled()?;
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
    fn mark_stalled(&mut self) -> Result<Arc<StalledBody>, BodyError> {
        if let Some((_, stalled)) = &self.stalled {
            return Ok(Arc::clone(stalled));
        }
        let (id, stalled) = self.bodies.register(self.bytes);
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
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use tokio::time::{advance, sleep};

    use super::*;

    /// A body of chunks, each with a delay in milliseconds and a length in bytes.
    struct Chunks(std::vec::IntoIter<(u64, usize)>, End);

    #[derive(Clone, Copy)]
    enum End {
        /// The body ends after the last chunk.
        Arrives,
        /// The sender stays connected and sends nothing more.
        NeverArrives,
    }

    impl BodySource for Chunks {
        async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
            match (self.0.next(), self.1) {
                (Some((after, len)), _) => {
                    if after > 0 {
                        sleep(Duration::from_millis(after)).await;
                    }
                    Ok(Some(BytesMut::zeroed(len).into()))
                }
                (None, End::Arrives) => Ok(None),
                (None, End::NeverArrives) => std::future::pending().await,
            }
        }
    }

    /// Reads a body to its end and returns its length.
    async fn read(
        bodies: &UnverifiedBodies,
        limit: usize,
        chunks: Vec<(u64, usize)>,
        end: End,
    ) -> Result<usize, BodyError> {
        let mut chunks = Chunks(chunks.into_iter(), end);
        let mut body = bodies.track(&mut chunks, limit);
        let mut all = 0;
        while let Some(chunk) = body.chunk().await? {
            all += chunk.len();
        }
        Ok(all)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_arrives_at_once_is_accepted_beside_a_hundred_slow_bodies() {
        assert_accepted_beside(vec![(0, 10)]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_arrives_at_once_is_accepted_beside_a_hundred_bodies_without_a_byte() {
        assert_accepted_beside(Vec::new()).await;
    }

    async fn assert_accepted_beside(chunks: Vec<(u64, usize)>) {
        let each = chunks.iter().map(|(_, len)| len).sum::<usize>() + STALLED_REQUEST_COST;
        // `track` allows the cost of one more request, so a hundred fit.
        let limit = 100 * each - STALLED_REQUEST_COST;
        let bodies = Arc::new(UnverifiedBodies::default());
        let mut crawling = Vec::new();
        for _ in 0..100 {
            let (bodies, chunks) = (Arc::clone(&bodies), chunks.clone());
            crawling.push(tokio::spawn(async move {
                read(&bodies, limit, chunks, End::NeverArrives).await
            }));
            tokio::task::yield_now().await;
        }
        assert_eq!(bodies.total(), 100 * each);
        advance(Duration::from_secs(1)).await;
        let (half, twice) = (10 * each, 20 * each);
        for _ in 0..50 {
            let whole = read(&bodies, limit, vec![(0, half), (0, half)], End::Arrives).await;
            assert_eq!(whole, Ok(twice));
        }
        // Some slow bodies were evicted, and most of them were not.
        let left = bodies.total();
        assert!((60 * each..=87 * each + each / 2).contains(&left), "{left}");
        for task in &crawling {
            task.abort();
        }
        for task in crawling {
            match task.await {
                Ok(evicted) => assert_eq!(evicted, Err(BodyError::Overloaded)),
                Err(aborted) => assert!(aborted.is_cancelled()),
            }
        }
        assert_eq!(bodies.total(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_body_is_evicted_first() {
        const UNIT: usize = STALLED_REQUEST_COST;
        let bodies = Arc::new(UnverifiedBodies::default());
        let spawn = |chunks: Vec<(u64, usize)>| {
            let bodies = Arc::clone(&bodies);
            tokio::spawn(async move { read(&bodies, 1000 * UNIT, chunks, End::Arrives).await })
        };
        let crawling = (0..100).map(|_| (100, UNIT));
        let slow = spawn([(0, 300 * UNIT)].into_iter().chain(crawling).collect());
        let steady = spawn((0..40).map(|_| (100, 20 * UNIT)).collect());
        sleep(Duration::from_millis(2050)).await;
        let quick = read(&bodies, 1000 * UNIT, vec![(0, 300 * UNIT)], End::Arrives).await;
        assert_eq!(quick, Ok(300 * UNIT));
        assert_eq!(slow.await.expect("no panic"), Err(BodyError::Overloaded));
        assert_eq!(steady.await.expect("no panic"), Ok(800 * UNIT));
        assert_eq!(bodies.total(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_that_has_waited_longest_for_its_first_byte_is_evicted_first() {
        let bodies = Arc::new(UnverifiedBodies::default());
        // The limit allows sixteen waiting requests.
        let limit = 15 * STALLED_REQUEST_COST;
        let mut tasks = Vec::new();
        for _ in 0..17 {
            let bodies = Arc::clone(&bodies);
            let one = async move { read(&bodies, limit, vec![(50_000, 1)], End::Arrives).await };
            tasks.push(tokio::spawn(one));
            sleep(Duration::from_millis(100)).await;
        }
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("no panic"));
        }
        // The eviction stops when an eighth of the budget is free.
        let expected = [vec![Err(BodyError::Overloaded); 3], vec![Ok(1); 14]];
        assert_eq!(outcomes, expected.concat());
        assert_eq!(bodies.total(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_a_byte_is_evicted_before_a_body_that_arrives() {
        let bodies = Arc::new(UnverifiedBodies::default());
        let limit = 100 * STALLED_REQUEST_COST;
        let spawn = |chunks: Vec<(u64, usize)>, end: End| {
            let bodies = Arc::clone(&bodies);
            tokio::spawn(async move { read(&bodies, limit, chunks, end).await })
        };
        // These bodies are so large that less than an eighth of the budget is left.
        let arriving = spawn(vec![(0, 9 * STALLED_REQUEST_COST); 10], End::NeverArrives);
        sleep(Duration::from_millis(900)).await;
        let idle: Vec<_> = (0..11)
            .map(|_| spawn(Vec::new(), End::NeverArrives))
            .collect();
        sleep(Duration::from_millis(100)).await;
        let mut evicted = 0;
        for one in idle {
            if one.is_finished() {
                assert_eq!(one.await.expect("no panic"), Err(BodyError::Overloaded));
                evicted += 1;
            }
        }
        // The last one is exempt from the eviction that it causes.
        assert_eq!(evicted, 10);
        assert!(!arriving.is_finished());
        assert_eq!(bodies.total(), 92 * STALLED_REQUEST_COST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_refused_if_no_other_body_can_be_evicted() {
        let bodies = UnverifiedBodies::default();
        let all = read(
            &bodies,
            1000,
            vec![(0, 600), (0, 600 + STALLED_REQUEST_COST)],
            End::Arrives,
        )
        .await;
        assert_eq!(all, Err(BodyError::Overloaded));
        // The control: a body of exactly the limit, which has to wait.
        let all = read(&bodies, 1000, vec![(0, 600), (1, 400)], End::Arrives).await;
        assert_eq!(all, Ok(1000));
        assert_eq!(bodies.total(), 0);
    }
}
