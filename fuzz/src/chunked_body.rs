//! Fuzz target: any bytes as a chunked body.

use hookgate_http1::{Body, Strictness};

use super::http1::{connection, ready, rest, split_size};

/// Reads `data`, after a byte for the size of the pieces, as a chunked body.
///
/// The result does not depend on the pieces. A body that the strict reader accepts has the bytes
/// and the end that a simple decoder finds, and the lenient reader agrees. Any bytes in chunks of
/// any sizes are read unchanged.
pub fn chunked_body(data: &[u8]) {
    let Some((size, wire)) = split_size(data) else {
        return;
    };
    for strictness in [Strictness::Strict, Strictness::Lenient] {
        assert_eq!(
            read(wire, size, strictness),
            read(wire, wire.len().max(1), strictness)
        );
    }
    if let Some(accepted) = read(wire, size, Strictness::Strict) {
        assert_eq!(Some(&accepted), decode(wire).as_ref());
        assert_eq!(Some(accepted), read(wire, size, Strictness::Lenient));
    }
    let after = b"GET /next";
    let written = [&encode(wire, size)[..], after].concat();
    let expected = Some((wire.to_vec(), after.to_vec()));
    assert_eq!(read(&written, size, Strictness::Strict), expected);
}

/// Returns the body and the bytes after it.
fn read(wire: &[u8], size: usize, strictness: Strictness) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut connection = connection(wire, size);
    let mut body = Body::chunked(strictness);
    let mut bytes = Vec::new();
    while let Some(piece) = ready(body.next(&mut connection)).ok()? {
        assert!(!piece.is_empty());
        bytes.extend_from_slice(&piece);
    }
    assert!(body.is_done());
    Some((bytes, rest(&mut connection)))
}

/// Writes `body` in chunks of at most `size` bytes.
pub(crate) fn encode(body: &[u8], size: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(size) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

/// Decodes a body by the shortest rules: the size is the hexadecimal text before the first
/// semicolon, and each line ends with the first CR LF.
fn decode(mut wire: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut body = Vec::new();
    loop {
        let line = take_line(&mut wire)?;
        let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(wire.get(..size)?);
        wire = wire[size..].strip_prefix(b"\r\n")?;
    }
    while !take_line(&mut wire)?.is_empty() {}
    Some((body, wire.to_vec()))
}

fn take_line<'w>(wire: &mut &'w [u8]) -> Option<&'w [u8]> {
    let end = wire.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = wire.split_at(end);
    *wire = &rest[2..];
    Some(line)
}
