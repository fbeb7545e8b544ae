//! The time of arrival as text.

use hookgate_core::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a point in time: seconds or milliseconds since the Unix epoch, or RFC 3339.
///
/// A number of up to 11 digits is in seconds and may have a fraction. A number of 12 to 14
/// digits is in milliseconds. So seconds reach to the year 5138, and milliseconds begin in 1973.
pub fn parse_time(text: &str) -> Option<UnixTime> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    if !is_number(whole) {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
        return i64::try_from(millis).ok().map(UnixTime::from_millis);
    }
    let number: i64 = whole.parse().ok()?;
    match (whole.len(), fraction) {
        (1..=11, None) => Some(UnixTime::from_secs(number)),
        (1..=11, Some(fraction)) if is_number(fraction) => {
            let digits = fraction.bytes().chain([b'0', b'0']).take(3);
            let millis = digits.fold(0, |sum, digit| 10 * sum + i64::from(digit - b'0'));
            Some(UnixTime::from_millis(1000 * number + millis))
        }
        (12..=14, None) => Some(UnixTime::from_millis(number)),
        _ => None,
    }
}

/// Writes `time` in RFC 3339, for a time between the years 0 and 9999.
pub(super) fn format_time(time: UnixTime) -> Option<String> {
    let nanos = i128::from(time.millis()) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    time.format(&Rfc3339).ok()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_milliseconds_and_rfc_3339_are_the_same_time() {
        for (text, millis) in [
            ("1784187600", 1_784_187_600_000),
            ("0", 0),
            ("99999999999", 99_999_999_999_000),
            ("1784187600.5", 1_784_187_600_500),
            ("1784187600.123456", 1_784_187_600_123),
            ("1784187600123", 1_784_187_600_123),
            ("100000000000", 100_000_000_000),
            ("2026-07-16T07:40:00Z", 1_784_187_600_000),
            ("2026-07-16T09:40:00.250+02:00", 1_784_187_600_250),
        ] {
            assert_eq!(
                parse_time(text),
                Some(UnixTime::from_millis(millis)),
                "{text}"
            );
        }
        let time = UnixTime::from_millis(1_784_187_600_250);
        let text = format_time(time).expect("the year has four digits");
        assert_eq!(text, "2026-07-16T07:40:00.25Z");
        assert_eq!(parse_time(&text), Some(time));
    }

    #[test]
    fn other_texts_are_no_time() {
        for text in [
            "",
            "-1",
            "+1784187600",
            " 1784187600",
            "1784187600.",
            "1784187600123.5",
            "1784187600123456",
            "1.7e9",
            "0x6a5a",
            "yesterday",
            "2026-07-16",
            "2026-07-16 07:40:00",
            "99999999999999999999",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
