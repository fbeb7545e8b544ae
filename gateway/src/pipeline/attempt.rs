//! One attempt to deliver, as the queue and the breaker see it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookgate_core::UnixTime;
use hookgate_gate::{FirstAttempt, Outcome, Reason};
use hookgate_queue::{AttemptOutcome, Failure, FailureKind};
use http::StatusCode;

use crate::upstream::{ForwardError, UpstreamResponse};

/// The outcome of a gRPC response that is no success: the status that a sender gets in its place.
pub(crate) const BAD_GATEWAY: AttemptOutcome = AttemptOutcome::Response {
    status: StatusCode::BAD_GATEWAY,
    retry_after: None,
};

/// Returns the outcome of an attempt. `now` is the time of day.
pub(crate) fn attempt_outcome(
    sent: &Result<UpstreamResponse<'_>, ForwardError>,
    now: UnixTime,
) -> AttemptOutcome {
    match sent {
        Ok(response) => {
            let headers = &response.head().headers;
            AttemptOutcome::of_response(response.status(), headers, system_time(now))
        }
        Err(error) => match error.reason {
            // The limit of this gateway is no fault of the upstream.
            Reason::UpstreamBusy => AttemptOutcome::NotTried,
            Reason::UpstreamUnreachable => AttemptOutcome::Failed(FailureKind::Unreachable),
            Reason::UpstreamTimeout => AttemptOutcome::Failed(FailureKind::TimedOut),
            _ => AttemptOutcome::Failed(FailureKind::BrokenOff),
        },
    }
}

/// Returns when a worker may repeat a direct attempt that ended at the time `at`.
///
/// `certainty` is [`Outcome::Unknown`] if the upstream may have processed the delivery.
pub(crate) fn next_attempt(
    outcome: AttemptOutcome,
    certainty: Outcome,
    at: SystemTime,
) -> FirstAttempt {
    let Some(failure) = Failure::of(outcome, at) else {
        return FirstAttempt::Now;
    };
    match (certainty, outcome) {
        (Outcome::Unknown, _) => FirstAttempt::AfterLease { failure },
        (_, AttemptOutcome::Response { retry_after, .. }) => FirstAttempt::AfterFailure {
            failure,
            retry_after,
        },
        _ => FirstAttempt::AfterFailure {
            failure,
            retry_after: None,
        },
    }
}

/// Returns a time of the gate's clock for the queue.
pub(crate) fn system_time(time: UnixTime) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(time.millis()).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_was_not_sent_has_no_failed_attempt() {
        let next = |outcome, certainty| next_attempt(outcome, certainty, UNIX_EPOCH);
        let busy = next(AttemptOutcome::NotTried, Outcome::Failed);
        assert_eq!(busy, FirstAttempt::Now);
        let failure = |kind, status| Failure {
            kind,
            status,
            at: UNIX_EPOCH,
        };
        let timed_out = AttemptOutcome::Failed(FailureKind::TimedOut);
        let expected = FirstAttempt::AfterLease {
            failure: failure(FailureKind::TimedOut, None),
        };
        assert_eq!(next(timed_out, Outcome::Unknown), expected);
        let retry_after = Some(Duration::from_secs(9));
        let unavailable = AttemptOutcome::Response {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after,
        };
        let expected = FirstAttempt::AfterFailure {
            failure: failure(FailureKind::Response, Some(503)),
            retry_after,
        };
        assert_eq!(next(unavailable, Outcome::Failed), expected);
    }
}
