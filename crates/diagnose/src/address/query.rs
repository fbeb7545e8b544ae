//! Spellings of a query.

use super::escapes;

/// The largest number of fields in a query for which each field is left out once.
const MAX_FIELDS: usize = 8;

/// Returns the spellings of `query`, the most likely ones first. `None` is a URL without `?`.
pub(super) fn spellings(query: Option<&str>) -> Vec<Option<String>> {
    let Some(query) = query else {
        return vec![Some(String::new())];
    };
    let fields: Vec<&str> = query.split('&').collect();
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    let reversed: Vec<&str> = fields.iter().rev().copied().collect();
    let mut all = vec![
        sorted.join("&"),
        reversed.join("&"),
        query.replace('+', "%20"),
        query.replace("%20", "+"),
        escapes::with_hex(query, u8::to_ascii_uppercase),
        escapes::with_hex(query, u8::to_ascii_lowercase),
        each_value(&fields, escapes::decode),
        each_value(&fields, escapes::encode),
        each_value(&fields, |value| {
            escapes::encode(&escapes::decode(&value.replace('+', " ")))
        }),
        query.replace("&amp;", "&"),
        query.trim_end_matches(['&', '=']).to_owned(),
        each_value(&sorted, escapes::decode),
        String::new(),
    ];
    if (2..=MAX_FIELDS).contains(&fields.len()) {
        all.extend((0..fields.len()).map(|dropped| {
            let kept = fields.iter().enumerate();
            let kept = kept.filter(|(index, _)| *index != dropped);
            kept.map(|(_, field)| *field).collect::<Vec<_>>().join("&")
        }));
    }
    [None]
        .into_iter()
        .chain(all.into_iter().map(Some))
        .collect()
}

/// Returns the query of `fields` with `change` applied to each value.
fn each_value(fields: &[&str], change: impl Fn(&str) -> String) -> String {
    let changed = fields.iter().map(|field| match field.split_once('=') {
        Some((name, value)) => format!("{name}={}", change(value)),
        None => (*field).to_owned(),
    });
    changed.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_its_common_spellings() {
        for (query, expected) in [
            (None, Some("")),
            (Some("a=1"), None),
            (Some("a=1"), Some("")),
            (Some("b=2&a=1"), Some("a=1&b=2")),
            (Some("a=1&b=2"), Some("b=2&a=1")),
            (Some("a=1&b=2"), Some("b=2")),
            (Some("a=x+y"), Some("a=x%20y")),
            (Some("a=x%20y"), Some("a=x+y")),
            (Some("a=%c3%a9"), Some("a=%C3%A9")),
            (Some("a=%C3%A9"), Some("a=%c3%a9")),
            (Some("a=%2Fx"), Some("a=/x")),
            (Some("a=/x"), Some("a=%2Fx")),
            (Some("a=1&amp;b=2"), Some("a=1&b=2")),
        ] {
            let found = spellings(query);
            let expected = expected.map(str::to_owned);
            assert!(found.contains(&expected), "{query:?}: {found:?}");
        }
    }
}
