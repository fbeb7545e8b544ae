//! A gateway with a queue and a source of each provider.

use std::path::Path;

use hookgate_tests::{Gateway, GatewayBuilder, SECRETS, TestProvider};

/// The sources whose deliveries have an order. The first source stores every delivery. The second
/// source stores a delivery if the upstream does not accept it.
pub(super) const ORDERED: [&str; 2] = ["standard-webhooks", "videogen"];
/// Maximum number of deliveries that the workers send to the upstream at once. It is half of the
/// connections.
pub(super) const WORKERS: usize = 16;

/// Prepares a gateway whose replay store and queue are in the folder `stores`.
pub(super) fn gateway(upstream: std::net::SocketAddr, stores: &Path) -> GatewayBuilder {
    let path = |name: &str| format!("{:?}", stores.join(name).display().to_string());
    let mut builder = Gateway::builder(upstream)
        // The log of many deliveries would fill the memory of the test.
        .server("access_log = \"off\"")
        .env("HOOKGATE_LOG", "info")
        .replay(&format!("store = \"disk\"\npath = {}", path("replay")))
        .upstream(&format!(
            "timeout = \"1s\"\nmax_connections = {}",
            2 * WORKERS
        ))
        .table(&format!(
            "[queue]\nstore = \"disk\"\npath = {}",
            path("queue")
        ))
        .table("[limits]\nrefused_per_minute = { address = 4000000000, source = 4000000000 }");
    for (index, (name, secret)) in SECRETS.iter().enumerate() {
        let queue = match *name {
            "beel" | "standard-webhooks" => "always",
            _ => "on_failure",
        };
        let order = if ORDERED.contains(name) {
            "source"
        } else {
            "any"
        };
        builder = builder
            .env(&format!("SECRET_{index}"), secret)
            .table(&format!(
                "[[sources]]\nname = \"{name}\"\npath = \"{}\"\nprovider = \"{name}\"\n\
                 secrets = [\"env:SECRET_{index}\"]\nupstream = \"app\"\nqueue = \"{queue}\"\n\
                 order = \"{order}\"\n\
                 retry = {{ first = \"100ms\", factor = 2, max = \"1s\", give_up = \"72h\" }}",
                TestProvider::named(name).path()
            ));
    }
    builder
}
