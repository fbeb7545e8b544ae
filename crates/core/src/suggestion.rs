//! Suggestions for a name with a typing mistake.

/// Longest edit distance at which a wrong name gets a suggestion.
const MAX_DISTANCE: usize = 2;

/// Returns the known name that `name` probably means.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_lowercase();
    let distance = |known: &str| strsim::osa_distance(&name, &known.to_lowercase());
    let distances = known.into_iter().map(|known| (distance(known), known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    // Every name of two letters is near every other one.
    let is_near = distance <= MAX_DISTANCE && distance < name.chars().count();
    is_near.then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_the_name() {
        let known = ["stripe", "github", "shopify", "x"];
        for (name, expected) in [
            ("strpie", Some("stripe")),
            ("GitHub", Some("github")),
            ("shopfiy", Some("shopify")),
            ("paypal", None),
            ("y", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest("stripe", []), None);
    }
}
