//! Secrets that lack a character at an end, or that were typed with one mistake.

use std::ops::ControlFlow;

use zeroize::Zeroizing;

use crate::setup::SecretText;

/// A text that is erased on drop.
type Text = Zeroizing<String>;

/// Longest text that is searched. Secrets that people copy by hand are shorter.
const MAX_LEN: usize = 128;

const HEX: &str = "0123456789abcdef";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A function that receives a text, the fault of the configured text, and the cost.
pub(super) type VisitTyped<'v> = &'v mut dyn FnMut(SecretText, &'static str, u8) -> ControlFlow<()>;

/// Visits the texts that differ from `text` by one or two characters, those with a character
/// more at an end first.
pub(super) fn each(text: &SecretText, visit: VisitTyped<'_>) -> ControlFlow<()> {
    let Ok(text) = std::str::from_utf8(text.expose()) else {
        return ControlFlow::Continue(());
    };
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_LEN || !text.is_ascii() {
        return ControlFlow::Continue(());
    }
    let typing = Typing {
        text,
        alphabet: alphabet(text),
    };
    typing.longer_ends(visit)?;
    typing.shorter_ends(visit)?;
    typing.look_alikes(visit)?;
    typing.lost_parameters(visit)?;
    typing.one_edit(visit)?;
    typing.longer_by_two(visit)
}

/// Returns the characters that a secret like `text` consists of.
fn alphabet(text: &str) -> String {
    let is_all = |allowed: &str| text.chars().all(|one| allowed.contains(one));
    if text.len() >= 8 && is_all(HEX) {
        return HEX.to_owned();
    }
    if text.len() >= 8 && is_all(&HEX.to_uppercase()) {
        return HEX.to_uppercase();
    }
    let mut all = LETTERS.to_owned();
    all.push_str("-_");
    for other in "=+/".chars().chain(text.chars()) {
        if !all.contains(other) {
            all.push(other);
        }
    }
    all
}

struct Typing<'t> {
    text: &'t str,
    alphabet: String,
}

impl Typing<'_> {
    fn longer_ends(&self, visit: VisitTyped<'_>) -> ControlFlow<()> {
        for one in self.alphabet.chars() {
            let text = SecretText::new(format!("{}{one}", self.text));
            visit(text, "the last character of the secret is missing", 5)?;
        }
        for one in self.alphabet.chars() {
            let text = SecretText::new(format!("{one}{}", self.text));
            visit(text, "the first character of the secret is missing", 5)?;
        }
        ControlFlow::Continue(())
    }

    fn shorter_ends(&self, visit: VisitTyped<'_>) -> ControlFlow<()> {
        const MOST: usize = 4;
        for cut in 1..=MOST.min(self.text.len() - 1) {
            let behind = SecretText::new(&self.text[..self.text.len() - cut]);
            visit(behind, "the secret has another text behind it", 6)?;
            let before = SecretText::new(&self.text[cut..]);
            visit(before, "the secret has another text in front of it", 6)?;
        }
        ControlFlow::Continue(())
    }

    /// Visits the texts with characters that look alike, such as `0` and `O`: first with all of
    /// one kind replaced, then with each combination of the first few.
    fn look_alikes(&self, visit: VisitTyped<'_>) -> ControlFlow<()> {
        const GROUPS: [&str; 7] = ["0Oo", "1lI", "5S", "8B", "2Z", "-_", "6b"];
        const SUMMARY: &str = "the secret has characters that look like its own";
        /// More positions would need too many texts.
        const MOST: usize = 6;
        let mut uniform = vec![Text::new(self.text.to_owned())];
        for group in GROUPS {
            for index in 0..uniform.len() {
                let before = uniform[index].clone();
                for from in group.chars().filter(|one| before.contains(*one)) {
                    for to in group.chars().filter(|one| *one != from) {
                        let text = before.replace(from, &to.to_string());
                        visit(SecretText::new(text.clone()), SUMMARY, 7)?;
                        uniform.push(Text::new(text));
                    }
                }
            }
            uniform.truncate(MOST * MOST);
        }
        let bytes = self.text.as_bytes();
        let others = |one: u8| {
            let group = GROUPS.iter().find(|group| group.as_bytes().contains(&one));
            group.map(|group| group.bytes().filter(move |other| *other != one))
        };
        let mut texts = vec![Zeroizing::new(bytes.to_vec())];
        let positions = (0..bytes.len()).filter(|at| others(bytes[*at]).is_some());
        for at in positions.take(MOST) {
            for index in 0..texts.len() {
                for other in others(bytes[at]).into_iter().flatten() {
                    let mut text = texts[index].clone();
                    text[at] = other;
                    visit(SecretText::new(text.to_vec()), SUMMARY, 7)?;
                    texts.push(text);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits the texts with `$` and a digit, which a shell replaces by nothing.
    fn lost_parameters(&self, visit: VisitTyped<'_>) -> ControlFlow<()> {
        for at in 0..=self.text.len() {
            for digit in 0..10 {
                let text = format!("{}${digit}{}", &self.text[..at], &self.text[at..]);
                visit(
                    SecretText::new(text),
                    "a shell replaced a part of the secret that begins with `$`",
                    8,
                )?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits the texts with one character more, less, or another one, or with two swapped.
    fn one_edit(&self, visit: VisitTyped<'_>) -> ControlFlow<()> {
        let bytes = self.text.as_bytes();
        for at in 0..bytes.len() {
            let text = [&bytes[..at], &bytes[at + 1..]].concat();
            visit(
                SecretText::new(text),
                "the secret has a character too many",
                8,
            )?;
        }
        for at in 1..bytes.len() {
            let mut text = bytes.to_vec();
            text.swap(at - 1, at);
            visit(
                SecretText::new(text),
                "two characters of the secret are swapped",
                8,
            )?;
        }
        for at in 0..bytes.len() {
            for one in self.alphabet.bytes().filter(|one| *one != bytes[at]) {
                let mut text = bytes.to_vec();
                text[at] = one;
                visit(
                    SecretText::new(text),
                    "one character of the secret is wrong",
                    9,
                )?;
            }
        }
        for at in 1..bytes.len() {
            for one in self.alphabet.bytes() {
                let text = [&bytes[..at], &[one], &bytes[at..]].concat();
                visit(
                    SecretText::new(text),
                    "one character of the secret is missing",
                    9,
                )?;
            }
        }
        ControlFlow::Continue(())
    }

    fn longer_by_two(&self, visit: VisitTyped<'_>) -> ControlFlow<()> {
        for one in self.alphabet.chars() {
            for two in self.alphabet.chars() {
                let text = SecretText::new(format!("{}{one}{two}", self.text));
                visit(text, "the last two characters of the secret are missing", 8)?;
            }
        }
        for one in self.alphabet.chars() {
            for two in self.alphabet.chars() {
                let text = SecretText::new(format!("{one}{two}{}", self.text));
                visit(
                    text,
                    "the first two characters of the secret are missing",
                    8,
                )?;
            }
        }
        ControlFlow::Continue(())
    }
}
