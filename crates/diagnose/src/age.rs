//! The age of a delivery.

use std::time::Duration;

use hookgate_core::{UnixTime, VerifyError};

use crate::attempt::Case;
use crate::cause::{Cause, Code};

/// Returns the cause for a delivery that is refused with `error`, if that is about its age.
///
/// `signed_at` is the signed timestamp, if the signature matches and the scheme has one.
pub(crate) fn cause(
    case: Case<'_>,
    error: VerifyError,
    signed_at: Option<UnixTime>,
) -> Option<Cause> {
    let window = case.setup.window.or_else(|| case.setup.scheme.window());
    let window = window.unwrap_or_default();
    let (code, order, limit) = match error {
        VerifyError::TimestampTooOld => (Code::TimestampTooOld, "before", window.past()),
        VerifyError::TimestampTooNew => (Code::TimestampTooNew, "after", window.future()),
        _ => return None,
    };
    let arrival = match case.capture.arrived {
        Some(_) => "its arrival",
        None => "now",
    };
    let limit = seconds(limit);
    let cause = match signed_at {
        Some(signed_at) => {
            let distance = case.now.secs().abs_diff(signed_at.secs());
            let distance = seconds(Duration::from_secs(distance));
            Cause::new(
                code,
                format!(
                    "the delivery was signed {distance} {order} {arrival}, and the window allows \
                     {limit}"
                ),
            )
        }
        None => Cause::new(
            code,
            format!("the delivery is dated {order} {arrival} by more than the window of {limit}"),
        ),
    };
    Some(match case.capture.arrived {
        Some(_) => cause,
        None => cause.with_fix("set the time of arrival, such as `--at 2026-11-30T12:00:00Z`"),
    })
}

/// Writes a duration in its largest unit of seconds, minutes, hours and days.
fn seconds(duration: Duration) -> String {
    let total = duration.as_secs();
    let (days, hours) = (total / 86_400, total / 3_600 % 24);
    let (minutes, rest) = (total / 60 % 60, total % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
