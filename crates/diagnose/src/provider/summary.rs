//! The texts of causes that are another scheme or another variant.

use super::catalogue::Entry;
use super::other::Others;
use crate::cause::{Cause, Code};
use crate::setup::Setup;

/// Returns the cause that the variant `name` of the configured scheme has signed the delivery.
pub(super) fn other_variant(setup: &Setup, name: &str) -> Cause {
    let title = setup.title();
    let summary = match &setup.variant {
        Some(chosen) => format!(
            "{title} has signed the delivery with the variant `{name}`, but the variant `{chosen}` \
             is configured"
        ),
        None => format!(
            "{title} has signed the delivery with the variant `{name}`, which is used only if the \
             configuration chooses it"
        ),
    };
    Cause::new(Code::OtherVariant, summary).with_fix(format!("configure `variant = \"{name}\"`"))
}

/// Returns the cause that the scheme of `entry` has signed the delivery.
pub(super) fn other_scheme(
    others: &Others<'_>,
    setup: &Setup,
    entry: &Entry,
    variant: Option<&str>,
) -> Cause {
    let (title, name) = (entry.provider.title(), entry.name());
    let line = match variant {
        Some(variant) => format!("`provider = \"{name}\"` and `variant = \"{variant}\"`"),
        None => format!("`provider = \"{name}\"`"),
    };
    let expected = match &setup.provider {
        Some(provider) => format!("the scheme of {} is configured", provider.title()),
        None => "another scheme is configured".to_owned(),
    };
    let (code, fix) = match others.is_version(entry) {
        true => (
            Code::OtherVariant,
            format!("configure {line}, or make the sender use the configured version"),
        ),
        false => (Code::OtherProvider, format!("configure {line}")),
    };
    let summary = format!("the delivery is signed by the scheme of {title}, but {expected}");
    Cause::new(code, summary).with_fix(fix)
}
