use std::time::Duration;

use hookgate_core::document::Section;
use hookgate_gate::{BodyLimit, SourceBuilder};

use super::positive;
use crate::config::Limits;
use crate::config::values::Size;

const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_CONNECTIONS: usize = 10_000;

/// What sources have that say nothing of their own.
#[derive(Clone, Copy)]
pub(super) struct Defaults {
    pub(super) body_limit: BodyLimit,
    pub(super) body_timeout: Duration,
    /// Most events of one source.
    pub(super) max_entries: Option<u64>,
}

pub(super) fn read(root: &Section<'_>) -> (Limits, Defaults) {
    let mut limits = Limits {
        head_timeout: DEFAULT_HEAD_TIMEOUT,
        connections: DEFAULT_CONNECTIONS,
    };
    let mut defaults = Defaults {
        body_limit: BodyLimit::DEFAULT,
        body_timeout: SourceBuilder::DEFAULT_BODY_TIMEOUT,
        max_entries: None,
    };
    if let Some(section) = root.section("limits") {
        defaults.body_limit = section
            .optional("body")
            .map_or(defaults.body_limit, |Size(limit)| limit);
        defaults.body_timeout = positive(&section, "body_timeout").unwrap_or(defaults.body_timeout);
        limits.head_timeout = positive(&section, "head_timeout").unwrap_or(limits.head_timeout);
        if let Some(connections) = section.optional::<u64>("connections") {
            limits.connections = usize::try_from(connections).unwrap_or(usize::MAX);
            if connections == 0 {
                section.wrong("connections", "expected at least 1");
            }
        }
        section.deny_unknown();
    }
    (limits, defaults)
}
