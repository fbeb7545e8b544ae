use std::pin::pin;

use super::*;
use crate::poll::now_or_never;

struct Tested {
    table: ConnectionTable,
    gauge: IntGauge,
    limit: usize,
}

impl Tested {
    fn new() -> Self {
        Self::with_limit(4)
    }

    fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            table: ConnectionTable::default(),
            gauge: IntGauge::new("open", "open").expect("the name is valid"),
        }
    }

    fn open(&self, client: &str) -> Option<OpenConnection<'_>> {
        let client = client.parse().expect("the address is valid");
        self.table
            .open(&self.gauge, self.limit, Some(client), |_| {})
    }
}

async fn is_evicted(connection: &OpenConnection<'_>) -> bool {
    now_or_never(pin!(connection.slot.evicted()))
        .await
        .is_some()
}

#[tokio::test]
async fn at_the_limit_a_waiting_connection_makes_room() {
    let tested = Tested::new();
    let held: Vec<_> = (0..4).filter_map(|_| tested.open("192.0.2.1")).collect();
    assert_eq!(held.len(), 4);
    for busy in &held[..3] {
        assert_eq!(busy.slot.start_request(), Ok(()));
    }
    let new = tested.open("192.0.2.2").expect("a connection makes room");
    for (index, connection) in held.iter().enumerate() {
        assert_eq!(is_evicted(connection).await, index == 3, "{index}");
    }
    // The request of an evicted connection does not start.
    assert_eq!(held[3].slot.start_request(), Err(Evicted));
    assert_eq!(new.slot.start_request(), Ok(()));
    // It is open until its task ends.
    assert_eq!(tested.gauge.get(), 5);
    drop(held);
    assert_eq!(tested.gauge.get(), 1);
}

/// The control: the limit holds where no connection may be closed.
#[tokio::test]
async fn a_connection_with_a_request_in_progress_is_not_evicted() {
    let tested = Tested::new();
    let busy: Vec<_> = (0..4).filter_map(|_| tested.open("192.0.2.1")).collect();
    for connection in &busy {
        connection.slot.start_head();
        assert_eq!(connection.slot.start_request(), Ok(()));
    }
    assert!(tested.open("192.0.2.2").is_none());
    assert_eq!(tested.gauge.get(), 4);
    busy[0]
        .slot
        .end_request(LastRequest::Unverified, Instant::now());
    let _new = tested.open("192.0.2.2").expect("a connection makes room");
    assert!(is_evicted(&busy[0]).await);
    assert!(!is_evicted(&busy[1]).await);
}

/// The connection that is chosen first may start a request before it is evicted.
#[test]
fn a_connection_that_starts_a_request_during_an_eviction_leaves_room_to_be_made_by_another() {
    for round in 0..2_000 {
        let tested = Tested::with_limit(2);
        let first = tested.open("192.0.2.1").expect("a slot is free");
        let second = tested.open("192.0.2.2").expect("a slot is free");
        assert_eq!(second.slot.start_request(), Ok(()));
        let _wait = BodyWait::begin(&*second.slot);
        let (started, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) && first.slot.start_request().is_ok() {
                    first.slot.start_head();
                    started.store(true, Ordering::Relaxed);
                }
            });
            while !started.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let new = tested.open("192.0.2.3");
            ended.store(true, Ordering::Relaxed);
            assert!(new.is_some(), "round {round}");
        });
    }
}

#[test]
fn a_stalled_body_is_proven_by_the_last_request_before_it() {
    let slot = Slot::new(None);
    for (last, has_verified) in [
        (None, false),
        (Some(LastRequest::Verified), true),
        (Some(LastRequest::Unverified), false),
    ] {
        if let Some(last) = last {
            slot.end_request(last, Instant::now());
        }
        assert_eq!(slot.start_request(), Ok(()));
        let _wait = BodyWait::begin(&slot);
        let waiting = slot.waiting(0, Instant::now()).expect("the body waits");
        assert_eq!(
            (waiting.waits_for, waiting.has_verified),
            (WaitsFor::Body, has_verified),
            "{last:?}"
        );
    }
}

#[tokio::test]
async fn a_head_that_starts_after_the_eviction_changes_nothing() {
    let tested = Tested::new();
    let held: Vec<_> = (0..4).filter_map(|_| tested.open("192.0.2.1")).collect();
    let _new = tested.open("192.0.2.2").expect("a connection makes room");
    let mut evicted = 0;
    for connection in &held {
        connection.slot.start_head();
        evicted += usize::from(connection.slot.start_request() == Err(Evicted));
    }
    assert_eq!(evicted, 1);
}
