//! Lines that were wrapped or joined, and the white space at their ends.

use super::super::json::{Kind, Token, Tokens};
use super::super::undo::{Undo, table};

pub(super) const TABLE: &[Undo] = table! {
    Full, "the line feeds of the body were removed, as by `curl -d`", |body| with_line_feeds(body, b"");
    Full, "the line feeds of the body were removed, also the last one, as by `curl -d`",
        |body| with_line_feeds(body, b"\n");
    Full, "the lines of the body were wrapped", |body| joined(body, Joint::All, b"");
    Full, "the long lines of the body were wrapped", |body| joined(body, Joint::AfterLongest, b"");
    Full, "the long lines of the body were wrapped between characters",
        |body| joined(body, Joint::AfterMostCharacters, b"");
    Full, "the lines of the body were wrapped between words", |body| joined(body, Joint::All, b" ");
    Full, "blanks were added at the ends of lines", without_trailing_blanks;
    Full, "the blanks at the ends of lines were removed", with_trailing_blanks;
    Full, "the indentation of the body was converted from two blanks to tabs",
        |body| with_indents(body, b"\t", b"  ");
    Full, "the indentation of the body was converted from four blanks to tabs",
        |body| with_indents(body, b"\t", b"    ");
    Full, "the indentation of the body was converted from tabs to two blanks",
        |body| with_indents(body, b"  ", b"\t");
    Full, "the indentation of the body was converted from tabs to four blanks",
        |body| with_indents(body, b"    ", b"\t");
};

/// The longest body whose indentation is converted. Tabs become four times as long.
const MAX_INDENTED: usize = 4 << 20;

/// The line ends that a tool has added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    All,
    /// The lines before them have the greatest length in bytes.
    AfterLongest,
    /// The lines before them have the greatest length in characters.
    AfterMostCharacters,
}

/// Returns the JSON in `text` with the line feeds that its indentation shows, and `end`.
fn with_line_feeds(text: &[u8], end: &[u8]) -> Option<Vec<u8>> {
    let has_indents = || memchr::memchr(b'\t', text).is_some() || contains(text, b"  ");
    if memchr::memchr(b'\n', text).is_some() || !has_indents() {
        return None;
    }
    let mut lines = Vec::new();
    let mut done = 0;
    let mut root_is_indented = false;
    let mut tokens = Tokens::new(text);
    let mut last: Option<Token<'_>> = None;
    while let Some(token) = tokens.next() {
        if let Some(last) = last.replace(token) {
            let gap_start = last.start + last.text.len();
            let gap = &text[gap_start..token.start];
            let is_break = last.kind != Kind::Colon && (gap.len() > 1 || gap == b"\t");
            root_is_indented |= is_break && last.start == 0;
            // The last bracket of an indented document has no indentation.
            let is_end = tokens.open().is_empty() && root_is_indented;
            if is_break || is_end {
                lines.extend_from_slice(&text[done..gap_start]);
                lines.extend_from_slice(b"\n");
                done = gap_start;
            }
        }
    }
    (done > 0).then(|| {
        lines.extend_from_slice(&text[done..]);
        lines.extend_from_slice(end);
        lines
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

/// Returns the lines of `text`, without their line ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Returns `text` with `between` in the place of the line ends that a tool has added.
fn joined(text: &[u8], joint: Joint, between: &[u8]) -> Option<Vec<u8>> {
    let width = |line: &[u8]| match joint {
        Joint::All => 0,
        Joint::AfterLongest => line.len(),
        Joint::AfterMostCharacters => characters(line),
    };
    let text = match joint {
        Joint::All => text.strip_suffix(b"\n").unwrap_or(text),
        Joint::AfterMostCharacters if text.is_ascii() => return None,
        _ => text,
    };
    memchr::memchr(b'\n', text)?;
    let longest = lines(text).map(width).max()?;
    let mut joined = Vec::with_capacity(text.len());
    let mut is_partial = false;
    let mut last: Option<&[u8]> = None;
    for line in lines(text) {
        match last.replace(line) {
            Some(last) if width(last) == longest => joined.extend_from_slice(between),
            Some(_) => {
                joined.extend_from_slice(b"\n");
                is_partial = true;
            }
            None => {}
        }
        joined.extend_from_slice(line);
    }
    (is_partial || joint == Joint::All).then_some(joined)
}

/// Returns the number of characters of `text`, which is UTF-8.
fn characters(text: &[u8]) -> usize {
    let continues = |byte: &&u8| (0x80..0xc0).contains(*byte);
    text.len() - text.iter().filter(continues).count()
}

fn without_trailing_blanks(text: &[u8]) -> Option<Vec<u8>> {
    let mut trimmed = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let content = lines(line).next().unwrap_or_default();
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let blanks = content.iter().rev().take_while(is_blank).count();
        trimmed.extend_from_slice(&content[..content.len() - blanks]);
        trimmed.extend_from_slice(&line[content.len()..]);
    }
    (trimmed.len() < text.len()).then_some(trimmed)
}

/// Returns `text` with a blank after each comma at the end of a line, as old serialisers write.
fn with_trailing_blanks(text: &[u8]) -> Option<Vec<u8>> {
    replaced(text, b",\n", b", \n")
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut replaced = Vec::new();
    let mut end = 0;
    for at in memchr::memmem::find_iter(text, from) {
        replaced.extend_from_slice(&text[end..at]);
        replaced.extend_from_slice(to);
        end = at + from.len();
    }
    (end > 0).then(|| {
        replaced.extend_from_slice(&text[end..]);
        replaced
    })
}

/// Returns `text` with each `from` at the start of a line replaced by `to`.
fn with_indents(text: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    if text.len() > MAX_INDENTED {
        return None;
    }
    let mut indented = Vec::new();
    let mut is_changed = false;
    for mut line in text.split_inclusive(|byte| *byte == b'\n') {
        while let Some(rest) = line.strip_prefix(from) {
            indented.extend_from_slice(to);
            line = rest;
            is_changed = true;
        }
        indented.extend_from_slice(line);
    }
    is_changed.then_some(indented)
}

#[cfg(test)]
mod tests {
    use super::super::super::undo::tests::{assert_undone, visited};
    use super::super::peel;
    use super::*;
    use crate::attempt::Effort;
    use crate::cause::Code;

    const LINES: &str = "{\n  \"a\": {\n    \"b\": \"x  ü, y\"\n  },\n  \"c\": [],\n  \"d\": [\n    1,\n    {}\n  ]\n}";

    fn assert_rows(rows: &[(String, &str)]) {
        for (body, original) in rows {
            let change = (body.as_bytes(), original.as_bytes());
            assert_undone(peel, change, Code::BodyTextEdited, Effort::Full);
        }
    }

    #[test]
    fn removed_line_feeds_are_restored_from_the_indentation() {
        let with_end = format!("{LINES}\n");
        let rows = [
            (LINES.replace('\n', ""), LINES),
            (LINES.replace('\n', ""), &with_end),
            (
                "[\t{\t\t\"a\": 1\t}]".to_owned(),
                "[\n\t{\n\t\t\"a\": 1\n\t}\n]",
            ),
        ];
        assert_rows(&rows);
    }

    #[test]
    fn wrapped_lines_are_joined() {
        let text =
            "{\"text\":\"Zoë went to the market to buy some fruit, and other things for 12 €\"}";
        let wrap = |text: &str, columns: usize, end: &str| {
            let characters: Vec<_> = text.chars().collect();
            let lines = characters.chunks(columns).map(|line| line.iter().collect());
            lines.collect::<Vec<String>>().join(end)
        };
        let wrap_bytes = |columns: usize| {
            let lines = text.as_bytes().chunks(columns);
            lines.collect::<Vec<_>>().join(&b'\n')
        };
        let two_lines = format!("{{\n  {text},\n}}");
        let wrapped_in_lines = format!("{{\n{}\n}}", wrap(&format!("  {text},"), 20, "\n"));
        let rows = [
            (wrap(text, 64, "\n"), text),
            (wrap(text, 20, "\r\n"), text),
            (wrap(text, 20, "\n") + "\n", text),
            (text.replace(" to ", "\nto "), text),
            (text.replace(" to ", " \nto "), text),
            (wrapped_in_lines, &two_lines),
        ];
        assert_rows(&rows);
        for columns in [9, 20, 76] {
            let change = (&*wrap_bytes(columns), text.as_bytes());
            assert_undone(peel, change, Code::BodyTextEdited, Effort::Full);
        }
        let original = format!("one\n{}", "é".repeat(50));
        let body = format!("one\n{}", wrap(&"é".repeat(50), 20, "\n"));
        assert_rows(&[(body, &original)]);
    }

    #[test]
    fn white_space_of_lines_is_restored() {
        let trailing = LINES.replace(",\n", ", \n");
        let four = LINES.replace("  ", "    ").replace("x    ", "x  ");
        let tabs = LINES.replace("  ", "\t").replace("x\t", "x  ");
        let rows = [
            (LINES.to_owned(), trailing.as_str()),
            (LINES.replace("},\n", "}, \t\n"), LINES),
            (LINES.to_owned(), &tabs),
            (four.clone(), &tabs),
            (tabs.clone(), LINES),
            (tabs.clone(), &four),
        ];
        assert_rows(&rows);
    }

    #[test]
    fn one_line_has_no_result() {
        for body in [
            "",
            "{}",
            "{\"a\": [1, 2], \"b\": \"  \\t\"}",
            "a=1&b=2",
            "text",
        ] {
            for undo in TABLE {
                let body = body.into();
                let original = (undo.apply)(&body, Default::default());
                assert_eq!(original, None, "{}", undo.summary);
            }
        }
    }

    #[test]
    fn hostile_text_has_bounded_results() {
        for unit in [
            "a", "\n", "\t", " ", "\r\n", "a\n", "[  ", "[\t", "“", "\u{feff}",
        ] {
            let len = 1 << 20;
            let body = unit.repeat(len / unit.len());
            let all = visited(peel, body.as_bytes(), Default::default(), Effort::Full);
            assert!(all.iter().all(|(bytes, _)| bytes.len() <= 4 * len));
        }
    }
}
