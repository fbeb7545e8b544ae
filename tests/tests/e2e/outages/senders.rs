//! Senders that never repeat a delivery, in front of gateways that crash.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use hookgate_tests::{Connection, TestProvider, now};
use http::{Request, StatusCode};
use http_body_util::combinators::BoxBody;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::history::{Answer, History, Sent, digest};
use super::sources::ORDERED;

/// A text in each genuine body.
pub(super) const GENUINE: &str = "genuine-4c0f1e";
/// A text in the bodies and headers of forged deliveries only.
pub(super) const CANARY: &str = "canary-9d27ab";
/// Number of senders of each source whose deliveries have no order.
const SENDERS: usize = 4;
/// More than the number of deliveries that one sender sends in one phase.
const POSITIONS: usize = 1 << 32;
/// How long a sender waits after a response of 503.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a sender waits after each delivery that only keeps the traffic up.
const PAUSE_AFTER_ENOUGH: Duration = Duration::from_millis(200);
/// Maximum number of random bytes in a body.
const MAX_RANDOM: usize = 3000;

/// All senders, with the history of their deliveries.
#[derive(Clone)]
pub(super) struct Senders {
    shared: Arc<Shared>,
}

struct Shared {
    /// The addresses of the gateways that run.
    gateways: watch::Sender<Vec<SocketAddr>>,
    accepted: AtomicUsize,
    forged: AtomicUsize,
    history: Mutex<History>,
}

/// One sender. It sends its next delivery after the answer to the last one.
struct Sender {
    shared: Arc<Shared>,
    provider: TestProvider,
    number: usize,
    position: usize,
    rng: Rng,
    connection: Option<Connection>,
}

impl Senders {
    /// Creates senders that wait for a gateway.
    pub(super) fn new() -> Self {
        let shared = Shared {
            gateways: watch::Sender::new(Vec::new()),
            accepted: AtomicUsize::new(0),
            forged: AtomicUsize::new(0),
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
            let count = match ORDERED.contains(&provider.name) {
                true => 1,
                false => SENDERS,
            };
            for number in 0..count {
                let sender = Sender {
                    shared: Arc::clone(&self.shared),
                    provider: provider.clone(),
                    number: phase * SENDERS + number,
                    position: phase * POSITIONS,
                    rng: rng.fork(),
                    connection: None,
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
            if self.rng.u8(..) < 25 {
                self.send_forged().await;
            }
            self.send_genuine().await;
        }
    }

    async fn send_genuine(&mut self) {
        let (name, number) = (self.provider.name, self.number);
        let id = format!("evt_{name}_{number}_{}", self.position);
        let body = self.body(&id, GENUINE);
        let headers = self.provider.sign(&body, now(), &id);
        let digest = digest(&body);
        let request = self.provider.request(headers, body);
        let status = self.send(request).await;
        let answer = match status {
            Some(status) if status.is_success() => {
                self.shared.accepted.fetch_add(1, Ordering::SeqCst);
                Answer::Accepted
            }
            Some(status) => {
                // A store that needs too long for its answer is unavailable.
                let is_allowed = status == StatusCode::SERVICE_UNAVAILABLE;
                assert!(is_allowed, "{id} was answered with {status}");
                sleep(PAUSE).await;
                Answer::Unavailable
            }
            None => Answer::Missing,
        };
        let sent = Sent {
            source: name,
            position: self.position,
            digest,
            answer,
        };
        self.position += 1;
        let mut history = self.shared.history.lock().expect("no sender panics");
        history.sent.insert(id, sent);
    }

    async fn send_forged(&mut self) {
        let id = format!("{CANARY}_{}", self.rng.u64(..));
        let body = self.body(&id, CANARY);
        let mut headers = self.provider.sign(b"another body", now(), &id);
        headers.insert("x-canary", CANARY.parse().expect("the value is valid"));
        let request = self.provider.request(headers, body);
        if let Some(status) = self.send(request).await {
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            self.shared.forged.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Sends a request once. Returns `None` if no response came.
    async fn send(
        &mut self,
        request: Request<BoxBody<Bytes, std::io::Error>>,
    ) -> Option<StatusCode> {
        let connection = self.connect().await;
        match connection.send(request).await {
            Ok(response) => Some(response.status),
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
