//! Reads the table `[limits]`.

use std::time::Duration;

use hookgate_core::internal::Section;
use hookgate_gate::{BodyLimit, SourceBuilder};

use super::positive_duration;
use crate::config::values::Size;
use crate::config::{Limits, RefusalLimits};

const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_CONNECTIONS: usize = 10_000;
const DEFAULT_UNVERIFIED_BODIES: usize = 256 * 1024 * 1024;
/// Higher than the rate of a sender that is only misconfigured, so that only a flood is limited.
const DEFAULT_REFUSALS: RefusalLimits = RefusalLimits {
    per_address: 6_000,
    per_source: 60_000,
};

/// Values for sources that do not set their own.
#[derive(Clone, Copy)]
pub(super) struct Defaults {
    /// `None` leaves the default of the provider.
    pub(super) body_limit: Option<BodyLimit>,
    pub(super) body_timeout: Duration,
    /// Maximum number of events that the store remembers for one source.
    pub(super) max_entries: Option<u64>,
}

/// Reads the limits that all sources share, and the defaults for each source.
pub(super) fn read(root: &Section<'_>) -> (Limits, Defaults) {
    let mut limits = Limits {
        head_timeout: DEFAULT_HEAD_TIMEOUT,
        connections: DEFAULT_CONNECTIONS,
        connections_per_address: None,
        unverified_bodies: DEFAULT_UNVERIFIED_BODIES,
        refusals: DEFAULT_REFUSALS,
    };
    let mut defaults = Defaults {
        body_limit: None,
        body_timeout: SourceBuilder::DEFAULT_BODY_TIMEOUT,
        max_entries: None,
    };
    if let Some(section) = root.section("limits") {
        defaults.body_limit = section.optional("body").map(|Size(limit)| limit);
        defaults.body_timeout =
            positive_duration(&section, "body_timeout").unwrap_or(defaults.body_timeout);
        limits.head_timeout =
            positive_duration(&section, "head_timeout").unwrap_or(limits.head_timeout);
        let count = |key| {
            let count = section.optional::<u64>(key)?;
            if count == 0 {
                section.wrong(key, "expected at least 1");
            }
            Some(usize::try_from(count).unwrap_or(usize::MAX))
        };
        limits.connections = count("connections").unwrap_or(limits.connections);
        limits.connections_per_address = count("connections_per_address");
        limits.unverified_bodies = section
            .optional("unverified_bodies")
            .map_or(limits.unverified_bodies, |Size(size)| size.get());
        limits.refusals = read_refusal_limits(&section);
        section.deny_unknown();
    }
    (limits, defaults)
}

fn read_refusal_limits(parent: &Section<'_>) -> RefusalLimits {
    let Some(section) = parent.section("refused_per_minute") else {
        return DEFAULT_REFUSALS;
    };
    let count = |key, default| {
        let count = section.optional::<u64>(key);
        if count == Some(0) {
            section.wrong(key, "expected at least 1");
        }
        count.map_or(default, |count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    let limits = RefusalLimits {
        per_address: count("address", DEFAULT_REFUSALS.per_address),
        per_source: count("source", DEFAULT_REFUSALS.per_source),
    };
    section.deny_unknown();
    limits
}
