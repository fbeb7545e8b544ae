//! Members that a serializer has sorted.

use super::{Facts, Shape, Sign, Strength, sign};
use crate::body::json::{self, Order};
use crate::cause::Code;

/// The providers whose deliveries have members that are sorted by name.
const SORTING_PROVIDERS: &[&str] = &["increase", "sendgrid", "zendesk"];

/// Returns the sign that the members of all objects were sorted. It needs no declared length.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    if facts.shape != Shape::Json {
        return None;
    }
    match json::member_order(facts.body)? {
        Order::Length => {
            let mut found = sign(
                Code::BodyJsonRewritten,
                Strength::Likely,
                "the JSON was written anew: its members are sorted by the length of their names, \
                 as the `jsonb` type of PostgreSQL does",
            );
            found.cause = found.cause.with_fix(json::Writer::Jsonb.fix());
            Some(found)
        }
        Order::Name if sorts(facts) => None,
        // Other providers may sort members, too.
        Order::Name => Some(sign(
            Code::BodyJsonRewritten,
            Strength::Faint,
            "the JSON was probably written anew: the members of all objects are sorted by name",
        )),
        Order::First(_) => None,
    }
}

/// Whether the provider itself sorts members by name.
fn sorts(facts: &Facts<'_>) -> bool {
    let provider = facts.case.setup.provider.as_ref();
    provider.is_some_and(|provider| SORTING_PROVIDERS.contains(&provider.name()))
}
