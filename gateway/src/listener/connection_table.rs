//! The open connections of senders, and their limit.
//!
//! At `limits.connections`, connections that wait for their clients are closed in favour of new
//! ones; [`eviction`](super::eviction) chooses them. A connection whose request has arrived is
//! never closed. Without this rule, one host could hold every slot with idle connections, and
//! keep all genuine senders out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Notify;

use super::eviction::{Waiting, WaitsFor, choose};
use crate::client_address::ClientAddress;

/// An eviction frees this fraction of the limit, because each eviction examines all connections.
const EVICTION_DIVISOR: usize = 64;

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct ConnectionTable {
    next_id: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Slot>>>,
}

/// An open connection. Dropping it frees its slot.
pub(crate) struct OpenConnection<'t> {
    table: &'t ConnectionTable,
    gauge: &'t IntGauge,
    id: u64,
    slot: Arc<Slot>,
}

/// The state of one open connection.
#[derive(Debug)]
pub(crate) struct Slot {
    opened: Instant,
    /// A [`State`], and the time since `opened` at which it began.
    state: AtomicU64,
    /// Whether the last complete request verified.
    has_verified: AtomicBool,
    /// The network of the client. `None` if the connection serves many clients.
    client: Mutex<Option<ClientAddress>>,
    evicted: Notify,
}

/// The activity of a connection, in the lower bits of [`Slot::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum State {
    WaitsForHead,
    /// Every request in progress has stalled before the end of its body.
    WaitsForBody,
    IdleUnverified,
    IdleVerified,
    /// A request is in progress.
    Busy,
    Evicted,
}

/// Whether the last request of a connection came from a party that knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastRequest {
    Verified,
    Unverified,
}

/// A request in progress whose body may stall. Nothing was forwarded yet then, so its connection can
/// be closed.
pub(crate) trait Stall: Sync {
    /// Notes that the request waits for more of its body.
    fn stall(&self);

    /// Notes that the request no longer waits. Each call belongs to one of [`Stall::stall`].
    ///
    /// # Errors
    ///
    /// Returns [`Evicted`] if the connection must close.
    fn resume(&self) -> Result<(), Evicted>;
}

/// A request that waits for more of its body, until the value is dropped.
pub(crate) struct BodyWait<'s>(Option<&'s dyn Stall>);

impl<'s> BodyWait<'s> {
    pub(crate) fn begin(request: &'s dyn Stall) -> Self {
        request.stall();
        Self(Some(request))
    }

    /// Ends the wait.
    ///
    /// # Errors
    ///
    /// Returns [`Evicted`] if the connection must close.
    pub(crate) fn end(mut self) -> Result<(), Evicted> {
        self.0.take().map_or(Ok(()), Stall::resume)
    }
}

impl Drop for BodyWait<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.0 {
            // An evicted connection closes at its next await.
            let _: Result<(), Evicted> = request.resume();
        }
    }
}

/// Error of a connection that must close, because it has made room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evicted;

impl ConnectionTable {
    /// Adds a connection, and counts it in `gauge`. At `limit`, this evicts other connections and
    /// passes the state of each one to `on_evicted`.
    ///
    /// Returns `None` if no connection waits for its client. The connection is then
    /// closed without a response, because a response needs the memory that the limit protects.
    pub(crate) fn open<'t>(
        &'t self,
        gauge: &'t IntGauge,
        limit: usize,
        client: Option<ClientAddress>,
        on_evicted: impl FnMut(WaitsFor),
    ) -> Option<OpenConnection<'t>> {
        let mut open = self.open.lock();
        if open.len() >= limit {
            evict(&mut open, limit, on_evicted);
            if open.len() >= limit {
                return None;
            }
        }
        let slot = Arc::new(Slot::new(client));
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        open.insert(id, Arc::clone(&slot));
        drop(open);
        gauge.inc();
        Some(OpenConnection {
            table: self,
            gauge,
            id,
            slot,
        })
    }
}

/// Evicts connections until a fraction of `limit` is free, as far as there are connections that
/// wait for their clients.
fn evict(open: &mut HashMap<u64, Arc<Slot>>, limit: usize, mut on_evicted: impl FnMut(WaitsFor)) {
    // A request of a chosen connection may start in the meantime. Other connections are then chosen.
    while open.len() >= limit {
        let now = Instant::now();
        let count = open.len() - limit + (limit / EVICTION_DIVISOR).max(1);
        let waiting = open
            .iter()
            .filter_map(|(id, slot)| slot.waiting(*id, now))
            .collect();
        let chosen = choose(waiting, limit, count);
        if chosen.is_empty() {
            return;
        }
        for chosen in chosen {
            if let Some(slot) = open.get(&chosen.id)
                && slot.evict(chosen.state)
            {
                open.remove(&chosen.id);
                on_evicted(chosen.waits_for);
            }
        }
    }
}

impl OpenConnection<'_> {
    /// Returns the state, for a task that may outlive this value.
    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.table.open.lock().remove(&self.id);
        self.gauge.dec();
    }
}

impl Slot {
    fn new(client: Option<ClientAddress>) -> Self {
        Self {
            opened: Instant::now(),
            state: AtomicU64::new(State::WaitsForHead as u64),
            has_verified: AtomicBool::new(false),
            client: Mutex::new(client.map(ClientAddress::network)),
            evicted: Notify::new(),
        }
    }

    /// Replaces the client. `None` is a trusted proxy, whose connections serve many senders.
    pub(crate) fn set_client(&self, client: Option<ClientAddress>) {
        *self.client.lock() = client.map(ClientAddress::network);
    }

    /// Notes that the first bytes of another head have arrived.
    pub(crate) fn start_head(&self) {
        let old = self.state.load(Ordering::Acquire);
        if old & State::MASK != State::Evicted as u64 {
            let new = self.pack(State::WaitsForHead, Instant::now());
            // An eviction at the same time stays in effect.
            let _: Result<_, _> =
                self.state
                    .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Notes that a request is in progress. No eviction closes the connection from now on.
    ///
    /// # Errors
    ///
    /// Returns [`Evicted`] if the connection must close.
    pub(crate) fn start_request(&self) -> Result<(), Evicted> {
        let mut old = self.state.load(Ordering::Acquire);
        loop {
            if old & State::MASK == State::Evicted as u64 {
                return Err(Evicted);
            }
            let exchanged = self.state.compare_exchange_weak(
                old,
                State::Busy as u64,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match exchanged {
                Ok(_) => return Ok(()),
                Err(current) => old = current,
            }
        }
    }

    /// Notes that no request is in progress from `now` on.
    pub(crate) fn end_request(&self, last: LastRequest, now: Instant) {
        let state = match last {
            LastRequest::Verified => State::IdleVerified,
            LastRequest::Unverified => State::IdleUnverified,
        };
        let has_verified = last == LastRequest::Verified;
        self.has_verified.store(has_verified, Ordering::Relaxed);
        // An eviction leaves a busy connection alone, so it does not change the state here.
        self.state.store(self.pack(state, now), Ordering::Release);
    }

    /// Waits until the connection must close.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn pack(&self, state: State, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.opened).as_millis() as u64;
        since << State::BITS | state as u64
    }

    /// Returns the connection as a candidate for eviction. `None` if a request is in progress.
    fn waiting(&self, id: u64, now: Instant) -> Option<Waiting> {
        let state = self.state.load(Ordering::Acquire);
        let waits_for = match state & State::MASK {
            value if value == State::WaitsForHead as u64 => WaitsFor::Head,
            value if value == State::WaitsForBody as u64 => WaitsFor::Body,
            value if value == State::IdleUnverified as u64 => WaitsFor::RequestAfterRefusal,
            value if value == State::IdleVerified as u64 => WaitsFor::Request,
            _ => return None,
        };
        let since = std::time::Duration::from_millis(state >> State::BITS);
        Some(Waiting {
            id,
            state,
            waits_for,
            has_verified: self.has_verified.load(Ordering::Relaxed),
            client: *self.client.lock(),
            waited: now
                .saturating_duration_since(self.opened)
                .saturating_sub(since),
        })
    }

    /// Evicts the connection, unless its state is no longer `state`.
    fn evict(&self, state: u64) -> bool {
        let evicted = self
            .state
            .compare_exchange(
                state,
                State::Evicted as u64,
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok();
        if evicted {
            self.evicted.notify_one();
        }
        evicted
    }
}

/// Over HTTP/1, a connection has one request at a time.
impl Stall for Slot {
    fn stall(&self) {
        let busy = State::Busy as u64;
        let new = self.pack(State::WaitsForBody, Instant::now());
        // Nothing else changes the state while a request is in progress.
        let _: Result<_, _> =
            self.state
                .compare_exchange(busy, new, Ordering::AcqRel, Ordering::Acquire);
    }

    fn resume(&self) -> Result<(), Evicted> {
        self.start_request()
    }
}

impl State {
    const BITS: u32 = 3;
    const MASK: u64 = (1 << Self::BITS) - 1;
}

#[cfg(test)]
mod tests;
