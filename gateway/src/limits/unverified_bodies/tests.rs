//! Tests of the budget, with bodies whose chunks arrive at chosen times.

use std::time::Duration;

use bytes::BytesMut;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;

/// A body of chunks, each with a delay in milliseconds and a length in bytes.
struct Chunks {
    chunks: std::vec::IntoIter<(u64, usize)>,
    end: End,
    client: Option<IpAddr>,
}

#[derive(Clone, Copy)]
enum End {
    /// The body ends after the last chunk.
    Arrives,
    /// The sender stays connected and sends nothing more.
    NeverArrives,
}

impl BodySource for Chunks {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        match (self.chunks.next(), self.end) {
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

    fn client(&self) -> Option<IpAddr> {
        self.client
    }
}

/// Reads a body to its end and returns its length.
async fn read(
    bodies: &UnverifiedBodies,
    limit: usize,
    chunks: Vec<(u64, usize)>,
    end: End,
) -> Result<usize, BodyError> {
    read_from(bodies, limit, chunks, end, None).await
}

async fn read_from(
    bodies: &UnverifiedBodies,
    limit: usize,
    chunks: Vec<(u64, usize)>,
    end: End,
    client: Option<IpAddr>,
) -> Result<usize, BodyError> {
    let mut chunks = Chunks {
        chunks: chunks.into_iter(),
        end,
        client,
    };
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

/// Sends genuine bodies, each 100 ms after its head, beside an attacker that sends 1 MiB of
/// each body and stops. Returns how many of 100 genuine bodies were evicted.
async fn evicted_beside_a_flood(attacker: IpAddr, sender: IpAddr) -> usize {
    const LIMIT: usize = 64 << 20;
    let bodies = Arc::new(UnverifiedBodies::default());
    // The attacker fills the budget twenty times while the genuine bodies arrive.
    let flood = async {
        for _ in 0..1_280 {
            let bodies = Arc::clone(&bodies);
            tokio::spawn(async move {
                let chunks = vec![(1, 1 << 19), (1, 1 << 19)];
                let end = End::NeverArrives;
                read_from(&bodies, LIMIT, chunks, end, Some(attacker)).await
            });
            sleep(Duration::from_millis(1)).await;
        }
    };
    let genuine = async {
        let mut reading = JoinSet::new();
        for _ in 0..100 {
            sleep(Duration::from_millis(10)).await;
            let bodies = Arc::clone(&bodies);
            reading.spawn(async move {
                let chunks = vec![(100, 500)];
                read_from(&bodies, LIMIT, chunks, End::Arrives, Some(sender)).await
            });
        }
        let read = reading.join_all().await;
        let is_evicted = |read: &&Result<_, _>| **read == Err(BodyError::Overloaded);
        read.iter().filter(is_evicted).count()
    };
    let ((), evicted) = tokio::join!(flood, genuine);
    evicted
}

#[tokio::test(start_paused = true)]
async fn a_genuine_delivery_outlasts_the_bodies_of_a_flood_from_another_network() {
    let [attacker, sender] = ["198.51.100.7", "203.0.113.9"].map(|ip| ip.parse().unwrap());
    assert_eq!(evicted_beside_a_flood(attacker, sender).await, 0);
    // The control: in one network, the bodies that are about to arrive give way first.
    assert!(evicted_beside_a_flood(attacker, attacker).await > 10);
}

/// Sends a genuine body of `chunks` at each `interval` of milliseconds, beside a thousand networks
/// that send `attack` bytes on one connection each and stop. Returns how many genuine bodies were
/// evicted.
async fn evicted_beside_a_thousand_networks(
    attack: usize,
    interval: u64,
    chunks: Vec<(u64, usize)>,
) -> usize {
    const LIMIT: usize = 32 << 20;
    let bodies = Arc::new(UnverifiedBodies::default());
    let send = |chunks, end, client: String| {
        let (bodies, client) = (Arc::clone(&bodies), client.parse().unwrap());
        async move { read_from(&bodies, LIMIT, chunks, end, Some(client)).await }
    };
    let mut genuine = JoinSet::new();
    // The attacker fills the budget three times, and each network returns after its eviction.
    for at in 0..15_000 {
        if at % 5 == 0 {
            let attacker = format!("2001:db8:0:{:x}::1", at / 5 % 1000);
            tokio::spawn(send(vec![(1, attack)], End::NeverArrives, attacker));
        }
        if at % interval == 0 {
            genuine.spawn(send(chunks.clone(), End::Arrives, "203.0.113.9".to_owned()));
        }
        sleep(Duration::from_millis(1)).await;
    }
    let read = genuine.join_all().await;
    read.iter().filter(|read| read.is_err()).count()
}

#[tokio::test(start_paused = true)]
async fn genuine_deliveries_outlast_a_flood_from_a_thousand_networks_that_hold_less() {
    // Three bodies of 16 KiB wait at each moment, beside networks that are slower or faster.
    let waiting = vec![(100, 500)];
    for attack in [17 << 10, 40 << 10] {
        let evicted = evicted_beside_a_thousand_networks(attack, 34, waiting.clone()).await;
        assert_eq!(evicted, 0, "{attack}");
    }
    // One body holds up to 46 KiB.
    let steady = vec![(100, 1000); 30];
    let evicted = evicted_beside_a_thousand_networks(17 << 10, 3500, steady).await;
    assert_eq!(evicted, 0);
    // The control: a hundred bodies wait, so their network holds far more than the others.
    assert!(evicted_beside_a_thousand_networks(17 << 10, 1, waiting).await > 10);
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
