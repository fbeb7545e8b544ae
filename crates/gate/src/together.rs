//! Bodies of two deliveries are hashed side by side where they are there at the same time:
//! on processors with instructions for SHA-256 that takes little longer than one of them.

use std::cell::Cell;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hookgate_core::internal::BodyHash;

/// Fewer bytes are hashed before it is known whether another body is there.
pub(crate) const WORTHWHILE: usize = 16 * 1024;
/// So often a delivery lets others go first, each time for somebody to share with. One that
/// is long would have to among many that are short.
const TURNS: usize = 4;

thread_local! {
    /// What waits on this thread for other work to be run with.
    static WAITING: Cell<Option<Arc<Seat>>> = const { Cell::new(None) };
}

/// Runs `work`, together with that of other deliveries if some are ready by now. Nothing
/// waits for a delivery that may never come.
pub(crate) async fn run(mut work: BodyHash) -> BodyHash {
    let mut turns = TURNS;
    while work.remaining() >= WORTHWHILE {
        if let Some(mut taken) = WAITING.take().and_then(Seat::begin)
            && let Some(other) = &mut taken.work
        {
            BodyHash::update_pair(&mut work, other);
        } else if turns > 0 {
            turns -= 1;
            let seated = Seated(Arc::new(Seat(Mutex::new(Progress::Waiting(work)))));
            WAITING.set(Some(Arc::clone(&seated.0)));
            let mut is_turn = false;
            work = poll_fn(|cx| seated.0.poll(cx, mem::replace(&mut is_turn, true))).await;
        } else {
            break;
        }
    }
    work.hash_remaining();
    work
}

/// Work that another delivery may take along.
struct Seat(Mutex<Progress>);

enum Progress {
    Waiting(BodyHash),
    /// Another delivery has it, and wakes whose it is.
    Running(Option<Waker>),
    /// It had as much of it as of its own.
    Done(BodyHash),
    /// Whose it is has it, or has gone.
    Over,
}

impl Seat {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing that is done under it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the work along, if nobody has.
    fn begin(self: Arc<Self>) -> Option<Taken> {
        let mut progress = self.progress();
        match mem::replace(&mut *progress, Progress::Over) {
            Progress::Waiting(work) => {
                *progress = Progress::Running(None);
                drop(progress);
                let work = Some(work);
                Some(Taken { seat: self, work })
            }
            other => {
                *progress = other;
                None
            }
        }
    }

    /// The work when it is its turn or when some of it has been run. Whoever is ready by now
    /// has a turn before it: the task goes to the end of the queue, from where any thread may
    /// take it.
    fn poll(&self, cx: &mut Context<'_>, is_turn: bool) -> Poll<BodyHash> {
        let mut progress = self.progress();
        match mem::replace(&mut *progress, Progress::Over) {
            Progress::Waiting(work) if !is_turn => {
                *progress = Progress::Waiting(work);
                drop(progress);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Progress::Waiting(mut work) => {
                drop(progress);
                work.hash_remaining();
                Poll::Ready(work)
            }
            Progress::Done(work) => Poll::Ready(work),
            Progress::Running(_) | Progress::Over => {
                *progress = Progress::Running(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Work that was taken along. It goes back however that ends.
struct Taken {
    seat: Arc<Seat>,
    work: Option<BodyHash>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut progress = self.seat.progress();
        if let Progress::Running(waker) = &mut *progress
            && let Some(work) = self.work.take()
        {
            let waker = waker.take();
            *progress = Progress::Done(work);
            drop(progress);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The seat of a delivery. One that goes leaves nothing there.
struct Seated(Arc<Seat>);

impl Drop for Seated {
    fn drop(&mut self) {
        *self.0.progress() = Progress::Over;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};

    use bytes::Bytes;
    use hookgate_core::internal::{restore_body_hash, take_body_hash};
    use hookgate_core::{
        Head, HeadOutcome, Pending, Provider, Secret, Signer, UnixTime, Verifier, VerifyError,
    };
    use http::{Method, Uri};

    use super::*;

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

        /// A delivery of so many bytes and more, whose body has come; as it was signed, or not.
        fn delivery(&self, id: usize, len: usize, kind: Kind) -> Pending<'_> {
            let body = |fill: &str| {
                let filled = fill.repeat(len);
                Bytes::from(format!(
                    r#"{{"id":"evt_{id}","event":"e","fill":"{filled}"}}"#
                ))
            };
            let signed = self.signer.sign(&body("."), NOW, None).expect("it signs");
            let (method, uri) = (Method::POST, Uri::from_static("/"));
            let begun = self.verifier.begin(Head::new(&method, &uri, &signed), NOW);
            let Ok(HeadOutcome::Delivery(mut pending)) = begun else {
                panic!("a good head");
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

    fn finish(mut pending: Pending<'_>, work: BodyHash, id: usize, kind: Kind) {
        restore_body_hash(&mut pending, work);
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
    fn the_second_runs_the_work_of_the_first_as_well() {
        let sender = Sender::new();
        for (kind_one, kind_two) in [
            (Kind::Good, Kind::Good),
            (Kind::Good, Kind::Forged),
            (Kind::Forged, Kind::Good),
        ] {
            let mut one = sender.delivery(1, 40_000, kind_one);
            let mut two = sender.delivery(2, 50_001, kind_two);
            let works = [&mut one, &mut two].map(|pending| take_body_hash(pending, WORTHWHILE));
            let [Some(work_one), Some(work_two)] = works else {
                // The processor has no instructions for it.
                assert!(!BodyHash::pairing_is_faster());
                return;
            };
            let mut run_one = pin!(run(work_one));
            let mut run_two = pin!(run(work_two));
            assert!(poll(&mut run_one).is_pending());
            let Poll::Ready(work_two) = poll(&mut run_two) else {
                panic!("the second waits");
            };
            let Poll::Ready(work_one) = poll(&mut run_one) else {
                panic!("the first waits for what is there");
            };
            finish(one, work_one, 1, kind_one);
            finish(two, work_two, 2, kind_two);
        }
    }

    #[test]
    fn the_first_waits_for_nobody_and_who_goes_leaves_nothing() {
        let sender = Sender::new();
        let mut pendings = [1, 2, 3].map(|id| sender.delivery(id, 20_000, Kind::Good));
        let works = pendings
            .each_mut()
            .map(|pending| take_body_hash(pending, WORTHWHILE));
        let [Some(gone), Some(alone), Some(last)] = works else {
            assert!(!BodyHash::pairing_is_faster());
            return;
        };
        {
            let mut gone = pin!(run(gone));
            assert!(poll(&mut gone).is_pending());
        }
        let [_, two, three] = pendings;
        for (id, pending, work) in [(2, two, alone), (3, three, last)] {
            let mut run = pin!(run(work));
            // There was nobody to run it with.
            assert!(poll(&mut run).is_pending(), "{id}");
            let Poll::Ready(work) = poll(&mut run) else {
                panic!("{id} waits for somebody");
            };
            finish(pending, work, id, Kind::Good);
        }
    }

    #[test]
    fn what_is_longer_shares_with_the_next_and_lets_others_go_first_only_so_often() {
        let sender = Sender::new();
        let mut long = sender.delivery(0, 200_000, Kind::Good);
        let Some(work) = take_body_hash(&mut long, WORTHWHILE) else {
            assert!(!BodyHash::pairing_is_faster());
            return;
        };
        let mut run_long = pin!(run(work));
        let mut turns = 0;
        let work = loop {
            if let Poll::Ready(work) = poll(&mut run_long) {
                break work;
            }
            turns += 1;
            let kind = [Kind::Good, Kind::Forged][turns % 2];
            let mut short = sender.delivery(turns, 20_000, kind);
            let work = take_body_hash(&mut short, WORTHWHILE).expect("as long as it takes");
            let Poll::Ready(work) = poll(&mut pin!(run(work))) else {
                panic!("{turns}: nobody was there");
            };
            finish(short, work, turns, kind);
        };
        assert_eq!(turns, TURNS);
        finish(long, work, 0, Kind::Good);
    }

    #[test]
    fn work_that_was_taken_along_goes_back_if_nothing_is_done_with_it() {
        let sender = Sender::new();
        let mut pendings = [1, 2].map(|id| sender.delivery(id, 20_000, Kind::Good));
        let works = pendings
            .each_mut()
            .map(|pending| take_body_hash(pending, WORTHWHILE));
        let [Some(work), Some(gone)] = works else {
            assert!(!BodyHash::pairing_is_faster());
            return;
        };
        let [one, _] = pendings;
        let take = || WAITING.take().and_then(Seat::begin).expect("it waits");
        let mut run_gone = Box::pin(run(gone));
        assert!(poll(&mut run_gone.as_mut()).is_pending());
        let taken = take();
        // Whose it is has gone when it comes back.
        drop(run_gone);
        drop(taken);
        let mut run = pin!(run(work));
        assert!(poll(&mut run).is_pending());
        let taken = take();
        assert!(poll(&mut run).is_pending(), "somebody has it");
        drop(taken);
        assert!(poll(&mut run).is_pending(), "the next turn");
        let Poll::Ready(work) = poll(&mut run) else {
            panic!("it waits for somebody");
        };
        finish(one, work, 1, Kind::Good);
    }

    #[test]
    fn work_of_another_delivery_verifies_nothing() {
        let sender = Sender::new();
        let mut one = sender.delivery(1, 20_000, Kind::Good);
        let mut two = sender.delivery(2, 20_000, Kind::Good);
        let works = [&mut one, &mut two].map(|pending| take_body_hash(pending, WORTHWHILE));
        let [Some(_), Some(mut work_two)] = works else {
            assert!(!BodyHash::pairing_is_faster());
            return;
        };
        work_two.hash_remaining();
        finish(one, work_two, 1, Kind::Forged);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn thousands_on_several_threads_have_each_its_own_verdict() {
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
                        let Some(work) = take_body_hash(&mut pending, WORTHWHILE) else {
                            assert!(!BodyHash::pairing_is_faster());
                            return;
                        };
                        finish(pending, run(work).await, id, kind);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no verdict is another's");
        }
    }
}
