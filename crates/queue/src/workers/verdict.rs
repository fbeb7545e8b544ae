//! [`Verdict`]: what becomes of an entry after an attempt.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::AttemptResult;
use crate::entry::{EntryInfo, Failure, FailureKind};
use crate::outcome::{AttemptOutcome, ResponseClass};
use crate::schedule::RetrySchedule;

/// The change of an entry after an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Complete,
    Retry {
        wait: Duration,
        failure: Failure,
    },
    Bury(Failure),
    PutBack,
    /// Only this entry waits.
    SetAside,
}

/// The number of attempts of a delivery that the upstream rejects.
const MAX_REJECTED_ATTEMPTS: u32 = 3;

/// Decides what becomes of an entry.
///
/// `info` has the facts from before the attempt, with this attempt counted. `age` is the age
/// after the attempt, and `now` the time of day. `random` is between 0 and 1.
pub(super) fn decide(
    outcome: AttemptOutcome,
    info: &EntryInfo,
    age: Duration,
    schedule: &RetrySchedule,
    now: SystemTime,
    random: f64,
) -> Verdict {
    let Some(failure) = Failure::of(outcome, now) else {
        return match outcome {
            AttemptOutcome::NotTried => Verdict::PutBack,
            AttemptOutcome::NoReceiver if age >= schedule.give_up => Verdict::Bury(Failure {
                kind: FailureKind::Unreachable,
                status: None,
                at: now,
            }),
            AttemptOutcome::Unreadable | AttemptOutcome::NoReceiver => Verdict::SetAside,
            _ => Verdict::Complete,
        };
    };
    let attempts = info.attempts.saturating_sub(info.earlier_attempts).max(1);
    let (is_last, retry_after) = match outcome {
        AttemptOutcome::Response {
            status,
            retry_after,
        } => {
            let is_last = match ResponseClass::of(status) {
                ResponseClass::Gone => true,
                ResponseClass::Rejected => {
                    attempts >= MAX_REJECTED_ATTEMPTS && !was_temporary(info.last_failure)
                }
                ResponseClass::Temporary | ResponseClass::Delivered => false,
            };
            (is_last, retry_after)
        }
        // No later attempt restores the delivery.
        AttemptOutcome::Failed(FailureKind::Damaged) => (true, None),
        AttemptOutcome::Failed(_)
        | AttemptOutcome::NotTried
        | AttemptOutcome::Unreadable
        | AttemptOutcome::NoReceiver => (false, None),
    };
    if is_last || age >= schedule.give_up {
        return Verdict::Bury(failure);
    }
    let wait = schedule.wait_with(attempts, retry_after, random);
    Verdict::Retry { wait, failure }
}

/// Returns whether the attempt before failed for a reason that may pass.
///
/// A delivery that is rejected right after an outage has not used its three attempts.
fn was_temporary(last_failure: Option<Failure>) -> bool {
    let Some(failure) = last_failure else {
        return false;
    };
    let status = failure
        .status
        .and_then(|status| StatusCode::from_u16(status).ok());
    status.is_none_or(|status| ResponseClass::of(status) == ResponseClass::Temporary)
}

impl Verdict {
    pub(super) fn result(self) -> AttemptResult {
        match self {
            Self::Complete => AttemptResult::Delivered,
            Self::Retry { .. } => AttemptResult::Retried,
            Self::Bury(_) => AttemptResult::Dead,
            Self::PutBack | Self::SetAside => AttemptResult::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use smallvec::SmallVec;

    use super::*;
    use crate::entry::{EntryId, NewEntry};

    const SCHEDULE: RetrySchedule = RetrySchedule {
        first: Duration::from_secs(10),
        factor: 2.0,
        max: Duration::from_secs(100),
        give_up: Duration::from_secs(1_000),
    };
    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn info(attempts: u32, last_status: Option<u16>) -> EntryInfo {
        let new = NewEntry {
            keys: SmallVec::new(),
            token: 0,
            source: "github".into(),
            tenant: None,
            event_id: None,
            key_id: "key".into(),
            request_id: "req".into(),
            attempts,
            last_failure: last_status.map(|status| Failure {
                kind: FailureKind::Response,
                status: Some(status),
                at: NOW,
            }),
            envelope: Bytes::new(),
            body: Bytes::new(),
            first_due: Duration::ZERO,
            lease_if_first: None,
        };
        EntryInfo::new(EntryId(1), &new, NOW)
    }

    fn response(status: u16) -> AttemptOutcome {
        AttemptOutcome::Response {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
        }
    }

    fn after(outcome: AttemptOutcome, info: &EntryInfo, age: u64) -> Verdict {
        decide(outcome, info, Duration::from_secs(age), &SCHEDULE, NOW, 0.5)
    }

    /// Returns the wait of a retry in seconds, or the label of another verdict.
    fn summary(verdict: Verdict) -> String {
        match verdict {
            Verdict::Retry { wait, .. } => format!("retry after {} s", wait.as_secs()),
            other => other.result().label().into(),
        }
    }

    #[test]
    fn each_outcome_has_its_verdict() {
        for status in [200, 201, 204, 299] {
            assert_eq!(
                summary(after(response(status), &info(1, None), 5_000)),
                "delivered"
            );
        }
        for status in [301, 408, 425, 429, 500, 503] {
            assert_eq!(
                summary(after(response(status), &info(1, None), 0)),
                "retry after 10 s"
            );
            assert_eq!(
                summary(after(response(status), &info(9, None), 0)),
                "retry after 100 s"
            );
        }
        for kind in FailureKind::ALL {
            let outcome = AttemptOutcome::Failed(kind);
            let expected = match kind {
                FailureKind::Damaged => "dead",
                _ => "retry after 20 s",
            };
            assert_eq!(summary(after(outcome, &info(2, None), 0)), expected);
        }
        assert_eq!(summary(after(response(410), &info(1, None), 0)), "dead");
        assert_eq!(
            summary(after(AttemptOutcome::NotTried, &info(1, None), 5_000)),
            "error"
        );
    }

    #[test]
    fn a_rejected_delivery_has_three_attempts() {
        for status in [400, 401, 404, 422] {
            let verdicts = [(1, None), (2, Some(status)), (3, Some(status))]
                .map(|(attempts, last)| summary(after(response(status), &info(attempts, last), 0)));
            assert_eq!(verdicts, ["retry after 10 s", "retry after 20 s", "dead"]);
        }
        // An outage before the first rejection does not end the attempts.
        let verdicts = [(7, Some(503)), (8, Some(404))]
            .map(|(attempts, last)| summary(after(response(404), &info(attempts, last), 0)));
        assert_eq!(verdicts, ["retry after 100 s", "dead"]);
        // An operator's retry counts anew.
        let mut retried = info(4, Some(404));
        retried.earlier_attempts = 3;
        assert_eq!(
            summary(after(response(404), &retried, 0)),
            "retry after 10 s"
        );
    }

    #[test]
    fn a_failure_at_the_age_of_giving_up_ends_the_attempts() {
        assert_eq!(
            summary(after(response(503), &info(5, None), 999)),
            "retry after 100 s"
        );
        assert_eq!(summary(after(response(503), &info(5, None), 1_000)), "dead");
        let timeout = AttemptOutcome::Failed(FailureKind::TimedOut);
        assert_eq!(summary(after(timeout, &info(5, None), 1_000)), "dead");
    }

    #[test]
    fn retry_after_lengthens_the_wait_up_to_the_maximum() {
        for (retry_after, wait) in [(0, 10), (1, 10), (50, 50), (86_400, 100), (u64::MAX, 100)] {
            let outcome = AttemptOutcome::Response {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after: Some(Duration::from_secs(retry_after)),
            };
            let verdict = summary(after(outcome, &info(1, None), 0));
            assert_eq!(verdict, format!("retry after {wait} s"));
        }
    }
}
