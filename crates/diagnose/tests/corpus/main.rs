//! The score over the broken deliveries of `tests/explain`.
//!
//! `make explain-score` prints the score for each code, and the misses.

mod case;
mod leaks;
mod score;

use std::path::Path;
use std::sync::LazyLock;

use hookgate_core::UnixTime;
use hookgate_diagnose::diagnose;

use self::score::{Arrival, Outcome, Score, outcomes};

/// The least percentage of the cases whose first cause is right.
const RIGHT_FIRST: usize = 95;
/// The least percentage of the provable cases whose first cause is right and proved.
const PROVED: usize = 95;

static EXAMPLES: LazyLock<Vec<Outcome>> =
    LazyLock::new(|| outcomes(case::examples(), Arrival::Known));
static RECORDED: LazyLock<Vec<Outcome>> =
    LazyLock::new(|| outcomes(case::recorded(), Arrival::Known));

fn scores() -> [Score<'static>; 2] {
    [
        Score {
            title: "cases.json",
            outcomes: &EXAMPLES,
        },
        Score {
            title: "recorded.json",
            outcomes: &RECORDED,
        },
    ]
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "the score is the output of `make explain-score`"
)]
fn the_first_cause_is_right() {
    write_first_causes();
    for score in scores() {
        println!("{score}");
        assert!(score.right_percent() >= RIGHT_FIRST, "{}", score.title);
        assert!(score.proved_percent() >= PROVED, "{}", score.title);
    }
}

/// Writes the first causes by name for `tests/explain/peers/score.mjs`.
fn write_first_causes() {
    let outcomes = || scores().into_iter().flat_map(|score| score.outcomes);
    let first: serde_json::Map<_, _> = outcomes()
        .map(|outcome| {
            let first = outcome.first().unwrap_or("verified");
            (outcome.case.name.clone(), first.into())
        })
        .collect();
    assert_eq!(first.len(), outcomes().count(), "two cases have one name");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("first-causes.json");
    let text = serde_json::Value::from(first).to_string();
    std::fs::write(path, text).expect("the file is written");
}

#[test]
fn no_broken_delivery_verifies_and_each_has_a_cause() {
    let outcomes = scores().into_iter().flat_map(|score| score.outcomes);
    let wrong: Vec<_> = outcomes
        .filter(|outcome| outcome.diagnosis.verified || outcome.diagnosis.causes.is_empty())
        .map(|outcome| &*outcome.case.name)
        .collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn each_genuine_delivery_verifies() {
    for case in case::genuine() {
        let capture = case.capture(Some(case.arrived()));
        let diagnosis = diagnose(&case.setup(), &capture, case.arrived());
        assert!(diagnosis.verified, "{}: {:?}", case.name, diagnosis.reason);
        assert!(diagnosis.causes.is_empty(), "{}", case.name);
        // The control: the same delivery with another body has a cause.
        let mut changed = capture;
        changed.body = b"{}".as_slice().into();
        let diagnosis = diagnose(&case.setup(), &changed, case.arrived());
        assert!(!diagnosis.verified, "{}", case.name);
    }
}

#[test]
fn a_right_first_cause_does_not_depend_on_the_time_of_arrival() {
    let unknown = outcomes(case::recorded(), Arrival::Unknown);
    let mut wrong = Vec::new();
    for (known, unknown) in RECORDED.iter().zip(&unknown) {
        if !known.case.is_about_time() && known.is_right() && !unknown.is_right() {
            wrong.push((&*known.case.name, known.first(), unknown.first()));
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn no_output_contains_a_secret_or_a_signature() {
    for outcome in scores().iter().flat_map(|score| score.outcomes) {
        leaks::check(outcome);
    }
}

#[test]
fn the_check_for_leaks_finds_each_kind() {
    leaks::check_finds_each_kind();
}

#[test]
fn a_diagnosis_is_the_same_each_time() {
    for outcome in EXAMPLES.iter() {
        let case = &outcome.case;
        let capture = case.capture(Some(case.arrived()));
        let again = diagnose(&case.setup(), &capture, UnixTime::from_secs(0));
        assert_eq!(again.causes, outcome.diagnosis.causes, "{}", case.name);
        assert_eq!(again.tried, outcome.diagnosis.tried, "{}", case.name);
    }
}
