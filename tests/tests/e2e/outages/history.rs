//! The sent deliveries, their arrivals at the upstream, and the checker of both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hookgate_tests::ReceivedRequest;
use sha2::{Digest, Sha256};

/// An unsigned header of replays of accepted deliveries.
pub(super) const REPLAY: &str = "x-replay";

/// How the gateway answered a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A 2xx response: the event must arrive.
    Accepted,
    /// No response, because the gateway crashed or the connection broke. The event may arrive.
    Missing,
    /// A response that is not 2xx, for example because a store did not answer in time. The event may
    /// arrive.
    Unavailable,
}

/// A delivery that a sender sent, once or several times.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) source: &'static str,
    /// The position among the deliveries of its sender.
    pub(super) position: usize,
    pub(super) digest: [u8; 32],
    /// The last answer, with its time.
    pub(super) answer: Answer,
    pub(super) answered: Instant,
}

/// A delivery that the upstream received.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) source: String,
    pub(super) event: String,
    pub(super) attempt: u32,
    pub(super) digest: [u8; 32],
    /// Whether the request has the header [`REPLAY`].
    pub(super) is_replay: bool,
    pub(super) at: Instant,
}

/// All deliveries of a test.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// The sent deliveries, by event id.
    pub(super) sent: BTreeMap<String, Sent>,
    /// The arrivals, in their order.
    pub(super) arrivals: Vec<Arrival>,
}

/// The limits of a correct history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Maximum number of arrivals of events that had arrived before.
    pub(super) duplicates: usize,
    /// The sources whose events must arrive in the order in which they were sent.
    pub(super) ordered: &'static [&'static str],
    pub(super) queue: QueueKind,
}

/// The queue of a test, which decides how much of the order is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueKind {
    /// Every arrival is in order, and each arrival of an event has a larger attempt than the last
    /// one.
    Disk,
    /// The first arrivals of accepted events are in order. The queue may store an event without an
    /// answer after a later event, because its request outlives the gateway that was killed. A
    /// server that was killed may count the attempts of an event anew.
    Nats,
    /// The gateway forwards each event before it answers, so no accepted event arrives later. A claim
    /// that was released counts its attempts anew.
    None,
}

/// The numbers of a correct history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) accepted: usize,
    pub(super) unanswered: usize,
    pub(super) duplicates: usize,
}

impl Arrival {
    /// Describes a request that the upstream received.
    pub(super) fn new(request: &ReceivedRequest) -> Self {
        let header = |name: &str| {
            let value = request.headers[name].to_str();
            value.expect("the header is text").to_owned()
        };
        Self {
            source: header("hookgate-source"),
            event: header("hookgate-event-id"),
            attempt: header("hookgate-attempt").parse().expect("a number"),
            digest: digest(&request.body),
            is_replay: request.headers.contains_key(REPLAY),
            at: request.at,
        }
    }
}

impl History {
    /// Returns the number of accepted events that have not arrived.
    pub(super) fn missing(&self) -> usize {
        let arrived = self.arrivals_by_event();
        let accepted = self.accepted();
        accepted
            .filter(|(id, _)| !arrived.contains_key(id.as_str()))
            .count()
    }

    /// Checks the history. Returns each fault as a sentence.
    pub(super) fn check(&self, limits: Limits) -> Result<Summary, Vec<String>> {
        let arrived = self.arrivals_by_event();
        let mut faults = Vec::new();
        for (id, sent) in self.accepted() {
            if !arrived.contains_key(id.as_str()) {
                faults.push(format!("{id} of {} was accepted and is lost", sent.source));
            }
        }
        for (id, arrivals) in &arrived {
            self.check_event(id, arrivals, limits.queue, &mut faults);
        }
        let duplicates = self.arrivals.len() - arrived.len();
        if duplicates > limits.duplicates {
            let allowed = limits.duplicates;
            faults.push(format!(
                "{duplicates} duplicates, at most {allowed} are allowed"
            ));
        }
        for source in limits.ordered {
            self.check_order(source, limits.queue, &mut faults);
        }
        match faults.is_empty() {
            true => Ok(Summary {
                accepted: self.accepted().count(),
                unanswered: self.sent.len() - self.accepted().count(),
                duplicates,
            }),
            false => Err(faults),
        }
    }

    fn check_event(
        &self,
        id: &str,
        arrivals: &[&Arrival],
        queue: QueueKind,
        faults: &mut Vec<String>,
    ) {
        let Some(sent) = self.sent.get(id) else {
            faults.push(format!("{id} arrived and was not sent"));
            return;
        };
        if arrivals.iter().any(|arrival| arrival.digest != sent.digest) {
            faults.push(format!("{id} arrived with other bytes"));
        }
        if arrivals.iter().any(|arrival| arrival.source != sent.source) {
            faults.push(format!("{id} arrived from another source"));
        }
        if arrivals.iter().any(|arrival| arrival.is_replay) {
            faults.push(format!("a replay of {id} arrived"));
        }
        let was_accepted = sent.answer == Answer::Accepted;
        let is_late = arrivals.iter().any(|arrival| arrival.at > sent.answered);
        if queue == QueueKind::None && was_accepted && is_late {
            faults.push(format!("{id} arrived after it was accepted"));
        }
        let are_counted = arrivals.is_sorted_by(|a, b| a.attempt < b.attempt);
        if queue == QueueKind::Disk && !are_counted {
            let attempts: Vec<_> = arrivals.iter().map(|arrival| arrival.attempt).collect();
            faults.push(format!("{id} arrived with the attempts {attempts:?}"));
        }
    }

    /// Checks that no event of `source` arrived after a later event.
    fn check_order(&self, source: &str, queue: QueueKind, faults: &mut Vec<String>) {
        let (mut last, mut arrived) = (None, BTreeSet::new());
        let of_source = |arrival: &&Arrival| arrival.source == source;
        for arrival in self.arrivals.iter().filter(of_source) {
            let Some(sent) = self.sent.get(&arrival.event) else {
                continue;
            };
            let is_first = arrived.insert(&arrival.event);
            let is_checked = match queue {
                QueueKind::Disk | QueueKind::None => true,
                QueueKind::Nats => is_first && sent.answer == Answer::Accepted,
            };
            if !is_checked {
                continue;
            }
            if last.is_some_and(|last| sent.position < last) {
                let id = &arrival.event;
                faults.push(format!("{id} of {source} arrived after a later event"));
            }
            last = last.max(Some(sent.position));
        }
    }

    fn accepted(&self) -> impl Iterator<Item = (&String, &Sent)> {
        let sent = self.sent.iter();
        sent.filter(|(_, sent)| sent.answer == Answer::Accepted)
    }

    fn arrivals_by_event(&self) -> BTreeMap<&str, Vec<&Arrival>> {
        let mut arrived: BTreeMap<&str, Vec<&Arrival>> = BTreeMap::new();
        for arrival in &self.arrivals {
            arrived.entry(&arrival.event).or_default().push(arrival);
        }
        arrived
    }
}

/// Returns the SHA-256 of a body.
pub(super) fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// A correct history of ten events of one source, with one duplicate.
fn correct_history() -> History {
    let mut history = History::default();
    let start = Instant::now();
    for position in 0..10 {
        let at = start + Duration::from_secs(position as u64);
        let (event, digest) = (format!("evt_{position}"), digest(&[position as u8]));
        let arrival = Arrival {
            source: "beatapi".to_owned(),
            event: event.clone(),
            attempt: 1,
            digest,
            is_replay: false,
            at,
        };
        let sent = Sent {
            source: "beatapi",
            position,
            digest,
            answer: Answer::Accepted,
            answered: at + Duration::from_millis(1),
        };
        history.sent.insert(event, sent);
        history.arrivals.push(arrival.clone());
        if position == 4 {
            history.arrivals.push(Arrival {
                attempt: 2,
                ..arrival
            });
        }
    }
    history
}

const LIMITS: Limits = Limits {
    duplicates: 1,
    ordered: &["beatapi"],
    queue: QueueKind::Disk,
};

#[test]
fn the_checker_accepts_a_correct_history() {
    let mut history = correct_history();
    let expected = Summary {
        accepted: 10,
        unanswered: 0,
        duplicates: 1,
    };
    assert_eq!(history.check(LIMITS), Ok(expected));
    // An event without an answer may be absent.
    history.sent.get_mut("evt_9").expect("it was sent").answer = Answer::Missing;
    history.arrivals.pop();
    assert_eq!(
        history.check(LIMITS).map(|summary| summary.unanswered),
        Ok(1)
    );
}

/// The control of every test that uses the checker.
#[test]
fn the_checker_finds_each_planted_fault() {
    type Plant = fn(&mut History);
    let faults: [(&str, Plant); 8] = [
        ("evt_9 of beatapi was accepted and is lost", |history| {
            history.arrivals.pop();
        }),
        ("evt_0 arrived with other bytes", |history| {
            history.arrivals[0].digest[31] ^= 1;
        }),
        ("evt_0 arrived from another source", |history| {
            history.arrivals[0].source = "beel".to_owned();
        }),
        ("a replay of evt_0 arrived", |history| {
            history.arrivals[0].is_replay = true;
        }),
        ("evt_3 arrived and was not sent", |history| {
            history.sent.remove("evt_3");
        }),
        ("evt_4 arrived with the attempts [1, 1]", |history| {
            history.arrivals[5].attempt = 1;
        }),
        ("2 duplicates, at most 1 are allowed", |history| {
            let last = history.arrivals.last().expect("events arrived").clone();
            history.arrivals.push(Arrival { attempt: 2, ..last });
        }),
        ("evt_1 of beatapi arrived after a later event", |history| {
            history.arrivals.swap(1, 2);
        }),
    ];
    for (expected, plant) in faults {
        let mut history = correct_history();
        plant(&mut history);
        assert_eq!(history.check(LIMITS), Err(vec![expected.to_owned()]));
    }
}

#[test]
fn without_a_queue_the_checker_finds_an_arrival_after_the_acceptance() {
    let limits = Limits {
        queue: QueueKind::None,
        ..LIMITS
    };
    let mut history = correct_history();
    assert!(history.check(limits).is_ok());
    history.arrivals[5].at += Duration::from_millis(2);
    let expected = "evt_4 arrived after it was accepted".to_owned();
    assert_eq!(history.check(limits), Err(vec![expected]));
    // The sender of an event without an answer sends it again, so it may arrive at any time.
    history.sent.get_mut("evt_4").expect("it was sent").answer = Answer::Missing;
    assert!(history.check(limits).is_ok());
}
