//! A number with its noun.

/// Returns `count` and `noun`, which gets an `s` unless the number is one.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
