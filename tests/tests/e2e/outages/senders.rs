//! Senders in front of gateways that crash. They never repeat a delivery, or retry as in
//! [`super::retries`].

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use hookgate_tests::{Connection, ReceivedResponse, TestProvider, now};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::combinators::BoxBody;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::history::{Answer, History, Sent, digest};
use super::retries::RetryCounts;
use super::sources::ORDERED;

/// A text in each genuine body.
pub(super) const GENUINE: &str = "genuine-4c0f1e";
/// A text in the bodies and headers of forged deliveries only.
pub(super) const CANARY: &str = "canary-9d27ab";
/// Number of senders of each source whose deliveries have no order.
const SENDERS: usize = 4;
/// Number of senders of each source if they retry. Some of them wait for their next attempt.
pub(super) const RETRYING_SENDERS: usize = 8;
/// More than the number of deliveries that one sender sends in one phase.
const POSITIONS: usize = 1 << 32;
/// How long a sender waits after a response of 503.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a sender waits after each delivery that only keeps the traffic up.
const PAUSE_AFTER_ENOUGH: Duration = Duration::from_millis(200);
/// Maximum number of random bytes in a body.
const MAX_RANDOM: usize = 3000;

/// The behaviour of a sender after an answer that is not 2xx, and without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// The sender goes on with its next event.
    SendOnce,
    /// The sender sends the same event again, as providers do.
    Retry,
}

/// All senders, with the history of their deliveries.
#[derive(Clone)]
pub(super) struct Senders {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    policy: Policy,
    /// The addresses of the gateways that run.
    gateways: watch::Sender<Vec<SocketAddr>>,
    accepted: AtomicUsize,
    forged: AtomicUsize,
    pub(super) retries: RetryCounts,
    history: Mutex<History>,
}

/// One sender. It sends its next delivery after the answer to the last one.
pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
    pub(super) provider: TestProvider,
    number: usize,
    position: usize,
    pub(super) rng: Rng,
    pub(super) connection: Option<Connection>,
    /// Accepted deliveries, which attackers have captured.
    pub(super) captures: Vec<Delivery>,
}

/// A signed delivery of a new event. A sender can send it several times.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Policy {
    /// Returns the number of senders of a source.
    fn senders(self, source: &str) -> usize {
        match self {
            Self::SendOnce if ORDERED.contains(&source) => 1,
            Self::SendOnce => SENDERS,
            Self::Retry => RETRYING_SENDERS,
        }
    }

    /// Returns the share of forged deliveries.
    fn forged(self) -> f64 {
        match self {
            Self::SendOnce => 0.1,
            Self::Retry => 0.05,
        }
    }
}

impl Senders {
    /// Creates senders that wait for a gateway, and send each event once.
    pub(super) fn new() -> Self {
        Self::with_policy(Policy::SendOnce)
    }

    /// Creates senders that wait for a gateway.
    pub(super) fn with_policy(policy: Policy) -> Self {
        let shared = Shared {
            policy,
            gateways: watch::Sender::new(Vec::new()),
            accepted: AtomicUsize::new(0),
            forged: AtomicUsize::new(0),
            retries: RetryCounts::default(),
            history: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sets the addresses of the gateways. Without one, all senders wait.
    pub(super) fn set_gateways(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let addresses = addresses.into_iter().collect();
        self.shared.gateways.send_replace(addresses);
    }

    /// Returns the number of accepted deliveries.
    pub(super) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of forged deliveries that the gateway refused.
    pub(super) fn forged(&self) -> usize {
        self.shared.forged.load(Ordering::SeqCst)
    }

    /// Returns the numbers of retries and replays.
    pub(super) fn retries(&self) -> &RetryCounts {
        &self.shared.retries
    }

    /// Sends new events of `providers` until `accepted` deliveries in total are accepted. `phase`
    /// tells apart the calls of one test.
    pub(super) async fn send_until(
        &self,
        providers: &[TestProvider],
        accepted: usize,
        phase: usize,
        rng: &mut Rng,
    ) {
        let no_faults = std::future::ready(());
        self.send_during(no_faults, providers, accepted, phase, rng)
            .await;
    }

    /// Does the same while `faults` happen. Deliveries go on, more slowly, until the last fault has
    /// happened, so that no fault waits for deliveries that no sender sends.
    pub(super) async fn send_during(
        &self,
        faults: impl Future<Output = ()>,
        providers: &[TestProvider],
        accepted: usize,
        phase: usize,
        rng: &mut Rng,
    ) {
        let is_faulty = Arc::new(AtomicBool::new(true));
        let mut senders = JoinSet::new();
        for provider in providers {
            for number in 0..self.shared.policy.senders(provider.name) {
                let sender = Sender {
                    shared: Arc::clone(&self.shared),
                    provider: provider.clone(),
                    number: phase * RETRYING_SENDERS + number,
                    position: phase * POSITIONS,
                    rng: rng.fork(),
                    connection: None,
                    captures: Vec::new(),
                };
                senders.spawn(sender.run(accepted, Arc::clone(&is_faulty)));
            }
        }
        let faults = async {
            faults.await;
            is_faulty.store(false, Ordering::SeqCst);
        };
        tokio::join!(senders.join_all(), faults);
    }

    /// Calls `read` with the history so far.
    pub(super) fn with_history<R>(&self, read: impl FnOnce(&mut History) -> R) -> R {
        read(&mut self.shared.history.lock().expect("no sender panics"))
    }
}

impl Sender {
    async fn run(mut self, accepted: usize, is_faulty: Arc<AtomicBool>) {
        loop {
            if self.shared.accepted.load(Ordering::SeqCst) >= accepted {
                if !is_faulty.load(Ordering::SeqCst) {
                    return;
                }
                sleep(PAUSE_AFTER_ENOUGH).await;
            }
            if self.rng.f64() < self.shared.policy.forged() {
                self.send_forged().await;
            }
            match self.shared.policy {
                Policy::SendOnce => self.send_once().await,
                Policy::Retry => self.send_with_retries().await,
            }
        }
    }

    async fn send_once(&mut self) {
        let delivery = self.next_delivery();
        let response = self.send(delivery.request(&self.provider)).await;
        let answer = match response.map(|response| response.status) {
            Some(status) if status.is_success() => Answer::Accepted,
            Some(status) => {
                // A store that needs too long for its answer is unavailable.
                let is_allowed = status == StatusCode::SERVICE_UNAVAILABLE;
                assert!(is_allowed, "{} was answered with {status}", delivery.id);
                sleep(PAUSE).await;
                Answer::Unavailable
            }
            None => Answer::Missing,
        };
        self.record(&delivery, answer);
    }

    /// Signs a delivery of the next event.
    pub(super) fn next_delivery(&mut self) -> Delivery {
        let id = format!(
            "evt_{}_{}_{}",
            self.provider.name, self.number, self.position
        );
        self.position += 1;
        let body = self.body(&id, GENUINE);
        Delivery {
            headers: self.provider.sign(&body, now(), &id),
            body,
            id,
        }
    }

    /// Adds a delivery to the history after its last answer.
    pub(super) fn record(&mut self, delivery: &Delivery, answer: Answer) {
        let sent = Sent {
            source: self.provider.name,
            position: self.position,
            digest: digest(&delivery.body),
            answer,
            answered: Instant::now(),
        };
        let mut history = self.shared.history.lock().expect("no sender panics");
        history.sent.insert(delivery.id.clone(), sent);
        if answer == Answer::Accepted {
            self.shared.accepted.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn send_forged(&mut self) {
        let id = format!("{CANARY}_{}", self.rng.u64(..));
        let body = self.body(&id, CANARY);
        let mut headers = self.provider.sign(b"another body", now(), &id);
        headers.insert("x-canary", CANARY.parse().expect("the value is valid"));
        let request = self.provider.request(headers, body);
        let Some(response) = self.send(request).await else {
            return;
        };
        // A request that a fault has cut off may get another answer.
        let status = response.status;
        let is_cut = self.shared.policy == Policy::Retry && !status.is_success();
        assert!(status == StatusCode::UNAUTHORIZED || is_cut, "{status}");
        self.shared.forged.fetch_add(1, Ordering::SeqCst);
    }

    /// Sends a request once. Returns `None` if no response came.
    pub(super) async fn send(
        &mut self,
        request: Request<BoxBody<Bytes, std::io::Error>>,
    ) -> Option<ReceivedResponse> {
        let connection = self.connect().await;
        match connection.send(request).await {
            Ok(response) => Some(response),
            Err(_) => {
                self.connection = None;
                None
            }
        }
    }

    /// Returns a connection to the gateway. Waits until the gateway listens.
    async fn connect(&mut self) -> &mut Connection {
        let mut gateways = self.shared.gateways.subscribe();
        loop {
            if self.connection.as_mut().is_some_and(Connection::is_open) {
                break;
            }
            let addresses = gateways.wait_for(|addresses| !addresses.is_empty()).await;
            let address = self
                .rng
                .choice(&*addresses.expect("the senders exist"))
                .copied();
            let address = address.expect("a gateway runs");
            // The gateway may have crashed meanwhile.
            self.connection = Connection::open(address).await.ok();
            if self.connection.is_none() {
                tokio::task::yield_now().await;
            }
        }
        self.connection.as_mut().expect("the connection is open")
    }

    fn body(&mut self, id: &str, marker: &str) -> Bytes {
        let length = self.rng.usize(..MAX_RANDOM);
        let random: String = std::iter::repeat_with(|| self.rng.alphanumeric())
            .take(length)
            .collect();
        let event = serde_json::json!({
            "id": id, "type": "test", "event": "test", "marker": marker, "random": random,
        });
        event.to_string().into()
    }
}

impl Delivery {
    /// Returns a request with this delivery.
    pub(super) fn request(
        &self,
        provider: &TestProvider,
    ) -> Request<BoxBody<Bytes, std::io::Error>> {
        provider.request(self.headers.clone(), self.body.clone())
    }
}
