//! Compares the responses and runs of a row with those of a safe receiver.

use super::probe::Expected;
use super::receiver::Answer;

/// The verdict about a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// The receiver is not safe, for this reason.
    Fail(String),
    /// The status alone does not show whether the application ran.
    Unseen,
    /// The row does not apply, for this reason.
    Inapplicable(&'static str),
}

impl Verdict {
    /// Stable label of the variant.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Unseen => "unseen",
            Self::Inapplicable(_) => "n/a",
        }
    }

    /// Returns the reason of the verdict, if it has one.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Pass => None,
            Self::Fail(reason) => Some(reason),
            Self::Unseen => Some("without --runs, the status does not show a second run"),
            Self::Inapplicable(reason) => Some(reason),
        }
    }
}

impl Expected {
    /// Returns the verdict about a row. `runs` has the number of runs of each event, if they can be
    /// counted.
    pub(super) fn judge(self, answers: &[Answer], runs: Option<&[u64]>) -> Verdict {
        if let Some(Answer::Nothing(reason)) = answers.iter().find(|one| one.is_nothing()) {
            return Verdict::Fail(reason.clone());
        }
        let outcome = match self {
            Self::Accepted => accepted(answers, runs),
            Self::Refused => refused(answers, runs),
            Self::RunOnce => run_once(answers, runs),
            Self::RunAgain => run_again(answers, runs),
            Self::AtMostOne => at_most_one(answers),
        };
        outcome.unwrap_or_else(|verdict| verdict)
    }
}

fn accepted(answers: &[Answer], runs: Option<&[u64]>) -> Result<Verdict, Verdict> {
    all(
        answers,
        Answer::is_accepted,
        "a genuine delivery was not accepted",
    )?;
    expect_runs(runs, 1)?;
    Ok(Verdict::Pass)
}

fn refused(answers: &[Answer], runs: Option<&[u64]>) -> Result<Verdict, Verdict> {
    if answers.iter().any(Answer::is_accepted) {
        return fail("a request was accepted that no provider sends");
    }
    all(
        answers,
        Answer::is_refused,
        "the refusal has another status than 4xx",
    )?;
    expect_runs(runs, 0)?;
    Ok(Verdict::Pass)
}

fn run_once(answers: &[Answer], runs: Option<&[u64]>) -> Result<Verdict, Verdict> {
    let is_final = |answer: &Answer| answer.is_accepted() || answer.is_refused();
    all(
        answers,
        is_final,
        "a copy was neither acknowledged nor refused",
    )?;
    let accepted = answers.iter().filter(|answer| answer.is_accepted()).count();
    if accepted == 0 && answers.len() > 1 {
        return fail("no copy was accepted");
    }
    expect_runs(runs, 1)?;
    match runs {
        None if accepted != 1 || answers.len() == 1 => Ok(Verdict::Unseen),
        _ => Ok(Verdict::Pass),
    }
}

fn run_again(answers: &[Answer], runs: Option<&[u64]>) -> Result<Verdict, Verdict> {
    let (Some(first), Some(retry)) = (answers.first(), answers.get(1)) else {
        return fail("the retry was not sent");
    };
    if first.is_accepted() {
        return Ok(Verdict::Inapplicable(
            "the application does not fail on demand",
        ));
    }
    if !first.is_failure() {
        return fail("the failure of the application has another status than 5xx");
    }
    if !retry.is_accepted() {
        return fail("the retry of a failed event was not accepted");
    }
    expect_runs(runs, 2)?;
    Ok(runs.map_or(Verdict::Unseen, |_| Verdict::Pass))
}

/// Any status but 2xx refuses a request here: its body is no event.
fn at_most_one(answers: &[Answer]) -> Result<Verdict, Verdict> {
    match answers.iter().filter(|answer| answer.is_accepted()).count() {
        0 | 1 => Ok(Verdict::Pass),
        _ => fail("two events were accepted with one signature"),
    }
}

fn all(
    answers: &[Answer],
    is_expected: impl Fn(&Answer) -> bool,
    fault: &str,
) -> Result<(), Verdict> {
    match answers.iter().all(is_expected) {
        true => Ok(()),
        false => fail(fault).map(|_| ()),
    }
}

fn fail(reason: &str) -> Result<Verdict, Verdict> {
    Err(Verdict::Fail(reason.to_owned()))
}

/// Checks that each event has run `expected` times.
fn expect_runs(runs: Option<&[u64]>, expected: u64) -> Result<(), Verdict> {
    let mut runs = runs.unwrap_or_default().iter();
    match runs.find(|runs| **runs != expected) {
        None => Ok(()),
        Some(found) => Err(Verdict::Fail(format!(
            "the application ran {}; expected {}",
            times(*found),
            times(expected)
        ))),
    }
}

fn times(runs: u64) -> String {
    match runs {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        _ => format!("{runs} times"),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn judge(expected: Expected, statuses: &[u16], runs: Option<&[u64]>) -> &'static str {
        let answers = statuses.iter().map(|status| match status {
            0 => Answer::Nothing("closed".to_owned()),
            status => Answer::Status(StatusCode::from_u16(*status).unwrap()),
        });
        let answers: Vec<Answer> = answers.collect();
        expected.judge(&answers, runs).label()
    }

    #[test]
    fn each_expectation_has_its_verdicts() {
        use Expected::*;
        for (expected, statuses, runs, verdict) in [
            (Accepted, &[204][..], None, "pass"),
            (Accepted, &[204], Some(&[1][..]), "pass"),
            (Accepted, &[204], Some(&[0]), "fail"),
            (Accepted, &[401], None, "fail"),
            (Accepted, &[302], None, "fail"),
            (Refused, &[401, 400], Some(&[0, 0]), "pass"),
            (Refused, &[401, 200], None, "fail"),
            (Refused, &[401, 500], None, "fail"),
            (Refused, &[0], None, "fail"),
            (Refused, &[401], Some(&[1]), "fail"),
            (RunOnce, &[200, 200], Some(&[1]), "pass"),
            (RunOnce, &[200, 409], Some(&[1]), "pass"),
            (RunOnce, &[200, 200], Some(&[2]), "fail"),
            (RunOnce, &[200, 200], None, "unseen"),
            (RunOnce, &[200, 409], None, "pass"),
            (RunOnce, &[409, 409], None, "fail"),
            (RunOnce, &[200, 500], Some(&[1]), "fail"),
            (RunOnce, &[200], None, "unseen"),
            (RunOnce, &[409], Some(&[1]), "pass"),
            (RunOnce, &[200], Some(&[0]), "fail"),
            (RunAgain, &[500, 200], Some(&[2]), "pass"),
            (RunAgain, &[500, 200], Some(&[1]), "fail"),
            (RunAgain, &[500, 200], None, "unseen"),
            (RunAgain, &[500, 500], None, "fail"),
            (RunAgain, &[200, 200], Some(&[1]), "n/a"),
            (RunAgain, &[401, 401], None, "fail"),
            (AtMostOne, &[200, 401], None, "pass"),
            (AtMostOne, &[401, 401], None, "pass"),
            (AtMostOne, &[200, 200], None, "fail"),
            (AtMostOne, &[200, 500], None, "pass"),
        ] {
            assert_eq!(
                judge(expected, statuses, runs),
                verdict,
                "{expected:?} {statuses:?} {runs:?}"
            );
        }
    }
}
