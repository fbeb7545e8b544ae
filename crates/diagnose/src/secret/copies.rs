//! Secrets that were copied with additions, losses or changed characters.

use crate::repair::{self, Found};
use crate::setup::SecretText;

/// A way in which a copy differs from the secret.
struct Mistake {
    /// The difference, as in "the secret was copied with …".
    with: &'static str,
    cost: u8,
    /// Visits the texts that the mistake turns into `text`.
    undo: fn(text: &str, found: Found<'_>),
}

/// The mistakes that add text around the secret, in the order in which they are undone.
const AROUND: [Mistake; 9] = [
    Mistake {
        with: "invisible characters in it",
        cost: 1,
        undo: repair::without_invisible,
    },
    Mistake {
        with: "white space around it",
        cost: 1,
        undo: repair::trimmed,
    },
    Mistake {
        with: "a comment behind it",
        cost: 3,
        undo: repair::without_comment,
    },
    Mistake {
        with: "the name of its variable in front of it",
        cost: 3,
        undo: repair::without_name,
    },
    Mistake {
        with: "the marks of a literal of bytes around it",
        cost: 2,
        undo: repair::without_literal,
    },
    Mistake {
        with: "quotes around it",
        cost: 2,
        undo: repair::without_quotes,
    },
    Mistake {
        with: "brackets around it",
        cost: 2,
        undo: repair::without_brackets,
    },
    Mistake {
        with: "a line feed that is written as `\\n` behind it",
        cost: 2,
        undo: repair::without_written_line_end,
    },
    Mistake {
        with: "a punctuation mark behind it",
        cost: 2,
        undo: repair::without_punctuation,
    },
];

/// The mistakes that change characters, and mistakes that are undone in several ways.
const INSIDE: [Mistake; 14] = [
    Mistake {
        with: "blanks in place of `+`",
        cost: 2,
        undo: repair::plus_for_blank,
    },
    Mistake {
        with: "white space inside of it",
        cost: 2,
        undo: repair::without_white_space,
    },
    Mistake {
        with: "percent-encoded characters",
        cost: 3,
        undo: repair::percent_decoded,
    },
    Mistake {
        with: "HTML-escaped characters",
        cost: 3,
        undo: repair::html_unescaped,
    },
    Mistake {
        with: "backslashes in front of its characters",
        cost: 3,
        undo: repair::unescaped,
    },
    Mistake {
        with: "its letters in the wrong case",
        cost: 4,
        undo: repair::other_case,
    },
    Mistake {
        with: "a second copy of itself behind it",
        cost: 4,
        undo: repair::halved,
    },
    Mistake {
        with: "`$$` in place of `$`",
        cost: 3,
        undo: repair::single_dollar,
    },
    Mistake {
        with: "`=3D` in place of `=`",
        cost: 3,
        undo: repair::without_quoted_printable,
    },
    Mistake {
        with: "typographic or foreign characters that look like its own",
        cost: 3,
        undo: repair::plain_characters,
    },
    Mistake {
        with: "its digits read as a number",
        cost: 5,
        undo: repair::other_number,
    },
    Mistake {
        with: "other lines above or below it",
        cost: 4,
        undo: repair::each_line,
    },
    Mistake {
        with: "other words beside it",
        cost: 5,
        undo: repair::each_word,
    },
    Mistake {
        with: "its special characters decoded from their percent-encoding",
        cost: 5,
        undo: repair::percent_encoded,
    },
];

/// A text that may be the secret, with the summary of the cause and the cost.
pub(super) struct Copy {
    pub(super) text: SecretText,
    pub(super) summary: String,
    pub(super) cost: u8,
}

/// Returns the texts that one or more mistakes turn into `text`, the most likely ones first.
pub(super) fn each(text: &SecretText) -> Vec<Copy> {
    let mut copies = Vec::new();
    for mistake in &AROUND {
        undo(text, &[], mistake, &mut copies);
    }
    let cleaned = clean(text);
    copies.extend(cleaned.iter().map(|(text, before)| Copy {
        text: text.clone(),
        summary: summary(before),
        cost: cost(before),
    }));
    for mistake in &INSIDE {
        undo(text, &[], mistake, &mut copies);
    }
    for mistake in &INSIDE {
        for (text, before) in &cleaned {
            undo(text, before, mistake, &mut copies);
        }
    }
    copies
}

/// Returns the texts after two or more mistakes around the secret are undone.
fn clean(text: &SecretText) -> Vec<(SecretText, Vec<&'static Mistake>)> {
    /// More layers than an operator adds.
    const LAYERS: usize = 6;
    let mut steps: Vec<(SecretText, Vec<&'static Mistake>)> = Vec::new();
    let mut made = Vec::new();
    let mut now = text.clone();
    while made.len() < LAYERS {
        let next = AROUND.iter().find_map(|mistake| {
            let mut first = None;
            if let Ok(text) = std::str::from_utf8(now.expose()) {
                (mistake.undo)(text, &mut |text| {
                    first.get_or_insert(SecretText::new(text));
                });
            }
            first.map(|text| (text, mistake))
        });
        let Some((text, mistake)) = next else { break };
        made.push(mistake);
        now = text.clone();
        steps.push((text, made.clone()));
    }
    steps
}

/// Adds the texts that `mistake` turns into `text`. The mistakes `before` are undone already.
fn undo(
    text: &SecretText,
    before: &[&'static Mistake],
    mistake: &'static Mistake,
    copies: &mut Vec<Copy>,
) {
    let Ok(text) = std::str::from_utf8(text.expose()) else {
        return;
    };
    let made = [before, &[mistake]].concat();
    (mistake.undo)(text, &mut |text| {
        copies.push(Copy {
            text: SecretText::new(text),
            summary: summary(&made),
            cost: cost(&made),
        });
    });
}

fn summary(made: &[&Mistake]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for mistake in made {
        if !parts.contains(&mistake.with) {
            parts.push(mistake.with);
        }
    }
    format!("the secret was copied with {}", parts.join(" and "))
}

fn cost(made: &[&Mistake]) -> u8 {
    let sum: u8 = made.iter().map(|mistake| mistake.cost).sum();
    sum.min(14)
}
