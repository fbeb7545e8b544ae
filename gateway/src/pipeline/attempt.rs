//! One attempt to deliver, as the queue and the breaker see it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookgate_core::UnixTime;
use hookgate_gate::Reason;
use hookgate_queue::{AttemptOutcome, Failure, FailureKind};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::upstream::{ForwardError, UpstreamResponse};

/// Returns the outcome of an attempt. `now` is the time of day.
pub(crate) fn attempt_outcome(
    sent: &Result<UpstreamResponse<'_>, ForwardError>,
    now: UnixTime,
) -> AttemptOutcome {
    match sent {
        Ok(response) => AttemptOutcome::Response {
            status: response.status(),
            retry_after: retry_after(&response.head().headers, now),
        },
        Err(error) => match error.reason {
            // The limit of this gateway is no fault of the upstream.
            Reason::UpstreamBusy => AttemptOutcome::NotTried,
            Reason::UpstreamUnreachable => AttemptOutcome::Failed(FailureKind::Unreachable),
            Reason::UpstreamTimeout => AttemptOutcome::Failed(FailureKind::TimedOut),
            _ => AttemptOutcome::Failed(FailureKind::BrokenOff),
        },
    }
}

/// Returns the failure that an attempt with this outcome is, for the queue.
pub(crate) fn failure_of(outcome: AttemptOutcome, now: UnixTime) -> Failure {
    let (kind, status) = match outcome {
        AttemptOutcome::Response { status, .. } => (FailureKind::Response, Some(status.as_u16())),
        AttemptOutcome::Failed(kind) => (kind, None),
        AttemptOutcome::NotTried => (FailureKind::Unreachable, None),
    };
    let at = system_time(now);
    Failure { kind, status, at }
}

/// Returns a time of the gate's clock for the queue.
pub(crate) fn system_time(time: UnixTime) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(time.millis()).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// Returns the time after which the upstream wants to be asked again (RFC 9110 §10.2.3): seconds,
/// or a date.
fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    let seconds = date.unix_timestamp().saturating_sub(now.secs());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = UnixTime::from_secs(1_764_000_000);
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("86400", Some(86400)),
            ("Mon, 24 Nov 2025 16:01:00 GMT", Some(60)),
            ("Mon, 24 Nov 2025 15:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ] {
            let value = HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
