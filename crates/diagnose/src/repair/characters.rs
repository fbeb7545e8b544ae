//! Characters that are invisible, or that look like others.

use super::Found;

/// Whether `character` takes no room on a screen.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
    ) || (character.is_control() && !matches!(character, '\n' | '\r' | '\t'))
}

pub(crate) fn without_invisible(text: &str, found: Found<'_>) {
    if text.contains(is_invisible) {
        found(text.replace(is_invisible, ""));
    }
}

/// Visits the text with ASCII in place of typographic characters and of foreign letters that
/// look alike.
pub(crate) fn plain_characters(text: &str, found: Found<'_>) {
    if text.is_ascii() {
        return;
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match plain_text(character) {
            Some(ascii) => plain.push_str(ascii),
            // The fullwidth forms are in the order of ASCII.
            None => plain.push(match character {
                '\u{ff01}'..='\u{ff5e}' => {
                    char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
                }
                _ => character,
            }),
        }
    }
    if plain != text {
        if plain.contains("--") {
            found(plain.replace("--", "-"));
        }
        found(plain);
    }
}

/// Returns the ASCII text that `character` looks like.
fn plain_text(character: char) -> Option<&'static str> {
    const SAME: [(&str, &str); 30] = [
        ("\u{2010}\u{2011}\u{2012}\u{2013}\u{2212}", "-"),
        ("\u{2014}\u{2015}", "--"),
        ("\u{2018}\u{2019}\u{201a}\u{2032}", "'"),
        ("\u{201c}\u{201d}\u{201e}\u{2033}", "\""),
        ("\u{2026}", "..."),
        ("\u{a0}\u{2009}\u{202f}\u{3000}", " "),
        ("\u{2044}\u{2215}", "/"),
        ("\u{430}", "a"),
        ("\u{410}\u{391}", "A"),
        ("\u{412}\u{392}", "B"),
        ("\u{441}", "c"),
        ("\u{421}", "C"),
        ("\u{435}", "e"),
        ("\u{415}\u{395}", "E"),
        ("\u{41d}\u{397}", "H"),
        ("\u{456}", "i"),
        ("\u{406}\u{399}", "I"),
        ("\u{458}", "j"),
        ("\u{41a}\u{39a}", "K"),
        ("\u{41c}\u{39c}", "M"),
        ("\u{39d}", "N"),
        ("\u{43e}\u{3bf}", "o"),
        ("\u{41e}\u{39f}", "O"),
        ("\u{440}\u{3c1}", "p"),
        ("\u{420}\u{3a1}", "P"),
        ("\u{455}", "s"),
        ("\u{422}\u{3a4}", "T"),
        ("\u{445}", "x"),
        ("\u{425}\u{3a7}", "X"),
        ("\u{443}", "y"),
    ];
    let found = SAME.iter().find(|(all, _)| all.contains(character));
    found.map(|(_, ascii)| *ascii)
}
