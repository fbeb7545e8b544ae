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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_the_first_empty_line() {
        for (buffer, from, expected) in [
            ("a\r\n\r\nb", 0, Some(5)),
            ("a\n\nb", 0, Some(3)),
            ("a\n\r\nb\n\n", 0, Some(4)),
            ("a\r\nb\r\n\r\n", 0, Some(8)),
            ("a\r\n\r\n", 2, Some(5)),
            ("a\r\n\r", 0, None),
            ("a\r\n", 0, None),
            ("a\rb\r\r", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(
                find_head_end(buffer.as_bytes(), from),
                expected,
                "{buffer:?}"
            );
        }
    }

    #[test]
    fn a_line_that_ends_with_lf_alone_or_continues_is_not_strict() {
        for (head, expected) in [
            ("a\r\nb\r\n", true),
            ("", true),
            ("a\nb\r\n", false),
            ("\na\r\n", false),
            ("a\r\n b\r\n", false),
            ("a\r\n\tb\r\n", false),
            ("a\r\nb\n", false),
        ] {
            assert_eq!(
                has_strict_line_endings(head.as_bytes()),
                expected,
                "{head:?}"
            );
        }
    }
}
