//! The result of an attempt, and what a response of the upstream means for a delivery.

use std::time::Duration;

use http::StatusCode;

use crate::entry::FailureKind;

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
    /// No response came.
    Failed(FailureKind),
    /// The delivery could not be tried for a reason that is no fault of the upstream. The
    /// attempt does not count.
    NotTried,
}

/// What the status of a response means for a delivery.
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
    use super::*;

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
