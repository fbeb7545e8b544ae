//! From the text of a configuration to a [`Config`], one table a file.

mod limits;
mod replay;
mod server;
mod shutdown;
mod sources;
mod upstreams;
mod verifier;

use std::time::Duration;

use hookgate_core::Problems;
use hookgate_core::internal::{Report, Section};
use toml::Table;

use super::Config;

pub(super) fn read(table: &Table) -> Result<Config, Problems> {
    let report = Report::default();
    let warnings = Report::default();
    let root = Section::root(table, &report);

    let server = server::read(&root, &warnings);
    let (limits, mut defaults) = limits::read(&root);
    let (replay, max_entries_per_source) = replay::read(&root, &warnings);
    // One source may fill the store; of several, none may keep the others out.
    let fair = || Some(replay.store.max_entries()? / 2);
    let several = root.sections("sources").len() > 1;
    defaults.max_entries = max_entries_per_source.or_else(|| fair().filter(|_| several));
    let upstreams = upstreams::read(&root);
    let routes = sources::read(&root, &upstreams, defaults, &warnings);
    replay::warn_of_restarts(&replay, &routes, &warnings);
    root.deny_unknown();
    if let Some(route) = routes
        .iter()
        .find(|route| route.source.body_limit().get() > limits.unverified_bodies)
    {
        let name = route.source.name();
        report.add(
            "limits.unverified_bodies",
            format!("no body of {name} of the size that it may have would ever fit; expected at least its limit"),
        );
    }

    for name in upstreams.keys() {
        if report.is_empty() && !routes.iter().any(|route| route.upstream == *name) {
            warnings.add(format!("upstreams.{name}"), "no source forwards to it");
        }
    }
    let warnings = warnings.into_problems();
    report.finish(Some(Config {
        listen: server.listen,
        h2c: server.h2c,
        tls: server.tls,
        proxy_protocol: server.proxy_protocol,
        admin: server.admin,
        shutdown: server.shutdown,
        access_log: server.access_log,
        limits,
        replay,
        upstreams,
        routes,
        from_environment: Vec::new(),
        warnings,
    }))
}

fn positive(section: &Section<'_>, key: &'static str) -> Option<Duration> {
    let duration = section.optional::<Duration>(key)?;
    if duration.is_zero() {
        section.wrong(key, "expected more than nothing");
    }
    Some(duration)
}
