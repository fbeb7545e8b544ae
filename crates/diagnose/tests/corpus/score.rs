//! Diagnoses of all cases, and how many of them have a right cause first.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookgate_core::UnixTime;
use hookgate_diagnose::{Diagnosis, diagnose};

use crate::case::Case;

/// The diagnosis of a case.
pub(crate) struct Outcome {
    pub(crate) case: Case,
    pub(crate) diagnosis: Diagnosis,
    elapsed: Duration,
}

/// Whether the time of arrival is given.
#[derive(Clone, Copy)]
pub(crate) enum Arrival {
    Known,
    Unknown,
}

impl Outcome {
    fn of(case: Case, arrival: Arrival) -> Self {
        // A year later, so that the age of a capture would be seen in its causes.
        let later = UnixTime::from_secs(case.at + 365 * 86_400);
        let arrived = match arrival {
            Arrival::Known => Some(case.arrived()),
            Arrival::Unknown => None,
        };
        let (setup, capture) = (case.setup(), case.capture(arrived));
        let start = Instant::now();
        let diagnosis = diagnose(&setup, &capture, later);
        Self {
            case,
            diagnosis,
            elapsed: start.elapsed(),
        }
    }

    /// Returns the code of the first cause.
    pub(crate) fn first(&self) -> Option<&'static str> {
        Some(self.diagnosis.causes.first()?.code.as_str())
    }

    pub(crate) fn is_right(&self) -> bool {
        let is_accepted = |code| self.case.accept.iter().any(|accepted| accepted == code);
        !self.diagnosis.verified && self.first().is_some_and(is_accepted)
    }

    fn is_proved(&self) -> bool {
        let first = self.diagnosis.causes.first();
        self.is_right() && first.is_some_and(|cause| cause.proved)
    }
}

/// Diagnoses `cases` on all cores, in their order.
pub(crate) fn outcomes(cases: Vec<Case>, arrival: Arrival) -> Vec<Outcome> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let outcome = Outcome::of(case.clone(), arrival);
                    done.lock()
                        .expect("no thread panicked")
                        .push((index, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panicked");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The score of a set of cases. `Display` shows a table and the misses.
pub(crate) struct Score<'a> {
    pub(crate) title: &'static str,
    pub(crate) outcomes: &'a [Outcome],
}

impl Score<'_> {
    fn count(&self, is_counted: impl Fn(&Outcome) -> bool) -> usize {
        let counted = self.outcomes.iter().filter(|outcome| is_counted(outcome));
        counted.count()
    }

    /// Returns the percentage of the cases whose first cause is right, rounded down.
    pub(crate) fn right_percent(&self) -> usize {
        100 * self.count(Outcome::is_right) / self.outcomes.len().max(1)
    }

    /// Returns the percentage of the provable cases whose first cause is right and proved.
    pub(crate) fn proved_percent(&self) -> usize {
        let provable = self.count(|outcome| outcome.case.provable);
        100 * self.count(|outcome| outcome.case.provable && outcome.is_proved()) / provable.max(1)
    }
}

impl fmt::Display for Score<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{}: {} of {} right first ({} %), proved {} % of {} that can be proved",
            self.title,
            self.count(Outcome::is_right),
            self.outcomes.len(),
            self.right_percent(),
            self.proved_percent(),
            self.count(|outcome| outcome.case.provable),
        )?;
        let mut codes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for outcome in self.outcomes {
            let code = outcome.case.accept.first().map_or("", String::as_str);
            let (right, all) = codes.entry(code).or_default();
            *right += usize::from(outcome.is_right());
            *all += 1;
        }
        for (code, (right, all)) in codes {
            writeln!(f, "  {code:22} {right:3} of {all:3}")?;
        }
        let slowest = self.outcomes.iter().max_by_key(|outcome| outcome.elapsed);
        if let Some(slowest) = slowest {
            writeln!(
                f,
                "  slowest: {} in {:?}",
                slowest.case.name, slowest.elapsed
            )?;
        }
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.is_right()) {
            let (case, got) = (&outcome.case, outcome.first().unwrap_or("nothing"));
            writeln!(
                f,
                "  miss: {} expected {} got {got}",
                case.name,
                case.accept.join("|")
            )?;
        }
        for outcome in self.outcomes {
            if outcome.case.provable && outcome.is_right() && !outcome.is_proved() {
                writeln!(f, "  not proved: {}", outcome.case.name)?;
            }
        }
        Ok(())
    }
}
