//! Turns a parsed configuration file into a [`Config`]. Each file here reads one table.

mod inspector;
mod keys;
mod limits;
mod provider_advice;
mod queue;
mod replay;
mod route;
mod server;
mod shutdown;
mod source_policy;
mod source_queue;
pub(super) mod source_setup;
mod sources;
pub(super) mod tenants;
mod upstreams;
mod verifier;

use std::time::Duration;

use hookgate_core::Problems;
use hookgate_core::internal::{Report, Section, Table, Value};

use super::{Config, Inputs, ShownConfig};

/// Reads all tables and checks the values that belong together.
///
/// # Errors
///
/// Returns every mistake, each with its key path.
pub(super) fn read(table: &Table, inputs: Inputs) -> Result<Config, Problems> {
    let report = Report::default();
    let warnings = Report::default();
    let root = Section::root(table, &report);

    let server = server::read(&root, inputs, &warnings);
    let (limits, mut defaults) = limits::read(&root);
    let (replay, max_entries_per_source) = replay::read(&root, inputs, &warnings);
    // A single source may fill the store. With several sources, one of them gets at most half,
    // so that it cannot shut out the others.
    let half = || Some(replay.store.max_entries()? / 2);
    let sources = root.raw().get("sources").and_then(Value::as_array);
    let has_several_sources = sources.is_some_and(|sources| sources.len() > 1);
    defaults.max_entries =
        max_entries_per_source.or_else(|| half().filter(|_| has_several_sources));
    let mut queue = queue::read(&root, inputs);
    let inspector = inspector::read(&root, inputs, &warnings);
    if inspector.is_some() && !server.admin.ip().is_loopback() {
        warnings.add(
            "server.admin",
            "the inspector is on, and other hosts can reach this address without TLS, so a token \
             or a delivery can be read on the way; expected a loopback address, or a proxy with \
             TLS in front",
        );
    }
    let capture = inspector.as_ref().map(|inspector| inspector.capture);
    let upstreams = upstreams::read(&root, inputs);
    let shared = sources::Shared {
        inputs,
        upstreams: &upstreams,
        defaults,
        capture,
        queue: queue.as_ref(),
    };
    let routes = sources::read(&root, &shared, &warnings);
    if let Some(queue) = &mut queue {
        queue::check_bodies(queue, &routes, &report);
    }
    replay::warn_of_restarts(&replay, &routes, &warnings);
    // The included files are part of the table, and the key is not any more.
    root.value("include");
    root.deny_unknown();
    if let Some(route) = routes
        .iter()
        .find(|route| route.source.body_limit().get() > limits.unverified_bodies)
    {
        let name = route.source.name();
        report.add(
            "limits.unverified_bodies",
            format!(
                "smaller than the largest body of source {name}, which would never fit; expected \
                 at least {}, its `body` limit",
                route.source.body_limit()
            ),
        );
    }

    for name in upstreams.keys() {
        if report.is_empty() && !routes.iter().any(|route| route.upstream == *name) {
            warnings.add(
                format!("upstreams.{name}"),
                "not used by any source; remove this table, or name it as the upstream of a source",
            );
        }
    }
    let warnings = warnings.into_problems();
    report.finish(Some(Config {
        listen: server.listen,
        h2c: server.h2c,
        tls: server.tls,
        proxy_protocol: server.proxy_protocol,
        trusted_proxies: server.trusted_proxies,
        admin: server.admin,
        shutdown: server.shutdown,
        access_log: server.access_log,
        limits,
        replay,
        queue,
        inspector: inspector.map(|inspector| inspector.config),
        upstreams,
        routes,
        from_environment: Vec::new(),
        warnings,
        shown: ShownConfig::default(),
    }))
}

/// Reads a duration that must be greater than zero.
fn positive_duration(section: &Section<'_>, key: &'static str) -> Option<Duration> {
    let duration = section.optional::<Duration>(key)?;
    if duration.is_zero() {
        section.wrong(key, "must be greater than zero");
    }
    Some(duration)
}
