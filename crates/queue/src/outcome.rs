//! The result of an attempt, and the class of the response that decides about a delivery.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::entry::{Failure, FailureKind};

/// The result of sending a delivery to its upstream once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The upstream responded.
    Response {
        /// The status of the response.
        status: StatusCode,
        /// The time of its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// No response came. [`FailureKind::Damaged`] makes the delivery a dead letter at once.
    Failed(FailureKind),
    /// The delivery could not be tried for a reason that is no fault of the upstream. The
    /// attempt does not count.
    NotTried,
    /// This process cannot read the delivery, and another version of the program can. The attempt
    /// does not count, and the other deliveries of the source are sent meanwhile.
    Unreadable,
    /// The tenant of the delivery has no receiver now. The attempt does not count, and the other
    /// deliveries of the source are sent meanwhile. A delivery whose time is up becomes a dead
    /// letter with the failure [`FailureKind::Unreachable`].
    NoReceiver,
}

/// The class of a response, by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseClass {
    /// 2xx: the delivery is done.
    Delivered,
    /// 3xx, 408, 425, 429 and 5xx: a later attempt may succeed.
    Temporary,
    /// 410: the upstream wants no such delivery any more.
    Gone,
    /// Any other status: the upstream rejects the delivery.
    Rejected,
}

impl AttemptOutcome {
    /// Returns the outcome of a response.
    ///
    /// `Retry-After` is a number of seconds or a date (RFC 9110 §10.2.3). `now` is the time of
    /// day, for a date.
    pub fn of_response(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        Self::Response {
            status,
            retry_after: retry_after(headers, now),
        }
    }
}

impl Failure {
    /// Returns the failure of an attempt that ended at the time `at`. Returns `None` if the
    /// upstream accepted the delivery, or if the delivery could not be tried.
    pub fn of(outcome: AttemptOutcome, at: SystemTime) -> Option<Self> {
        let (kind, status) = match outcome {
            AttemptOutcome::NotTried | AttemptOutcome::Unreadable | AttemptOutcome::NoReceiver => {
                return None;
            }
            AttemptOutcome::Failed(kind) => (kind, None),
            AttemptOutcome::Response { status, .. } => match ResponseClass::of(status) {
                ResponseClass::Delivered => return None,
                _ => (FailureKind::Response, Some(status.as_u16())),
            },
        };
        Some(Self { kind, status, at })
    }
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

impl ResponseClass {
    /// Returns the class of `status`.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Delivered,
            410 => Self::Gone,
            300..=399 | 408 | 425 | 429 | 500.. => Self::Temporary,
            _ => Self::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000);
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("86400", Some(86400)),
            ("Mon, 24 Nov 2025 16:01:00 GMT", Some(60)),
            ("Monday, 24-Nov-25 16:01:00 GMT", Some(60)),
            ("Mon, 24 Nov 2025 15:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ] {
            let value = HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let expected = AttemptOutcome::Response {
                status,
                retry_after: seconds.map(Duration::from_secs),
            };
            let outcome = AttemptOutcome::of_response(status, &headers, now);
            assert_eq!(outcome, expected, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn only_an_attempt_that_failed_is_a_failure() {
        let failure = |outcome| {
            let failure = Failure::of(outcome, SystemTime::UNIX_EPOCH)?;
            Some((failure.kind, failure.status))
        };
        let response = |status| {
            failure(AttemptOutcome::Response {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: None,
            })
        };
        assert_eq!(failure(AttemptOutcome::NotTried), None);
        assert_eq!(response(204), None);
        for status in [302, 404, 410, 503] {
            assert_eq!(
                response(status),
                Some((FailureKind::Response, Some(status)))
            );
        }
        let timed_out = AttemptOutcome::Failed(FailureKind::TimedOut);
        assert_eq!(failure(timed_out), Some((FailureKind::TimedOut, None)));
    }

    #[test]
    fn each_status_has_its_class() {
        for (class, statuses) in [
            (ResponseClass::Delivered, &[200, 202, 204, 299][..]),
            (
                ResponseClass::Temporary,
                &[300, 304, 307, 408, 425, 429, 500, 503, 599],
            ),
            (ResponseClass::Gone, &[410]),
            (
                ResponseClass::Rejected,
                &[101, 400, 401, 404, 409, 413, 422, 451],
            ),
        ] {
            for status in statuses {
                let status = StatusCode::from_u16(*status).unwrap();
                assert_eq!(ResponseClass::of(status), class, "{status}");
            }
        }
    }
}
