//! HTTP/2 frames as bytes, for tests that break the rules of HTTP/2.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of a client (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// The flag of a last frame of DATA or HEADERS.
pub const END_STREAM: u8 = 1;
/// The flag of an acknowledgement of SETTINGS or PING.
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// A frame that was received.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// Returns a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("the payload is short");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Returns fields as literals that are not indexed and not compressed (RFC 7541 §6.2.2).
pub fn literal_fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    fields: impl IntoIterator<Item = (N, V)>,
) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            push_length(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// Appends the length of a text, an integer with a prefix of 7 bits (RFC 7541 §5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 127;
    if length < PREFIX {
        block.push(length as u8);
        return;
    }
    block.push(PREFIX as u8);
    let mut rest = length - PREFIX;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// Reads a frame. Returns `None` at the end of the connection.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes(id),
        payload,
    })
}

/// Returns the `:status` with which the fields of a response begin. Its digits may be compressed
/// (RFC 7541, appendix B).
pub fn status_of(block: &[u8]) -> Option<u16> {
    /// The statuses of the static table, from its entry 8 on.
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let block = skip_table_sizes(block);
    match block {
        [first @ 0x88..=0x8e, ..] => Some(INDEXED[usize::from(first - 0x88)]),
        [0x48 | 0x08 | 0x18, length, rest @ ..] => {
            let text = rest.get(..usize::from(length & 0x7f))?;
            let digits = match length & 0x80 {
                0 => text.iter().map(|byte| byte - b'0').collect(),
                _ => decompress_digits(text),
            };
            let digits = digits.into_iter().map(u16::from);
            Some(digits.fold(0, |status, digit| status * 10 + digit))
        }
        _ => None,
    }
}

/// Skips updates of the size of the dynamic table (RFC 7541 §6.3).
fn skip_table_sizes(mut block: &[u8]) -> &[u8] {
    while let [first @ 0x20..=0x3f, rest @ ..] = block {
        block = rest;
        if *first == 0x3f {
            let more = block.iter().take_while(|byte| **byte >= 128).count();
            block = &block[(more + 1).min(block.len())..];
        }
    }
    block
}

/// Decompresses three digits: `0` to `2` have 5 bits, and the others 6.
fn decompress_digits(text: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = text
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number * 2 + bit);
    let mut rest = &bits[..];
    let mut digits = Vec::new();
    while digits.len() < 3 && rest.len() >= 5 {
        let short = number(&rest[..5]);
        let length = if short < 3 { 5 } else { 6 };
        let code = number(&rest[..length.min(rest.len())]);
        digits.push(if short < 3 {
            code
        } else {
            code - 0b01_1001 + 3
        });
        rest = &rest[length.min(rest.len())..];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_each_of_its_forms() {
        for (block, expected) in [
            (&[0x89][..], Some(204)),
            (&[0x8e, 0x40], Some(500)),
            (&[0x20, 0x88], Some(200)),
            (&[0x3f, 0xe1, 0x1f, 0x8c], Some(400)),
            (b"\x48\x03503", Some(503)),
            // The examples of RFC 7541, appendix C.6: 302 and 307.
            (&[0x48, 0x82, 0x64, 0x02], Some(302)),
            (&[0x48, 0x83, 0x64, 0x0e, 0xff], Some(307)),
            (&[0x00, 0x01], None),
        ] {
            assert_eq!(status_of(block), expected, "{block:?}");
        }
    }

    #[test]
    fn a_long_value_has_its_length() {
        let value = "x".repeat(300);
        let block = literal_fields([("a", &value)]);
        assert_eq!(block[..6], [0, 1, b'a', 127, 173, 1]);
        assert_eq!(block.len(), 306);
    }
}
