//! [`Upstream`]: a scripted upstream, and the workers that send to it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookgate_queue::conformance::delivery;
use hookgate_queue::{
    AttemptOutcome, AttemptResult, Changed, Deliver, End, EntryFilter, EntryInfo, EntryState,
    FailureKind, LeasedEntry, MemoryQueue, NewEntry, Order, Page, QueueStore, RetrySchedule,
    Target, UpstreamGate, Workers,
};
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::observed_queue::ObservedQueue;

pub(crate) const SCHEDULE: RetrySchedule = RetrySchedule {
    first: Duration::from_secs(10),
    factor: 2.0,
    max: Duration::from_secs(100),
    give_up: Duration::from_secs(3_600),
};

pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// How the upstream answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// The status, and `Retry-After` in seconds.
    RetryAfter(u16, u64),
    Failed(FailureKind),
    NotTried,
    Unreadable,
    NoReceiver,
    Hang,
    /// 200 after this time.
    Slow(Duration),
    Panic,
    /// 200 once [`Upstream::release`] allows it.
    Hold,
}

/// A delivery that reached the upstream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) source: String,
    pub(crate) number: u64,
    pub(crate) attempt: u32,
}

/// An upstream that records its deliveries and answers by a script.
pub(crate) struct Upstream {
    pub(crate) queue: Arc<ObservedQueue>,
    targets: Mutex<Arc<[Target]>>,
    /// The answers to a delivery, by its number. The last one repeats.
    script: Mutex<HashMap<u64, VecDeque<Answer>>>,
    /// The answer to deliveries without a script.
    default: Mutex<Answer>,
    /// How long each answer takes.
    latency: Duration,
    start: Instant,
    sent: Mutex<Vec<Sent>>,
    results: Mutex<Vec<AttemptResult>>,
    ended: Mutex<Vec<(u64, End)>>,
    released: Semaphore,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) most_in_flight: AtomicUsize,
}

/// Returns the target of a source with an upstream of its own.
pub(crate) fn target(source: &str, concurrency: usize) -> Target {
    Target {
        source: source.into(),
        upstream: Arc::new(UpstreamGate::new(concurrency)),
        order: Order::Any,
        schedule: SCHEDULE,
        lease: LEASE,
        max_run: Duration::ZERO,
    }
}

/// Returns another source of the same upstream.
pub(crate) fn beside(target: &Target, source: &str) -> Target {
    Target {
        source: source.into(),
        ..target.clone()
    }
}

impl Upstream {
    pub(crate) fn new(targets: impl IntoIterator<Item = Target>) -> Arc<Self> {
        Self::with_latency(targets, Duration::ZERO)
    }

    pub(crate) fn with_latency(
        targets: impl IntoIterator<Item = Target>,
        latency: Duration,
    ) -> Arc<Self> {
        let queue = Arc::new(ObservedQueue::new(MemoryQueue::new()));
        Self::of_queue(queue, targets, latency)
    }

    /// Creates an upstream whose workers lease from `queue`.
    pub(crate) fn of_queue(
        queue: Arc<ObservedQueue>,
        targets: impl IntoIterator<Item = Target>,
        latency: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            queue,
            targets: Mutex::new(targets.into_iter().collect()),
            script: Mutex::default(),
            default: Mutex::new(Answer::Status(200)),
            latency,
            start: Instant::now(),
            sent: Mutex::default(),
            results: Mutex::default(),
            ended: Mutex::default(),
            released: Semaphore::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        })
    }

    pub(crate) fn start_workers(self: &Arc<Self>) -> Workers {
        Workers::start(Arc::clone(&self.queue), Arc::clone(self))
    }

    pub(crate) fn answer(&self, number: u64, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        self.script.lock().insert(number, answers);
    }

    pub(crate) fn answer_all(&self, answer: Answer) {
        *self.default.lock() = answer;
    }

    pub(crate) fn set_targets(&self, targets: impl IntoIterator<Item = Target>) {
        *self.targets.lock() = targets.into_iter().collect();
    }

    pub(crate) fn release(&self, held: usize) {
        self.released.add_permits(held);
    }

    pub(crate) async fn store(&self, source: &str, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.store_entry(delivery(source, number)).await;
        }
    }

    pub(crate) async fn store_entry(&self, entry: NewEntry) {
        let stored = self.queue.enqueue(entry).await;
        stored.expect("the reference queue stores every delivery");
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().clone()
    }

    pub(crate) fn sent_count(&self) -> usize {
        self.sent.lock().len()
    }

    /// Returns the numbers of the deliveries in the order in which they were sent.
    pub(crate) fn sent_numbers(&self) -> Vec<u64> {
        self.sent().iter().map(|sent| sent.number).collect()
    }

    /// Returns the times between the attempts of a delivery.
    pub(crate) fn waits(&self, number: u64) -> Vec<Duration> {
        let sent = self.sent();
        let times: Vec<_> = sent.iter().filter(|sent| sent.number == number).collect();
        times
            .windows(2)
            .map(|pair| pair[1].at - pair[0].at)
            .collect()
    }

    pub(crate) fn results(&self) -> Vec<AttemptResult> {
        self.results.lock().clone()
    }

    pub(crate) fn ended(&self) -> Vec<(u64, End)> {
        self.ended.lock().clone()
    }

    /// Returns the entries that are left, with their states.
    pub(crate) async fn left(&self) -> Vec<(u64, EntryState)> {
        let infos = self.infos().await;
        infos
            .iter()
            .map(|info| (number(info), info.state))
            .collect()
    }

    pub(crate) async fn infos(&self) -> Vec<EntryInfo> {
        let page = Page {
            after: None,
            limit: usize::MAX,
        };
        let listed = self.queue.list(&EntryFilter::default(), page).await;
        listed.expect("the reference queue can be read")
    }

    /// Waits until the queue is empty.
    pub(crate) async fn drained(&self) {
        while !self.infos().await.is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn respond(&self, answer: Answer) -> AttemptOutcome {
        let (status, retry_after) = match answer {
            Answer::Status(status) => (status, None),
            Answer::RetryAfter(status, seconds) => (status, Some(Duration::from_secs(seconds))),
            Answer::Failed(kind) => return AttemptOutcome::Failed(kind),
            Answer::NotTried => return AttemptOutcome::NotTried,
            Answer::Unreadable => return AttemptOutcome::Unreadable,
            Answer::NoReceiver => return AttemptOutcome::NoReceiver,
            Answer::Hang => std::future::pending().await,
            Answer::Slow(time) => {
                sleep(time).await;
                (200, None)
            }
            Answer::Panic => panic!("the test asks for this panic"),
            Answer::Hold => {
                let permit = self.released.acquire().await;
                permit
                    .expect("the test does not close the semaphore")
                    .forget();
                (200, None)
            }
        };
        AttemptOutcome::Response {
            status: StatusCode::from_u16(status).expect("the test sets a valid status"),
            retry_after,
        }
    }

    fn next_answer(&self, number: u64) -> Answer {
        match self.script.lock().get_mut(&number) {
            Some(answers) => match (answers.len(), answers.pop_front()) {
                (1, Some(last)) => {
                    answers.push_back(last);
                    last
                }
                (_, first) => first.expect("the test sets at least one answer"),
            },
            None => *self.default.lock(),
        }
    }
}

impl Deliver for Upstream {
    fn targets(&self) -> Arc<[Target]> {
        Arc::clone(&self.targets.lock())
    }

    async fn deliver(&self, leased: &LeasedEntry) -> AttemptOutcome {
        let info = &leased.entry.info;
        self.sent.lock().push(Sent {
            at: self.start.elapsed(),
            source: info.source.to_string(),
            number: number(info),
            attempt: info.attempts,
        });
        let _in_flight = InFlight::new(self);
        sleep(self.latency).await;
        let answer = self.next_answer(number(info));
        self.respond(answer).await
    }

    async fn ended(&self, info: &EntryInfo, end: End) {
        // The queue has not recorded the end yet.
        let entry = self.queue.entry(info.id).await;
        let entry = entry.expect("the reference queue can be read");
        let entry = entry.expect("the entry is in the list");
        assert_eq!(entry.info.state, EntryState::InFlight);
        self.ended.lock().push((number(info), end));
    }

    fn attempted(&self, _: &str, result: AttemptResult) {
        self.results.lock().push(result);
    }
}

/// Counts the deliveries that are being sent.
struct InFlight<'u>(&'u Upstream);

impl<'u> InFlight<'u> {
    fn new(upstream: &'u Upstream) -> Self {
        let in_flight = upstream.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        upstream
            .most_in_flight
            .fetch_max(in_flight, Ordering::SeqCst);
        Self(upstream)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

fn number(info: &EntryInfo) -> u64 {
    let digits = &info.request_id["req-".len()..];
    digits.parse().expect("the request id ends with the number")
}

pub(crate) fn assert_between(wait: Duration, shortest: f64, longest: f64) {
    let seconds = wait.as_secs_f64();
    let tolerance = 0.02;
    assert!(
        seconds >= shortest - tolerance && seconds <= longest + tolerance,
        "{seconds} s is not between {shortest} s and {longest} s"
    );
}

/// The control of `ended` above: a change that another holder of the lease made is visible.
#[tokio::test(start_paused = true)]
async fn the_end_of_an_entry_is_visible_in_the_queue() {
    let upstream = Upstream::new([]);
    upstream.store("github", [1]).await;
    let id = upstream.infos().await[0].id;
    assert_eq!(upstream.queue.delete(id).await.unwrap(), Changed::Yes);
    assert!(upstream.queue.entry(id).await.unwrap().is_none());
}
