//! The search for the cause: single changes first, then pairs, then signs without proof.

use std::ops::ControlFlow;

use bytes::Bytes;
use hookgate_core::{UnixTime, VerifyError};

use crate::age;
use crate::attempt::{Age, Case, Changed, Edit, Effort, Prepared, VisitEdit};
use crate::body::{self, Hints};
use crate::budget::Budget;
use crate::capture::Capture;
use crate::cause::Cause;
use crate::setup::Setup;
use crate::{address, evidence, header, provider, secret};

/// The work of one diagnosis. A usual server does it in about one second.
const WORK: u64 = 1_200_000_000;
/// The work of the single changes of one input beside the body.
const WORK_PER_INPUT: u64 = WORK / 10;
/// The work of the changes of the body alone.
const WORK_FOR_BODY: u64 = WORK / 3;
/// The most bytes of all changed inputs that are held at the same time.
const MAX_COPIES: usize = 32 * 1024 * 1024;
/// The work to make a candidate body, for each of its bytes.
const PER_BYTE: u64 = 4;

/// Why a delivery did or did not verify.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Whether the delivery verifies.
    pub verified: bool,
    /// The reason for which the delivery is refused. `None` if it verifies, if its method
    /// alone is wrong, or if it cannot be judged because the secret cannot be used.
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
    let reason = match case.prepare(Age::Checked) {
        Err(_) => None,
        Ok(prepared) => match prepared.check(capture.body.clone()) {
            Ok(_) => {
                let method = prepared.refused_method(setup.title());
                return Diagnosis {
                    verified: method.is_none(),
                    reason: None,
                    causes: method.into_iter().collect(),
                    tried: 0,
                };
            }
            Err(reason) => Some(reason),
        },
    };
    let mut search = Search {
        case,
        hints: Hints::of(case),
        budget: Budget::new(WORK),
        tried: 0,
    };
    let proof = search.run();
    let causes = match proof {
        Some(proof) => {
            let age = proof.age(capture);
            [proof.causes, age.into_iter().collect()].concat()
        }
        None => {
            let age = reason.and_then(|reason| age::cause(case, reason, None));
            let age = age.filter(|_| capture.arrived.is_some());
            [evidence::causes(case), age.into_iter().collect()].concat()
        }
    };
    Diagnosis {
        verified: false,
        reason,
        causes,
        tried: search.tried,
    }
}

/// A generator of edits of one input.
type Generator = fn(Case<'_>, Effort, VisitEdit<'_>) -> ControlFlow<()>;

/// The generators of the inputs beside the body.
const GENERATORS: [Generator; 4] = [secret::each, header::each, address::each, provider::each];

/// Changes that make the signature match.
struct Proof {
    causes: Vec<Cause>,
    inputs: Changed,
    body: Bytes,
    /// The signed timestamp, if the scheme has one.
    signed_at: Option<UnixTime>,
}

impl Proof {
    /// Verifies `body` with `prepared`, which was made from `case`. `causes` are the causes that
    /// a match proves.
    fn new(
        prepared: &Prepared<'_>,
        case: Case<'_>,
        body: &Bytes,
        causes: impl FnOnce() -> Vec<Cause>,
    ) -> Option<Self> {
        let signed_at = prepared.check(body.clone()).ok()?;
        Some(Self {
            causes: causes().into_iter().map(Cause::into_proved).collect(),
            inputs: case.to_changed(),
            body: body.clone(),
            signed_at,
        })
    }

    /// Returns the age of the delivery as a further cause, if it is outside of the window.
    ///
    /// The age of a capture without a time of arrival is a cause only if there is no other one.
    fn age(&self, capture: &Capture) -> Option<Cause> {
        if capture.arrived.is_none() && !self.causes.is_empty() {
            return None;
        }
        let case = self.inputs.case();
        let checked = case.prepare(Age::Checked).ok()?.check(self.body.clone());
        age::cause(case, checked.err()?, self.signed_at).map(Cause::into_proved)
    }
}

struct Search<'a> {
    case: Case<'a>,
    hints: Hints<'a>,
    budget: Budget,
    tried: u64,
}

impl Search<'_> {
    /// Returns the smallest changes that make the signature match, if any do.
    fn run(&mut self) -> Option<Proof> {
        self.no_change()
            .or_else(|| self.change_of_input())
            .or_else(|| self.change_of_body())
            .or_else(|| self.change_of_body_and_input())
            .or_else(|| self.two_changes_of_inputs())
    }

    /// The signature may match already: then the age of the delivery is the cause.
    fn no_change(&mut self) -> Option<Proof> {
        let prepared = self.case.prepare(Age::Ignored).ok()?;
        Proof::new(&prepared, self.case, &self.case.capture.body, Vec::new)
    }

    /// Changes one input beside the body.
    fn change_of_input(&mut self) -> Option<Proof> {
        let mut best: Option<(u8, Proof)> = None;
        for generator in GENERATORS {
            let mut budget = self.budget.split(WORK_PER_INPUT);
            let _: ControlFlow<()> = generator(self.case, Effort::Full, &mut |edit| {
                if best.as_ref().is_some_and(|(cost, _)| *cost <= edit.cost) {
                    return ControlFlow::Continue(());
                }
                if let Some(proof) = verify(self.case, &edit, &mut budget, &mut self.tried)? {
                    best = Some((edit.cost, proof));
                }
                ControlFlow::Continue(())
            });
            self.budget.give_back(budget);
        }
        best.map(|(_, proof)| proof)
    }

    /// Changes the body.
    fn change_of_body(&mut self) -> Option<Proof> {
        let prepared = self.case.prepare(Age::Ignored).ok()?;
        let mut budget = self.budget.split(WORK_FOR_BODY);
        let unchanged = [(Vec::new(), self.case, prepared)];
        let proof = self.try_bodies(Effort::Full, &unchanged, &mut budget);
        self.budget.give_back(budget);
        proof
    }

    /// Changes the body and one other input.
    fn change_of_body_and_input(&mut self) -> Option<Proof> {
        let edits = self.common_edits();
        let inputs: Vec<_> = edits
            .iter()
            .map(|edit| (edit, self.case.with(&edit.change)))
            .collect();
        let prepared = inputs.iter().filter_map(|(edit, changed)| {
            let prepared = changed.case().prepare(Age::Ignored).ok()?;
            Some((vec![edit.cause.clone()], changed.case(), prepared))
        });
        let prepared: Vec<_> = prepared.collect();
        let mut budget = self.budget.split(WORK_FOR_BODY);
        let proof = self.try_bodies(Effort::Common, &prepared, &mut budget);
        self.budget.give_back(budget);
        proof
    }

    /// Changes two inputs beside the body, or one of them in two ways.
    fn two_changes_of_inputs(&mut self) -> Option<Proof> {
        let mut found = None;
        for first in self.common_edits() {
            let changed = self.case.with(&first.change);
            for generator in GENERATORS {
                let _: ControlFlow<()> = generator(changed.case(), Effort::Common, &mut |second| {
                    let budget = &mut self.budget;
                    let proof = verify(changed.case(), &second, budget, &mut self.tried)?;
                    match proof {
                        Some(proof) => {
                            found = Some(proof);
                            ControlFlow::Break(())
                        }
                        None => ControlFlow::Continue(()),
                    }
                });
                if let Some(mut proof) = found {
                    proof.causes.insert(0, first.cause.into_proved());
                    return Some(proof);
                }
            }
        }
        None
    }

    /// Returns the common edits of every input beside the body. A delivery with a large head has
    /// fewer, because each edit holds a copy of the head.
    fn common_edits(&self) -> Vec<Edit> {
        let mut edits = Vec::new();
        for generator in GENERATORS {
            let _: ControlFlow<()> = generator(self.case, Effort::Common, &mut |edit| {
                edits.push(edit);
                ControlFlow::Continue(())
            });
        }
        let copy = usize::try_from(self.case.copy_work()).unwrap_or(usize::MAX);
        edits.truncate(MAX_COPIES / copy);
        edits
    }

    /// Tries other bodies with each of `inputs`, until one verifies.
    fn try_bodies(
        &mut self,
        effort: Effort,
        inputs: &[(Vec<Cause>, Case<'_>, Prepared<'_>)],
        budget: &mut Budget,
    ) -> Option<Proof> {
        let mut proof = None;
        let body = &self.case.capture.body;
        let _: ControlFlow<()> = body::each(body, self.hints, effort, &mut |candidate, causes| {
            let len = candidate.len();
            budget.spend(PER_BYTE * len as u64)?;
            for (first, case, prepared) in inputs {
                budget.spend(prepared.work(len))?;
                self.tried += 1;
                let causes = || [first.clone(), causes()].concat();
                proof = Proof::new(prepared, *case, &candidate, causes);
                if proof.is_some() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        proof
    }
}

/// Verifies `case` with `edit` made. Breaks if the budget is used up.
fn verify(
    case: Case<'_>,
    edit: &Edit,
    budget: &mut Budget,
    tried: &mut u64,
) -> ControlFlow<(), Option<Proof>> {
    // A copy costs work even if the verifier cannot be built.
    budget.spend(case.copy_work())?;
    let changed = case.with(&edit.change);
    let Ok(prepared) = changed.case().prepare(Age::Ignored) else {
        return ControlFlow::Continue(None);
    };
    let body = &case.capture.body;
    budget.spend(prepared.work(body.len()))?;
    *tried += 1;
    let causes = || vec![edit.cause.clone()];
    ControlFlow::Continue(Proof::new(&prepared, changed.case(), body, causes))
}
