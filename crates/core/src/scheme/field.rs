//! Strict parsers of the values that a sender writes: signatures, timestamps and event ids.
//!
//! Each parser accepts one canonical form and refuses every other spelling.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::mac::{Tag, TagLen};
use crate::time::{Precision, UnixTime};

/// Maximum length of an event id in bytes.
pub(crate) const MAX_ID_LEN: usize = 256;

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Hex,
    Base64,
    Base64Url,
    /// Base64 of hexadecimal digits.
    Base64Hex,
    /// A token, not encoded.
    Token,
    /// A token that is sent as HTTP basic credentials (RFC 7617).
    Basic,
}

impl Encoding {
    /// Decodes `text`, whose decoded length `len` must allow.
    pub(crate) fn decode(self, text: &[u8], len: TagLen) -> Option<Tag> {
        let mut tag = Tag::default();
        self.decode_to(text, len, &mut tag).map(|()| tag)
    }

    /// Decodes like [`decode`](Self::decode), but in place: a tag is large to move.
    pub(crate) fn decode_to(self, text: &[u8], len: TagLen, tag: &mut Tag) -> Option<()> {
        match self {
            Self::Hex => {
                let bytes = text.len() / 2;
                if !len.allows(bytes) {
                    return None;
                }
                hex::decode_to_slice(text, tag.zeroed(bytes)).ok()
            }
            Self::Base64 => decode_base64(&STANDARD, text, len, tag),
            Self::Base64Url => decode_base64(&URL_SAFE_NO_PAD, text, len, tag),
            Self::Base64Hex => {
                let mut digits = Tag::default();
                let digits_len = TagLen::AtMost(len.max() * 2);
                decode_base64(&STANDARD, text, digits_len, &mut digits)?;
                Self::Hex.decode_to(digits.bytes(), len, tag)
            }
            Self::Token => {
                *tag = len.allows(text.len()).then(|| Tag::of_token(text))?;
                Some(())
            }
            Self::Basic => {
                let mut credentials = Tag::default();
                decode_base64(&STANDARD, text, len, &mut credentials)?;
                *tag = Tag::of_token(credentials.bytes());
                Some(())
            }
        }
    }

    /// Encodes `bytes` as the provider does.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 | Self::Basic => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
            Self::Base64Hex => STANDARD.encode(hex::encode(bytes)),
            Self::Token => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Decodes canonical base64 (RFC 4648 §3.5). The engines refuse wrong padding and bits behind the
/// last byte, so no second text decodes to the same bytes.
fn decode_base64(engine: &GeneralPurpose, text: &[u8], len: TagLen, tag: &mut Tag) -> Option<()> {
    // The estimate is at most two bytes too high. A longer text is refused before the work of
    // decoding it.
    let estimate = base64::decoded_len_estimate(text.len());
    if estimate > len.max() + 2 {
        return None;
    }
    let decoded = engine.decode_slice(text, tag.zeroed(estimate)).ok()?;
    tag.truncate(decoded);
    len.allows(decoded).then_some(())
}

/// The format of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Seconds,
    Milliseconds,
    /// Up to 11 digits are seconds; 12 to 14 digits are milliseconds.
    SecondsOrMilliseconds,
    Rfc3339,
    /// RFC 3339 without the offset from UTC.
    Rfc3339Utc,
    /// The date of HTTP (RFC 9110 §5.6.7), in its preferred form.
    HttpDate,
}

impl TimeUnit {
    pub(crate) fn parse(self, text: &[u8]) -> Option<UnixTime> {
        match self {
            Self::Seconds => parse_decimal(text, 11).map(UnixTime::from_secs),
            Self::Milliseconds => parse_decimal(text, 14).map(UnixTime::from_millis),
            Self::SecondsOrMilliseconds if text.len() <= 11 => Self::Seconds.parse(text),
            Self::SecondsOrMilliseconds => Self::Milliseconds.parse(text),
            Self::Rfc3339 => parse_rfc3339(std::str::from_utf8(text).ok()?),
            Self::Rfc3339Utc => {
                let text = std::str::from_utf8(text).ok()?;
                // A text that ends with a digit has no offset. An offset `+01:00` ends with a
                // digit too, and cannot be followed by `Z`.
                let ends_with_digit = text.ends_with(|last: char| last.is_ascii_digit());
                ends_with_digit.then(|| parse_rfc3339(&format!("{text}Z")))?
            }
            Self::HttpDate => {
                let text = std::str::from_utf8(text).ok()?;
                let date = UnixTime::from(httpdate::parse_http_date(text).ok()?);
                // Other spellings of the same date are refused.
                (self.format(date) == text).then_some(date)
            }
        }
    }

    pub(crate) fn format(self, time: UnixTime) -> String {
        match self {
            Self::Seconds | Self::SecondsOrMilliseconds => time.secs().to_string(),
            Self::Milliseconds => time.millis().to_string(),
            Self::Rfc3339 => format_time(time, humantime::format_rfc3339_seconds),
            Self::Rfc3339Utc => Self::Rfc3339.format(time).trim_end_matches('Z').to_owned(),
            Self::HttpDate => format_time(time, httpdate::HttpDate::from),
        }
    }

    pub(crate) fn precision(self) -> Precision {
        match self {
            Self::Seconds | Self::SecondsOrMilliseconds | Self::HttpDate => Precision::Seconds,
            Self::Milliseconds | Self::Rfc3339 | Self::Rfc3339Utc => Precision::Milliseconds,
        }
    }
}

/// Parses a date of RFC 3339 from 1970 on, with `T` between its date and its time.
fn parse_rfc3339(text: &str) -> Option<UnixTime> {
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, offset_minutes(offset.as_bytes())?)
        }
    };
    // The crate `humantime` also accepts a fraction without digits, and reads no offset.
    let (_, fraction) = local
        .as_bytes()
        .split_at_checked("2026-11-21T08:00:00".len())?;
    let is_fraction = match fraction {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_fraction {
        return None;
    }
    let time = UnixTime::from(humantime::parse_rfc3339(&format!("{local}Z")).ok()?);
    Some(UnixTime::from_millis(time.millis() - offset * 60_000))
}

/// Reads the offset of a local time from UTC in minutes, such as `+01:30`.
fn offset_minutes(text: &[u8]) -> Option<i64> {
    let &[sign, h1, h2, b':', m1, m2] = text else {
        return None;
    };
    let two_digits = |tens: u8, ones: u8| {
        let is_number = tens.is_ascii_digit() && ones.is_ascii_digit();
        is_number.then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    let hours = two_digits(h1, h2).filter(|hours| *hours < 24)?;
    let minutes = two_digits(m1, m2).filter(|minutes| *minutes < 60)?;
    match sign {
        b'+' => Some(hours * 60 + minutes),
        b'-' => Some(-(hours * 60 + minutes)),
        _ => None,
    }
}

/// Returns the text of `time` in whole seconds. Empty before 1970, and if the year has no four
/// digits: the formats have no text for these.
fn format_time<T: ToString>(time: UnixTime, format: impl FnOnce(SystemTime) -> T) -> String {
    const END: u64 = 253_402_300_800;
    let seconds = u64::try_from(time.secs())
        .ok()
        .filter(|seconds| *seconds < END);
    let text = seconds.map(|seconds| format(UNIX_EPOCH + Duration::from_secs(seconds)).to_string());
    text.unwrap_or_default()
}

/// Parses 1 to `max_digits` ASCII digits without a sign, a blank or a leading zero.
fn parse_decimal(text: &[u8], max_digits: usize) -> Option<i64> {
    let canonical = matches!(text, [b'0'] | [b'1'..=b'9', ..]);
    // A number of more than 18 digits could overflow.
    if !canonical || text.len() > max_digits.min(18) {
        return None;
    }
    text.iter().try_fold(0, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        Some(number * 10 + i64::from(digit))
    })
}

/// Whether `id` is 1 to [`MAX_ID_LEN`] visible ASCII characters.
pub(crate) fn is_valid_id(id: &[u8]) -> bool {
    is_id_of(id, |byte| byte.is_ascii_graphic())
}

/// Whether `id` is a [valid id](is_valid_id) without the byte `delimiter`.
#[inline]
pub(crate) fn is_valid_id_without(id: &[u8], delimiter: u8) -> bool {
    is_id_of(id, |byte| byte.is_ascii_graphic() & (byte != delimiter))
}

#[inline]
fn is_id_of(id: &[u8], is_allowed: impl Fn(u8) -> bool) -> bool {
    // A fold without an early exit lets the compiler check several bytes at once.
    let are_allowed = |id: &[u8]| id.iter().fold(true, |all, byte| all & is_allowed(*byte));
    (1..=MAX_ID_LEN).contains(&id.len()) && are_allowed(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_one_canonical_form() {
        assert_eq!(
            TimeUnit::Seconds.parse(b"1784187600"),
            Some(UnixTime::from_secs(1_784_187_600))
        );
        assert_eq!(TimeUnit::Seconds.parse(b"0"), Some(UnixTime::from_secs(0)));
        for text in [
            "",
            " ",
            "-1",
            "+1",
            " 1",
            "1 ",
            "01",
            "1e9",
            "1.5",
            "0x10",
            "NaN",
            "123456789012",
            "9223372036854775807",
            "18446744073709551615",
            "１７８４",
        ] {
            assert_eq!(TimeUnit::Seconds.parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(
            TimeUnit::Rfc3339.parse(b"2026-11-21T08:00:00.123456789Z"),
            Some(UnixTime::from_millis(1_795_248_000_123))
        );
    }

    #[test]
    fn a_date_of_rfc_3339_may_have_a_fraction_and_an_offset() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-21T08:00:00Z", 1_795_248_000_000),
            ("2026-11-21T08:00:00.5Z", 1_795_248_000_500),
            ("2026-11-21T08:00:00.9999999999999Z", 1_795_248_000_999),
            ("2026-11-21T08:00:00+00:00", 1_795_248_000_000),
            ("2026-11-21T00:00:00-08:00", 1_795_248_000_000),
            ("2026-11-21T13:45:00.25+05:45", 1_795_248_000_250),
            ("2026-11-22T07:59:00+23:59", 1_795_248_000_000),
            ("2028-02-29T23:59:59-00:00", 1_835_481_599_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ] {
            let expected = Some(UnixTime::from_millis(millis));
            assert_eq!(TimeUnit::Rfc3339.parse(text.as_bytes()), expected, "{text}");
        }
        for bad in [
            "",
            "Z",
            "+01:00",
            "2026-11-21",
            "2026-11-21T08:00:00",
            "2026-11-21 08:00:00Z",
            "2026-11-21t08:00:00Z",
            "2026-11-21T08:00:00z",
            "2026-11-21T08:00Z",
            "2026-11-21T08:00:00ZZ",
            "2026-11-21T08:00:00.Z",
            "2026-11-21T08:00:00,5Z",
            "2026-11-21T08:00:00.5.5Z",
            "2026-11-21T08:00:00.5+00:0Z",
            "2026-11-21T08:00:00.5+01:00Z",
            "2026-11-21T08:00:00Z+01:00",
            "2026-11-21T08:00:00+1:00",
            "2026-11-21T08:00:00+0100",
            "2026-11-21T08:00:00+01",
            "2026-11-21T08:00:00+24:00",
            "2026-11-21T08:00:00+01:60",
            "2026-11-21T08:00:00+01:00:00",
            "2026-11-21T08:00:00±01:00",
            "2026-11-21T08:00:00\u{2212}01:00",
            "2026-13-21T08:00:00Z",
            "2027-02-29T08:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T08:00:61Z",
            "26-11-21T08:00:00Z",
            "+2026-11-21T08:00:00Z",
            "1969-12-31T23:59:59Z",
            " 2026-11-21T08:00:00Z",
            "2026-11-21T08:00:00Z ",
            "２026-11-21T08:00:00Z",
        ] {
            assert_eq!(TimeUnit::Rfc3339.parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_time_without_a_text_is_an_empty_text() {
        let units = [TimeUnit::Rfc3339, TimeUnit::Rfc3339Utc, TimeUnit::HttpDate];
        for unit in units {
            for secs in [i64::MIN, -1, 253_402_300_800, i64::MAX] {
                assert_eq!(
                    unit.format(UnixTime::from_secs(secs)),
                    "",
                    "{unit:?} {secs}"
                );
            }
            let last = UnixTime::from_secs(253_402_300_799);
            assert_eq!(
                unit.parse(unit.format(last).as_bytes()),
                Some(last),
                "{unit:?}"
            );
        }
    }

    #[test]
    fn a_date_has_one_spelling() {
        let time = UnixTime::from_secs(1_795_248_000);
        for (unit, text) in [
            (TimeUnit::Rfc3339Utc, "2026-11-21T08:00:00"),
            (TimeUnit::HttpDate, "Sat, 21 Nov 2026 08:00:00 GMT"),
        ] {
            assert_eq!(unit.parse(text.as_bytes()), Some(time), "{text}");
            assert_eq!(unit.format(time), text);
        }
        let fraction = TimeUnit::Rfc3339Utc.parse(b"2026-11-21T08:00:00.551");
        assert_eq!(fraction, Some(UnixTime::from_millis(1_795_248_000_551)));
        for bad in [
            "2026-11-21T08:00:00Z",
            "2026-11-21T08:00:00+01:00",
            "2026-11-21T08:00:00.",
            "2026-11-21",
        ] {
            assert_eq!(TimeUnit::Rfc3339Utc.parse(bad.as_bytes()), None, "{bad}");
        }
        for bad in [
            "Sat, 21 Nov 2026 08:00:00 +0000",
            "Sun, 21 Nov 2026 08:00:00 GMT",
            "21 Nov 2026 08:00:00 GMT",
            "Sat, 21 Nov 2026 08:00:00  GMT",
            "Saturday, 21-Nov-26 08:00:00 GMT",
        ] {
            assert_eq!(TimeUnit::HttpDate.parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_canonical_base64_of_the_exact_length_decodes() {
        let text = STANDARD.encode([7; 32]);
        assert_eq!(
            Encoding::Base64
                .decode(text.as_bytes(), TagLen::Exactly(32))
                .unwrap()
                .bytes(),
            [7; 32]
        );
        let unpadded = text.trim_end_matches('=');
        // The last character before the padding holds two bits that must be zero.
        let trailing_bits = format!("{}d=", &text[..42]);
        for bad in [
            unpadded.to_owned(),
            format!("{text}="),
            format!("{text} "),
            format!(" {text}"),
            format!("{}!!", &text[..42]),
            trailing_bits,
            STANDARD.encode([7; 31]),
            STANDARD.encode([7; 33]),
            text.replace('B', "_"),
            String::new(),
        ] {
            assert!(
                Encoding::Base64
                    .decode(bad.as_bytes(), TagLen::Exactly(32))
                    .is_none(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn no_two_texts_in_base64_decode_to_the_same_bytes() {
        for encoding in [Encoding::Base64, Encoding::Base64Url] {
            for len in 1..8_u8 {
                let bytes: Vec<u8> = (0..len).map(|at| at.wrapping_mul(85)).collect();
                let canonical = encoding.encode(&bytes);
                let len = TagLen::AtMost(8);
                let decoded = encoding.decode(canonical.as_bytes(), len).unwrap();
                assert_eq!(decoded.bytes(), bytes);
                let longer = [format!("{canonical}="), format!("{canonical}A")];
                let texts = longer.into_iter().chain([canonical.clone()]);
                for text in texts.map(String::into_bytes) {
                    for cut in 0..=text.len() {
                        for at in 0..cut {
                            for byte in 0..=u8::MAX {
                                let mut text = text[..cut].to_vec();
                                text[at] = byte;
                                // A text that decodes is the one that its bytes encode to.
                                if let Some(tag) = encoding.decode(&text, len) {
                                    assert_eq!(encoding.encode(tag.bytes()).as_bytes(), text);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn hex_is_case_insensitive_and_of_the_exact_length() {
        assert_eq!(
            Encoding::Hex
                .decode(b"0aFF", TagLen::Exactly(2))
                .unwrap()
                .bytes(),
            [0x0a, 0xff]
        );
        for bad in ["", "0a", "0aFF0", "0aFF00", "0aFG", " 0aFF", "0x0a"] {
            assert!(
                Encoding::Hex
                    .decode(bad.as_bytes(), TagLen::Exactly(2))
                    .is_none(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_id_is_visible_ascii() {
        assert!(is_valid_id(b"evt_1-2:3."));
        assert!(is_valid_id(&[b'a'; 256]));
        for bad in [&b""[..], b"a b", b"a\nb", &[b'a'; 257], "é".as_bytes()] {
            assert!(!is_valid_id(bad), "{bad:?}");
        }
    }
}
