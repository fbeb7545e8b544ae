//! The base64 of signatures: of all texts that could stand for the same bytes, only the one
//! that RFC 4648 §3.5 calls canonical. Every delivery has one to decode, and a library that
//! can say where a text is wrong takes twice as long.

/// The digits of a variant, and whether it is padded.
pub(super) struct CanonicalBase64 {
    /// The value of each byte that is a digit.
    values: [u32; 256],
    is_padded: bool,
}

/// RFC 4648 §4.
pub(super) static STANDARD: CanonicalBase64 = CanonicalBase64::new(b'+', b'/', true);

/// RFC 4648 §5, unpadded, as those write it who use it.
pub(super) static URL: CanonicalBase64 = CanonicalBase64::new(b'-', b'_', false);

/// Bits of four digits.
const BITS: u32 = 24;
/// Of any other byte: beyond them, whichever of the four it is.
const NO_DIGIT: u32 = 1 << BITS;

/// How many bytes `digits` stand for.
pub(super) fn decoded_len(digits: &[u8]) -> usize {
    digits.len() * 3 / 4
}

impl CanonicalBase64 {
    const fn new(before_last: u8, last: u8, is_padded: bool) -> Self {
        let mut values = [NO_DIGIT; 256];
        let mut value = 0;
        while value < 62 {
            let digit = match value {
                0..26 => b'A' + value,
                26..52 => b'a' + (value - 26),
                _ => b'0' + (value - 52),
            };
            values[digit as usize] = value as u32;
            value += 1;
        }
        values[before_last as usize] = 62;
        values[last as usize] = 63;
        Self { values, is_padded }
    }

    /// `text` without its padding, if that is as it has to be.
    pub(super) fn digits<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        if !self.is_padded {
            return Some(text);
        }
        // Of a text that is whole, the padding can only fit. Where there is too much, the rest
        // of it is no digit.
        let digits = match text {
            [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
            digits => digits,
        };
        text.len().is_multiple_of(4).then_some(digits)
    }

    /// Decodes [`digits`](Self::digits) to `bytes`, of which there are as many as
    /// [`decoded_len`] says. What is in them if a byte is no digit means nothing.
    pub(super) fn decode(&self, digits: &[u8], bytes: &mut [u8]) -> Option<()> {
        if bytes.len() != decoded_len(digits) {
            return None;
        }
        let (groups, last_digits) = digits.as_chunks();
        let (triples, last_bytes) = bytes.as_chunks_mut();
        // Looked at once, when all have been read.
        let mut seen = 0;
        for (triple, group) in triples.iter_mut().zip(groups) {
            *triple = self.triple(*group, &mut seen);
        }
        // Digits that are not there add nothing, and those that are, nothing beyond the bytes.
        let is_whole = match (last_digits, last_bytes) {
            (&[a, b, c], [x, y]) => {
                let [first, second, beyond] = self.triple([a, b, c, b'A'], &mut seen);
                (*x, *y) = (first, second);
                beyond == 0
            }
            (&[a, b], [x]) => {
                let [first, beyond @ ..] = self.triple([a, b, b'A', b'A'], &mut seen);
                *x = first;
                beyond == [0, 0]
            }
            (digits, _) => digits.is_empty(),
        };
        (seen >> BITS == 0 && is_whole).then_some(())
    }

    /// The bytes of four digits, whose bits are added to `seen`.
    fn triple(&self, group: [u8; 4], seen: &mut u64) -> [u8; 3] {
        let [a, b, c, d] = group.map(|digit| u64::from(self.values[usize::from(digit)]));
        let bits = a << 18 | b << 12 | c << 6 | d;
        *seen |= bits;
        let [.., x, y, z] = bits.to_be_bytes();
        [x, y, z]
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::alphabet;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

    use super::*;

    fn decoded(variant: &CanonicalBase64, text: &[u8]) -> Option<Vec<u8>> {
        let digits = variant.digits(text)?;
        let mut bytes = vec![0; decoded_len(digits)];
        variant.decode(digits, &mut bytes)?;
        Some(bytes)
    }

    /// Both variants, each beside a library that was told to be as strict.
    fn variants() -> [(&'static CanonicalBase64, GeneralPurpose); 2] {
        let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(false);
        let padded = config.with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
        let unpadded = config
            .with_encode_padding(false)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone);
        [
            (&STANDARD, GeneralPurpose::new(&alphabet::STANDARD, padded)),
            (&URL, GeneralPurpose::new(&alphabet::URL_SAFE, unpadded)),
        ]
    }

    #[test]
    fn what_is_written_canonically_decodes_whatever_its_length() {
        for (variant, library) in variants() {
            for len in 0..100_usize {
                let bytes: Vec<u8> = (0..len).map(|at| (at * 37 + len * 101) as u8).collect();
                let text = library.encode(&bytes);
                assert_eq!(decoded(variant, text.as_bytes()), Some(bytes), "{text}");
            }
        }
    }

    #[test]
    fn a_text_with_any_other_byte_anywhere_is_what_it_is_to_a_strict_library() {
        let mut decodes = [0_u32; 2];
        for (variant, library) in variants() {
            for len in 0..8_u8 {
                let text =
                    library.encode((0..len).map(|at| at.wrapping_mul(85)).collect::<Vec<_>>());
                let around = [text.clone(), format!("{text}="), format!("{text}A")];
                for text in around.map(String::into_bytes) {
                    for cut in 0..=text.len() {
                        for at in 0..cut {
                            for byte in 0..=u8::MAX {
                                let mut text = text[..cut].to_vec();
                                text[at] = byte;
                                let bytes = decoded(variant, &text);
                                decodes[usize::from(bytes.is_some())] += 1;
                                assert_eq!(bytes, library.decode(&text).ok(), "{text:?}");
                            }
                        }
                    }
                }
            }
        }
        assert!(decodes.iter().all(|count| *count > 10_000), "{decodes:?}");
    }
}
