//! The receiver under test, and its responses.

use std::fmt::{self, Display};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;

use super::body::Event;
use super::corpus::Row;
use super::deliveries::{Deliveries, Delivery};
use super::genuine::{two_divisions, with_retry};
use super::probe::{Genuine, Probe, Repetition};
use super::skip::Skip;
use crate::cli::client::{Client, Framing};
use crate::cli::sign::new_id;

/// How long the second half of a slow body takes.
const SLOW_BODY: Duration = Duration::from_secs(2);

/// How often a sender retries whose response was lost, and the pause before each retry.
const RETRIES: usize = 20;
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The receiver under test.
pub(super) struct Receiver(Client);

/// The result of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Status(StatusCode),
    /// There was no response, for this reason.
    Nothing(String),
}

/// The result of a row.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// The responses, in the order of the requests.
    pub(super) answers: Vec<Answer>,
    /// The ids of the events, without repetition.
    pub(super) events: Vec<String>,
}

impl Receiver {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Sends the requests of `row`.
    pub(super) async fn send(&self, row: &Row, all: &Deliveries<'_>) -> Result<Exchange, Skip> {
        match row.probe {
            Probe::Genuine(genuine) => {
                let framing = match genuine {
                    Genuine::SlowBody => Framing::Halves(SLOW_BODY),
                    _ => Framing::Length,
                };
                let delivery = genuine.delivery(all)?;
                let answer = self.answer(&delivery, framing).await;
                Ok(Exchange::new(vec![answer], &[delivery]))
            }
            Probe::Forged(forgery) => Ok(self.each(&forgery.deliveries(all)?).await),
            Probe::Repeated(Repetition::AtOnce) => {
                let copies = Repetition::AtOnce.deliveries(all)?;
                let answers = copies.iter().map(|one| self.answer(one, Framing::Length));
                Ok(Exchange::new(join_all(answers).await, &copies))
            }
            Probe::Repeated(repetition) => Ok(self.each(&repetition.deliveries(all)?).await),
            Probe::RetryAfterFailure => {
                let deliveries = with_retry(all, Event::new(&new_id()).failing_once())?;
                Ok(self.each(&deliveries).await)
            }
            Probe::LostAnswer => {
                let deliveries = with_retry(all, Event::new(&new_id()))?;
                Ok(self.lose_answer(&deliveries).await)
            }
            Probe::TwoDivisions => Ok(self.each(&two_divisions(all)?).await),
        }
    }

    /// Sends `deliveries` one after the other.
    async fn each(&self, deliveries: &[Delivery]) -> Exchange {
        let mut answers = Vec::new();
        for delivery in deliveries {
            answers.push(self.answer(delivery, Framing::Length).await);
        }
        Exchange::new(answers, deliveries)
    }

    /// Hangs up on the first delivery, and sends the second one until its response is final.
    async fn lose_answer(&self, deliveries: &[Delivery; 2]) -> Exchange {
        let [first, retry] = deliveries;
        if let Err(error) = self.0.send_and_hang_up(&first.request).await {
            let answer = Answer::Nothing(error.to_string());
            return Exchange::new(vec![answer], deliveries);
        }
        let mut answer = self.answer(retry, Framing::Length).await;
        for _ in 0..RETRIES {
            if !answer.asks_for_retry() {
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            answer = self.answer(retry, Framing::Length).await;
        }
        Exchange::new(vec![answer], deliveries)
    }

    async fn answer(&self, delivery: &Delivery, framing: Framing) -> Answer {
        let framing = match delivery.request.body().is_empty() {
            true => Framing::NoBody,
            false => framing,
        };
        match self.0.send(&delivery.request, framing).await {
            Ok(reply) => Answer::Status(reply.status),
            Err(error) => Answer::Nothing(error.to_string()),
        }
    }
}

impl Exchange {
    fn new(answers: Vec<Answer>, deliveries: &[Delivery]) -> Self {
        let mut events: Vec<String> = deliveries.iter().map(|one| one.id.clone()).collect();
        events.dedup();
        Self { answers, events }
    }
}

impl Answer {
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing(_))
    }

    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Self::Status(status) if status.is_success())
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Status(status) if status.is_client_error())
    }

    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Status(status) if status.is_server_error())
    }

    /// Whether a sender tries again at once: the event may still be in progress.
    fn asks_for_retry(&self) -> bool {
        const IN_PROGRESS: [StatusCode; 3] = [
            StatusCode::CONFLICT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        match self {
            Self::Status(status) => status.is_server_error() || IN_PROGRESS.contains(status),
            Self::Nothing(_) => false,
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{}", status.as_u16()),
            Self::Nothing(_) => f.write_str("no response"),
        }
    }
}
