//! Background maintenance of an upstream: resolves host names again, and runs health checks.
//!
//! It runs on a thread of its own. A DNS lookup may block for long, and an upstream may live
//! longer than the runtime of a listener.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::backend::Backend;
use super::{Upstream, health};
use crate::config::{ServerAddress, TransportAddress};

/// Interval between two DNS lookups of all names.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// Starts the maintenance thread of `upstream`, if it has host names or health checks. The
/// thread ends after the upstream is dropped.
///
/// # Errors
///
/// Returns the error of the system if the thread or its runtime cannot be created.
pub(super) fn spawn(upstream: &Arc<Upstream>) -> io::Result<()> {
    let has_names = upstream
        .config
        .servers
        .iter()
        .any(|s| s.as_name().is_some());
    if !has_names && upstream.config.health.is_none() {
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let upstream = Arc::downgrade(upstream);
    let maintain = move || {
        runtime.block_on(async {
            tokio::join!(
                health::run_checks(upstream.clone()),
                resolve_periodically(upstream)
            );
        });
    };
    let thread = thread::Builder::new().name("hookgate-maint".to_owned());
    thread.spawn(maintain).map(drop)
}

async fn resolve_periodically(upstream: Weak<Upstream>) {
    loop {
        sleep(RESOLVE_INTERVAL).await;
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let mut backends = Vec::new();
        for server in &upstream.config.servers {
            backends.extend(resolve(&upstream, server).await);
        }
        let before = upstream.backends();
        let is_same = backends.len() == before.len()
            && backends
                .iter()
                .zip(&*before)
                .all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_same {
            let addresses = backends.iter().map(|backend| backend.address.to_string());
            let addresses: Vec<String> = addresses.collect();
            tracing::info!(
                upstream = upstream.name,
                addresses = addresses.join(", "),
                "DNS addresses changed"
            );
            *upstream.backends.write() = backends.into();
        }
    }
}

/// Resolves `server` and returns its backends. A backend whose address has not changed stays,
/// with its connections and its health. If the lookup fails, all backends of the server stay.
async fn resolve(upstream: &Upstream, server: &ServerAddress) -> Vec<Arc<Backend>> {
    let before = upstream.backends();
    let is_of_server = |backend: &&Arc<Backend>| backend.server == *server;
    let mut addresses: Vec<TransportAddress> = match server.as_name() {
        Some(name) => match lookup_host((name.host.as_str(), name.port)).await {
            Ok(addresses) => addresses.map(TransportAddress::Tcp).collect(),
            Err(error) => {
                tracing::warn!(
                    upstream = upstream.name,
                    name = %server,
                    %error,
                    "DNS lookup failed; keeping the previous addresses"
                );
                Vec::new()
            }
        },
        None => Vec::new(),
    };
    if addresses.is_empty() {
        return before.iter().filter(is_of_server).cloned().collect();
    }
    addresses.sort();
    addresses.dedup();
    let backend = |address| {
        let mut known = before.iter().filter(is_of_server);
        known
            .find(|backend| backend.address == address)
            .cloned()
            .unwrap_or_else(|| Arc::new(Backend::new(address, server, &upstream.config)))
    };
    addresses.into_iter().map(backend).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::{self, TcpServer};

    fn name(host: &str, port: u16) -> ServerAddress {
        ServerAddress::Tcp(TcpServer {
            secure: false,
            host: host.to_owned(),
            port,
            addresses: vec![SocketAddr::from(([192, 0, 2, 1], port))],
        })
    }

    #[tokio::test]
    async fn a_name_gets_its_new_addresses_and_keeps_the_old_ones_if_the_lookup_fails() {
        let mut config = config::UpstreamConfig::to_test(Duration::from_secs(1));
        config.servers = vec![
            name("localhost", 80),
            name("lost.invalid", 81),
            name("192.0.2.1", 82),
        ];
        let upstream = Upstream::start("app", &config).expect("no certificates are read");
        let before = upstream.backends();

        let moved = resolve(&upstream, &config.servers[0]).await;
        assert!(!moved.is_empty());
        assert!(
            moved
                .iter()
                .all(|backend| matches!(&backend.address, TransportAddress::Tcp(address) if address.ip().is_loopback()))
        );
        for (index, name) in config.servers.iter().enumerate().skip(1) {
            let same = resolve(&upstream, name).await;
            assert!(Arc::ptr_eq(&same[0], &before[index]), "{name}");
        }

        // A backend with an unchanged address stays the same.
        *upstream.backends.write() = moved.clone().into();
        let again = resolve(&upstream, &config.servers[0]).await;
        assert!(again.iter().zip(&moved).all(|(a, b)| Arc::ptr_eq(a, b)));
    }
}
