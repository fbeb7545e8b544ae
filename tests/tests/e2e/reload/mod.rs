//! Reloads of the configuration while the gateway runs. Helpers that the modules share are here.

mod changes;
pub(crate) mod command;
mod in_flight;
mod key_rotation;

use std::fs;
use std::path::Path;

use hookgate_tests::{Gateway, TestProvider, Upstream, send};
use http::StatusCode;
use tempfile::TempDir;

pub(super) const OLD: &str = "whsec_5f0c8a6de2b94a13";

pub(super) const NEW: &str = "whsec_77aa12bd90ce4f28";

/// Returns the provider that signs with the old secret.
pub(super) fn old() -> TestProvider {
    TestProvider::named("beatapi").with_secret(OLD)
}

/// Returns the provider that signs with the new secret.
pub(super) fn new() -> TestProvider {
    TestProvider::named("beatapi").with_secret(NEW)
}

/// Returns a source table with these secrets.
pub(super) fn source(secrets: &str) -> String {
    format!(
        "[[sources]]\nname = \"beatapi\"\npath = \"/hooks/beatapi\"\nprovider = \"beatapi\"\n\
         upstream = \"app\"\nsecrets = [{secrets}]\n"
    )
}

/// Starts a gateway with one source that has these secrets.
pub(super) fn gateway(upstream: &Upstream, secrets: &str) -> Gateway {
    Gateway::builder(upstream.address())
        .env("OLD", OLD)
        .env("NEW", NEW)
        .table(&source(secrets))
        .start_without_default_sources()
}

/// Sends a delivery of the event `id`. Returns the status of the response.
pub(super) async fn status(gateway: &Gateway, provider: &TestProvider, id: &str) -> StatusCode {
    send(gateway.address(), provider.delivery(id)).await.status
}

pub(super) fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the file is written");
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().expect("the temporary folder is created")
}
