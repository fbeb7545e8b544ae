//! The lines of a text file.

/// A line, without its line end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The number of the line, from 1.
    pub(super) number: usize,
    pub(super) text: &'a [u8],
    /// The offset of the next line.
    pub(super) end: usize,
}

/// Returns the lines of `bytes`. A line ends with LF or CR LF.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    let mut number = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let (text, len) = match memchr::memchr(b'\n', rest) {
            Some(at) => (&rest[..at], at + 1),
            None => (rest, rest.len()),
        };
        start += len;
        number += 1;
        Some(Line {
            number,
            text: text.strip_suffix(b"\r").unwrap_or(text),
            end: start,
        })
    })
}
