//! Character encodings and Unicode normalisation.

mod sign;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::str;

use bytes::Bytes;
use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, EncoderResult, Encoding, GBK, ISO_8859_2, ISO_8859_15, MACINTOSH,
    SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252, mem,
};
use unicode_normalization::UnicodeNormalization;

pub(super) use self::sign::sign;

use super::undo::{self, Undo};
use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};

/// The rows overlap little: ISO-8859-1 differs from windows-1252 in C1 controls alone.
const TABLE: &[Undo] = &[
    Undo {
        summary: "the body was converted from UTF-8 to the charset of its content-type",
        effort: Effort::Common,
        apply: |body, hints| decode(body, declared_charset(hints)?),
    },
    Undo {
        summary: "the body was converted from UTF-8 to windows-1252 or ISO-8859-1",
        effort: Effort::Common,
        apply: |body, _| decode(body, WINDOWS_1252),
    },
    Undo {
        summary: "the body was converted from UTF-8 to UTF-16",
        effort: Effort::Common,
        apply: |body, _| decode_utf16(body),
    },
    Undo {
        summary: "the bytes of the body were read as windows-1252 and converted to UTF-8",
        effort: Effort::Common,
        apply: |body, _| encode(body, WINDOWS_1252).map(Bytes::from),
    },
    Undo {
        summary: "the text of the body was normalised to Unicode form NFD",
        effort: Effort::Common,
        apply: |body, _| normalise(body, |text| text.nfc().collect()),
    },
    Undo {
        summary: "the bytes of the body were read as ISO-8859-1 and converted to UTF-8",
        effort: Effort::Common,
        apply: |body, _| encode_latin1(body).map(Bytes::from),
    },
    Undo {
        summary: "the bytes of the body were read as windows-1252 and converted to UTF-8, twice",
        effort: Effort::Full,
        apply: |body, _| encode(&encode(body, WINDOWS_1252)?, WINDOWS_1252).map(Bytes::from),
    },
    Undo {
        summary: "the bytes of the body were read as ISO-8859-1 and converted to UTF-8, twice",
        effort: Effort::Full,
        apply: |body, _| {
            let once = encode_latin1(body).or_else(|| encode(body, WINDOWS_1252))?;
            encode_latin1(&once).map(Bytes::from)
        },
    },
    Undo {
        summary: "the body was converted from UTF-8 to ISO-8859-1",
        effort: Effort::Full,
        apply: |body, _| decode_latin1(body),
    },
    Undo {
        summary: "the text of the body was normalised to Unicode form NFC",
        effort: Effort::Full,
        apply: |body, _| normalise(body, |text| text.nfd().collect()),
    },
];

/// Encodings that seldom replace UTF-8.
static RARE: [&Encoding; 10] = [
    ISO_8859_15,
    MACINTOSH,
    ISO_8859_2,
    WINDOWS_1250,
    WINDOWS_1251,
    SHIFT_JIS,
    EUC_JP,
    GBK,
    BIG5,
    EUC_KR,
];

/// The longest body that is normalised. A hostile text needs eight times its own memory.
const MAX_NORMALISED: usize = 4 << 20;

/// Visits the bodies that result from undoing a conversion.
pub(super) fn peel(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    if is_unaffected(body) {
        return ControlFlow::Continue(());
    }
    undo::each(TABLE, Code::BodyCharset, (body, hints), effort, visit)?;
    if effort == Effort::Common {
        return ControlFlow::Continue(());
    }
    for encoding in RARE {
        let name = encoding.name();
        let (original, summary) = match decode(body, encoding) {
            Some(original) => (
                original,
                format!("the body was converted from UTF-8 to {name}"),
            ),
            None => match encode(body, encoding) {
                Some(bytes) if str::from_utf8(&bytes).is_ok() => (
                    bytes.into(),
                    format!("the bytes of the body were read as {name} and converted to UTF-8"),
                ),
                _ => continue,
            },
        };
        visit(original, Cause::new(Code::BodyCharset, summary))?;
    }
    ControlFlow::Continue(())
}

/// Whether `body` is the same in every common encoding.
fn is_unaffected(body: &[u8]) -> bool {
    body.is_ascii() && !is_utf16(body)
}

/// Returns the charset of the content-type, unless the other rows try it.
fn declared_charset(hints: Hints<'_>) -> Option<&'static Encoding> {
    let (_, parameters) = hints.content_type?.split_once(';')?;
    let label = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    })?;
    let encoding = Encoding::for_label(label.as_bytes())?;
    let is_tried = encoding == WINDOWS_1252 || RARE.contains(&encoding);
    (encoding != UTF_8 && !is_tried).then_some(encoding)
}

/// Decodes `body`, which is not UTF-8, to UTF-8.
fn decode(body: &[u8], encoding: &'static Encoding) -> Option<Bytes> {
    if str::from_utf8(body).is_ok() || is_utf16(body) {
        return None;
    }
    let text = encoding.decode_without_bom_handling_and_without_replacement(body)?;
    Some(owned(text))
}

/// Decodes `body` from ISO-8859-1, if windows-1252 would have another result.
fn decode_latin1(body: &[u8]) -> Option<Bytes> {
    let has_controls = body.iter().any(|byte| matches!(byte, 0x80..=0x9f));
    if !has_controls || str::from_utf8(body).is_ok() || is_utf16(body) {
        return None;
    }
    Some(owned(mem::decode_latin1(body)))
}

/// Whether `body` begins like UTF-16: with a byte order mark, or with an ASCII character.
fn is_utf16(body: &[u8]) -> bool {
    matches!(
        body,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0x7f, ..] | [1..=0x7f, 0, ..]
    )
}

fn decode_utf16(body: &[u8]) -> Option<Bytes> {
    if !is_utf16(body) {
        return None;
    }
    let (encoding, text) = match body {
        [0xff, 0xfe, text @ ..] => (UTF_16LE, text),
        [0xfe, 0xff, text @ ..] => (UTF_16BE, text),
        [0, ..] => (UTF_16BE, body),
        _ => (UTF_16LE, body),
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(text)?;
    Some(owned(text))
}

/// Encodes the UTF-8 text of `body`. Returns `None` if it has an unmappable character.
fn encode(body: &[u8], encoding: &'static Encoding) -> Option<Vec<u8>> {
    if body.is_ascii() {
        return None;
    }
    let text = str::from_utf8(body).ok()?;
    // No character is longer in the encodings here than in UTF-8.
    let mut bytes = vec![0; text.len()];
    let mut encoder = encoding.new_encoder();
    let (end, _, len) = encoder.encode_from_utf8_without_replacement(text, &mut bytes, true);
    bytes.truncate(len);
    (end == EncoderResult::InputEmpty).then_some(bytes)
}

/// Encodes the UTF-8 text of `body` in ISO-8859-1, if windows-1252 would have another result.
fn encode_latin1(body: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(body).ok()?;
    let is_c1 = |c| matches!(c, '\u{80}'..='\u{9f}');
    text.contains(is_c1)
        .then(|| text.chars().map(u8::try_from).collect::<Result<_, _>>())?
        .ok()
}

fn normalise(body: &[u8], form: fn(&str) -> String) -> Option<Bytes> {
    if body.len() > MAX_NORMALISED {
        return None;
    }
    Some(form(str::from_utf8(body).ok()?).into())
}

fn owned(text: Cow<'_, str>) -> Bytes {
    text.into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::super::undo::tests::{assert_undone, visited};
    use super::*;

    const BODY: &str = "{\"name\":\"Zoë Groß – „Å”\",\"price\":\"5 €\"}";

    fn encoded(text: &str, encoding: &'static Encoding) -> Vec<u8> {
        encoding.encode(text).0.into_owned()
    }

    /// Returns the text that results from reading `text` in UTF-8 as if it were in `encoding`.
    fn misread(text: &str, encoding: &'static Encoding) -> String {
        encoding.decode(text.as_bytes()).0.into_owned()
    }

    fn misread_as_latin1(text: &str) -> String {
        mem::decode_latin1(text.as_bytes()).into_owned()
    }

    fn utf16(text: &str, mark: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = mark.encode_utf16().chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }

    #[test]
    fn a_common_conversion_is_undone() {
        let latin1 = "{\"name\":\"Zoë Groß\"}";
        let rows: [(Vec<u8>, &str); 12] = [
            (encoded(BODY, WINDOWS_1252), BODY),
            (encoded(latin1, WINDOWS_1252), latin1),
            (utf16(BODY, "", u16::to_le_bytes), BODY),
            (utf16(BODY, "", u16::to_be_bytes), BODY),
            (utf16(BODY, "\u{feff}", u16::to_le_bytes), BODY),
            (utf16(BODY, "\u{feff}", u16::to_be_bytes), BODY),
            (utf16("{\"a\":1}", "", u16::to_le_bytes), "{\"a\":1}"),
            (misread(BODY, WINDOWS_1252).into(), BODY),
            (misread(latin1, WINDOWS_1252).into(), latin1),
            (misread_as_latin1(BODY).into(), BODY),
            (latin1.nfd().collect::<String>().into(), latin1),
            ("{\"a\":\"e\u{301}\u{65e5}\"}".into(), "{\"a\":\"é日\"}"),
        ];
        for (body, original) in rows {
            let change = (body.as_slice(), original.as_bytes());
            assert_undone(peel, change, Code::BodyCharset, Effort::Common);
        }
    }

    #[test]
    fn a_rare_conversion_is_undone() {
        let mojibake = |text: &str| misread(text, WINDOWS_1252);
        let rows: [(Vec<u8>, &str); 9] = [
            (mojibake(&mojibake(BODY)).into(), BODY),
            (misread_as_latin1(&misread_as_latin1(BODY)).into(), BODY),
            (encoded("{\"a\":\"5 €\"}", ISO_8859_15), "{\"a\":\"5 €\"}"),
            (encoded("{\"a\":\"Zoë\"}", MACINTOSH), "{\"a\":\"Zoë\"}"),
            (
                misread("{\"a\":\"Zoë\"}", MACINTOSH).into(),
                "{\"a\":\"Zoë\"}",
            ),
            (encoded("{\"a\":\"日本\"}", SHIFT_JIS), "{\"a\":\"日本\"}"),
            (encoded("{\"a\":\"Ћ\"}", WINDOWS_1251), "{\"a\":\"Ћ\"}"),
            (b"{\"a\":\"\x85\"}".into(), "{\"a\":\"\u{85}\"}"),
            ("{\"a\":\"é\"}".into(), "{\"a\":\"e\u{301}\"}"),
        ];
        for (body, original) in rows {
            let change = (body.as_slice(), original.as_bytes());
            assert_undone(peel, change, Code::BodyCharset, Effort::Full);
        }
    }

    #[test]
    fn a_body_that_was_not_utf8_is_restored() {
        let change = ("{\"a\":\"ë\"}".as_bytes(), b"{\"a\":\"\xeb\"}".as_slice());
        assert_undone(peel, change, Code::BodyCharset, Effort::Common);
    }

    #[test]
    fn the_declared_charset_is_tried_first() {
        let body = encoded("{\"a\":\"Я\"}", encoding_rs::KOI8_R);
        let hints = Hints {
            content_type: Some("application/json; charset=\"koi8-r\""),
            ..Hints::default()
        };
        let all = visited(peel, &body, hints, Effort::Common);
        assert_eq!(all[0].0, "{\"a\":\"Я\"}".as_bytes());
        let all = visited(peel, &body, Hints::default(), Effort::Common);
        assert_ne!(all[0].0, "{\"a\":\"Я\"}".as_bytes());
    }

    #[test]
    fn ascii_has_no_result() {
        for body in ["", "{", "{\"a\":\"\\u00eb\"}", "a=1&b=%C3%AB"] {
            let all = visited(peel, body.as_bytes(), Hints::default(), Effort::Full);
            assert_eq!(all, [], "{body}");
        }
    }

    #[test]
    fn hostile_text_has_few_results() {
        let rows = [
            vec![b'a'; 1 << 24],
            vec![0; 1 << 24],
            vec![0xff; 1 << 24],
            "\u{301}".repeat(1 << 22).into(),
            "\u{301}\u{323}".repeat(MAX_NORMALISED / 4).into(),
            "\u{d7a3}".repeat(1 << 20).into(),
        ];
        for body in rows {
            let all = visited(peel, &body, Hints::default(), Effort::Full);
            assert!(all.iter().all(|(bytes, _)| bytes.len() <= 3 * body.len()));
        }
    }
}
