//! Side-by-side hashing of the long bodies of two deliveries.
//!
//! On processors with instructions for SHA-256, two bodies take little longer than one.
//! docs/performance.md says how much that saves.

use std::cell::Cell;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::body_hash::BodyHash;
use super::pending::Pending;

/// The length from which pairing saves more time than it costs.
const MIN_PAIR_LEN: usize = 16 * 1024;
/// How often a body yields to other tasks in the hope of a partner. One yield would not be
/// enough for a long body among many short ones, because it pairs with one after the other.
const MAX_YIELDS: usize = 4;

thread_local! {
    /// The body that waits on this thread for a partner.
    static WAITING: Cell<Option<Arc<PairSlot>>> = const { Cell::new(None) };
}

/// Hashes the received bytes of a long body, beside the body of another delivery if one is
/// ready. Leaves a short body alone. No body waits for a delivery that may never arrive.
pub async fn hash_paired(pending: &mut Pending<'_>) {
    if let Some(hash) = pending.take_body_hash(MIN_PAIR_LEN) {
        // Boxed, so that the futures of short bodies do not reserve memory for it.
        let hash = Box::pin(finish_hash(hash)).await;
        pending.restore_body_hash(hash);
    }
}

/// Hashes the remaining bytes of `hash`.
async fn finish_hash(mut hash: BodyHash) -> BodyHash {
    let mut yields = MAX_YIELDS;
    while hash.remaining() >= MIN_PAIR_LEN {
        if let Some(mut borrowed) = WAITING.take().and_then(PairSlot::borrow)
            && let Some(other) = &mut borrowed.hash
        {
            BodyHash::update_pair(&mut hash, other);
        } else if yields > 0 {
            yields -= 1;
            let guard = PairSlotGuard(Arc::new(PairSlot(Mutex::new(SlotState::Offered(hash)))));
            WAITING.set(Some(Arc::clone(&guard.0)));
            let mut has_yielded = false;
            hash = poll_fn(|cx| guard.0.poll(cx, mem::replace(&mut has_yielded, true))).await;
        } else {
            break;
        }
    }
    hash.hash_remaining();
    hash
}

/// A slot in which a delivery offers its hash to another delivery.
struct PairSlot(Mutex<SlotState>);

enum SlotState {
    Offered(BodyHash),
    /// Another delivery has the hash, and wakes the owner when it returns it.
    Borrowed(Option<Waker>),
    /// The other delivery returned the hash, after as many bytes as its own body had.
    Returned(BodyHash),
    /// The owner took it back, or was dropped.
    Closed,
}

impl PairSlot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        // No code under this lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Borrows the hash, if it is still offered.
    fn borrow(self: Arc<Self>) -> Option<BorrowedHash> {
        let mut state = self.state();
        match mem::replace(&mut *state, SlotState::Closed) {
            SlotState::Offered(hash) => {
                *state = SlotState::Borrowed(None);
                drop(state);
                let hash = Some(hash);
                Some(BorrowedHash { slot: self, hash })
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Takes the hash back. The first poll yields, so that every task that is ready runs
    /// before this one, perhaps on another thread. Without a partner by then, the second poll
    /// hashes the rest.
    fn poll(&self, cx: &mut Context<'_>, has_yielded: bool) -> Poll<BodyHash> {
        let mut state = self.state();
        match mem::replace(&mut *state, SlotState::Closed) {
            SlotState::Offered(hash) if !has_yielded => {
                *state = SlotState::Offered(hash);
                drop(state);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            SlotState::Offered(mut hash) => {
                drop(state);
                hash.hash_remaining();
                Poll::Ready(hash)
            }
            SlotState::Returned(hash) => Poll::Ready(hash),
            SlotState::Borrowed(_) | SlotState::Closed => {
                *state = SlotState::Borrowed(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// A hash that another delivery offered. Its drop returns it, also during a panic.
struct BorrowedHash {
    slot: Arc<PairSlot>,
    hash: Option<BodyHash>,
}

impl Drop for BorrowedHash {
    fn drop(&mut self) {
        let mut state = self.slot.state();
        if let SlotState::Borrowed(waker) = &mut *state
            && let Some(hash) = self.hash.take()
        {
            let waker = waker.take();
            *state = SlotState::Returned(hash);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The slot of a delivery. Its drop closes the slot, so that no hash stays in it.
struct PairSlotGuard(Arc<PairSlot>);

impl Drop for PairSlotGuard {
    fn drop(&mut self) {
        *self.0.state() = SlotState::Closed;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};

    use bytes::Bytes;
    use http::{Method, Uri};

    use super::*;
    use crate::{Head, HeadOutcome, Provider, Secret, Signer, UnixTime, Verifier, VerifyError};

    const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);

    struct Sender {
        verifier: Verifier,
        signer: Signer,
    }

    impl Sender {
        fn new() -> Self {
            let provider = Provider::named("beatapi").expect("in the catalogue");
            let secret = Secret::new("whsec_5f0c8a6de2b94a13").expect("not blank");
            let verifier = Verifier::builder(provider.scheme()).key(secret.clone());
            Self {
                verifier: verifier.build().expect("a key"),
                signer: Signer::new(provider.scheme(), &secret).expect("a secret"),
            }
        }

        /// Returns a delivery whose body has arrived and is a little longer than `len`.
        fn delivery(&self, id: usize, len: usize, kind: Kind) -> Pending<'_> {
            let body = |fill: &str| {
                let filled = fill.repeat(len);
                Bytes::from(format!(
                    r#"{{"id":"evt_{id}","event":"e","fill":"{filled}"}}"#
                ))
            };
            let signed = self.signer.sign(&body("."), NOW, None).expect("it signs");
            let (method, uri) = (Method::POST, Uri::from_static("/"));
            let outcome = self.verifier.begin(Head::new(&method, &uri, &signed), NOW);
            let Ok(HeadOutcome::Delivery(mut pending)) = outcome else {
                panic!("the head is valid");
            };
            pending.push(match kind {
                Kind::Good => body("."),
                Kind::Forged => body(":"),
            });
            pending
        }
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Good,
        Forged,
    }

    /// Returns the hashes of these deliveries, or `None` if the processor has no instructions
    /// for SHA-256.
    fn hashes<const N: usize>(pendings: [&mut Pending<'_>; N]) -> Option<[BodyHash; N]> {
        let hashes = pendings.map(|pending| pending.take_body_hash(MIN_PAIR_LEN));
        let is_paired = BodyHash::pairing_is_faster();
        assert!(hashes.iter().all(|hash| hash.is_some() == is_paired));
        is_paired.then(|| hashes.map(|hash| hash.expect("it is long")))
    }

    fn finish(mut pending: Pending<'_>, hash: BodyHash, id: usize, kind: Kind) {
        pending.restore_body_hash(hash);
        match (pending.finish(NOW), kind) {
            (Ok(checked), Kind::Good) => {
                let verified = checked.delivery().expect("no handshake");
                assert_eq!(verified.id(), Some(&*format!("evt_{id}")));
            }
            (Err(error), Kind::Forged) => assert_eq!(error, VerifyError::SignatureMismatch),
            (checked, _) => panic!("{id}: {checked:?}"),
        }
    }

    fn poll<T>(future: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_second_delivery_hashes_the_body_of_the_first_too() {
        let sender = Sender::new();
        for (kind_one, kind_two) in [
            (Kind::Good, Kind::Good),
            (Kind::Good, Kind::Forged),
            (Kind::Forged, Kind::Good),
        ] {
            let mut one = sender.delivery(1, 40_000, kind_one);
            let mut two = sender.delivery(2, 50_001, kind_two);
            let Some([hash_one, hash_two]) = hashes([&mut one, &mut two]) else {
                return;
            };
            let mut future_one = pin!(finish_hash(hash_one));
            let mut future_two = pin!(finish_hash(hash_two));
            assert!(poll(&mut future_one).is_pending());
            let Poll::Ready(hash_two) = poll(&mut future_two) else {
                panic!("the second delivery waits");
            };
            let Poll::Ready(hash_one) = poll(&mut future_one) else {
                panic!("the first delivery waits, although its hash was returned");
            };
            finish(one, hash_one, 1, kind_one);
            finish(two, hash_two, 2, kind_two);
        }
    }

    #[test]
    fn a_delivery_without_a_partner_finishes_and_a_dropped_one_closes_its_slot() {
        let sender = Sender::new();
        let mut pendings = [1, 2, 3].map(|id| sender.delivery(id, 20_000, Kind::Good));
        let Some([dropped, second, third]) = hashes(pendings.each_mut()) else {
            return;
        };
        {
            let mut dropped = pin!(finish_hash(dropped));
            assert!(poll(&mut dropped).is_pending());
        }
        let [_, pending_two, pending_three] = pendings;
        for (id, pending, hash) in [(2, pending_two, second), (3, pending_three, third)] {
            let mut future = pin!(finish_hash(hash));
            assert!(poll(&mut future).is_pending(), "{id} yields once");
            let Poll::Ready(hash) = poll(&mut future) else {
                panic!("{id} waits for a partner");
            };
            finish(pending, hash, id, Kind::Good);
        }
    }

    #[test]
    fn a_long_body_pairs_with_several_short_ones_and_yields_a_limited_number_of_times() {
        let sender = Sender::new();
        let mut long = sender.delivery(0, 200_000, Kind::Good);
        let Some([hash]) = hashes([&mut long]) else {
            return;
        };
        let mut long_future = pin!(finish_hash(hash));
        let mut yields = 0;
        let hash = loop {
            if let Poll::Ready(hash) = poll(&mut long_future) {
                break hash;
            }
            yields += 1;
            let kind = [Kind::Good, Kind::Forged][yields % 2];
            let mut short = sender.delivery(yields, 20_000, kind);
            let [hash] = hashes([&mut short]).expect("the processor is the same");
            let Poll::Ready(hash) = poll(&mut pin!(finish_hash(hash))) else {
                panic!("{yields}: the long body was not offered");
            };
            finish(short, hash, yields, kind);
        };
        assert_eq!(yields, MAX_YIELDS);
        finish(long, hash, 0, Kind::Good);
    }

    #[test]
    fn a_borrowed_hash_returns_to_its_owner_when_it_is_dropped() {
        let sender = Sender::new();
        let mut pendings = [1, 2].map(|id| sender.delivery(id, 20_000, Kind::Good));
        let Some([hash, dropped]) = hashes(pendings.each_mut()) else {
            return;
        };
        let [pending, _] = pendings;
        let borrow = || {
            let waiting = WAITING.take().and_then(PairSlot::borrow);
            waiting.expect("a delivery waits")
        };
        let mut dropped_future = Box::pin(finish_hash(dropped));
        assert!(poll(&mut dropped_future.as_mut()).is_pending());
        let borrowed = borrow();
        // The owner is dropped before its hash returns.
        drop(dropped_future);
        drop(borrowed);
        let mut future = pin!(finish_hash(hash));
        assert!(poll(&mut future).is_pending());
        let borrowed = borrow();
        assert!(poll(&mut future).is_pending(), "the hash is borrowed");
        drop(borrowed);
        assert!(poll(&mut future).is_pending(), "the next yield");
        let Poll::Ready(hash) = poll(&mut future) else {
            panic!("the delivery waits for a partner");
        };
        finish(pending, hash, 1, Kind::Good);
    }

    #[test]
    fn the_hash_of_another_delivery_verifies_nothing() {
        let sender = Sender::new();
        let mut one = sender.delivery(1, 20_000, Kind::Good);
        let mut two = sender.delivery(2, 20_000, Kind::Good);
        let Some([_, mut hash_two]) = hashes([&mut one, &mut two]) else {
            return;
        };
        hash_two.hash_remaining();
        finish(one, hash_two, 1, Kind::Forged);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn each_of_thousands_of_concurrent_deliveries_gets_its_own_verdict() {
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                tokio::spawn(async move {
                    let sender = Sender::new();
                    for round in 0..40 {
                        let id = task * 1000 + round;
                        let kind = match (task + round) % 3 {
                            0 => Kind::Forged,
                            _ => Kind::Good,
                        };
                        let mut pending = sender.delivery(id, 16_384 + id % 977, kind);
                        let Some([hash]) = hashes([&mut pending]) else {
                            return;
                        };
                        finish(pending, finish_hash(hash).await, id, kind);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("every delivery gets its own verdict");
        }
    }
}
