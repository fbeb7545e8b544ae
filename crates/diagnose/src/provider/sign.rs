//! Signs of another scheme that no verification proves.

use super::other::Others;
use super::rank::Evidence;
use super::summary::{other_scheme, other_variant};
use crate::attempt::Case;
use crate::sign::{Sign, Strength};

/// Returns the signs of another scheme that no verification proves.
///
/// The signature that the configured scheme expects is missing, and another one is there.
pub(crate) fn signs(case: Case<'_>) -> Vec<Sign> {
    let others = Others::new(case);
    let traits = others.traits();
    if let Some(name) = others.applicable_variant() {
        return vec![Sign {
            cause: other_variant(case.setup, name),
            strength: Strength::Certain,
        }];
    }
    if others.has_enabled_signature() {
        return Vec::new();
    }
    let mut entries = others.entries().into_iter().filter_map(|entry| {
        let mut ways = entry.ways.iter();
        let way = ways.find(|way| way.is_distinctive(traits) && others.is_advisable(entry, way))?;
        Some((entry, way))
    });
    let Some((entry, way)) = entries.next() else {
        return Vec::new();
    };
    let variant = way.name.as_deref().filter(|_| way.is_opt_in);
    let evidence = Evidence::of(entry, traits);
    vec![Sign {
        cause: other_scheme(&others, case.setup, entry, variant),
        // A header that many providers read may as well be of an unknown one.
        strength: match evidence.named + evidence.read {
            0 => Strength::Strong,
            _ => Strength::Certain,
        },
    }]
}
