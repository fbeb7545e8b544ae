//! The forms in which serializers write one number.

use std::ops::Range;

/// A form of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// The text of the body.
    Kept,
    /// A fraction has no zeros at its end, and there is no exponent: `60`, `0.5`.
    Shortest,
    /// The point has at least one digit after it: `60.0`, `0.5`.
    Point,
    /// The point has at least two digits after it: `60.00`, `0.50`.
    Cents,
    /// [`Form::Cents`] for numbers with a fraction or an exponent. Others keep their text.
    FractionCents,
    /// An exponent without a sign, as in `1e21`. Numbers without an exponent keep their text.
    Exponent,
    /// An exponent as in JavaScript: `1e+21`, `1e-7`.
    SignedExponent,
    /// An exponent of two digits, as in Python: `1e+21`, `1e-07`.
    PaddedExponent,
    /// An exponent as in Java: `1.0E21`.
    UpperExponent,
    /// An exponent as in .NET: `1E+21`.
    UpperSignedExponent,
}

impl Form {
    pub(super) const COUNT: usize = 10;

    /// Every form.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Kept,
        Self::Shortest,
        Self::Point,
        Self::Cents,
        Self::FractionCents,
        Self::Exponent,
        Self::SignedExponent,
        Self::PaddedExponent,
        Self::UpperExponent,
        Self::UpperSignedExponent,
    ];

    /// Writes the number `text` in this form.
    pub(super) fn write(self, text: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if self.write_changed(text, out).is_none() {
            out.truncate(start);
            out.extend_from_slice(text);
        }
    }

    /// Writes the number. Returns `None` if this form does not apply to it.
    fn write_changed(self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let number = Number::parse(text)?;
        match self {
            Self::Kept => None,
            Self::Shortest => number.write_plain(0, out),
            Self::Point => number.write_plain(1, out),
            Self::Cents => number.write_plain(2, out),
            Self::FractionCents if number.is_integer() => None,
            Self::FractionCents => number.write_plain(2, out),
            Self::Exponent => number.write_exponent("e", "", 1, out),
            Self::SignedExponent => number.write_exponent("e", "+", 1, out),
            Self::PaddedExponent => number.write_exponent("e", "+", 2, out),
            Self::UpperExponent => number.write_exponent("E", "", 1, out),
            Self::UpperSignedExponent => number.write_exponent("E", "+", 1, out),
        }
    }
}

/// The largest exponent that is written as zeros.
const PLAIN_EXPONENTS: Range<i64> = -40..40;

/// The parts of a number.
struct Number<'a> {
    sign: &'a [u8],
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: Option<i64>,
}

impl<'a> Number<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (sign, rest) = text.split_at(usize::from(text.first() == Some(&b'-')));
        let end = rest.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (mantissa, exponent) = rest.split_at(end.unwrap_or(rest.len()));
        let point = mantissa.iter().position(|byte| *byte == b'.');
        let (integer, fraction) = mantissa.split_at(point.unwrap_or(mantissa.len()));
        let exponent = match exponent.split_first() {
            Some((_, digits)) => Some(std::str::from_utf8(digits).ok()?.parse().ok()?),
            None => None,
        };
        Some(Self {
            sign,
            integer,
            fraction: fraction.get(1..).unwrap_or_default(),
            exponent,
        })
    }

    /// Whether the text has neither a fraction nor an exponent.
    fn is_integer(&self) -> bool {
        self.fraction.is_empty() && self.exponent.is_none()
    }

    /// Writes the number without an exponent, and with at least `places` after the point.
    fn write_plain(&self, places: usize, out: &mut Vec<u8>) -> Option<()> {
        let exponent = self.exponent.unwrap_or(0);
        if !PLAIN_EXPONENTS.contains(&exponent) {
            return None;
        }
        let (before, after) = self.shifted(exponent);
        out.extend_from_slice(self.sign);
        let zeros = before.iter().take_while(|digit| **digit == b'0').count();
        match before.get(zeros..) {
            Some(digits) if !digits.is_empty() => out.extend_from_slice(digits),
            _ => out.push(b'0'),
        }
        let len = after.len()
            - after
                .iter()
                .rev()
                .take_while(|digit| **digit == b'0')
                .count();
        if len.max(places) > 0 {
            out.push(b'.');
            out.extend_from_slice(&after[..len]);
            out.extend(std::iter::repeat_n(b'0', places.saturating_sub(len)));
        }
        Some(())
    }

    /// Returns the digits before and after the point, once the point moved by `exponent`.
    fn shifted(&self, exponent: i64) -> (Vec<u8>, Vec<u8>) {
        let mut before = self.integer.to_vec();
        let mut after = self.fraction.to_vec();
        let distance = usize::try_from(exponent.unsigned_abs()).unwrap_or(0);
        if exponent >= 0 {
            after.resize(after.len().max(distance), b'0');
            before.extend(after.drain(..distance));
        } else {
            let missing = distance.saturating_sub(before.len());
            before.splice(0..0, std::iter::repeat_n(b'0', missing));
            after.splice(0..0, before.drain(before.len() - distance..));
        }
        (before, after)
    }

    /// Writes a number that has an exponent. `plus` is the sign of an exponent above zero.
    fn write_exponent(&self, e: &str, plus: &str, digits: usize, out: &mut Vec<u8>) -> Option<()> {
        let exponent = self.exponent?;
        out.extend_from_slice(self.sign);
        out.extend_from_slice(self.integer);
        let fraction = match self.fraction {
            b"0" => b"",
            fraction => fraction,
        };
        // Java writes at least one digit after the point.
        let is_java = e == "E" && plus.is_empty();
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        } else if is_java {
            out.extend_from_slice(b".0");
        }
        let sign = if exponent < 0 { "-" } else { plus };
        out.extend_from_slice(format!("{e}{sign}{:0digits$}", exponent.unsigned_abs()).as_bytes());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_writes_the_same_value() {
        use Form::*;
        let rows: &[(&str, Form, &str)] = &[
            ("60.0", Kept, "60.0"),
            ("60.0", Shortest, "60"),
            ("60.50", Shortest, "60.5"),
            ("1.795946719E12", Shortest, "1795946719000"),
            ("1.0E-5", Shortest, "0.00001"),
            ("12.5e-1", Shortest, "1.25"),
            ("1e3", Shortest, "1000"),
            ("-0.0", Shortest, "-0"),
            ("0", Shortest, "0"),
            (
                "12345678901234567890123",
                Shortest,
                "12345678901234567890123",
            ),
            ("1e400", Shortest, "1e400"),
            ("60", Point, "60.0"),
            ("60.50", Point, "60.5"),
            ("1e3", Point, "1000.0"),
            ("-7", Point, "-7.0"),
            ("121.0", Cents, "121.00"),
            ("121", Cents, "121.00"),
            ("0.125", Cents, "0.125"),
            ("0.1", FractionCents, "0.10"),
            ("121", FractionCents, "121"),
            ("1e+21", Exponent, "1e21"),
            ("1e21", SignedExponent, "1e+21"),
            ("1E-7", SignedExponent, "1e-7"),
            ("1e-7", PaddedExponent, "1e-07"),
            ("1e+21", UpperExponent, "1.0E21"),
            ("1.0E21", UpperSignedExponent, "1E+21"),
            ("60", UpperExponent, "60"),
            ("1e99999999999999999999", Shortest, "1e99999999999999999999"),
        ];
        for (text, form, expected) in rows {
            let mut out = Vec::new();
            form.write(text.as_bytes(), &mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                *expected,
                "{text} {form:?}"
            );
        }
    }
}
