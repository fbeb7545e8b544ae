//! The captured body, as text or in hexadecimal.

use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Body;
use crate::cli::human::size;
use crate::cli::terminal::printable_lines;

/// Writes the body. Text is shown as it is, with hidden characters escaped; other bytes are shown
/// in hexadecimal, as many in a line as `width` columns allow.
pub(super) fn write(body: &Body, width: usize, out: &mut impl Write) -> io::Result<()> {
    let Ok(bytes) = BASE64_STANDARD.decode(&body.base64) else {
        return writeln!(
            out,
            "the gateway sent the body in a form that this command cannot read"
        );
    };
    match text(&bytes) {
        Some(text) => writeln!(out, "{}", printable_lines(text))?,
        None => write_hex(&bytes, width, out)?,
    }
    let shown = bytes.len() as u64;
    if shown < body.bytes {
        writeln!(
            out,
            "… the first {} of {}; --save FILE writes all bytes",
            size(shown),
            size(body.bytes)
        )?;
    }
    Ok(())
}

/// Returns the bytes as text, if they are UTF-8 without control characters. The end of a body that
/// is shown in part may have cut a character.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(is_text).then_some(text)
}

/// Writes lines with an offset, the bytes in hexadecimal, and the visible ASCII characters.
fn write_hex(bytes: &[u8], width: usize, out: &mut impl Write) -> io::Result<()> {
    // A line has 10 columns for the offset, 4 for each byte, and 3 around the characters.
    let count = match width.saturating_sub(13) / 4 {
        16.. => 16,
        8.. => 8,
        _ => 4,
    };
    for (index, line) in bytes.chunks(count).enumerate() {
        let hex: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let ascii = line.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        let (offset, ascii) = (index * count, ascii.collect::<String>());
        writeln!(out, "{offset:08x}  {hex:<0$} |{ascii}|", count * 3 - 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8], total: u64, width: usize) -> String {
        let body = Body {
            base64: BASE64_STANDARD.encode(bytes),
            bytes: total,
        };
        let mut out = Vec::new();
        write(&body, width, &mut out).expect("memory accepts the text");
        String::from_utf8(out).expect("the output is UTF-8")
    }

    #[test]
    fn text_is_shown_as_text_and_bytes_in_hexadecimal() {
        assert_eq!(
            shown("{\n\t\"é\": 1}".as_bytes(), 11, 80),
            "{\n\t\"é\": 1}\n"
        );
        let hex = "00000000  00 ff 1b 5b 32 4a                               |...[2J|\n";
        assert_eq!(shown(b"\0\xff\x1b[2J", 6, 80), hex);
        // An escape sequence alone is no text either.
        assert!(shown(b"\x1b[2J", 4, 80).starts_with("00000000  1b 5b"));
        assert_eq!(shown("a\u{202e}b".as_bytes(), 5, 80), "a\\u{202e}b\n");
    }

    #[test]
    fn a_part_of_a_body_says_so() {
        let text = shown(&"é".as_bytes()[..1], 2, 80);
        assert_eq!(
            text,
            "\n… the first 1 B of 2 B; --save FILE writes all bytes\n"
        );
    }

    #[test]
    fn hexadecimal_lines_fit_the_width() {
        let bytes: Vec<u8> = (0..=255).collect();
        for width in [40, 80, 200] {
            let text = shown(&bytes, 256, width);
            assert!(
                text.lines().all(|line| line.len() <= width),
                "{width}\n{text}"
            );
        }
    }
}
