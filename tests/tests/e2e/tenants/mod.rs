//! Sources with tenants. Helpers that two or more modules need are here.

mod configuration;
mod equal_keys;
mod files;
mod operating;
mod resolver;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate_tests::{
    Gateway, GatewayBuilder, ReceivedResponse, TestProvider, Upstream, now, send_bytes,
};
use http::Request;
use tempfile::TempDir;
use tokio::time::sleep;

/// The longest time that a test waits for a condition.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

const ACME: &str = "whsec_5f0c8a6de2b94a13";
const UMBRELLA: &str = "whsec_77aa12bd90ce4f28";
const OTHER: &str = "whsec_c1d2e3f405162738";

/// A directory with a file for each tenant.
struct TenantFolder(TempDir);

impl TenantFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let files = Self(folder);
        fs::create_dir(files.path()).expect("the folder is created");
        files
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tenants")
    }

    /// Writes the file of a tenant, at once for its readers.
    fn set(&self, tenant: &str, secret: &str) {
        let new = self.0.path().join("new");
        fs::write(&new, format!("{secret}\n")).expect("the file is written");
        fs::rename(new, self.path().join(tenant)).expect("the file is replaced");
    }

    fn remove(&self, tenant: &str) {
        fs::remove_file(self.path().join(tenant)).expect("the file is removed");
    }
}

/// Returns a source whose tenants have files in `folder`.
fn partners(folder: &Path, lines: &str) -> String {
    let secret = format!("file:{}/{{tenant}}", folder.display());
    source(&format!("{secret:?}"), lines)
}

/// Returns a source with tenants whose `secrets` have this item.
fn source(secret: &str, lines: &str) -> String {
    format!(
        "[[sources]]\nname = \"partners\"\npath = \"/partners/{{tenant}}\"\nprovider = \"beatapi\"\n\
         secrets = [{secret}]\nupstream = \"app\"\n{lines}\n"
    )
}

fn with_files(upstream: &Upstream, files: &TenantFolder) -> GatewayBuilder {
    Gateway::builder(upstream.address()).table(&partners(&files.path(), ""))
}

/// Returns a delivery of the event `id` to `path`.
fn delivery(path: &str, secret: &'static str, id: &str) -> Request<Bytes> {
    let provider = TestProvider::named("beatapi").with_secret(secret);
    let body = provider.body(id);
    let mut request = Request::post(path).body(body.clone());
    let request_headers = provider.sign(&body, now(), id);
    if let Ok(request) = &mut request {
        *request.headers_mut() = request_headers;
    }
    request.expect("the request is valid")
}

/// Sends a delivery for `tenant`.
async fn deliver(
    gateway: &Gateway,
    tenant: &str,
    secret: &'static str,
    id: &str,
) -> ReceivedResponse {
    let request = delivery(&format!("/partners/{tenant}"), secret, id);
    send_bytes(gateway.address(), request).await
}

/// Returns the status of a delivery that a lookup in progress may refuse with 503 at first: the
/// sender of a forged delivery is asked to retry if the secrets are just read again.
async fn status(gateway: &Gateway, tenant: &str, secret: &'static str, id: &str) -> u16 {
    let start = Instant::now();
    loop {
        let found = first_status(gateway, tenant, secret, id).await;
        if found != 503 {
            return found;
        }
        assert!(
            start.elapsed() < WAIT_TIMEOUT,
            "{tenant}:\n{}",
            gateway.log()
        );
        sleep(POLL_INTERVAL).await;
    }
}

async fn first_status(gateway: &Gateway, tenant: &str, secret: &'static str, id: &str) -> u16 {
    deliver(gateway, tenant, secret, id).await.status.as_u16()
}

/// Sends deliveries with new ids until one has the status `expected`. Returns how long that took.
async fn wait_for_status(
    gateway: &Gateway,
    tenant: &str,
    secret: &'static str,
    expected: u16,
) -> Duration {
    let start = Instant::now();
    for number in 0.. {
        let id = format!("evt_wait_{tenant}_{expected}_{number}");
        let found = first_status(gateway, tenant, secret, &id).await;
        if found == expected {
            break;
        }
        assert!(
            start.elapsed() < WAIT_TIMEOUT,
            "{tenant} still gets {found} in place of {expected}:\n{}",
            gateway.log()
        );
        sleep(POLL_INTERVAL).await;
    }
    start.elapsed()
}
