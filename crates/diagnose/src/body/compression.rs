//! Bodies that are still compressed, and bodies that were decompressed after they were signed.

use std::io::{Read, Write};
use std::ops::ControlFlow;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use super::undo::{self, Undo};
use super::{Hints, VisitPeel};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};
use crate::sign::{Sign, Strength};

const TABLE: &[Undo] = &[
    Undo {
        summary: "the body is still compressed with gzip",
        effort: Effort::Common,
        apply: |body, _| inflate(body, body.starts_with(GZIP), GzDecoder::new),
    },
    Undo {
        summary: "the body is still compressed with deflate",
        effort: Effort::Common,
        apply: |body, _| inflate(body, is_zlib(body), ZlibDecoder::new),
    },
    Undo {
        summary: "the body is still compressed with deflate, without a header",
        effort: Effort::Common,
        apply: |body, _| inflate(body, is_binary(body), DeflateDecoder::new),
    },
];

const GZIP: &[u8] = &[0x1f, 0x8b, 8];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// The limits of decompression. A longer result is a zip bomb, not a delivery.
const MAX_LEN: usize = 32 << 20;
const MAX_RATIO: usize = 100;

/// The longest body that is compressed again. Compression is slow.
const MAX_COMPRESSED_AGAIN: usize = 64 << 10;

/// Visits the bodies that result from decompression, and from compression with usual settings.
pub(super) fn peel(
    body: &Bytes,
    hints: Hints<'_>,
    effort: Effort,
    visit: VisitPeel<'_>,
) -> ControlFlow<()> {
    undo::each(TABLE, Code::BodyCompressed, (body, hints), effort, visit)?;
    if effort == Effort::Common || body.len() > MAX_COMPRESSED_AGAIN || is_binary(body) {
        return ControlFlow::Continue(());
    }
    compressed_again(body, visit)
}

/// Returns the sign that the body is compressed, or was decompressed.
pub(super) fn sign(body: &[u8], hints: Hints<'_>) -> Option<Sign> {
    let declared = hints
        .content_encoding
        .filter(|encoding| !is_named("identity")(encoding) && !encoding.trim().is_empty());
    let is_compressed = body.starts_with(GZIP)
        || body.starts_with(ZSTD)
        || (is_zlib(body) || declared.is_some()) && is_binary(body)
        || inflate(body, is_binary(body), DeflateDecoder::new).is_some();
    // Text tools replace the second byte of gzip, or encode it in UTF-8.
    let was_text = [b"\x1f\xef\xbf\xbd\x08".as_slice(), b"\x1f\xc2\x8b\x08"]
        .iter()
        .any(|start| body.starts_with(start));
    let summary = if is_compressed {
        "the body is still compressed"
    } else if was_text {
        "the body is still compressed, and it was converted as if it were text"
    } else if declared.is_some() && !body.is_empty() {
        "the body was decompressed, although content-encoding declares that it is compressed"
    } else {
        return None;
    };
    Some(Sign {
        cause: Cause::new(Code::BodyCompressed, summary),
        strength: Strength::Strong,
    })
}

/// Returns a test whether a `content-encoding` is `name`.
fn is_named(name: &str) -> impl Fn(&str) -> bool {
    move |encoding| encoding.trim().eq_ignore_ascii_case(name)
}

/// Whether `body` begins with a header of zlib: method 8, and a check that fits.
fn is_zlib(body: &[u8]) -> bool {
    match *body {
        [method, flags, ..] => {
            method & 0x8f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// Whether `body` is not text.
fn is_binary(body: &[u8]) -> bool {
    let head = &body[..body.len().min(512)];
    let is_control = |byte: &u8| *byte < 0x20 && !byte.is_ascii_whitespace();
    match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_some() => true,
        // The head may end within a character.
        _ => head.iter().any(is_control),
    }
}

/// Decompresses `body`. Returns `None` if it has an error, or if the result is too long.
fn inflate<'a, R: Read>(
    body: &'a [u8],
    applies: bool,
    decoder: fn(&'a [u8]) -> R,
) -> Option<Bytes> {
    let limit = body.len().saturating_mul(MAX_RATIO).min(MAX_LEN);
    let mut original = Vec::new();
    let len = applies
        .then(|| decoder(body))?
        .take(limit as u64 + 1)
        .read_to_end(&mut original)
        .ok()?;
    (0 < len && len <= limit).then(|| original.into())
}

/// Visits `body` in the compressed forms of the usual libraries.
///
/// Level 9 of zlib has the same result as its default level for a short text. The headers differ:
/// each has extra flags and an operating system, and the libraries set no time.
fn compressed_again(body: &Bytes, visit: VisitPeel<'_>) -> ControlFlow<()> {
    const SUMMARY: &str =
        "the body was decompressed, although the provider signed the compressed bytes";
    const GZIP_ENDS: [[u8; 2]; 6] = [[0, 3], [2, 255], [2, 3], [0, 255], [0, 0], [0, 10]];
    const ZLIB_HEADERS: [[u8; 2]; 2] = [[0x78, 0x9c], [0x78, 0xda]];
    let mut visit = |parts: &[&[u8]]| {
        let cause = Cause::new(Code::BodyCompressed, SUMMARY);
        visit(parts.concat().into(), cause)
    };
    let Some((stream, sum)) = deflate(body) else {
        return ControlFlow::Continue(());
    };
    let mut crc = Crc::new();
    crc.update(body);
    let (crc, len) = (crc.sum().to_le_bytes(), crc.amount().to_le_bytes());
    for end in GZIP_ENDS {
        visit(&[GZIP, &[0; 5], &end, &stream, &crc, &len])?;
    }
    for header in ZLIB_HEADERS {
        visit(&[&header, &stream, &sum])?;
    }
    visit(&[&stream])
}

/// Returns `body` as a stream of deflate, and its Adler-32 sum.
fn deflate(body: &[u8]) -> Option<(Vec<u8>, [u8; 4])> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).ok()?;
    let zlib = encoder.finish().ok()?;
    let (stream, sum) = zlib.get(2..)?.split_last_chunk()?;
    Some((stream.to_vec(), *sum))
}

#[cfg(test)]
mod tests {
    use super::super::undo::tests::{assert_undone, visited};
    use super::*;

    const BODY: &[u8] = b"{\"id\":\"evt_9921\",\"event\":\"task.succeeded\",\"data\":[1,2]}\n";

    // The output of zlib: levels 6 and 9 with the headers of gzip and zlib and without one, and
    // level 1 of gzip with a time.
    const COMPRESSED: [&str; 7] = [
        "1f8b0800000000000003ab56ca4c51b2524a2d2b89b7b4343254d2013253f34a80422589c5d97ac5a5c9c9a9a929a929408994c4924425ab68431da3d85a2e0057d0d1b338000000",
        "1f8b08000000000002ffab56ca4c51b2524a2d2b89b7b4343254d2013253f34a80422589c5d97ac5a5c9c9a9a929a929408994c4924425ab68431da3d85a2e0057d0d1b338000000",
        "1f8b0800000000000000ab56ca4c51b2524a2d2b89b7b4343254d2013253f34a80422589c5d97ac5a5c9c9a9a929a929408994c4924425ab68431da3d85a2e0057d0d1b338000000",
        "789cab56ca4c51b2524a2d2b89b7b4343254d2013253f34a80422589c5d97ac5a5c9c9a9a929a929408994c4924425ab68431da3d85a2e00ede01136",
        "78daab56ca4c51b2524a2d2b89b7b4343254d2013253f34a80422589c5d97ac5a5c9c9a9a929a929408994c4924425ab68431da3d85a2e00ede01136",
        "ab56ca4c51b2524a2d2b89b7b4343254d2013253f34a80422589c5d97ac5a5c9c9a9a929a929408994c4924425ab68431da3d85a2e00",
        "1f8b0800dff80b6b04ffab56ca4c51b2524a2d2b89b7b4343254d2013253f34a80422589c5d97ac5a5c9c9a9a929a929408994c4924425ab68431da3d85a2e0057d0d1b338000000",
    ];

    fn compressed() -> Vec<Vec<u8>> {
        COMPRESSED
            .iter()
            .map(|hex| hex::decode(hex).unwrap())
            .collect()
    }

    fn declaring(encoding: &str) -> Hints<'_> {
        Hints {
            content_encoding: Some(encoding),
            ..Hints::default()
        }
    }

    fn strength(body: &[u8], hints: Hints<'_>) -> Option<Strength> {
        sign(body, hints).map(|sign| sign.strength)
    }

    #[test]
    fn a_compressed_body_is_decompressed() {
        for body in compressed() {
            let all = visited(peel, &body, Hints::default(), Effort::Common);
            let original = (Bytes::from_static(BODY), Code::BodyCompressed);
            assert!(all.contains(&original), "{body:x?}: {all:?}");
            assert_eq!(strength(&body, Hints::default()), Some(Strength::Strong));
        }
    }

    #[test]
    fn a_decompressed_body_is_compressed_as_it_was() {
        for body in &compressed()[..6] {
            assert_undone(peel, (BODY, body), Code::BodyCompressed, Effort::Full);
        }
        for hints in [declaring("gzip"), declaring("deflate")] {
            assert_eq!(strength(BODY, hints), Some(Strength::Strong));
        }
    }

    #[test]
    fn text_is_not_decompressed_and_has_no_sign() {
        let long = BODY.repeat(2000);
        let rows: [&[u8]; 5] = [b"", BODY, b"x", "{\"a\":\"Zoë\"}".as_bytes(), &long];
        for body in rows {
            assert_eq!(visited(peel, body, Hints::default(), Effort::Common), []);
            assert_eq!(strength(body, Hints::default()), None);
            assert_eq!(strength(body, declaring("identity")), None);
        }
        assert_eq!(visited(peel, &long, Hints::default(), Effort::Full), []);
    }

    #[test]
    fn a_compressed_body_that_became_text_has_a_sign() {
        let gzip = &compressed()[0];
        let latin1: String = gzip.iter().map(|byte| char::from(*byte)).collect();
        for text in [String::from_utf8_lossy(gzip).as_bytes(), latin1.as_bytes()] {
            assert_eq!(strength(text, Hints::default()), Some(Strength::Strong));
        }
    }

    #[test]
    fn a_zip_bomb_has_no_result() {
        for zeros in [1 << 20, 64 << 20] {
            let (stream, sum) = deflate(&vec![0; zeros]).unwrap();
            let bomb = [&[0x78, 0xda], stream.as_slice(), &sum].concat();
            assert!(bomb.len() * MAX_RATIO < zeros);
            assert_eq!(visited(peel, &bomb, Hints::default(), Effort::Full), []);
        }
    }

    #[test]
    fn a_long_body_of_one_byte_has_no_result() {
        for byte in [0, b'a', 0xff] {
            let body = vec![byte; 1 << 24];
            assert_eq!(visited(peel, &body, declaring("deflate"), Effort::Full), []);
        }
    }
}
