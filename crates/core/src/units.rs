//! Durations and sizes for people. A configuration reads them back with the same value.

use std::time::Duration;

/// Returns a duration in its units, such as `3 days`, `5 min` or `1 h 30 min`.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let days = seconds / 86_400;
    let day = if days == 1 { "day" } else { "days" };
    let nanos = u64::from(duration.subsec_nanos());
    let parts = [
        (days, day),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
        (nanos / 1_000_000, "ms"),
        (nanos / 1_000 % 1_000, "us"),
        (nanos % 1_000, "ns"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    match parts.is_empty() {
        true => "0 s".to_owned(),
        false => parts.join(" "),
    }
}

/// Returns a number of bytes in the largest unit that states it exactly, such as `1 MiB`, `25 MB`
/// or `1000001 B`.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1_000_000_000, "GB"),
        (1 << 30, "GiB"),
        (1_000_000, "MB"),
        (1 << 20, "MiB"),
        (1_000, "kB"),
        (1 << 10, "KiB"),
    ];
    let unit = UNITS
        .into_iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{FromValue, Value};

    #[test]
    fn a_duration_has_words_and_reads_back() {
        for (duration, expected) in [
            (Duration::ZERO, "0 s"),
            (Duration::from_millis(2_500), "2 s 500 ms"),
            (Duration::from_secs(39), "39 s"),
            (Duration::from_secs(300), "5 min"),
            (Duration::from_secs(5_400), "1 h 30 min"),
            (Duration::from_secs(86_400), "1 day"),
            (Duration::from_secs(72 * 3_600), "3 days"),
            (Duration::from_nanos(1_002), "1 us 2 ns"),
        ] {
            assert_eq!(duration_text(duration), expected);
            let value = Value::String(expected.to_owned());
            assert_eq!(Duration::from_value(&value), Ok(duration), "{expected}");
        }
    }

    #[test]
    fn a_size_is_exact() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1 << 20, "1 MiB"),
            (3 << 19, "1536 KiB"),
            (25_000_000, "25 MB"),
            (256_000, "256 kB"),
            (10 << 30, "10 GiB"),
            (1_000_001, "1000001 B"),
        ] {
            assert_eq!(size_text(bytes), expected);
        }
    }
}
