//! Durations, sizes and times for people.

use bytesize::ByteSize;
use hookgate_core::UnixTime;

use super::terminal::printable;

/// Returns a duration in microseconds, microseconds to hours, with at most three digits.
pub(super) fn duration(microseconds: u64) -> String {
    const MILLI: u64 = 1_000;
    const SECOND: u64 = 1_000 * MILLI;
    match microseconds {
        0..MILLI => format!("{microseconds} µs"),
        MILLI..SECOND => digits(microseconds, MILLI, "ms"),
        _ if microseconds < 60 * SECOND => digits(microseconds, SECOND, "s"),
        _ => seconds(microseconds / SECOND),
    }
}

/// Returns `value` in units of `unit`: one decimal below 10, none above.
fn digits(value: u64, unit: u64, name: &str) -> String {
    match value < 10 * unit {
        true => format!("{}.{} {name}", value / unit, value % unit * 10 / unit),
        false => format!("{} {name}", value / unit),
    }
}

/// Returns a duration in seconds, in its largest whole unit.
pub(super) fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Returns a number of bytes as a size, such as `1.2 KiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A time of the API, such as `2026-11-30T07:02:48.123Z`. Times are in UTC.
pub(super) struct Time<'t>(pub(super) &'t str);

impl Time<'_> {
    /// Returns the date and the time, with milliseconds if the text has them.
    pub(super) fn full(&self) -> String {
        match self.parts() {
            Some((date, time)) => format!("{date} {time} UTC"),
            None => printable(self.0),
        }
    }

    /// Returns month, day and time, such as `11-30 07:02:48`.
    pub(super) fn short(&self) -> String {
        match self.parts() {
            Some((date, time)) => format!("{} {}", &date[5..], &time[..8]),
            None => printable(self.0),
        }
    }

    /// Returns the time of day, such as `07:02:48`.
    pub(super) fn of_day(&self) -> String {
        match self.parts() {
            Some((_, time)) => time[..8].to_owned(),
            None => printable(self.0),
        }
    }

    /// Returns the date.
    pub(super) fn day(&self) -> Option<String> {
        self.parts().map(|(date, _)| date.to_owned())
    }

    /// Returns how long ago the time was.
    pub(super) fn ago(&self, now: UnixTime) -> Option<String> {
        let time = hookgate_diagnose::parse_time(self.0)?;
        let ago = u64::try_from(now.secs() - time.secs()).ok()?;
        Some(format!("{} ago", seconds(ago)))
    }

    /// Returns the date and the time of day, if the text is a time in UTC.
    fn parts(&self) -> Option<(&str, &str)> {
        let (date, time) = self.0.strip_suffix('Z')?.split_once('T')?;
        let is_time = |byte: u8| byte.is_ascii_digit() || b"-:.".contains(&byte);
        let fits = date.len() == 10 && time.len() >= 8 && self.0.is_ascii();
        (fits && date.bytes().chain(time.bytes()).all(is_time)).then_some((date, time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_few_digits() {
        for (microseconds, expected) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.0 ms"),
            (9_990, "9.9 ms"),
            (12_345, "12 ms"),
            (999_999, "999 ms"),
            (1_250_000, "1.2 s"),
            (59_999_999, "59 s"),
            (90_000_000, "1 min"),
            (7_200_000_000, "2 h"),
            (200_000_000_000, "2 days"),
        ] {
            assert_eq!(duration(microseconds), expected);
        }
        assert!(duration(u64::MAX).ends_with(" days"));
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_229), "1.2 KiB");
        assert_eq!(size(5 << 20), "5.0 MiB");
    }

    #[test]
    fn times_are_shortened_and_other_texts_are_not() {
        let time = Time("2026-11-30T07:02:48.123Z");
        assert_eq!(time.full(), "2026-11-30 07:02:48.123 UTC");
        assert_eq!(time.short(), "11-30 07:02:48");
        assert_eq!(time.of_day(), "07:02:48");
        let now = UnixTime::from_secs(1_796_022_168 + 7_300);
        assert_eq!(time.ago(now).as_deref(), Some("2 h ago"));
        for text in ["", "yesterday", "2026-11-30T07Z", "éééééT12345678Z"] {
            assert_eq!(Time(text).short(), text);
        }
    }
}
