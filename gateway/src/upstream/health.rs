//! Active health checks: a server that fails several in a row is out, and one that
//! passes several is back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::HeaderMap;
use pingora_http::RequestHeader;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::backend::Backend;
use super::connector::{ConnectionChoice, Connector, UpstreamSession};
use super::exchange::ExchangeError;
use super::request::Request;
use super::{ResponseTruncated, Upstream};
use crate::config::{HealthCheck, HealthProbe};
use crate::stream::error_for_log;

/// Where a gRPC server says how it is
/// (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
/// Most bytes of its answer, which has seven.
const GRPC_ANSWER: usize = 256;

/// Checks the servers of `upstream` until it is dropped.
pub(super) async fn watch(upstream: Weak<Upstream>) {
    loop {
        let start = Instant::now();
        let interval = {
            let Some(upstream) = upstream.upgrade() else {
                return;
            };
            let Some(health) = &upstream.config.health else {
                return;
            };
            check_all(&upstream, health).await;
            health.interval
        };
        sleep_until(start + interval).await;
    }
}

async fn check_all(upstream: &Arc<Upstream>, health: &HealthCheck) {
    let mut checks = JoinSet::new();
    for server in upstream.servers().iter() {
        let (server, upstream, health) = (Arc::clone(server), Arc::clone(upstream), health.clone());
        checks.spawn(async move {
            let check = check(&server, &health.probe, &upstream.connector);
            let checked = timeout(health.timeout, check).await;
            let checked = checked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            (server, checked)
        });
    }
    for (server, checked) in checks.join_all().await {
        note(upstream, health, &server, checked);
    }
}

async fn check(server: &Backend, probe: &HealthProbe, connector: &Connector) -> Result<(), String> {
    // A connection of its own: those of deliveries belong to the threads of listeners.
    let connected = connector
        .connect(&server.peer, ConnectionChoice::SingleUse)
        .await;
    let (mut session, _) = connected.map_err(text)?;
    let (mut request, body) = match probe {
        HealthProbe::Http { path } => {
            let request = RequestHeader::build("GET", path.as_bytes(), Some(2));
            (request.map_err(text)?, Bytes::new())
        }
        HealthProbe::Grpc { service } => {
            let mut request =
                RequestHeader::build("POST", GRPC_PATH.as_bytes(), Some(4)).map_err(text)?;
            request
                .insert_header("content-type", "application/grpc")
                .map_err(text)?;
            (request, grpc_probe(service))
        }
    };
    request
        .insert_header("host", server.name.authority())
        .map_err(text)?;
    request
        .insert_header("user-agent", "hookgate-health")
        .map_err(text)?;
    let request = Request::own(&request);
    match connector.exchange(&mut session, &request, &body).await {
        Ok(_) => {}
        Err(ExchangeError::Failed(cause) | ExchangeError::NotProcessed(cause)) => {
            return Err(cause);
        }
        Err(ExchangeError::Late(cause)) => return Err(cause.to_owned()),
    }
    let status = session.answer().status;
    match probe {
        _ if !status.is_success() => Err(format!("it answers {}", status.as_u16())),
        HealthProbe::Http { .. } => Ok(()),
        HealthProbe::Grpc { .. } => grpc_answer(&mut session).await,
    }
}

fn text(error: Box<pingora_core::Error>) -> String {
    error_for_log(&error)
}

/// `HealthCheckRequest { service }`, framed.
fn grpc_probe(service: &str) -> Bytes {
    let mut message = Vec::with_capacity(service.len() + 3);
    // Of field 1, a text; the configuration has fewer than 128 bytes of it.
    if !service.is_empty() {
        message.extend([0x0a, service.len() as u8]);
        message.extend(service.as_bytes());
    }
    let mut framed = vec![0, 0, 0, 0, message.len() as u8];
    framed.append(&mut message);
    framed.into()
}

/// Whether the answer is `HealthCheckResponse { status: SERVING }`.
async fn grpc_answer(session: &mut UpstreamSession) -> Result<(), String> {
    let broken = |ResponseTruncated| "its answer ended early".to_owned();
    let mut message = Vec::new();
    while let Some(chunk) = session.chunk().await.map_err(broken)? {
        message.extend_from_slice(&chunk);
        if message.len() > GRPC_ANSWER {
            return Err("its answer is too long".to_owned());
        }
    }
    let trailers = session.trailers().await.map_err(broken)?;
    let status = |fields: &HeaderMap| {
        let status = fields.get("grpc-status")?.to_str().ok()?;
        status.parse::<u8>().ok()
    };
    let status = status(&session.answer().headers).or_else(|| status(&trailers?));
    match (status, &*message) {
        // Field 1, a number, 1.
        (Some(0), [0, 0, 0, 0, 2, 0x08, 1]) => Ok(()),
        (Some(0), _) => Err("it does not serve".to_owned()),
        (Some(status), _) => Err(format!("it answers grpc-status {status}")),
        (None, _) => Err("its answer is not gRPC".to_owned()),
    }
}

fn note(upstream: &Upstream, health: &HealthCheck, server: &Backend, checked: Result<(), String>) {
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::time::sleep;

    use super::*;
    use crate::config::{self, ServerAddress};
    use crate::upstream::tls::ClientFiles;

    /// The library panics at files that it cannot read.
    #[tokio::test]
    async fn files_that_have_become_bad_since_the_start_do_not_end_the_checks() {
        let CertifiedKey { cert, .. } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, cert.pem()).expect("it can be written");
        let mut config = config::UpstreamConfig::to_test(Duration::from_secs(5));
        config.tls = ClientFiles::load(Some(ca.clone()), None, None).expect("it is good");
        config.servers = vec![ServerAddress {
            secure: true,
            host: "localhost".to_owned(),
            port: 1,
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 1))],
        }];
        config.health = Some(HealthCheck {
            probe: HealthProbe::Http {
                path: "/".to_owned(),
            },
            interval: Duration::from_millis(1),
            timeout: Duration::from_secs(5),
            fall: 1,
            rise: 1,
        });
        let upstream = Upstream::start("app", &config).expect("it is good");
        std::fs::remove_file(ca).expect("it is there");
        let checks = watch(Arc::downgrade(&upstream));
        let some = async {
            for _ in 0..2 {
                upstream.servers()[0].set_out(false);
                while !upstream.servers()[0].is_out() {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        tokio::select! {
            () = checks => panic!("it has ended"),
            () = some => {}
        }
    }

    #[test]
    fn a_question_is_framed_as_grpc_has_it() {
        assert_eq!(grpc_probe(""), &[0, 0, 0, 0, 0][..]);
        assert_eq!(grpc_probe("ab"), &[0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b'][..]);
    }
}
