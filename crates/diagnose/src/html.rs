//! Character references of HTML in short texts.

/// The named references that escapers write.
const NAMED: [(&str, char); 11] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", '\u{a0}'),
    ("sol", '/'),
    ("plus", '+'),
    ("equals", '='),
    ("lowbar", '_'),
    ("comma", ','),
];

/// Returns `text` with its character references replaced, or `None` if it has none.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let mut has_reference = false;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.bytes().take(10).position(|byte| byte == b';');
        let decoded = end.and_then(|end| decode(&rest[..end]).map(|character| (character, end)));
        match decoded {
            Some((character, end)) => {
                has_reference = true;
                plain.push(character);
                rest = &rest[end + 1..];
            }
            None => plain.push('&'),
        }
    }
    plain.push_str(rest);
    has_reference.then_some(plain)
}

fn decode(reference: &str) -> Option<char> {
    match reference.strip_prefix('#') {
        None => {
            let named = NAMED.iter().find(|(name, _)| *name == reference);
            named.map(|(_, character)| *character)
        }
        Some(number) => {
            let number = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_other_ampersands_stay() {
        for (text, plain) in [
            ("a&amp;b&#x2F;c&#61;", Some("a&b/c=")),
            ("&quot;x&quot;", Some("\"x\"")),
            ("a&b;c", None),
            ("a&amp;b&c", Some("a&b&c")),
            ("&#x110000;", None),
            ("&", None),
            ("&é;", None),
        ] {
            assert_eq!(unescape(text).as_deref(), plain, "{text}");
        }
    }
}
