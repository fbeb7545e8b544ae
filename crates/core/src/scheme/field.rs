//! Strict parsers of the fields that a sender writes. One canonical form each;
//! whatever else there is, is refused.

use std::ops::Range;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::VerifyError;
use crate::mac::Tag;
use crate::time::{Precision, UnixTime};
use crate::verifier::MAX_CANDIDATES;

/// Longest event id, in bytes.
pub(crate) const MAX_ID: usize = 256;

/// Candidate signatures of one delivery, decoded.
pub(crate) type Candidates = SmallVec<[Tag; 1]>;

/// Unpadded, as those write it who use this alphabet.
const STRICT_BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

const STRICT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(false),
);

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Hex,
    Base64,
    Base64Url,
    /// A token as it is.
    Token,
    /// A token as the credentials of HTTP basic authentication (RFC 7617).
    Basic,
}

impl Encoding {
    /// Decodes to exactly `len` bytes.
    pub(crate) fn decode(self, text: &[u8], len: usize) -> Option<Tag> {
        match self {
            Self::Hex => {
                let mut tag = Tag::zeroed(len)?;
                hex::decode_to_slice(text, tag.bytes_mut()).ok()?;
                Some(tag)
            }
            Self::Base64 => decode_base64(&STRICT_BASE64, len.div_ceil(3) * 4, text, len),
            Self::Base64Url => decode_base64(&STRICT_BASE64_URL, (len * 4).div_ceil(3), text, len),
            Self::Token if text.is_empty() => None,
            Self::Token => Some(Tag::of_token(text)),
            Self::Basic => Some(Tag::of_token(&STRICT_BASE64.decode(text).ok()?)),
        }
    }

    /// Writes `bytes` as the provider does.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 | Self::Basic => STRICT_BASE64.encode(bytes),
            Self::Base64Url => STRICT_BASE64_URL.encode(bytes),
            Self::Token => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Decodes a text of `text_len` characters to a tag of `len` bytes.
fn decode_base64(engine: &GeneralPurpose, text_len: usize, text: &[u8], len: usize) -> Option<Tag> {
    // The engine wants room for what the text could hold; `tag` has exactly what
    // it must hold. The lengths decide beforehand.
    if text.len() != text_len {
        return None;
    }
    let mut decoded = [0; Tag::MAX_LEN + 2];
    let written = engine.decode_slice(text, &mut decoded).ok()?;
    let mut tag = Tag::zeroed(len).filter(|_| written == len)?;
    tag.bytes_mut().copy_from_slice(&decoded[..len]);
    Some(tag)
}

/// Where the signature is and how it is written.
#[derive(Clone, Debug)]
pub(crate) struct SignatureField {
    pub(crate) header: HeaderName,
    pub(crate) prefix: Box<[u8]>,
    pub(crate) prefix_optional: bool,
    pub(crate) encoding: Encoding,
    pub(crate) list: Option<List>,
}

/// A list of named items, such as `t=1,v1=ab,v1=cd`.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) items: u8,
    pub(crate) pair: u8,
    pub(crate) name: Box<[u8]>,
    /// Whether blanks around an item are taken off.
    pub(crate) trim: bool,
}

impl List {
    /// The byte ranges of the name and the value of every item that has both.
    fn pairs<'v>(&self, value: &'v [u8]) -> impl Iterator<Item = (&'v [u8], Range<usize>)> {
        let (items, pair, trim) = (self.items, self.pair, self.trim);
        let mut start = 0;
        value
            .split(move |byte| *byte == items)
            .filter_map(move |item| {
                let mut at = start;
                start += item.len() + 1;
                let mut item = item;
                if trim {
                    at += item.len() - item.trim_ascii_start().len();
                    item = item.trim_ascii();
                }
                let separator = item.iter().position(|byte| *byte == pair)?;
                Some((&item[..separator], at + separator + 1..at + item.len()))
            })
    }
}

impl SignatureField {
    /// The one signature header.
    pub(crate) fn value<'h>(&self, headers: &'h HeaderMap) -> Result<&'h HeaderValue, VerifyError> {
        match only(headers, &self.header) {
            Ok(value) => Ok(value),
            Err(Absence::Missing) => Err(VerifyError::SignatureMissing),
            Err(Absence::Repeated) => Err(VerifyError::SignatureRepeated),
        }
    }

    /// The candidate signatures in `value`, each of `tag_len` bytes; one or more.
    pub(crate) fn candidates(
        &self,
        value: &[u8],
        tag_len: usize,
    ) -> Result<Candidates, VerifyError> {
        let decode = |text: &[u8]| {
            let text = match text.strip_prefix(&*self.prefix) {
                None if self.prefix_optional => text,
                stripped => stripped?,
            };
            self.encoding.decode(text, tag_len)
        };
        let mut candidates = Candidates::new();
        let Some(list) = &self.list else {
            candidates.push(decode(value).ok_or(VerifyError::SignatureMalformed)?);
            return Ok(candidates);
        };
        let mut other_versions = false;
        // Items without a name belong to nobody: passed over, as senders and
        // libraries of list schemes do.
        for (name, range) in list.pairs(value) {
            if name != &*list.name {
                other_versions = true;
                continue;
            }
            if candidates.len() == MAX_CANDIDATES {
                return Err(VerifyError::SignatureTooMany);
            }
            candidates.push(decode(&value[range]).ok_or(VerifyError::SignatureMalformed)?);
        }
        if !candidates.is_empty() {
            Ok(candidates)
        } else if other_versions {
            Err(VerifyError::SignatureVersionUnknown)
        } else {
            Err(VerifyError::SignatureMalformed)
        }
    }

    /// The byte range of the one item `name` in `value`.
    pub(crate) fn item(&self, value: &[u8], name: &[u8]) -> Result<Range<usize>, Absence> {
        let list = self.list.as_ref().ok_or(Absence::Missing)?;
        let mut ranges = list.pairs(value).filter(|(other, _)| *other == name);
        match (ranges.next(), ranges.next()) {
            (Some((_, range)), None) => Ok(range),
            (None, _) => Err(Absence::Missing),
            (Some(_), Some(_)) => Err(Absence::Repeated),
        }
    }
}

/// Why there is not exactly one of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    Missing,
    Repeated,
}

/// The one header `name`. Whoever takes the first or the last of several reads
/// something else than the next system does.
pub(crate) fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<&'h HeaderValue, Absence> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(Absence::Missing),
        (Some(_), Some(_)) => Err(Absence::Repeated),
    }
}

/// The form of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Seconds,
    Milliseconds,
    Rfc3339,
}

impl TimeUnit {
    pub(crate) fn parse(self, text: &[u8]) -> Option<UnixTime> {
        match self {
            Self::Seconds => digits(text, 11).map(UnixTime::from_secs),
            Self::Milliseconds => digits(text, 14).map(UnixTime::from_millis),
            Self::Rfc3339 => {
                // The parser takes any separator; RFC 3339 §5.6 has one form.
                let text = std::str::from_utf8(text)
                    .ok()
                    .filter(|t| t.as_bytes().get(10) == Some(&b'T'))?;
                let nanos = OffsetDateTime::parse(text, &Rfc3339)
                    .ok()?
                    .unix_timestamp_nanos();
                i64::try_from(nanos.div_euclid(1_000_000))
                    .ok()
                    .map(UnixTime::from_millis)
            }
        }
    }

    pub(crate) fn format(self, time: UnixTime) -> String {
        match self {
            Self::Seconds => time.secs().to_string(),
            Self::Milliseconds => time.millis().to_string(),
            Self::Rfc3339 => OffsetDateTime::from_unix_timestamp(time.secs())
                .ok()
                .and_then(|time| time.format(&Rfc3339).ok())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn precision(self) -> Precision {
        match self {
            Self::Seconds => Precision::Seconds,
            Self::Milliseconds | Self::Rfc3339 => Precision::Milliseconds,
        }
    }
}

/// 1 to `most` ASCII digits without sign, blank or leading zero.
fn digits(text: &[u8], most: usize) -> Option<i64> {
    let canonical = matches!(text, [b'0'] | [b'1'..=b'9', ..]);
    if !canonical || text.len() > most {
        return None;
    }
    text.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether `id` is 1 to 256 visible ASCII characters, none of them in `exclude`.
pub(crate) fn is_id(id: &[u8], exclude: &[u8]) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !exclude.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_one_form() {
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
        assert_eq!(TimeUnit::Rfc3339.parse(b"2026-11-21 08:00:00Z"), None);
    }

    #[test]
    fn only_canonical_base64_of_the_exact_length_decodes() {
        let text = STRICT_BASE64.encode([7; 32]);
        assert_eq!(
            Encoding::Base64
                .decode(text.as_bytes(), 32)
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
            STRICT_BASE64.encode([7; 31]),
            STRICT_BASE64.encode([7; 33]),
            text.replace('B', "_"),
            String::new(),
        ] {
            assert!(
                Encoding::Base64.decode(bad.as_bytes(), 32).is_none(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn hex_is_case_insensitive_and_of_the_exact_length() {
        assert_eq!(
            Encoding::Hex.decode(b"0aFF", 2).unwrap().bytes(),
            [0x0a, 0xff]
        );
        for bad in ["", "0a", "0aFF0", "0aFF00", "0aFG", " 0aFF", "0x0a"] {
            assert!(Encoding::Hex.decode(bad.as_bytes(), 2).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_visible_ascii() {
        assert!(is_id(b"evt_1-2:3", b"."));
        assert!(is_id(&[b'a'; 256], b""));
        for bad in [
            &b""[..],
            b"a b",
            b"a\nb",
            b"a.b",
            &[b'a'; 257],
            "é".as_bytes(),
        ] {
            assert!(!is_id(bad, b"."), "{bad:?}");
        }
    }
}
