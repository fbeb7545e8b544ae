//! Bytes of bodies that nobody has verified yet, over all connections.
//!
//! What counts are bytes that are held, and a few for each request that has had to wait for
//! more, not connections or what senders announce. When there are too many, the bodies that have come slowest make room, because that is what
//! an attack consists of: a signed delivery that comes in one go never waits, is never
//! counted for longer than its check takes, and always gets in.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hookgate_core::Chunk;
use hookgate_gate::{BodyError, BodySource};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::poll::at_once;

/// What a request takes besides the bytes of its body, counted with them once it has had to
/// wait: over HTTP/2 there may be a hundred of each connection, and none of them needs to send
/// a byte.
const WAITING: usize = 16 * 1024;

/// When room is made, so much of all of it: making room for every chunk alone would
/// cost a look at all bodies each time.
const MARGIN: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct UnverifiedBodies {
    held: AtomicUsize,
    next: AtomicU64,
    /// Those that have had to wait for more.
    waiting: Mutex<HashMap<u64, Arc<StalledBody>>>,
}

#[derive(Debug)]
struct StalledBody {
    bytes: AtomicUsize,
    since: Instant,
    /// Its bytes no longer count; it is about to be refused.
    gives_way: AtomicBool,
    error_for_log: Notify,
}

impl UnverifiedBodies {
    /// Bytes that count.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts what is read of `body`, at most `limit` bytes together with all others, and so
    /// many more that one of `limit` bytes may wait.
    pub(crate) fn hold<'b, B>(&'b self, body: &'b mut B, limit: usize) -> BudgetedBody<'b, B> {
        BudgetedBody {
            body,
            counted: Reservation {
                bodies: self,
                limit: limit.saturating_add(WAITING),
                bytes: 0,
                waiting: None,
            },
        }
    }

    /// How many there are with so many more.
    fn add(&self, more: usize) -> usize {
        self.held.fetch_add(more, Ordering::Relaxed) + more
    }

    fn register(&self, bytes: usize) -> (u64, Arc<StalledBody>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let waiting = Arc::new(StalledBody {
            bytes: AtomicUsize::new(bytes),
            since: Instant::now(),
            gives_way: AtomicBool::new(false),
            error_for_log: Notify::new(),
        });
        self.waiting.lock().insert(id, Arc::clone(&waiting));
        (id, waiting)
    }

    /// Lets bodies give way until there is room. Whether there is.
    fn make_room(&self, limit: usize, but: Option<u64>) -> bool {
        let wanted = limit - limit / MARGIN;
        let waiting = self.waiting.lock();
        let mut slowest: Vec<((u128, Instant), &Arc<StalledBody>)> = waiting
            .iter()
            .filter(|(id, body)| Some(**id) != but && !body.gives_way.load(Ordering::Relaxed))
            .map(|(_, body)| ((body.rate(), body.since), body))
            .collect();
        slowest.sort_by_key(|(order, _)| *order);
        for (_, body) in slowest {
            if self.held() <= wanted {
                break;
            }
            // Where there is room already, a large body is too much to give for more of it.
            let is_large = body.bytes.load(Ordering::Acquire) > limit / MARGIN;
            if is_large && self.held() <= limit {
                continue;
            }
            if !body.gives_way.swap(true, Ordering::AcqRel) {
                let bytes = body.bytes.load(Ordering::Acquire);
                self.held.fetch_sub(bytes, Ordering::Relaxed);
                body.error_for_log.notify_one();
            }
        }
        self.held() <= limit
    }
}

impl StalledBody {
    /// Bytes a second. In the first, nobody is quicker for having sent little.
    fn rate(&self) -> u128 {
        let bytes = self.bytes.load(Ordering::Relaxed) as u128;
        bytes * 1_000_000 / self.since.elapsed().as_micros().max(1_000_000)
    }
}

/// A body whose bytes count, until it is dropped.
#[derive(Debug)]
pub(crate) struct BudgetedBody<'b, B> {
    body: &'b mut B,
    counted: Reservation<'b>,
}

#[derive(Debug)]
struct Reservation<'b> {
    bodies: &'b UnverifiedBodies,
    limit: usize,
    bytes: usize,
    waiting: Option<(u64, Arc<StalledBody>)>,
}

impl<B: BodySource> BodySource for BudgetedBody<'_, B> {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        let chunk = {
            let mut next = pin!(self.body.chunk());
            match at_once(next.as_mut()).await {
                Some(chunk) => chunk?,
                None => {
                    let waiting = self.counted.begin_waiting()?;
                    tokio::select! {
                        chunk = next => chunk?,
                        () = waiting.error_for_log.notified() => return Err(BodyError::Overloaded),
                    }
                }
            }
        };
        if let Some(chunk) = &chunk {
            self.counted.add(chunk.len())?;
        }
        Ok(chunk)
    }
}

impl Reservation<'_> {
    /// From now on, it may have to give way.
    fn begin_waiting(&mut self) -> Result<Arc<StalledBody>, BodyError> {
        if let Some((_, waiting)) = &self.waiting {
            return Ok(Arc::clone(waiting));
        }
        let (id, waiting) = self.bodies.register(self.bytes);
        self.waiting = Some((id, Arc::clone(&waiting)));
        self.add(WAITING)?;
        Ok(waiting)
    }

    fn add(&mut self, more: usize) -> Result<(), BodyError> {
        let (own, held) = match &self.waiting {
            Some((id, waiting)) => {
                // Under the lock, so that what gives way gives up what it has.
                let _all = self.bodies.waiting.lock();
                if waiting.gives_way.load(Ordering::Acquire) {
                    return Err(BodyError::Overloaded);
                }
                waiting.bytes.fetch_add(more, Ordering::AcqRel);
                (Some(*id), self.bodies.add(more))
            }
            None => (None, self.bodies.add(more)),
        };
        self.bytes += more;
        if held > self.limit && !self.bodies.make_room(self.limit, own) {
            return Err(BodyError::Overloaded);
        }
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let gave_way = self.waiting.take().is_some_and(|(id, waiting)| {
            self.bodies.waiting.lock().remove(&id);
            waiting.gives_way.load(Ordering::Acquire)
        });
        if !gave_way {
            self.bodies.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use tokio::time::{advance, sleep};

    use super::*;

    /// Chunks of so many bytes, each after a time; then nothing, or the end.
    struct Chunks(std::vec::IntoIter<(u64, usize)>, End);

    #[derive(Clone, Copy)]
    enum End {
        Comes,
        NeverComes,
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
                (None, End::Comes) => Ok(None),
                (None, End::NeverComes) => std::future::pending().await,
            }
        }
    }

    async fn read(
        bodies: &UnverifiedBodies,
        limit: usize,
        chunks: Vec<(u64, usize)>,
        end: End,
    ) -> Result<usize, BodyError> {
        let mut chunks = Chunks(chunks.into_iter(), end);
        let mut held = bodies.hold(&mut chunks, limit);
        let mut all = 0;
        while let Some(chunk) = held.chunk().await? {
            all += chunk.len();
        }
        Ok(all)
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_at_once_gets_in_however_many_bodies_crawl() {
        gets_in_beside(vec![(0, 10)]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_at_once_gets_in_however_many_bodies_never_begin() {
        gets_in_beside(Vec::new()).await;
    }

    async fn gets_in_beside(chunks: Vec<(u64, usize)>) {
        let of_one = chunks.iter().map(|(_, len)| len).sum::<usize>() + WAITING;
        // With what is always there for one more, a hundred fit.
        let limit = 100 * of_one - WAITING;
        let bodies = Arc::new(UnverifiedBodies::default());
        let mut crawling = Vec::new();
        for _ in 0..100 {
            let (bodies, chunks) = (Arc::clone(&bodies), chunks.clone());
            crawling.push(tokio::spawn(async move {
                read(&bodies, limit, chunks, End::NeverComes).await
            }));
            tokio::task::yield_now().await;
        }
        assert_eq!(bodies.held(), 100 * of_one);
        advance(Duration::from_secs(1)).await;
        let (half, twice) = (10 * of_one, 20 * of_one);
        for _ in 0..50 {
            let whole = read(&bodies, limit, vec![(0, half), (0, half)], End::Comes).await;
            assert_eq!(whole, Ok(twice));
        }
        // As many gave way as had to, and not all.
        let left = bodies.held();
        assert!(
            (60 * of_one..=87 * of_one + of_one / 2).contains(&left),
            "{left}"
        );
        for task in &crawling {
            task.abort();
        }
        for task in crawling {
            match task.await {
                Ok(gave_way) => assert_eq!(gave_way, Err(BodyError::Overloaded)),
                Err(aborted) => assert!(aborted.is_cancelled()),
            }
        }
        assert_eq!(bodies.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_gives_way_first() {
        const UNIT: usize = WAITING;
        let bodies = Arc::new(UnverifiedBodies::default());
        let spawn = |chunks: Vec<(u64, usize)>| {
            let bodies = Arc::clone(&bodies);
            tokio::spawn(async move { read(&bodies, 1000 * UNIT, chunks, End::Comes).await })
        };
        let crawl = (0..100).map(|_| (100, UNIT));
        let slow = spawn([(0, 300 * UNIT)].into_iter().chain(crawl).collect());
        let steady = spawn((0..40).map(|_| (100, 20 * UNIT)).collect());
        sleep(Duration::from_millis(2050)).await;
        let quick = read(&bodies, 1000 * UNIT, vec![(0, 300 * UNIT)], End::Comes).await;
        assert_eq!(quick, Ok(300 * UNIT));
        assert_eq!(slow.await.expect("no panic"), Err(BodyError::Overloaded));
        assert_eq!(steady.await.expect("no panic"), Ok(800 * UNIT));
        assert_eq!(bodies.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_longest_for_its_first_byte_gives_way_first() {
        let bodies = Arc::new(UnverifiedBodies::default());
        // Room for sixteen that wait.
        let limit = 15 * WAITING;
        let mut waiting = Vec::new();
        for _ in 0..17 {
            let bodies = Arc::clone(&bodies);
            let one = async move { read(&bodies, limit, vec![(50_000, 1)], End::Comes).await };
            waiting.push(tokio::spawn(one));
            sleep(Duration::from_millis(100)).await;
        }
        let mut ends = Vec::new();
        for one in waiting {
            ends.push(one.await.expect("no panic"));
        }
        // Until an eighth is free.
        let expected = [vec![Err(BodyError::Overloaded); 3], vec![Ok(1); 14]];
        assert_eq!(ends, expected.concat());
        assert_eq!(bodies.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_sent_nothing_gives_way_before_what_sends() {
        let bodies = Arc::new(UnverifiedBodies::default());
        let limit = 100 * WAITING;
        let spawn = |chunks: Vec<(u64, usize)>, end: End| {
            let bodies = Arc::clone(&bodies);
            tokio::spawn(async move { read(&bodies, limit, chunks, end).await })
        };
        // So large that there is no eighth free beside it.
        let sends = spawn(vec![(0, 9 * WAITING); 10], End::NeverComes);
        sleep(Duration::from_millis(900)).await;
        let idle: Vec<_> = (0..11)
            .map(|_| spawn(Vec::new(), End::NeverComes))
            .collect();
        sleep(Duration::from_millis(100)).await;
        let mut gave_way = 0;
        for one in idle {
            if one.is_finished() {
                assert_eq!(one.await.expect("no panic"), Err(BodyError::Overloaded));
                gave_way += 1;
            }
        }
        // All but the last, for which the room was made.
        assert_eq!(gave_way, 10);
        assert!(!sends.is_finished());
        assert_eq!(bodies.held(), 92 * WAITING);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_can_give_way_there_is_no_room() {
        let bodies = UnverifiedBodies::default();
        let all = read(
            &bodies,
            1000,
            vec![(0, 600), (0, 600 + WAITING)],
            End::Comes,
        )
        .await;
        assert_eq!(all, Err(BodyError::Overloaded));
        // The control: one body of as many bytes as there is room for, that had to wait.
        let all = read(&bodies, 1000, vec![(0, 600), (1, 400)], End::Comes).await;
        assert_eq!(all, Ok(1000));
        assert_eq!(bodies.held(), 0);
    }
}
