//! [`Model`]: the contract of a store, as a simple state machine.

use std::fmt;
use std::time::Duration;

use crate::store::{ClaimOptions, Forgotten, Settled};

/// The number of keys in a history.
pub(super) const KEYS: usize = 3;

/// The result of a step.
#[derive(Debug)]
pub(super) enum Outcome {
    Granted {
        attempt: u32,
    },
    InFlight {
        remaining: Duration,
    },
    Done,
    Settled(Settled),
    Forgotten(Forgotten),
    RecordedDone,
    /// The store returned a result that the contract never allows here.
    Invalid(String),
}

impl Outcome {
    /// Returns whether this outcome of a store agrees with the outcome of the model. The clock
    /// of the store may be ahead by up to `slack`.
    pub(super) fn agrees_with(&self, expected: &Self, slack: Duration) -> bool {
        match (self, expected) {
            (Self::Granted { attempt }, Self::Granted { attempt: expected }) => attempt == expected,
            (
                Self::InFlight { remaining },
                Self::InFlight {
                    remaining: expected,
                },
            ) => remaining <= expected && *remaining >= expected.saturating_sub(slack),
            (Self::Done, Self::Done) | (Self::RecordedDone, Self::RecordedDone) => true,
            (Self::Settled(settled), Self::Settled(expected)) => settled == expected,
            (Self::Forgotten(forgotten), Self::Forgotten(expected)) => forgotten == expected,
            _ => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { attempt } => write!(f, "granted, attempt {attempt}"),
            Self::InFlight { remaining } => write!(f, "in flight, {remaining:?} remaining"),
            Self::Done => f.write_str("done"),
            Self::Settled(settled) => write!(f, "{settled:?}"),
            Self::Forgotten(forgotten) => write!(f, "forget: {forgotten:?}"),
            Self::RecordedDone => f.write_str("recorded as done"),
            Self::Invalid(outcome) => f.write_str(outcome),
        }
    }
}

/// The state of all keys. A lease is identified by its position in the order of the grants.
#[derive(Default)]
pub(super) struct Model {
    pub(super) now: Duration,
    entries: [Option<Entry>; KEYS],
    /// The key of each lease.
    lease_keys: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Entry {
    InFlight {
        /// `None` if the current claim was released and earlier leases still count.
        lease: Option<usize>,
        attempt: u32,
        lease_end: Duration,
        forget_at: Duration,
    },
    Done {
        until: Duration,
    },
}

impl Model {
    pub(super) fn claim(&mut self, key: usize, options: ClaimOptions) -> Outcome {
        let attempt = match self.live_entry(key) {
            Some(Entry::Done { .. }) => return Outcome::Done,
            Some(Entry::InFlight { lease_end, .. }) if self.now < lease_end => {
                let remaining = lease_end - self.now;
                return Outcome::InFlight { remaining };
            }
            Some(Entry::InFlight { attempt, .. }) => attempt + 1,
            None => 1,
        };
        let lease_end = self.now + options.lease;
        self.entries[key] = Some(Entry::InFlight {
            lease: Some(self.lease_keys.len()),
            attempt,
            lease_end,
            forget_at: lease_end + options.attempt_retention,
        });
        self.lease_keys.push(key);
        Outcome::Granted { attempt }
    }

    pub(super) fn commit(&mut self, lease: usize, retention: Duration) -> Settled {
        let until = self.now + retention;
        self.settle(lease, Some(Entry::Done { until }))
    }

    pub(super) fn release(&mut self, lease: usize) -> Settled {
        let entry = match self.live_entry(self.lease_keys[lease]) {
            // Earlier leases ended unsettled, and their outcome is still unknown.
            Some(Entry::InFlight {
                attempt, forget_at, ..
            }) if attempt > 1 => Some(Entry::InFlight {
                lease: None,
                attempt: attempt - 1,
                lease_end: self.now,
                forget_at,
            }),
            _ => None,
        };
        self.settle(lease, entry)
    }

    pub(super) fn renew(&mut self, lease: usize, duration: Duration) -> Settled {
        let new_end = self.now + duration;
        let key = self.lease_keys[lease];
        let entry = self.live_entry(key).map(|entry| match entry {
            Entry::InFlight {
                lease,
                attempt,
                lease_end,
                forget_at,
            } => {
                let extension = new_end.saturating_sub(lease_end);
                Entry::InFlight {
                    lease,
                    attempt,
                    lease_end: lease_end + extension,
                    forget_at: forget_at + extension,
                }
            }
            done @ Entry::Done { .. } => done,
        });
        self.settle(lease, entry)
    }

    pub(super) fn forget(&mut self, key: usize) -> Forgotten {
        match self.live_entry(key) {
            None => Forgotten::Unknown,
            Some(Entry::InFlight { lease_end, .. }) if self.now < lease_end => Forgotten::InFlight,
            Some(Entry::InFlight { .. } | Entry::Done { .. }) => {
                self.entries[key] = None;
                Forgotten::Removed
            }
        }
    }

    pub(super) fn record_done(&mut self, key: usize, retention: Duration) {
        let mut until = self.now + retention;
        if let Some(Entry::Done { until: earlier }) = self.live_entry(key) {
            until = until.max(earlier);
        }
        self.entries[key] = Some(Entry::Done { until });
    }

    /// Replaces the entry of the lease's key, if the lease is the current one.
    fn settle(&mut self, lease: usize, entry: Option<Entry>) -> Settled {
        let key = self.lease_keys[lease];
        match self.live_entry(key) {
            Some(Entry::InFlight {
                lease: Some(current),
                ..
            }) if current == lease => {
                self.entries[key] = entry;
                Settled::Applied
            }
            _ => Settled::Stale,
        }
    }

    /// Returns the entry of a key, unless it is expired.
    fn live_entry(&self, key: usize) -> Option<Entry> {
        self.entries[key].filter(|entry| {
            self.now
                < match entry {
                    Entry::InFlight { forget_at, .. } => *forget_at,
                    Entry::Done { until } => *until,
                }
        })
    }

    /// Returns the next time at which the result of a claim changes without a settlement.
    pub(super) fn next_change(&self, key: usize) -> Option<Duration> {
        Some(match self.live_entry(key)? {
            Entry::InFlight { lease_end, .. } if self.now < lease_end => lease_end,
            Entry::InFlight { forget_at, .. } => forget_at,
            Entry::Done { until } => until,
        })
    }

    /// Returns the lease on `key` that is `age` leases older than the newest one, or the oldest
    /// lease if there are fewer.
    pub(super) fn lease(&self, key: usize, age: usize) -> Option<usize> {
        let leases = self.lease_keys.iter().enumerate().rev();
        let on_key = leases.filter(|(_, of)| **of == key).take(age + 1);
        on_key.last().map(|(lease, _)| lease)
    }
}
