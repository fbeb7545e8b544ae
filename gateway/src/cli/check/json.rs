//! The result of `check` as JSON. `docs/operating.md` describes the members.

use hookgate_core::{Problem, Problems};
use hookgate_gate::{Dedupe, Mode, QueueMode};
use serde_json::{Value, json};

use crate::config::{Config, RouteConfig};

/// The version of the members. A new member does not change it; another meaning does.
const SCHEMA: u32 = 1;

/// Returns the object for a configuration with mistakes.
pub(super) fn mistakes(problems: &Problems) -> Value {
    json!({
        "schema": SCHEMA,
        "ok": false,
        "mistakes": problems.iter().map(problem).collect::<Vec<_>>(),
        "warnings": [],
    })
}

/// Returns the object for a configuration without mistakes.
pub(super) fn description(config: &Config, warnings: &[Problem], passes: bool) -> Value {
    let listeners = config
        .listen
        .iter()
        .map(|address| (address.to_string(), false));
    let tls = config
        .tls
        .iter()
        .map(|listener| (listener.listen.to_string(), true));
    let listeners = listeners.chain(tls);
    let upstreams = config.upstreams.iter().map(|(name, upstream)| {
        let servers: Vec<String> = upstream.servers.iter().map(ToString::to_string).collect();
        json!({
            "name": name,
            "servers": servers,
            "timeout_seconds": upstream.timeout.as_secs_f64(),
        })
    });
    json!({
        "schema": SCHEMA,
        "ok": passes,
        "mistakes": [],
        "warnings": warnings.iter().map(problem).collect::<Vec<_>>(),
        "listeners": listeners
            .map(|(address, tls)| json!({ "address": address, "tls": tls }))
            .collect::<Vec<_>>(),
        "admin": config.admin.to_string(),
        "shutdown_seconds": config.longest_delivery().as_secs_f64(),
        "replay_store": config.replay.store.kind(),
        "queue": config.queue.is_some(),
        "inspector": config.inspector.is_some(),
        "overrides": config.from_environment,
        "upstreams": upstreams.collect::<Vec<_>>(),
        "sources": config.routes.iter().map(source).collect::<Vec<_>>(),
    })
}

fn problem(problem: &Problem) -> Value {
    let line = problem.at.strip_prefix("line ");
    let digits = line.and_then(|text| text.split([',', ':']).next());
    json!({
        "at": problem.at,
        "line": digits.and_then(|digits| digits.parse::<u64>().ok()),
        "message": problem.message,
    })
}

fn source(route: &RouteConfig) -> Value {
    let source = &route.source;
    json!({
        "name": source.name(),
        "host": route.host,
        "path": &**route.path.text(),
        "provider": source.provider(),
        "upstream": route.upstream,
        "mode": match source.mode() {
            Mode::Observe => "observe",
            _ => "enforce",
        },
        "dedupe": match source.dedupe() {
            Dedupe::DeliveryId => "delivery_id",
            Dedupe::Off => "off",
            _ => "content",
        },
        "queue": match source.queue().mode {
            QueueMode::OnFailure => "on_failure",
            QueueMode::Always => "always",
            _ => "off",
        },
        "body_limit_bytes": source.body_limit().get(),
        "retention_seconds": source.retention().as_secs(),
    })
}
