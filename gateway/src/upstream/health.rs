//! Active health checks: a server that fails several in a row is out, and one that
//! passes several is back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Upstream;
use super::connector::{Broken, Connector, From, told};
use super::server::Server;
use crate::config::Health;

/// Checks the servers of `upstream` until it is dropped.
pub(super) async fn watch(upstream: Weak<Upstream>) {
    // Connections of its own: those of deliveries belong to the threads of listeners.
    let connector = match upstream.upgrade() {
        Some(upstream) => Arc::new(Connector::new(&upstream.config)),
        None => return,
    };
    loop {
        let start = Instant::now();
        let interval = {
            let Some(upstream) = upstream.upgrade() else {
                return;
            };
            let Some(health) = &upstream.config.health else {
                return;
            };
            check_all(&upstream, health, &connector).await;
            health.interval
        };
        sleep_until(start + interval).await;
    }
}

async fn check_all(upstream: &Arc<Upstream>, health: &Health, connector: &Arc<Connector>) {
    let mut checks = JoinSet::new();
    for server in upstream.servers().iter() {
        let (server, connector, health) =
            (Arc::clone(server), Arc::clone(connector), health.clone());
        checks.spawn(async move {
            let checked = timeout(health.timeout, check(&server, &health, &connector)).await;
            let checked = checked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            (server, checked)
        });
    }
    for (server, checked) in checks.join_all().await {
        note(upstream, health, &server, checked);
    }
}

async fn check(server: &Server, health: &Health, connector: &Connector) -> Result<(), String> {
    let text = |error: Box<pingora_core::Error>| told(&error);
    let peer = one_stream(&server.peer);
    let (mut session, _) = connector
        .connect(&peer, From::Nothing)
        .await
        .map_err(text)?;
    let path = health.path.as_bytes();
    let mut request = RequestHeader::build("GET", path, Some(2)).map_err(text)?;
    request
        .insert_header("host", server.name.authority())
        .map_err(text)?;
    request
        .insert_header("user-agent", "hookgate-health")
        .map_err(text)?;
    let nothing = Bytes::new();
    match connector.exchange(&mut session, request, &nothing).await {
        Ok(_) => match session.head().map(|head| head.status) {
            Some(status) if status.is_success() => Ok(()),
            Some(status) => Err(format!("it answers {}", status.as_u16())),
            None => Err("its answer is not HTTP".to_owned()),
        },
        Err(Broken::Failed(error) | Broken::NotProcessed(error)) => Err(text(error)),
        Err(Broken::Late(cause)) => Err(cause.to_owned()),
    }
}

/// A connection that is not kept for others.
fn one_stream(peer: &HttpPeer) -> HttpPeer {
    let mut peer = peer.clone();
    peer.options.max_h2_streams = 1;
    peer
}

fn note(upstream: &Upstream, health: &Health, server: &Server, checked: Result<(), String>) {
    let was_out = server.is_out();
    if checked.is_ok() != was_out {
        server.contrary.store(0, Ordering::Relaxed);
        return;
    }
    let enough = if was_out { health.rise } else { health.fall };
    if server.contrary.fetch_add(1, Ordering::Relaxed) + 1 < enough {
        return;
    }
    server.contrary.store(0, Ordering::Relaxed);
    server.set_out(!was_out);
    let (upstream, address) = (&upstream.name, server.address);
    match checked {
        Ok(()) => tracing::info!(upstream, server = %address, "server is back"),
        Err(cause) => tracing::warn!(upstream, server = %address, cause, "server is out"),
    }
}
