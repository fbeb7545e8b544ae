//! Points in time in any usual format, and their spellings.

use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// A point in time, and the form of the text that denotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant {
    /// Nanoseconds since the Unix epoch.
    pub(super) nanos: i128,
    /// The form of the text, as in "it is …".
    pub(super) form: &'static str,
    /// Whether the text has no fraction of a second.
    pub(super) is_whole: bool,
    /// Whether the text names no offset from UTC.
    pub(super) is_local: bool,
}

const SECOND: i128 = 1_000_000_000;
/// Texts longer than any date.
const MAX_LEN: usize = 64;

/// Parses a number of seconds, milliseconds, microseconds or nanoseconds, or a date.
pub(super) fn parse(text: &str) -> Option<Instant> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_LEN {
        return None;
    }
    number(text).or_else(|| date(text))
}

/// Parses a number. Its size shows its unit, because a delivery is from this century.
fn number(text: &str) -> Option<Instant> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    let is_digit = |one: char| one.is_ascii_digit();
    // Quotes around a number are no separators.
    if !plain.starts_with(is_digit) || !plain.ends_with(is_digit) {
        return None;
    }
    let is_plain = plain.len() == text.len() && !plain.contains([',', '_', '\'']);
    let plain = plain.replace([',', '_', '\''], "");
    if plain.contains(['e', 'E']) {
        return with_exponent(&plain);
    }
    match plain.split_once('.') {
        Some((whole, fraction)) => with_fraction(whole, fraction),
        None => whole(&plain, is_plain),
    }
}

fn whole(digits: &str, is_plain: bool) -> Option<Instant> {
    let (unit, form) = match digits.trim_start_matches('0').len() {
        0..=11 => (SECOND, "in seconds"),
        12..=14 => (SECOND / 1_000, "in milliseconds"),
        15..=17 => (SECOND / 1_000_000, "in microseconds"),
        18..=20 => (1, "in nanoseconds"),
        _ => return None,
    };
    let form = match is_plain && !digits.starts_with('0') {
        true => form,
        false => "a number with a sign, with separators or with leading zeros",
    };
    Some(Instant {
        nanos: digits.parse::<i128>().ok()? * unit,
        form,
        is_whole: unit == SECOND,
        is_local: false,
    })
}

fn with_fraction(whole: &str, fraction: &str) -> Option<Instant> {
    if !fraction.bytes().all(|one| one.is_ascii_digit()) {
        return None;
    }
    let start: u64 = whole.parse().ok()?;
    let fraction = fraction.trim_end_matches('0');
    let unit = unit_of(i128::from(start));
    let digits = u32::try_from(fraction.len())
        .ok()
        .filter(|digits| *digits <= 9)?;
    let part = fraction.parse::<i128>().unwrap_or(0) * unit / 10_i128.pow(digits);
    Some(Instant {
        nanos: i128::from(start) * unit + part,
        form: "a number with a fraction",
        is_whole: fraction.is_empty(),
        is_local: false,
    })
}

fn with_exponent(text: &str) -> Option<Instant> {
    let value: f64 = text.parse().ok()?;
    let is_plausible = (1e8..1e15).contains(&value) && value.fract() == 0.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the value is a whole number below 2^53"
    )]
    let number = value as i128;
    let unit = unit_of(number);
    // The product of a number that is not plausible could overflow.
    is_plausible.then(|| Instant {
        nanos: number * unit,
        form: "a number with an exponent",
        is_whole: unit == SECOND,
        is_local: false,
    })
}

/// Returns the unit of a number with a fraction or an exponent, in nanoseconds.
fn unit_of(number: i128) -> i128 {
    match number {
        100_000_000_000.. => SECOND / 1_000,
        _ => SECOND,
    }
}

/// Parses a date with a time, in any order of its parts: RFC 3339, RFC 2822, HTTP dates,
/// and the forms that JavaScript, Python and Go print.
fn date(text: &str) -> Option<Instant> {
    const MONTHS: &str = "janfebmaraprmayjunjulaugsepoctnovdec";
    let (mut day, mut month, mut year, mut time, mut offset) = (None, None, None, None, None);
    // RFC 3339 has one token, which is divided into a date, a time and an offset.
    let spaced = text
        .replace(['T', 't'], " ")
        .replace([',', '(', ')', '"'], " ");
    let spaced = spaced.replace("GM ", "GMT ").replace("U C", "UTC");
    for token in spaced.split_whitespace() {
        let (token, zone) = match token.find(':') {
            Some(at) => match token[at..].find(['+', '-', 'Z', 'z']) {
                Some(zone) => token.split_at(at + zone),
                None => (token, ""),
            },
            None => (token, ""),
        };
        let lower = token.to_ascii_lowercase();
        let name = lower
            .get(..3)
            .filter(|name| name.bytes().all(|one| one.is_ascii_lowercase()));
        if time.is_none() && token.contains(':') {
            time = Some(clock(token)?);
            if !zone.is_empty() {
                offset = Some(offset_of(zone)?);
            }
        } else if let Some(found) = calendar(token) {
            (year, month, day) = (Some(found.0), Some(found.1), Some(found.2));
        } else if let Some(at) = name
            .and_then(|name| MONTHS.find(name))
            .filter(|at| at % 3 == 0)
        {
            month = u8::try_from(at / 3 + 1).ok();
        } else if let Some(found) = offset_of(token) {
            offset = Some(found);
        } else if let Ok(number) = token.parse::<i32>() {
            match number {
                1..=31 if day.is_none() => day = u8::try_from(number).ok(),
                1970.. => year = Some(number),
                _ => return None,
            }
        }
    }
    let month = Month::try_from(month?).ok()?;
    let date = Date::from_calendar_date(year?, month, day?).ok()?;
    let time: Time = time?;
    let at = PrimitiveDateTime::new(date, time).assume_offset(offset.unwrap_or(UtcOffset::UTC));
    Some(Instant {
        nanos: at.unix_timestamp_nanos(),
        form: "a date",
        is_whole: time.nanosecond() == 0,
        is_local: offset.is_none(),
    })
}

/// Parses `2026-11-29`, `2026/11/29` or `29-Nov-26`.
fn calendar(token: &str) -> Option<(i32, u8, u8)> {
    let mut parts = token.split(['-', '/']);
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    match (parts.next(), first.len()) {
        (None, 4) => Some((
            first.parse().ok()?,
            second.parse().ok()?,
            third.parse().ok()?,
        )),
        _ => None,
    }
}

/// Parses `10:05:19` or `10:05:19.123`.
fn clock(token: &str) -> Option<Time> {
    let (clock, fraction) = token.split_once(['.', ',']).unwrap_or((token, ""));
    let mut parts = clock.split(':');
    let (hour, minute) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let second = parts.next().map_or(Some(0), |second| second.parse().ok())?;
    let nanos = match fraction.get(..9.min(fraction.len()))? {
        "" => 0,
        digits => format!("{digits:0<9}").parse().ok()?,
    };
    Time::from_hms_nano(hour, minute, second, nanos).ok()
}

/// Parses `Z`, `GMT`, `UTC`, `+0100`, `+01:00` or `GMT+0100`.
fn offset_of(token: &str) -> Option<UtcOffset> {
    let bare = token.trim_start_matches("GMT").trim_start_matches("UTC");
    if bare.is_empty() || matches!(bare, "Z" | "z") {
        return Some(UtcOffset::UTC);
    }
    let sign = match bare.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = bare[1..].replace(':', "");
    if !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i8 = digits.get(..2)?.parse().ok()?;
    let minutes: i8 = digits
        .get(2..)
        .filter(|rest| !rest.is_empty())
        .map_or(Some(0), |rest| rest.parse().ok())?;
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// Returns the spellings of the time at `nanos` that providers use.
pub(super) fn spellings(nanos: i128) -> Vec<String> {
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return Vec::new();
    };
    let mut all = vec![at.unix_timestamp().to_string()];
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    all.extend(with_offsets(&bare(whole)));
    all.extend(spellings_with_millis(nanos));
    all.extend(with_offsets(&bare(at)));
    for fraction in [
        format!("{:06}", at.microsecond()),
        format!("{:09}", at.nanosecond()),
    ] {
        all.extend(with_offsets(&format!("{}.{fraction}", bare(whole))));
    }
    all.extend(
        whole
            .format(&Rfc2822)
            .map(|text| text.replace("+0000", "GMT")),
    );
    all
}

/// Returns the spellings of the time at `nanos` that show its milliseconds.
pub(super) fn spellings_with_millis(nanos: i128) -> Vec<String> {
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return Vec::new();
    };
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    let mut all = vec![nanos.div_euclid(SECOND / 1_000).to_string()];
    let millis = format!("{}.{:03}", bare(whole), at.millisecond());
    all.extend(with_offsets(&millis));
    all
}

/// Returns RFC 3339 without an offset.
fn bare(at: OffsetDateTime) -> String {
    let text = at.format(&Rfc3339).unwrap_or_default();
    text.trim_end_matches('Z').to_owned()
}

fn with_offsets(bare: &str) -> [String; 3] {
    [format!("{bare}Z"), bare.to_owned(), format!("{bare}+00:00")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_every_usual_format() {
        let seconds = 1_795_946_719;
        for (text, form, millis) in [
            ("1795946719", "in seconds", 0),
            ("1795946719123", "in milliseconds", 123),
            ("1795946719123456", "in microseconds", 123),
            ("1795946719123456789", "in nanoseconds", 123),
            ("1795946719.0", "a number with a fraction", 0),
            ("1795946719.123", "a number with a fraction", 123),
            ("1795946719123.0", "a number with a fraction", 123),
            ("1.795946719e9", "a number with an exponent", 0),
            ("1.795946719123E12", "a number with an exponent", 123),
            (
                "1,795,946,719",
                "a number with a sign, with separators or with leading zeros",
                0,
            ),
            (
                "+1795946719",
                "a number with a sign, with separators or with leading zeros",
                0,
            ),
            ("2026-11-29T10:05:19Z", "a date", 0),
            ("2026-11-29T10:05:19.123Z", "a date", 123),
            ("2026-11-29T11:05:19+01:00", "a date", 0),
            ("2026-11-29 10:05:19.123456+00:00", "a date", 123),
            ("2026-11-29 10:05:19 +0000 UTC", "a date", 0),
            ("2026-11-29 10:05:19", "a date", 0),
            ("Sun, 29 Nov 2026 10:05:19 GMT", "a date", 0),
            ("Sun, 29 Nov 2026 10:05:19 +0000", "a date", 0),
            (
                "Sun Nov 29 2026 10:05:19 GMT+0000 (Coordinated Universal Time)",
                "a date",
                0,
            ),
            ("Sun Nov 29 10:05:19 2026", "a date", 0),
            ("Tue, 29 Nov 2026 02:05:19 -0800", "a date", 0),
        ] {
            let found = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found.form, form, "{text}");
            assert_eq!(found.nanos / 1_000_000, seconds * 1_000 + millis, "{text}");
        }
        for text in [
            "",
            "x",
            "v1=ab",
            "12:00",
            "2026-13-29T10:05:19Z",
            "99999999999999999999999",
            "1e33",
            "1e300",
            "-1e300",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_has_the_spellings_of_every_unit() {
        let all = spellings(1_795_946_719_123_000_000);
        for text in [
            "1795946719",
            "1795946719123",
            "2026-11-29T10:05:19Z",
            "2026-11-29T10:05:19",
            "2026-11-29T10:05:19.123Z",
            "2026-11-29T10:05:19+00:00",
            "Sun, 29 Nov 2026 10:05:19 GMT",
        ] {
            assert!(all.iter().any(|one| one == text), "{text} in {all:?}");
        }
    }
}
