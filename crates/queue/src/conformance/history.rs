//! [`History`]: a sequence of steps that runs against a queue and against the reference.

use std::fmt;
use std::time::Duration;

use super::harness::{Harness, margin};
use super::steps::{Settlement, Step};
use super::support::{FAILURE, ORDERED, delivery, key, list};
use crate::entry::{EntryId, EntryInfo, EntryLease, EntryState, LeasedEntry, NewEntry};
use crate::memory::{Clock, Limits, State};
use crate::store::{Changed, Due, Enqueued, EntryFilter, LeaseRequest, Order, Page, QueueStore};

/// The result of a step. Entries are named by the order in which they were stored.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Stored(usize),
    Leased(Vec<(usize, u32)>),
    AlreadyStored(Option<usize>),
    Changed(Changed),
    Deleted(u64),
    Nothing,
    Invalid(String),
}

/// The facts about an entry that are compared after each step.
#[derive(Clone, Debug, PartialEq)]
struct Facts {
    entry: Option<usize>,
    state: EntryState,
    attempts: u32,
    earlier_attempts: u32,
    due_in: Option<Duration>,
}

/// The result of a step, and the entries after it.
#[derive(Clone, Debug)]
struct Observation {
    outcome: Outcome,
    entries: Vec<Facts>,
    /// The sources with due entries, if the queue knows them.
    due: Option<Vec<Box<str>>>,
}

impl Observation {
    /// Returns whether a queue agrees with the reference. Its clock may be ahead by `slack`.
    fn agrees_with(&self, expected: &Self, slack: Duration) -> bool {
        let agrees = |(entry, expected): (&Facts, &Facts)| {
            let is_due_alike = match (entry.due_in, expected.due_in) {
                (Some(due_in), Some(expected)) => {
                    // A millisecond is the resolution of the stores' clocks.
                    let longest = expected + Duration::from_millis(1);
                    due_in <= longest && due_in + slack + Duration::from_millis(1) >= expected
                }
                (due_in, expected) => due_in == expected,
            };
            let without_due = |facts: &Facts| Facts {
                due_in: None,
                ..facts.clone()
            };
            is_due_alike && without_due(entry) == without_due(expected)
        };
        self.outcome == expected.outcome
            && self.entries.len() == expected.entries.len()
            && self.entries.iter().zip(&expected.entries).all(agrees)
            && (self.due.is_none() || self.due == expected.due)
    }
}

/// The first step at which a queue and the reference differ.
#[derive(Debug)]
pub struct Difference {
    steps: Vec<Step>,
    expected: Box<Observation>,
    actual: Box<Observation>,
}

impl Difference {
    /// Returns the number of steps in the history.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "the queue violates the contract in the last of these steps:"
        )?;
        for step in &self.steps {
            writeln!(f, "  {step:?}")?;
        }
        write!(f, "expected: {:#?}\ngot: {:#?}", self.expected, self.actual)
    }
}

/// A run of a queue and of the reference, side by side.
pub(super) struct History<H> {
    harness: H,
    model: Side<State>,
    /// The ids and leases of the queue.
    actual: Side<()>,
    stored: u64,
}

/// The ids and the leases of one side, in the order of their creation.
#[derive(Debug)]
struct Side<S> {
    state: S,
    ids: Vec<EntryId>,
    leases: Vec<EntryLease>,
}

impl<S> Side<S> {
    fn new(state: S) -> Self {
        Self {
            state,
            ids: Vec::new(),
            leases: Vec::new(),
        }
    }

    fn position(&self, id: EntryId) -> Option<usize> {
        self.ids.iter().position(|of| *of == id)
    }

    fn enqueued(&mut self, enqueued: Enqueued) -> Outcome {
        match enqueued {
            Enqueued::Stored(id) => {
                self.ids.push(id);
                Outcome::Stored(self.ids.len())
            }
            Enqueued::Leased(lease) => {
                self.ids.push(lease.id);
                self.leases.push(lease);
                Outcome::Leased(vec![(self.ids.len(), 1)])
            }
            // The queue may record a confirmation later than the reference.
            Enqueued::AlreadyStored(id) | Enqueued::Undecided(id) => {
                Outcome::AlreadyStored(self.position(id))
            }
        }
    }

    fn leased(&mut self, leased: Vec<LeasedEntry>) -> Outcome {
        let mut entries = Vec::new();
        for LeasedEntry { lease, entry } in leased {
            let Some(position) = self.position(lease.id) else {
                return Outcome::Invalid(format!("{lease:?}, of an unknown entry"));
            };
            if self.leases.contains(&lease) {
                return Outcome::Invalid(format!("{lease:?}, with the token of an earlier lease"));
            }
            entries.push((position, entry.info.attempts));
            self.leases.push(lease);
        }
        Outcome::Leased(entries)
    }

    fn facts(&self, infos: Vec<EntryInfo>) -> Vec<Facts> {
        let facts = infos.into_iter().map(|info| Facts {
            entry: self.position(info.id),
            state: info.state,
            attempts: info.attempts,
            earlier_attempts: info.earlier_attempts,
            due_in: info.due_in,
        });
        facts.collect()
    }
}

impl<H: Harness> History<H> {
    pub(super) fn new(harness: H) -> Self {
        Self {
            harness,
            model: Side::new(State::new(Limits::default(), Clock::manual())),
            actual: Side::new(()),
            stored: 0,
        }
    }

    /// Runs the steps until the queue and the reference differ.
    pub(super) async fn run(mut self, steps: &[Step]) -> Option<Difference> {
        for (index, step) in steps.iter().enumerate() {
            let (expected, actual);
            (self, expected, actual) = self.step(*step).await;
            if !actual.agrees_with(&expected, H::SLACK) {
                return Some(Difference {
                    steps: steps[..=index].to_vec(),
                    expected: Box::new(expected),
                    actual: Box::new(actual),
                });
            }
            // Two changes never happen at the same time, so the order of due times is the same.
            self.advance(Duration::from_millis(1)).await;
            self.pass_near_changes().await;
        }
        None
    }

    /// Runs one step. Returns the observations of the reference and of the queue.
    async fn step(mut self, step: Step) -> (Self, Observation, Observation) {
        let (expected, actual) = match step {
            Step::Reopen(end) => {
                self.harness = self.harness.reopen(end).await;
                (Outcome::Nothing, Outcome::Nothing)
            }
            Step::Advance { just_before } => {
                self.advance_to_next_change(just_before).await;
                (Outcome::Nothing, Outcome::Nothing)
            }
            step => (self.model_step(step), self.actual_step(step).await),
        };
        let infos = self.model.state.list(&EntryFilter::default(), EVERYTHING);
        let expected = Observation {
            outcome: expected,
            entries: self.model.facts(infos),
            due: due_sources(self.model.state.due(&[ORDERED])),
        };
        let queue = self.harness.queue();
        let infos = list(queue, &EntryFilter::default()).await;
        let due = queue.due(&[ORDERED]).await.expect("the queue answers");
        let actual = Observation {
            outcome: actual,
            entries: self.actual.facts(infos),
            due: due_sources(due),
        };
        (self, expected, actual)
    }

    fn model_step(&mut self, step: Step) -> Outcome {
        let new = self.new_entry(step);
        let Side { state, ids, leases } = &mut self.model;
        match step {
            Step::Enqueue { .. } => {
                let enqueued = state.enqueue(new.expect("the step stores"));
                self.model
                    .enqueued(enqueued.expect("the reference has space"))
            }
            Step::Lease { source, max } => {
                let leased = state.lease(lease_request::<H>(source, max));
                self.model.leased(leased)
            }
            Step::Settle {
                lease_age,
                settlement,
            } => of_age(leases, lease_age).map_or(Outcome::Nothing, |lease| {
                Outcome::Changed(match settlement {
                    Settlement::Complete => state.complete(lease),
                    Settlement::RetryLater => state.retry_later(lease, H::WAIT, FAILURE),
                    Settlement::RetryAtOnce => state.retry_later(lease, Duration::ZERO, FAILURE),
                    Settlement::PutBack => state.put_back(lease, H::WAIT),
                    Settlement::Bury => state.bury(lease, FAILURE),
                    Settlement::Withdraw => state.withdraw(lease),
                    Settlement::Renew => state.renew(lease, H::LEASE),
                })
            }),
            Step::RetryNow { entry_age } => of_age(ids, entry_age).map_or(Outcome::Nothing, |id| {
                Outcome::Changed(state.retry_now(*id))
            }),
            Step::Delete { entry_age } => of_age(ids, entry_age)
                .map_or(Outcome::Nothing, |id| Outcome::Changed(state.delete(*id))),
            Step::DeleteDead => Outcome::Deleted(state.delete_dead(H::WAIT)),
            Step::Reopen(_) | Step::Advance { .. } => Outcome::Nothing,
        }
    }

    async fn actual_step(&mut self, step: Step) -> Outcome {
        let new = self.new_entry(step);
        let queue = self.harness.queue();
        let Side { ids, leases, .. } = &mut self.actual;
        let changed = match step {
            Step::Enqueue { .. } => {
                self.stored += 1;
                return match queue.enqueue(new.expect("the step stores")).await {
                    Ok(enqueued) => self.actual.enqueued(enqueued),
                    Err(error) => Outcome::Invalid(format!("{error:?}")),
                };
            }
            Step::Lease { source, max } => {
                return match queue.lease(lease_request::<H>(source, max)).await {
                    Ok(leased) => self.actual.leased(leased),
                    Err(error) => Outcome::Invalid(format!("{error:?}")),
                };
            }
            Step::DeleteDead => {
                return match queue.delete_dead(H::WAIT).await {
                    Ok(deleted) => Outcome::Deleted(deleted),
                    Err(error) => Outcome::Invalid(format!("{error:?}")),
                };
            }
            Step::Settle {
                lease_age,
                settlement,
            } => {
                let Some(lease) = of_age(leases, lease_age) else {
                    return Outcome::Nothing;
                };
                settle::<H>(queue, lease, settlement).await
            }
            Step::RetryNow { entry_age } => match of_age(ids, entry_age) {
                Some(id) => queue.retry_now(*id).await,
                None => return Outcome::Nothing,
            },
            Step::Delete { entry_age } => match of_age(ids, entry_age) {
                Some(id) => queue.delete(*id).await,
                None => return Outcome::Nothing,
            },
            Step::Reopen(_) | Step::Advance { .. } => return Outcome::Nothing,
        };
        changed.map_or_else(
            |error| Outcome::Invalid(format!("{error:?}")),
            Outcome::Changed,
        )
    }

    /// Returns the delivery that a step stores.
    fn new_entry(&self, step: Step) -> Option<NewEntry> {
        let Step::Enqueue {
            source,
            keys,
            is_due,
            lease_if_first,
        } = step
        else {
            return None;
        };
        let mut new = delivery(source, self.stored);
        new.keys = keys.into_iter().map(key).collect();
        new.keys.dedup();
        new.first_due = if is_due { Duration::ZERO } else { H::WAIT };
        new.lease_if_first = lease_if_first.then_some(H::LEASE);
        Some(new)
    }

    async fn advance(&mut self, duration: Duration) {
        self.model.state.advance(duration);
        self.harness.advance(duration).await;
    }

    async fn advance_to_next_change(&mut self, just_before: bool) {
        if let Some(left) = self.model.state.next_change() {
            let early = if just_before {
                2 * margin::<H>()
            } else {
                Duration::ZERO
            };
            self.advance(left.saturating_sub(early)).await;
        }
    }

    /// Advances both clocks past every change that is within the slack. The queue's clock may
    /// already be past such a change, so the outcome of a step would not be predictable.
    async fn pass_near_changes(&mut self) {
        while let Some(left) = self.model.state.next_change()
            && left <= margin::<H>()
        {
            self.advance(left).await;
        }
    }
}

const EVERYTHING: Page = Page {
    after: None,
    limit: usize::MAX,
};

fn lease_request<H: Harness>(source: &str, max: usize) -> LeaseRequest<'_> {
    LeaseRequest {
        source,
        order: match source {
            ORDERED => Order::Source,
            _ => Order::Any,
        },
        max,
        lease: H::LEASE,
    }
}

async fn settle<H: Harness>(
    queue: &H::Queue,
    lease: &EntryLease,
    settlement: Settlement,
) -> Result<Changed, crate::error::QueueError> {
    match settlement {
        Settlement::Complete => queue.complete(lease).await,
        Settlement::RetryLater => queue.retry_later(lease, H::WAIT, FAILURE).await,
        Settlement::RetryAtOnce => queue.retry_later(lease, Duration::ZERO, FAILURE).await,
        Settlement::PutBack => queue.put_back(lease, H::WAIT).await,
        Settlement::Bury => queue.bury(lease, FAILURE).await,
        Settlement::Withdraw => queue.withdraw(lease).await,
        Settlement::Renew => queue.renew(lease, H::LEASE).await,
    }
}

fn due_sources(due: Due) -> Option<Vec<Box<str>>> {
    match due {
        Due::Known { mut now, .. } => {
            now.sort();
            Some(now)
        }
        Due::Unknown => None,
    }
}

/// Returns the element that is `age` places older than the newest one, if there is one.
fn of_age<T>(elements: &[T], age: usize) -> Option<&T> {
    let index = elements.len().checked_sub(age + 1)?;
    elements.get(index)
}
