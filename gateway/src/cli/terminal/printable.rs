//! Text that a sender or a server controls, made safe for a terminal.
//!
//! A control character can move the cursor, set the title of the window, or answer a question of
//! the shell. A bidirectional or invisible character can make one text look like another. Such a
//! character is shown as `\u{…}`.

use std::fmt::{self, Display, Write};

use serde::Deserialize;
use serde_json::Value;

/// Most combining marks after one character. A pile of marks covers the lines around it.
const MAX_MARKS: usize = 2;

/// Text from a sender or a server. It displays escaped, so no command can print it raw by mistake.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub(in crate::cli) struct Text(String);

impl Text {
    /// Returns the text as it arrived. Do not print it.
    pub(in crate::cli) fn raw(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&printable(&self.0))
    }
}

/// Returns `text` in one line, with every character escaped that is not visible.
pub(in crate::cli) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    // A mark at the start would change the character that the caller has written before it.
    let mut marks = MAX_MARKS;
    for character in text.chars() {
        marks = match kind(character) {
            Kind::Visible => 0,
            Kind::Mark => marks + 1,
            Kind::Hidden => MAX_MARKS,
        };
        if marks > MAX_MARKS || kind(character) == Kind::Hidden {
            // Writing to a string cannot fail.
            let _: fmt::Result = write!(shown, "{}", Escape(character));
            marks = MAX_MARKS;
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Returns `text` with line feeds and tabs, and with every other character escaped that is not
/// visible.
pub(in crate::cli) fn printable_lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let parts = line.split('\t').map(printable);
        parts.collect::<Vec<_>>().join("\t")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns `value` as JSON in one line, with every character escaped that is not visible.
pub(in crate::cli) fn printable_json(value: &Value) -> String {
    let mut shown = String::new();
    // Outside of strings, JSON has only visible characters, so each escape is inside a string.
    for character in value.to_string().chars() {
        if kind(character) == Kind::Visible {
            shown.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _: fmt::Result = write!(shown, "\\u{unit:04x}");
        }
    }
    shown
}

/// Returns the number of columns that a printable text occupies.
pub(in crate::cli) fn width(text: &str) -> usize {
    text.chars().map(character_width).sum()
}

/// Returns `text`, or its start and an ellipsis if it is wider than `columns`.
pub(in crate::cli) fn truncate(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut free = columns.saturating_sub(1);
    let mut short = String::new();
    for character in text.chars() {
        match free.checked_sub(character_width(character)) {
            Some(rest) => free = rest,
            None => break,
        }
        short.push(character);
    }
    if columns > 0 {
        short.push('…');
    }
    short
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Visible,
    /// A visible mark on the character before it, such as an accent or a vowel sign.
    Mark,
    Hidden,
}

fn kind(character: char) -> Kind {
    match character {
        ' '..='~' => Kind::Visible,
        // Letters without a glyph, and marks without one.
        '\u{115f}'
        | '\u{1160}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{2800}'
        | '\u{034f}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0000}'..='\u{e0fff}' => Kind::Hidden,
        _ if character.escape_debug().len() == 1 => Kind::Visible,
        // `str::escape_debug` spares marks that follow another character, `char::escape_debug`
        // does not. Both escape control, format, private and unassigned characters.
        _ => {
            let mut text = String::from("a");
            text.push(character);
            match text.escape_debug().nth(1) {
                Some('\\') => Kind::Hidden,
                _ => Kind::Mark,
            }
        }
    }
}

/// Returns the columns of a printable character. Wide are the scripts of East Asia and pictures.
fn character_width(character: char) -> usize {
    match character {
        '\u{1100}'..='\u{115f}'
        | '\u{231a}'..='\u{231b}'
        | '\u{23e9}'..='\u{23f3}'
        | '\u{2600}'..='\u{27bf}'
        | '\u{2b1b}'..='\u{2b55}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{16fe0}'..='\u{1b2ff}'
        | '\u{1f000}'..='\u{1faff}'
        | '\u{20000}'..='\u{3ffff}' => 2,
        _ if kind(character) == Kind::Mark => 0,
        _ => 1,
    }
}

/// Displays a character as `\u{…}`, or as `\n`, `\r` or `\t`.
struct Escape(char);

impl Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            '\n' => f.write_str("\\n"),
            '\r' => f.write_str("\\r"),
            '\t' => f.write_str("\\t"),
            character => write!(f, "\\u{{{:x}}}", u32::from(character)),
        }
    }
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use serde_json::json;

    use super::*;

    /// Texts that attack a terminal, its reader, or a line of output.
    pub(in crate::cli) const HOSTILE: &[&str] = &[
        "\x1b[2J\x1b[H",
        "\x1b]0;title\x07",
        "\x1b]52;c;ZXZpbA==\x07",
        "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
        "\x1bP$q\"p\x1b\\",
        "\x1b[6n",
        "\x1b[31mrefused\x1b[0m",
        "\u{9b}2J",
        "\u{9d}0;title\u{9c}",
        "\u{90}q\u{9c}",
        "\u{85}next line",
        "a\rforwarded",
        "a\nforwarded  200",
        "a\r\nhookgate-outcome: forwarded",
        "a\u{8}\u{8}b",
        "tab\tbed",
        "vertical\u{b}form\u{c}",
        "nul\0",
        "bell\u{7}",
        "delete\u{7f}",
        "\u{202e}gpj.exe",
        "\u{202a}a\u{202b}b\u{202c}c\u{202d}d",
        "\u{2066}a\u{2067}b\u{2068}c\u{2069}",
        "\u{200e}\u{200f}\u{61c}",
        "evt\u{200b}_1",
        "evt\u{200c}_1\u{200d}",
        "\u{feff}evt_1",
        "evt\u{2060}_1\u{2061}\u{2064}",
        "soft\u{ad}hyphen",
        "line\u{2028}paragraph\u{2029}",
        "filler\u{3164}\u{115f}\u{1160}\u{ffa0}",
        "blank\u{2800}blank",
        "no-break\u{a0}space\u{3000}wide",
        "joiner\u{34f}",
        "tag\u{e0041}\u{e007f}",
        "selector\u{fe0f}\u{e0100}",
        "interlinear\u{fff9}a\u{fffb}",
        "private\u{e000}\u{f8ff}",
        "mongolian\u{180e}",
        "\u{301}mark at the start",
        "zalgo\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    ];

    /// Whether a terminal shows each character of `text` as a visible one, in one line.
    pub(in crate::cli) fn is_safe(text: &str) -> bool {
        text.chars().all(|character| {
            let code = u32::from(character);
            let is_control = code < 0x20 || (0x7f..0xa0).contains(&code);
            let is_bidi = matches!(
                character,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                    | '\u{2066}'..='\u{2069}'
            );
            let is_invisible = matches!(
                character,
                '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
                    | '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}'
                    | '\u{2800}' | '\u{3000}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                    | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
                    | '\u{e0000}'..='\u{e0fff}'
            );
            !is_control && !is_bidi && !is_invisible
        })
    }

    #[test]
    fn hostile_text_is_shown_and_does_nothing() {
        for text in HOSTILE {
            // The control: raw, each text but those of marks would do something.
            assert!(!is_safe(text) || text.contains('\u{301}'), "{text:?}");
            let shown = printable(text);
            assert!(is_safe(&shown), "{text:?} {shown:?}");
            assert!(shown.contains('\\'), "{text:?} {shown:?}");
            assert_eq!(Text::from((*text).to_owned()).to_string(), shown);
        }
        assert_eq!(printable("a\x1b[2J\u{202e}"), "a\\u{1b}[2J\\u{202e}");
        assert_eq!(printable("\u{301}x"), "\\u{301}x");
    }

    #[test]
    fn every_character_is_either_safe_or_escaped() {
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let shown = printable(&format!("a{character}"));
            assert!(is_safe(&shown), "{character:?}");
        }
    }

    #[test]
    fn readable_text_stays_as_it_is() {
        for text in [
            "evt_1PqRs \"quoted\" 'single' C:\\path {}",
            "Grüße, naïve, Ελλάδα, Привет, 请求, 日本語, 한국어, عربي, עברית",
            "नमस्ते ไม้เอก Việt Nam",
            "café",
            "🚀 ✓ … – “”",
        ] {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn lines_keep_line_feeds_and_tabs_only() {
        let text = "a\tb\nc\rd\x1b[2Je\n";
        assert_eq!(printable_lines(text), "a\tb\nc\\rd\\u{1b}[2Je\n");
    }

    #[test]
    fn json_keeps_its_value_and_has_visible_characters_only() {
        for text in HOSTILE {
            let value = json!({ "text": text, (*text): [1, null] });
            let shown = printable_json(&value);
            assert!(is_safe(&shown), "{shown:?}");
            let read: Value = serde_json::from_str(&shown).expect("the text is JSON");
            assert_eq!(read, value);
        }
    }

    #[test]
    fn a_truncated_text_fits_and_wide_characters_count_twice() {
        assert_eq!(truncate("signature", 9), "signature");
        assert_eq!(truncate("signature", 5), "sign…");
        assert_eq!(truncate("signature", 1), "…");
        assert_eq!(truncate("signature", 0), "");
        assert_eq!(width("日本"), 4);
        assert_eq!(truncate("日本語", 4), "日…");
        assert_eq!(width("né"), 2);
        assert_eq!(width("ne\u{301}"), 2);
    }
}
