//! Bodies of two deliveries are hashed side by side where they are there at the same time:
//! on processors with instructions for SHA-256 that takes little longer than one of them.

use std::cell::Cell;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use hookgate_core::Work;
use tokio::task::yield_now;

/// Fewer bytes are hashed before it is known whether another body is there.
pub(crate) const WORTHWHILE: usize = 16 * 1024;

thread_local! {
    /// What waits on this thread for other work to be run with.
    static WAITING: Cell<Option<Arc<Seat>>> = const { Cell::new(None) };
}

/// Runs `work`, together with that of other deliveries if the runtime has some ready by now.
/// Nothing waits for a delivery that may never come.
pub(crate) async fn run(mut work: Work) -> Work {
    while work.left() >= WORTHWHILE {
        if let Some(seat) = WAITING.take()
            && let Some(mut other) = seat.begin()
        {
            Work::run_both(&mut work, &mut other);
            seat.end(other);
        } else {
            let seated = Seated::new(work);
            WAITING.set(Some(Arc::clone(&seated.0)));
            seated.0.wait_for_turn();
            work = poll_fn(|cx| seated.0.poll(cx)).await;
        }
    }
    work.run();
    work
}

/// Work that another delivery may take along.
struct Seat(Mutex<Seating>);

struct Seating {
    progress: Progress,
    /// Of the delivery whose work it is.
    waker: Option<Waker>,
}

enum Progress {
    /// The runtime still has others to look at.
    Waiting(Work),
    /// There was nobody.
    Due(Work),
    /// Another delivery has it.
    Running,
    /// It had as much of it as of its own.
    Done(Work),
    /// Whose it is has it, or has gone.
    Over,
}

impl Seat {
    fn seating(&self) -> MutexGuard<'_, Seating> {
        // Every change is one write.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the runtime for a turn when all that is ready now has had its own. A delivery
    /// may be polled more than once before that.
    fn wait_for_turn(self: &Arc<Self>) {
        let waker = Waker::from(Arc::clone(self));
        if pin!(yield_now())
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            waker.wake();
        }
    }

    /// Takes the work along, if nobody has.
    fn begin(&self) -> Option<Work> {
        let mut seating = self.seating();
        match mem::replace(&mut seating.progress, Progress::Running) {
            Progress::Waiting(work) | Progress::Due(work) => Some(work),
            other => {
                seating.progress = other;
                None
            }
        }
    }

    /// Gives it back.
    fn end(&self, work: Work) {
        let mut seating = self.seating();
        if matches!(seating.progress, Progress::Running) {
            seating.progress = Progress::Done(work);
            seating.wake();
        }
    }

    /// The work when some of it has been run; all of it, if nobody took it along.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Work> {
        let mut seating = self.seating();
        match mem::replace(&mut seating.progress, Progress::Over) {
            Progress::Due(mut work) => {
                drop(seating);
                work.run();
                Poll::Ready(work)
            }
            Progress::Done(work) => Poll::Ready(work),
            other => {
                seating.progress = other;
                seating.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Seating {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The turn has come.
impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        let mut seating = self.seating();
        seating.progress = match mem::replace(&mut seating.progress, Progress::Over) {
            Progress::Waiting(work) => Progress::Due(work),
            other => other,
        };
        seating.wake();
    }
}

/// The seat of a delivery. One that goes leaves nothing there.
struct Seated(Arc<Seat>);

impl Seated {
    fn new(work: Work) -> Self {
        Self(Arc::new(Seat(Mutex::new(Seating {
            progress: Progress::Waiting(work),
            waker: None,
        }))))
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.0.seating().progress = Progress::Over;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use bytes::Bytes;
    use hookgate_core::{
        Begun, Head, Pending, Provider, Secret, Signer, UnixTime, Verifier, VerifyError,
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
            let Ok(Begun::Delivery(mut pending)) = begun else {
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

    fn finish(mut pending: Pending<'_>, work: Work, id: usize, kind: Kind) {
        pending.resume(work);
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

    #[tokio::test]
    async fn the_second_runs_the_work_of_the_first_as_well() {
        let sender = Sender::new();
        for (kind_one, kind_two) in [
            (Kind::Good, Kind::Good),
            (Kind::Good, Kind::Forged),
            (Kind::Forged, Kind::Good),
        ] {
            let mut one = sender.delivery(1, 40_000, kind_one);
            let mut two = sender.delivery(2, 50_001, kind_two);
            let works = [&mut one, &mut two].map(|pending| pending.work(WORTHWHILE));
            let [Some(work_one), Some(work_two)] = works else {
                // The processor has no instructions for it.
                assert!(!Work::is_faster_for_both());
                return;
            };
            let mut run_one = pin!(run(work_one));
            let mut run_two = pin!(run(work_two));
            // Polled again before its turn, as whatever limits its time may do.
            assert!(poll(&mut run_one).is_pending());
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

    #[tokio::test]
    async fn the_first_waits_for_nobody_and_who_goes_leaves_nothing() {
        let sender = Sender::new();
        let mut pendings = [1, 2, 3].map(|id| sender.delivery(id, 20_000, Kind::Good));
        let works = pendings.each_mut().map(|pending| pending.work(WORTHWHILE));
        let [Some(gone), Some(alone), Some(last)] = works else {
            assert!(!Work::is_faster_for_both());
            return;
        };
        {
            let mut gone = pin!(run(gone));
            assert!(poll(&mut gone).is_pending());
        }
        let [_, two, three] = pendings;
        for (id, pending, work) in [(2, two, alone), (3, three, last)] {
            let mut run = pin!(run(work));
            assert!(poll(&mut run).is_pending(), "{id}");
            yield_now().await;
            let Poll::Ready(work) = poll(&mut run) else {
                panic!("{id} waits for somebody");
            };
            finish(pending, work, id, Kind::Good);
        }
    }

    #[test]
    fn work_of_another_delivery_verifies_nothing() {
        let sender = Sender::new();
        let mut one = sender.delivery(1, 20_000, Kind::Good);
        let mut two = sender.delivery(2, 20_000, Kind::Good);
        let works = [&mut one, &mut two].map(|pending| pending.work(WORTHWHILE));
        let [Some(_), Some(mut work_two)] = works else {
            assert!(!Work::is_faster_for_both());
            return;
        };
        work_two.run();
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
                        let Some(work) = pending.work(WORTHWHILE) else {
                            assert!(!Work::is_faster_for_both());
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
