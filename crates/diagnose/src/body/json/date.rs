//! The forms in which serializers write one date and time.

use std::ops::Range;

/// How a time in UTC names its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Zone {
    Kept,
    /// `Z`
    Letter,
    /// `+00:00`
    Offset,
}

/// How many digits the fraction of a second has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fraction {
    Kept,
    /// No zeros at the end.
    Shortest,
    /// Three digits, as in JavaScript.
    Milliseconds,
    /// Six digits, as in Python.
    Microseconds,
    /// Seven digits, as in .NET.
    Ticks,
}

/// A form of a date and time as in ISO 8601.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    pub(super) zone: Zone,
    pub(super) fraction: Fraction,
}

impl Form {
    pub(super) const KEPT: Self = Self {
        zone: Zone::Kept,
        fraction: Fraction::Kept,
    };

    /// Every form, the most common one first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let zones = [Zone::Kept, Zone::Letter, Zone::Offset];
        let fractions = [
            Fraction::Kept,
            Fraction::Shortest,
            Fraction::Milliseconds,
            Fraction::Microseconds,
            Fraction::Ticks,
        ];
        zones.into_iter().flat_map(move |zone| {
            fractions
                .into_iter()
                .map(move |fraction| Self { zone, fraction })
        })
    }

    /// Writes the string `text` in this form. Returns `None` if the string is not a date and
    /// time, or if it stays the same.
    pub(super) fn apply(self, text: &[u8]) -> Option<Vec<u8>> {
        let parts = Parts::of(text)?;
        let zone: &[u8] = match (self.zone, &text[parts.zone.clone()]) {
            (Zone::Letter, b"+00:00" | b"+0000" | b"-00:00") => b"Z",
            (Zone::Offset, b"Z" | b"+0000" | b"-00:00") => b"+00:00",
            (_, zone) => zone,
        };
        let fraction = self.fraction.of(&text[parts.fraction.clone()]);
        let out = [&text[..parts.fraction.start], &fraction, zone, b"\""].concat();
        (out != text).then_some(out)
    }
}

impl Fraction {
    /// Returns `fraction`, which has its point or is empty, in this form.
    fn of(self, fraction: &[u8]) -> Vec<u8> {
        let len = match self {
            Self::Kept => return fraction.to_vec(),
            Self::Shortest => 0,
            Self::Milliseconds => 3,
            Self::Microseconds => 6,
            Self::Ticks => 7,
        };
        let digits = fraction.get(1..).unwrap_or_default();
        let zeros = digits
            .iter()
            .rev()
            .take_while(|digit| **digit == b'0')
            .count();
        let mut digits = digits[..digits.len() - zeros].to_vec();
        digits.resize(digits.len().max(len), b'0');
        if !digits.is_empty() {
            digits.insert(0, b'.');
        }
        digits
    }
}

/// The parts of a date and time that serializers change.
struct Parts {
    /// The fraction of the second, with its point.
    fraction: Range<usize>,
    zone: Range<usize>,
}

impl Parts {
    /// Returns the parts of a string, which has its quotes.
    fn of(text: &[u8]) -> Option<Self> {
        const PATTERN: &[u8] = b"\"dddd-dd-ddTdd:dd:dd";
        if !(PATTERN.len()..48).contains(&text.len()) {
            return None;
        }
        let (head, rest) = text.split_at(PATTERN.len());
        let fits = PATTERN
            .iter()
            .zip(head)
            .all(|(pattern, byte)| match pattern {
                b'd' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b' '),
                _ => byte == pattern,
            });
        let digits = rest.iter().skip(1).take_while(|byte| byte.is_ascii_digit());
        let len = match rest.first() {
            Some(b'.') => 1 + digits.count(),
            _ => 0,
        };
        let zone = rest.get(len..)?.strip_suffix(b"\"")?;
        let has_zone = match zone {
            b"" | b"Z" => true,
            [b'+' | b'-', digits @ ..] => digits
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b':'),
            _ => false,
        };
        let start = PATTERN.len() + len;
        (fits && has_zone).then_some(Self {
            fraction: PATTERN.len()..start,
            zone: start..start + zone.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_in_each_form() {
        use {Fraction as F, Zone as Z};
        let rows: &[(&str, Zone, Fraction, &str)] = &[
            (
                "2026-07-16T09:00:00Z",
                Z::Offset,
                F::Kept,
                "2026-07-16T09:00:00+00:00",
            ),
            (
                "2026-07-16T09:00:00+00:00",
                Z::Letter,
                F::Kept,
                "2026-07-16T09:00:00Z",
            ),
            (
                "2026-07-16T09:00:00+0000",
                Z::Letter,
                F::Milliseconds,
                "2026-07-16T09:00:00.000Z",
            ),
            (
                "2026-07-16T09:00:00.120Z",
                Z::Kept,
                F::Shortest,
                "2026-07-16T09:00:00.12Z",
            ),
            (
                "2026-07-16T09:00:00.000Z",
                Z::Kept,
                F::Shortest,
                "2026-07-16T09:00:00Z",
            ),
            (
                "2026-07-16 09:00:00.12",
                Z::Letter,
                F::Microseconds,
                "2026-07-16 09:00:00.120000",
            ),
            (
                "2026-07-16T09:00:00-04:00",
                Z::Letter,
                F::Ticks,
                "2026-07-16T09:00:00.0000000-04:00",
            ),
        ];
        for (text, zone, fraction, expected) in rows {
            let form = Form {
                zone: *zone,
                fraction: *fraction,
            };
            let out = form.apply(format!("\"{text}\"").as_bytes());
            let expected = format!("\"{expected}\"");
            assert_eq!(out.as_deref(), Some(expected.as_bytes()), "{text}");
        }
    }

    #[test]
    fn other_strings_are_not_dates() {
        let form = Form {
            zone: Zone::Offset,
            fraction: Fraction::Milliseconds,
        };
        for text in [
            "2026-07-16",
            "2026-07-16T09:00",
            "2026-07-16T09:00:00Zulu",
            "2026-07-16T09:00:00.Q",
            "0d1a26",
            "",
            "2026-07-16T09:00:0xZ",
        ] {
            assert_eq!(form.apply(format!("\"{text}\"").as_bytes()), None, "{text}");
        }
        assert_eq!(Form::KEPT.apply(b"\"2026-07-16T09:00:00Z\""), None);
    }
}
