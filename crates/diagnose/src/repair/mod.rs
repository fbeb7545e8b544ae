//! The inverses of the changes that copying and forwarding make to a short text.
//!
//! Each function visits the texts that may have been there before one change. It visits none if
//! `text` shows no sign of the change.

mod around;
mod characters;
mod inside;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

pub(crate) use self::around::{
    trimmed, without_brackets, without_comment, without_literal, without_name, without_punctuation,
    without_quotes, without_written_line_end,
};
pub(crate) use self::characters::{plain_characters, without_invisible};
pub(crate) use self::inside::{
    each_line, each_word, halved, html_unescaped, other_case, other_number, percent_decoded,
    percent_encoded, plus_for_blank, single_dollar, unescaped, without_quoted_printable,
    without_white_space,
};

/// A function that receives a text.
pub(crate) type Found<'f> = &'f mut dyn FnMut(String);

/// Visits the text that `text` encodes in base64.
pub(crate) fn unbase64_text(text: &str, found: Found<'_>) {
    let decoded = unbase64(text.as_bytes()).and_then(|decoded| String::from_utf8(decoded).ok());
    if let Some(decoded) = decoded.filter(|decoded| {
        decoded
            .bytes()
            .all(|one| one.is_ascii_graphic() || one == b' ')
    }) {
        found(decoded);
    }
}

/// Decodes base64 of either alphabet, with or without padding, and with line ends.
pub(crate) fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let text = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        });
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.collect());
    let decoded = ENGINE.decode(&*text).ok()?;
    (!decoded.is_empty()).then_some(decoded)
}
