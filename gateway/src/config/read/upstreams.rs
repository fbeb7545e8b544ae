use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hookgate_core::document::Section;

use super::positive;
use crate::config::Upstream;
use crate::config::values::Servers;

/// The tightest deadline that a first provider publishes is 10 s (BeeL).
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(8);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, Upstream> {
    let mut upstreams = BTreeMap::new();
    if !root.has("upstreams") {
        root.wrong(
            "upstreams",
            "missing; expected at least one table [upstreams.NAME]",
        );
    }
    for (name, section) in root.named_sections("upstreams") {
        let servers = section.required_list::<Servers>("servers");
        let servers: Vec<SocketAddr> = servers.into_iter().flat_map(|servers| servers.0).collect();
        let timeout = positive(&section, "timeout").unwrap_or(DEFAULT_TIMEOUT);
        let connect_timeout =
            positive(&section, "connect_timeout").unwrap_or(DEFAULT_CONNECT_TIMEOUT.min(timeout));
        if connect_timeout > timeout {
            section.wrong(
                "connect_timeout",
                "expected at most `timeout`, which includes it",
            );
        }
        section.deny_unknown();
        upstreams.insert(
            name.to_owned(),
            Upstream {
                servers,
                timeout,
                connect_timeout,
            },
        );
    }
    upstreams
}
