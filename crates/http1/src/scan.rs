//! Searches a read buffer for the end of a head and for lenient line endings.

/// Returns the length of the head at the start of `buffer`. The search starts at `from`.
pub(crate) fn find_head_end(buffer: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &buffer[from..])
        .map(|at| from + at + 1)
        .find_map(|line| match &buffer[line..] {
            [b'\n', ..] => Some(line + 1),
            [b'\r', b'\n', ..] => Some(line + 2),
            _ => None,
        })
}

/// Returns whether every line ends with CR LF and no line continues the previous one.
/// `httparse` alone accepts a bare LF.
pub(crate) fn has_strict_line_endings(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).all(|at| {
        let is_continued = matches!(head.get(at + 1), Some(b' ' | b'\t'));
        at > 0 && head[at - 1] == b'\r' && !is_continued
    })
}
