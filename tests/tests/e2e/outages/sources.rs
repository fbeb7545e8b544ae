//! A gateway with a queue and a source of each provider.

use std::net::SocketAddr;
use std::path::Path;

use hookgate_tests::{Gateway, GatewayBuilder, SECRETS, TestProvider};

/// The sources whose deliveries have an order. The first source stores every delivery. The second
/// source stores a delivery if the upstream does not accept it.
pub(super) const ORDERED: [&str; 2] = ["standard-webhooks", "videogen"];
/// The same for a queue in NATS, which keeps the order of a source only if it stores every
/// delivery.
pub(super) const ORDERED_IN_NATS: [&str; 1] = ["standard-webhooks"];
/// Maximum number of deliveries that the workers of a gateway send to the upstream at once. It is
/// half of the connections.
pub(super) const WORKERS: usize = 16;
/// A timeout for tests that wait for leases to end.
pub(super) const SHORT_TIMEOUT: &str = "2s";
/// A timeout for tests in which no attempt may time out.
pub(super) const LONG_TIMEOUT: &str = "8s";

/// Where a gateway keeps its events and deliveries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stores<'s> {
    /// The stores are files in this folder.
    Disk(&'s Path),
    /// The stores are servers with these URLs, which several gateways share.
    Shared { redis: &'s str, nats: &'s str },
}

/// Prepares a gateway without stores. Its log has no access lines, and no test exceeds its limits.
pub(super) fn without_stores(upstream: SocketAddr, timeout: &str) -> GatewayBuilder {
    Gateway::builder(upstream)
        // The log of many deliveries would fill the memory of the test.
        .server("access_log = \"off\"")
        .env("HOOKGATE_LOG", "info")
        .upstream(&format!(
            "timeout = {timeout:?}\nmax_connections = {}",
            2 * WORKERS
        ))
        .table("[limits]\nrefused_per_minute = { address = 4000000000, source = 4000000000 }")
}

/// Prepares a gateway with these stores. A lease is `timeout` and 10 s.
pub(super) fn gateway(upstream: SocketAddr, stores: Stores<'_>, timeout: &str) -> GatewayBuilder {
    let builder = with_stores(without_stores(upstream, timeout), stores);
    SECRETS
        .iter()
        .enumerate()
        .fold(builder, |builder, (index, (name, secret))| {
            builder
                .env(&format!("SECRET_{index}"), secret)
                .table(&source(name, index, stores))
        })
}

fn with_stores(builder: GatewayBuilder, stores: Stores<'_>) -> GatewayBuilder {
    match stores {
        Stores::Disk(folder) => {
            let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
            builder
                .replay(&format!("store = \"disk\"\npath = {}", path("replay")))
                .table(&format!(
                    "[queue]\nstore = \"disk\"\npath = {}",
                    path("queue")
                ))
        }
        Stores::Shared { redis, nats } => builder
            .env("REDIS_URL", redis)
            .env("NATS_URL", nats)
            .replay("store = \"redis\"\nurl = \"env:REDIS_URL\"")
            .table("[queue]\nstore = \"nats\"\nurl = \"env:NATS_URL\"\nreplicas = 3"),
    }
}

fn source(name: &str, index: usize, stores: Stores<'_>) -> String {
    let queue = match name {
        "beel" | "standard-webhooks" => "always",
        _ => "on_failure",
    };
    let ordered = match stores {
        Stores::Disk(_) => &ORDERED[..],
        Stores::Shared { .. } => &ORDERED_IN_NATS,
    };
    let order = match ordered.contains(&name) {
        true => "source",
        false => "any",
    };
    format!(
        "[[sources]]\nname = \"{name}\"\npath = \"{}\"\nprovider = \"{name}\"\n\
         secrets = [\"env:SECRET_{index}\"]\nupstream = \"app\"\nqueue = \"{queue}\"\n\
         order = \"{order}\"\n\
         retry = {{ first = \"100ms\", factor = 2, max = \"1s\", give_up = \"72h\" }}",
        TestProvider::named(name).path()
    )
}
