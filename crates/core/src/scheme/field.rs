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
mod tests;
