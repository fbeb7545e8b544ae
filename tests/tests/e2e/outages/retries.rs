//! Senders that retry as providers do: they send the same body again, a bounded number of times. Some
//! of them sign each attempt anew. Meanwhile, attackers replay accepted deliveries.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookgate_tests::{ReceivedResponse, now};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use tokio::time::{sleep, timeout};

use super::history::{Answer, REPLAY};
use super::senders::{Delivery, Sender};

/// The share of events whose first answer the sender loses, so that it retries.
const LOST_ANSWERS: f64 = 0.3;
/// The share of accepted events after which a capture is replayed.
const REPLAYS: f64 = 0.1;
/// Maximum number of attempts of one event.
const MAX_ATTEMPTS: usize = 10;
/// The time after which a sender gives an event up.
const GIVE_UP: Duration = Duration::from_secs(20);
/// How long a sender waits for an answer. A second delivery of an event waits up to 5 s.
const PATIENCE: Duration = Duration::from_secs(8);
/// The milliseconds after which a sender that loses an answer closes its connection.
const HANG_UP: Range<u64> = 0..20;
/// The wait before the first retry without a `Retry-After`. Each further wait is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Maximum number of captures of one sender.
const CAPTURES: usize = 50;

/// The numbers of retries and replays.
#[derive(Debug, Default)]
pub(super) struct RetryCounts {
    /// Attempts after the first one of an event.
    pub(super) retries: AtomicUsize,
    /// Events with a retry.
    pub(super) retried: AtomicUsize,
    /// Events without a 2xx answer after the last attempt.
    pub(super) given_up: AtomicUsize,
    pub(super) replays: AtomicUsize,
    /// Replays that were answered as duplicates.
    pub(super) recognised: AtomicUsize,
}

impl Sender {
    /// Sends a new event until the gateway accepts it, or until the sender gives up.
    pub(super) async fn send_with_retries(&mut self) {
        let mut delivery = self.next_delivery();
        let (loses_first, signs_anew) = (self.rng.f64() < LOST_ANSWERS, self.rng.bool());
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
        let (mut answer, mut wait) = (Answer::Missing, Duration::ZERO);
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                if start.elapsed() + wait > GIVE_UP {
                    break;
                }
                sleep(wait).await;
                self.count_retry(attempt);
                if signs_anew {
                    let (provider, id) = (&self.provider, &delivery.id);
                    delivery.headers = provider.sign(&delivery.body, now(), id);
                }
            }
            let response = match attempt == 0 && loses_first {
                true => self.lose_answer(&delivery).await,
                false => self.send_patiently(&delivery).await,
            };
            answer = judge(&delivery, response.as_ref());
            if answer == Answer::Accepted {
                break;
            }
            wait = response.as_ref().and_then(retry_after).unwrap_or(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
        self.record(&delivery, answer);
        if answer != Answer::Accepted {
            count(&self.shared.retries.given_up);
            return;
        }
        if self.captures.len() == CAPTURES {
            let oldest = self.rng.usize(..CAPTURES);
            self.captures.swap_remove(oldest);
        }
        self.captures.push(delivery);
        if self.rng.f64() < REPLAYS {
            self.replay().await;
        }
    }

    fn count_retry(&self, attempt: usize) {
        let retries = &self.shared.retries;
        count(&retries.retries);
        if attempt == 1 {
            count(&retries.retried);
        }
    }

    /// Sends a delivery, and closes the connection at some moment before or after the answer.
    /// Returns no response.
    async fn lose_answer(&mut self, delivery: &Delivery) -> Option<ReceivedResponse> {
        let hang_up = Duration::from_millis(self.rng.u64(HANG_UP));
        let request = delivery.request(&self.provider);
        // The answer is lost in any case.
        let _ = timeout(hang_up, self.send(request)).await;
        self.connection = None;
        None
    }

    async fn send_patiently(&mut self, delivery: &Delivery) -> Option<ReceivedResponse> {
        let request = delivery.request(&self.provider);
        let answered = timeout(PATIENCE, self.send(request)).await;
        if answered.is_err() {
            self.connection = None;
        }
        answered.ok().flatten()
    }

    /// Sends a capture with another unsigned header. The checker finds a replay that arrives.
    async fn replay(&mut self) {
        let capture = self.rng.choice(&self.captures).cloned();
        let mut capture = capture.expect("a delivery was captured");
        let marker = HeaderValue::from(self.rng.u64(..));
        capture.headers.insert(REPLAY, marker);
        count(&self.shared.retries.replays);
        let response = self.send_patiently(&capture).await;
        if response.is_some_and(|response| response.outcome() == Some("duplicate")) {
            count(&self.shared.retries.recognised);
        }
    }
}

/// Classifies the response to a genuine delivery.
fn judge(delivery: &Delivery, response: Option<&ReceivedResponse>) -> Answer {
    // A fault may cut off a request, make the upstream or a store fail, or set the gateway's clock.
    const FAULTS: [StatusCode; 6] = [
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    match response.map(|response| response.status) {
        Some(status) if status.is_success() => Answer::Accepted,
        Some(status) => {
            assert!(
                FAULTS.contains(&status),
                "{} was answered with {status}",
                delivery.id
            );
            Answer::Unavailable
        }
        None => Answer::Missing,
    }
}

fn retry_after(response: &ReceivedResponse) -> Option<Duration> {
    let seconds = response.headers.get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(
        seconds.parse().expect("a number of seconds"),
    ))
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}
