//! The search for the cause: single changes first, then pairs, then signs without proof.

use std::ops::ControlFlow;

use bytes::Bytes;
use hookgate_core::{UnixTime, VerifyError};

use crate::attempt::{Attempt, Case, Edit, Effort, VisitEdit};
use crate::body::{self, Hints};
use crate::budget::Budget;
use crate::capture::Capture;
use crate::cause::Cause;
use crate::setup::Setup;
use crate::{address, evidence, header, provider, secret};

/// The work of all searches of one diagnosis.
const WORK: u64 = 2_000_000_000;
/// The work of the single changes, and of the combinations with each other dimension.
const SINGLE: u64 = WORK / 2;
/// The work to make a candidate body, for each of its bytes.
const PER_BYTE: u64 = 4;

/// Why a delivery did or did not verify.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Whether the delivery verifies.
    pub verified: bool,
    /// The reason for which the delivery is refused. `None` if it verifies, or if it cannot be
    /// judged because the secret cannot be used.
    pub reason: Option<VerifyError>,
    /// The causes, the most likely one first. Empty if the delivery verifies.
    pub causes: Vec<Cause>,
    /// The number of changed deliveries that were verified.
    pub tried: u64,
}

/// Finds out why the delivery in `capture` does not verify. `now` is the present, for captures
/// without a time of arrival.
pub fn diagnose(setup: &Setup, capture: &Capture, now: UnixTime) -> Diagnosis {
    let case = Case {
        setup,
        capture,
        now: capture.arrived.unwrap_or(now),
    };
    Search {
        case,
        hints: Hints::of(case),
        budget: Budget::new(WORK),
        tried: 0,
    }
    .run()
}

struct Search<'a> {
    case: Case<'a>,
    hints: Hints<'a>,
    budget: Budget,
    tried: u64,
}

/// A generator of edits of one input.
type Generator = fn(Case<'_>, Effort, VisitEdit<'_>) -> ControlFlow<()>;

/// The inputs beside the body.
const DIMENSIONS: [Generator; 4] = [secret::each, header::each, address::each, provider::each];

/// A set of changes that makes the signature match.
struct Proof {
    causes: Vec<Cause>,
    cost: u8,
}

impl Search<'_> {
    fn run(mut self) -> Diagnosis {
        let reason = match self.verdict() {
            Ok(()) => {
                return Diagnosis {
                    verified: true,
                    reason: None,
                    causes: Vec::new(),
                    tried: 0,
                };
            }
            Err(reason) => reason,
        };
        let mut causes = Vec::new();
        if !self.matches_at_another_time() {
            let proof = self.single_change().or_else(|| self.two_changes());
            causes.extend(proof.into_iter().flat_map(|proof| proof.causes));
        }
        causes.extend(self.age(&reason));
        if causes.is_empty() {
            causes = evidence::causes(self.case);
        }
        Diagnosis {
            verified: false,
            reason,
            causes,
            tried: self.tried,
        }
    }

    /// Verifies the delivery as it is. The error is `None` if the inputs cannot be used.
    fn verdict(&self) -> Result<(), Option<VerifyError>> {
        let mut attempt = Attempt::of(self.case).ok_or(None)?;
        attempt.window = match self.case.setup.window {
            Some(window) => window,
            None => self.case.setup.scheme.window().unwrap_or_default(),
        };
        let prepared = attempt.prepare().map_err(|_| None)?;
        let body = self.case.capture.body.clone();
        prepared.check(body).map_err(Some)
    }

    /// Whether the delivery verifies if its age is ignored.
    fn matches_at_another_time(&self) -> bool {
        Attempt::of(self.case).is_some_and(|attempt| attempt.verifies(&self.case.capture.body))
    }

    /// Returns the cause that is the age of the delivery, if that is wrong.
    fn age(&self, _reason: &Option<VerifyError>) -> Option<Cause> {
        None
    }

    /// Finds the smallest single change that makes the signature match.
    fn single_change(&mut self) -> Option<Proof> {
        let mut best: Option<Proof> = None;
        for dimension in DIMENSIONS {
            let mut budget = self.budget.split(SINGLE / 8);
            self.try_edits(dimension, &mut budget, &mut best);
            self.budget.give_back(budget);
        }
        let mut budget = self.budget.split(SINGLE / 2);
        let attempt = Attempt::of(self.case)?;
        if let Some(proof) = self.try_bodies(attempt, Effort::Full, &mut budget)
            && best.as_ref().is_none_or(|best| proof.cost < best.cost)
        {
            best = Some(proof);
        }
        self.budget.give_back(budget);
        best
    }

    fn try_edits(&mut self, dimension: Generator, budget: &mut Budget, best: &mut Option<Proof>) {
        let Some(attempt) = Attempt::of(self.case) else {
            return;
        };
        let body = &self.case.capture.body;
        let tried = &mut self.tried;
        let _: ControlFlow<()> = dimension(self.case, Effort::Full, &mut |edit: Edit| {
            if best.as_ref().is_some_and(|best| best.cost <= edit.cost) {
                return ControlFlow::Continue(());
            }
            let Ok(prepared) = attempt.with(&edit.change).prepare() else {
                return ControlFlow::Continue(());
            };
            budget.spend(prepared.work(body.len()))?;
            *tried += 1;
            if prepared.verifies(body.clone()) {
                *best = Some(Proof {
                    causes: vec![edit.cause.into_proved()],
                    cost: edit.cost,
                });
            }
            ControlFlow::Continue(())
        });
    }

    /// Tries other bodies with `attempt`, until one verifies.
    fn try_bodies(
        &mut self,
        attempt: Attempt<'_>,
        effort: Effort,
        budget: &mut Budget,
    ) -> Option<Proof> {
        let prepared = attempt.prepare().ok()?;
        let mut proof = None;
        let tried = &mut self.tried;
        let visit = &mut |candidate: Bytes, causes: &dyn Fn() -> Vec<Cause>| {
            let len = candidate.len();
            budget.spend(prepared.work(len) + PER_BYTE * len as u64)?;
            *tried += 1;
            if !prepared.verifies(candidate) {
                return ControlFlow::Continue(());
            }
            let causes: Vec<Cause> = causes().into_iter().map(Cause::into_proved).collect();
            proof = Some(Proof {
                cost: 10 * u8::try_from(causes.len()).unwrap_or(u8::MAX),
                causes,
            });
            ControlFlow::Break(())
        };
        let _: ControlFlow<()> = body::each(&self.case.capture.body, self.hints, effort, visit);
        proof
    }

    /// Finds two changes of different inputs that together make the signature match.
    fn two_changes(&mut self) -> Option<Proof> {
        None
    }
}
