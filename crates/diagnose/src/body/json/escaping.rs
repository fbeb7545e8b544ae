//! The escapes that a provider may have used.

use std::collections::BTreeMap;

use super::census::Census;
use super::character::{Class, Classes, Escapes, Hex};

/// How much less likely a style becomes by one class that is not escaped as usual.
const FLIP: u8 = 3;

const UNICODE: [Class; 3] = [Class::NonAscii, Class::Astral, Class::LineSeparator];

/// The escapes of common serializers. The number is higher for the less common ones.
const PROFILES: [(&[&[Class]], Hex, u8); 13] = {
    use Class::*;
    const HTML: &[Class] = &[Angle, Ampersand, LineSeparator];
    [
        // JavaScript, Ruby, Rust, orjson, Jackson
        (&[], Hex::Lower, 0),
        // Go, Rails
        (&[HTML], Hex::Lower, 1),
        // Python
        (&[&UNICODE], Hex::Lower, 1),
        // PHP
        (&[&UNICODE, &[Slash]], Hex::Lower, 2),
        // Gson
        (&[HTML, &[Apostrophe, Equals]], Hex::Lower, 3),
        // System.Text.Json
        (
            &[&UNICODE, HTML, &[Apostrophe, Plus, Backtick, Quote, Delete]],
            Hex::Upper,
            3,
        ),
        // Jackson with `ESCAPE_NON_ASCII`
        (&[&UNICODE], Hex::Upper, 3),
        // PHP with `JSON_UNESCAPED_UNICODE`
        (&[&[Slash, LineSeparator]], Hex::Lower, 4),
        (&[HTML, &[Slash]], Hex::Lower, 4),
        (&[&UNICODE, HTML], Hex::Lower, 4),
        // JavaScriptSerializer of .NET, Django
        (&[HTML, &[Apostrophe]], Hex::Lower, 4),
        (&[HTML], Hex::Upper, 5),
        // PHP with `JSON_HEX_TAG | JSON_HEX_AMP | JSON_HEX_APOS | JSON_HEX_QUOT`
        (
            &[&UNICODE, HTML, &[Slash, Apostrophe, Quote]],
            Hex::Upper,
            6,
        ),
    ]
};

/// Returns the escapes that make a difference to the text of `census`, each with a number that
/// is at most `most`, and higher for the less likely ones.
pub(super) fn choices(census: &Census<'_>, most: u8) -> Vec<(Escapes, u8)> {
    let mut best: BTreeMap<Escapes, u8> = BTreeMap::new();
    for (base, cost) in bases(census) {
        let kept = base.kept;
        let free: Vec<Class> = census
            .classes()
            .filter(|class| Class::OPTIONAL.contains(class) && !kept.contains(*class))
            .collect();
        let mut queue = vec![(base.escaped, 0, cost)];
        while let Some((escaped, next, cost)) = queue.pop() {
            if cost > most {
                continue;
            }
            if let Some(escapes) = normal(census, Escapes { escaped, ..base }) {
                let known = best.entry(escapes).or_insert(cost);
                *known = cost.min(*known);
            }
            for (index, class) in free.iter().enumerate().skip(next) {
                let flipped = escaped.difference(Classes::of(&[*class]));
                queue.push((flipped, index + 1, cost + FLIP));
            }
        }
    }
    let mut choices: Vec<_> = best.into_iter().collect();
    choices.sort_by_key(|(_, cost)| *cost);
    choices
}

/// Returns the escapes of the text itself. Characters that it escapes in some places alone are
/// kept.
pub(super) fn own(census: &Census<'_>) -> Escapes {
    let mut own = Escapes {
        escaped: Classes::NONE,
        kept: Classes::NONE,
        hex: Hex::Lower,
    };
    for class in census.classes() {
        let tally = census.tally(class);
        if class == Class::Ordinary || tally.is_mixed() {
            own.kept.insert(class);
        } else if class != Class::Control && tally.has_escaped {
            own.escaped.insert(class);
        }
        if tally.has_upper {
            own.hex = Hex::Upper;
        }
    }
    own
}

fn bases(census: &Census<'_>) -> Vec<(Escapes, u8)> {
    let mut bases: Vec<_> = PROFILES
        .iter()
        .map(|(groups, hex, cost)| {
            let mut escaped = Classes::NONE;
            for class in groups.iter().copied().flatten() {
                escaped.insert(*class);
            }
            let escapes = Escapes {
                escaped,
                kept: Classes::NONE,
                hex: *hex,
            };
            (escapes, *cost)
        })
        .collect();
    bases.push((own(census), 1));
    bases
}

/// Returns `escapes` without the classes that the text does not have. `None` if no serializer
/// has such escapes.
fn normal(census: &Census<'_>, escapes: Escapes) -> Option<Escapes> {
    let mut present = Classes::NONE;
    let mut lettered = Classes::NONE;
    for class in census.classes() {
        present.insert(class);
        if census.tally(class).has_letters {
            lettered.insert(class);
        }
    }
    let escaped = escapes.escaped.intersection(present);
    if escaped.contains(Class::NonAscii)
        && present.contains(Class::LineSeparator)
        && !escaped.contains(Class::LineSeparator)
    {
        return None;
    }
    let mut cased = escaped;
    cased.insert(Class::Control);
    let hex = match cased.intersection(lettered).is_empty() {
        true => Hex::Lower,
        false => escapes.hex,
    };
    Some(Escapes {
        escaped,
        kept: escapes.kept.intersection(present),
        hex,
    })
}
