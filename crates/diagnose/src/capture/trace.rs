//! Reads the output of `curl --trace` (hexadecimal) and `curl --trace-ascii`.

use super::error::CaptureError;
use super::line::lines;
use super::selection::Selection;
use super::{CaptureFile, Entry, raw};

const SEND_HEADER: &[u8] = b"=> Send header";
const SEND_DATA: &[u8] = b"=> Send data";
/// The marks of the other parts of a trace.
const OTHER_PARTS: [&[u8]; 4] = [b"=> ", b"<= ", b"== ", b"Warning: "];
/// The number of bytes in a line of `--trace`.
const HEX_WIDTH: usize = 16;

/// Whether a line `=> Send header` occurs.
pub(super) fn is_trace(bytes: &[u8]) -> bool {
    lines(bytes).any(|line| line.text.starts_with(SEND_HEADER))
}

/// Reads one request.
pub(super) fn parse(bytes: &[u8], entry: Entry) -> Result<CaptureFile, CaptureError> {
    let mut selection = Selection::new(entry);
    let mut request = Vec::new();
    let mut part: Option<Part> = None;
    for line in lines(bytes) {
        if line.text.starts_with(SEND_HEADER) || line.text.starts_with(SEND_DATA) {
            finish_part(&mut request, part.take());
            if line.text.starts_with(SEND_HEADER) {
                offer(&mut selection, std::mem::take(&mut request))?;
            }
            part = Some(Part::new(line.text));
        } else if OTHER_PARTS.iter().any(|mark| line.text.starts_with(mark)) {
            finish_part(&mut request, part.take());
        } else if let Some(part) = &mut part {
            part.push(line.text)
                .map_err(|fault| CaptureError::at_line(line.number, fault))?;
        }
    }
    finish_part(&mut request, part);
    offer(&mut selection, request)?;
    selection.finish()
}

fn finish_part(request: &mut Vec<u8>, part: Option<Part>) {
    request.extend(part.map(Part::finish).unwrap_or_default());
}

fn offer(selection: &mut Selection<CaptureFile>, request: Vec<u8>) -> Result<(), CaptureError> {
    if !request.is_empty() {
        let file = raw::parse(&request.into()).map_err(|error| error.within("the request"))?;
        let method = file.capture.method.clone();
        selection.offer(&method, file);
    }
    Ok(())
}

/// The bytes of one call of curl's, while their lines are read.
#[derive(Debug)]
struct Part {
    /// The number of bytes, from the first line of the part.
    declared: Option<usize>,
    bytes: Vec<u8>,
}

impl Part {
    /// Reads a line such as `=> Send data, 14 bytes (0xe)`.
    fn new(line: &[u8]) -> Self {
        let mut words = line.split(|byte| matches!(byte, b' ' | b','));
        let declared = words.find_map(|word| str::from_utf8(word).ok()?.parse().ok());
        Self {
            declared,
            bytes: Vec::new(),
        }
    }

    /// Adds a line such as `0010: text`.
    fn push(&mut self, line: &[u8]) -> Result<(), &'static str> {
        const EXPECTED: &str = "expected an offset and the bytes at it, such as `0010: text`";
        let colon = memchr::memchr(b':', line).ok_or(EXPECTED)?;
        let offset = str::from_utf8(&line[..colon]).map_err(|_| EXPECTED)?;
        let offset = usize::from_str_radix(offset, 16).map_err(|_| EXPECTED)?;
        self.skip_to(offset)?;
        let text = line.get(colon + 2..).unwrap_or_default();
        let declared = self.declared.unwrap_or(usize::MAX);
        match hex_digits(text, declared.saturating_sub(offset)) {
            Some(bytes) => self.bytes.extend(bytes),
            None => self.bytes.extend_from_slice(text),
        }
        Ok(())
    }

    /// Adds the line end that `--trace-ascii` leaves out.
    fn skip_to(&mut self, offset: usize) -> Result<(), &'static str> {
        match offset.checked_sub(self.bytes.len()) {
            Some(0) => {}
            Some(2) => self.bytes.extend_from_slice(b"\r\n"),
            _ => return Err("the offset does not follow the line before"),
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        let declared = self.declared.unwrap_or(self.bytes.len());
        // Another number of missing bytes means that the trace was cut off.
        let _: Result<(), &str> = self.skip_to(declared);
        self.bytes
    }
}

/// Reads the hexadecimal column of a line with `left` or 16 bytes. Returns `None` if the line
/// has none, as in the output of `--trace-ascii`.
fn hex_digits(text: &[u8], left: usize) -> Option<Vec<u8>> {
    let count = left.min(HEX_WIDTH);
    let column = text.get(..3 * HEX_WIDTH)?;
    let (digits, blanks) = column.split_at(3 * count);
    let pairs = digits.chunks(3).map(|pair| match pair {
        [high, low, b' '] => hex::decode([*high, *low]).ok(),
        _ => None,
    });
    let bytes = pairs.collect::<Option<Vec<_>>>()?.concat();
    // The column of characters follows.
    let is_hex = blanks.iter().all(|byte| *byte == b' ') && text.len() >= 3 * HEX_WIDTH + count;
    is_hex.then_some(bytes)
}
