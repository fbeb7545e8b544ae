//! Looking after servers while deliveries come and go: names are resolved again, and
//! health is checked. On a thread of its own, because looking up a name takes as long
//! as it takes, and because no listener is there for as long as an upstream may be.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::backend::Backend;
use super::{Upstream, health};
use crate::config::ServerAddress;

/// How often names are looked up.
const LOOK: Duration = Duration::from_secs(30);

/// Starts to tend `upstream`, if there is anything to tend. Ends when it is dropped.
pub(super) fn start(upstream: &Arc<Upstream>) -> io::Result<()> {
    let has_names = upstream.config.servers.iter().any(ServerAddress::is_name);
    if !has_names && upstream.config.health.is_none() {
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let upstream = Arc::downgrade(upstream);
    let tend = move || {
        runtime.block_on(async {
            tokio::join!(health::watch(upstream.clone()), look_up(upstream));
        });
    };
    let thread = thread::Builder::new().name("hookgate-tend".to_owned());
    thread.spawn(tend).map(drop)
}

async fn look_up(upstream: Weak<Upstream>) {
    loop {
        sleep(LOOK).await;
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let mut servers = Vec::new();
        for name in &upstream.config.servers {
            servers.extend(look_up_one(&upstream, name).await);
        }
        let before = upstream.servers();
        let is_same = servers.len() == before.len()
            && servers.iter().zip(&*before).all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_same {
            let addresses: Vec<SocketAddr> = servers.iter().map(|s| s.address).collect();
            tracing::info!(upstream = upstream.name, ?addresses, "servers have moved");
            *upstream.servers.write() = servers.into();
        }
    }
}

/// The servers that `name` means by now; those that it has meant before stay what they
/// are. If it cannot be looked up, it means what it did.
async fn look_up_one(upstream: &Upstream, name: &ServerAddress) -> Vec<Arc<Backend>> {
    let before = upstream.servers();
    let of_name = |server: &&Arc<Backend>| server.name == *name;
    let mut addresses: Vec<SocketAddr> = match name.is_name() {
        true => match lookup_host((name.host.as_str(), name.port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                tracing::warn!(upstream = upstream.name, %name, %error, "cannot be looked up");
                Vec::new()
            }
        },
        false => Vec::new(),
    };
    if addresses.is_empty() {
        return before.iter().filter(of_name).cloned().collect();
    }
    addresses.sort();
    addresses.dedup();
    let server = |address| {
        let mut known = before.iter().filter(of_name);
        known
            .find(|server| server.address == address)
            .cloned()
            .unwrap_or_else(|| Arc::new(Backend::new(address, name, &upstream.config)))
    };
    addresses.into_iter().map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn name(host: &str, port: u16) -> ServerAddress {
        ServerAddress {
            secure: false,
            host: host.to_owned(),
            port,
            addresses: vec![SocketAddr::from(([192, 0, 2, 1], port))],
        }
    }

    #[tokio::test]
    async fn a_name_means_what_it_means_now_and_one_that_is_lost_what_it_meant() {
        let mut config = config::UpstreamConfig::to_test(Duration::from_secs(1));
        config.servers = vec![
            name("localhost", 80),
            name("lost.invalid", 81),
            name("192.0.2.1", 82),
        ];
        let upstream = Upstream::start("app", &config).expect("nothing to read");
        let before = upstream.servers();

        let moved = look_up_one(&upstream, &config.servers[0]).await;
        assert!(!moved.is_empty());
        assert!(moved.iter().all(|server| server.address.ip().is_loopback()));
        for (index, name) in config.servers.iter().enumerate().skip(1) {
            let same = look_up_one(&upstream, name).await;
            assert!(Arc::ptr_eq(&same[0], &before[index]), "{name}");
        }

        // What is still the same keeps what is known of it.
        *upstream.servers.write() = moved.clone().into();
        let again = look_up_one(&upstream, &config.servers[0]).await;
        assert!(again.iter().zip(&moved).all(|(a, b)| Arc::ptr_eq(a, b)));
    }
}
