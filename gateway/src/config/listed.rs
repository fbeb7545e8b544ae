//! Lists of names for messages.

/// The number of names that a message lists.
const MAX_LISTED: usize = 20;

/// Returns `known` for a message. A long list is cut.
pub(crate) fn listed(known: &[&str]) -> String {
    let shown = &known[..known.len().min(MAX_LISTED)];
    match known.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(listed(&["a", "b"]), "a, b");
        let list = listed(&["a"; 25]);
        assert!(list.ends_with("a, a and 5 more"), "{list}");
    }
}
