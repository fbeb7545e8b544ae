//! Active health checks. A backend becomes unhealthy after several failed checks in a row,
//! and healthy again after several successful ones.

use std::error::Error;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use hookgate_core::internal::ErrorChain;
use http::{HeaderMap, StatusCode};
use pingora_http::RequestHeader;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Upstream;
use super::backend::Backend;
use super::connector::{ConnectionChoice, Connector, UpstreamSession};
use super::error::ResponseTruncated;
use super::exchange::ExchangeError;
use super::request::Request;
use crate::config::{HealthCheck, HealthProbe};
use crate::stream::TransportError;

/// Path of the gRPC health service
/// (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
/// Maximum size of a response of this service in bytes. The expected one has seven.
const MAX_GRPC_RESPONSE: usize = 256;

/// Why a health check failed.
#[derive(Debug)]
enum CheckError {
    TimedOut,
    Connect(TransportError),
    /// The request of the check cannot be built.
    Request(TransportError),
    Exchange(ExchangeError),
    Truncated(ResponseTruncated),
    Status(StatusCode),
    GrpcStatus(u8),
    NotServing,
    NotGrpc,
    TooLong,
}

/// Checks the backends of `upstream` until it is dropped.
pub(super) async fn run_checks(upstream: Weak<Upstream>) {
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
    for backend in upstream.backends().iter() {
        let (backend, upstream) = (Arc::clone(backend), Arc::clone(upstream));
        let health = health.clone();
        checks.spawn(async move {
            let check = check(&backend, &health.probe, &upstream.connector);
            let result = timeout(health.timeout, check).await;
            (backend, result.unwrap_or(Err(CheckError::TimedOut)))
        });
    }
    for (backend, result) in checks.join_all().await {
        record(upstream, health, &backend, result);
    }
}

async fn check(
    backend: &Backend,
    probe: &HealthProbe,
    connector: &Connector,
) -> Result<(), CheckError> {
    // The check uses a connection of its own: pooled connections belong to the threads of the
    // listeners.
    let choice = ConnectionChoice::SingleUse;
    let connected = connector.connect(&backend.peer, choice).await;
    let (mut session, _) = connected.map_err(|error| CheckError::Connect(error.into()))?;
    let (head, body) = request(backend, probe).map_err(CheckError::Request)?;
    let request = Request::probe(&head);
    let exchanged = connector.exchange(&mut session, &request, &body).await;
    exchanged.map_err(CheckError::Exchange)?;
    let status = session.response().status;
    match probe {
        _ if !status.is_success() => Err(CheckError::Status(status)),
        HealthProbe::Http { .. } => Ok(()),
        HealthProbe::Grpc { .. } => check_grpc_response(&mut session).await,
    }
}

/// Returns the head and the body of the request of a check.
fn request(
    backend: &Backend,
    probe: &HealthProbe,
) -> Result<(RequestHeader, Bytes), TransportError> {
    let (mut head, body) = match probe {
        HealthProbe::Http { path } => {
            let head = RequestHeader::build("GET", path.as_bytes(), Some(2))?;
            (head, Bytes::new())
        }
        HealthProbe::Grpc { service } => {
            let mut head = RequestHeader::build("POST", GRPC_PATH.as_bytes(), Some(4))?;
            head.insert_header("content-type", "application/grpc")?;
            (head, grpc_request(service))
        }
    };
    head.insert_header("host", backend.server.authority())?;
    head.insert_header("user-agent", "hookgate-health")?;
    Ok((head, body))
}

/// Encodes `HealthCheckRequest { service }` as a gRPC message.
fn grpc_request(service: &str) -> Bytes {
    let mut message = Vec::with_capacity(service.len() + 3);
    // Field 1, a string. The configuration limits it to 127 bytes.
    if !service.is_empty() {
        message.extend([0x0a, service.len() as u8]);
        message.extend(service.as_bytes());
    }
    let mut framed = vec![0, 0, 0, 0, message.len() as u8];
    framed.append(&mut message);
    framed.into()
}

/// Checks that the response is `HealthCheckResponse { status: SERVING }`.
async fn check_grpc_response(session: &mut UpstreamSession) -> Result<(), CheckError> {
    let mut message = Vec::new();
    while let Some(chunk) = session.chunk().await? {
        message.extend_from_slice(&chunk);
        if message.len() > MAX_GRPC_RESPONSE {
            return Err(CheckError::TooLong);
        }
    }
    let trailers = session.trailers().await?;
    let status = |fields: &HeaderMap| {
        let status = fields.get("grpc-status")?.to_str().ok()?;
        status.parse::<u8>().ok()
    };
    let status = status(&session.response().headers).or_else(|| status(&trailers?));
    match (status, &*message) {
        // An uncompressed message of two bytes: field 1, an integer, with the value 1.
        (Some(0), [0, 0, 0, 0, 2, 0x08, 1]) => Ok(()),
        (Some(0), _) => Err(CheckError::NotServing),
        (Some(status), _) => Err(CheckError::GrpcStatus(status)),
        (None, _) => Err(CheckError::NotGrpc),
    }
}

/// Updates the health of a backend, and logs a change.
fn record(
    upstream: &Upstream,
    health: &HealthCheck,
    backend: &Backend,
    result: Result<(), CheckError>,
) {
    let was_unhealthy = backend.is_unhealthy();
    if result.is_ok() != was_unhealthy {
        backend.contradicting_checks.store(0, Ordering::Relaxed);
        return;
    }
    let needed = match was_unhealthy {
        true => health.rise,
        false => health.fall,
    };
    if backend.contradicting_checks.fetch_add(1, Ordering::Relaxed) + 1 < needed {
        return;
    }
    backend.contradicting_checks.store(0, Ordering::Relaxed);
    backend.set_unhealthy(!was_unhealthy);
    let (upstream, address) = (&upstream.name, &backend.address);
    match result {
        Ok(()) => tracing::info!(upstream, server = %address, "server healthy"),
        Err(error) => {
            let cause = ErrorChain(&error);
            tracing::warn!(upstream, server = %address, %cause, "server unhealthy");
        }
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no response in time"),
            Self::Connect(_) => f.write_str("cannot connect"),
            Self::Request(_) => f.write_str("cannot build the request"),
            Self::Exchange(cause) => cause.fmt(f),
            Self::Truncated(cause) => cause.fmt(f),
            Self::Status(status) => write!(f, "the status is {}", status.as_u16()),
            Self::GrpcStatus(status) => write!(f, "the gRPC status is {status}"),
            Self::NotServing => f.write_str("the gRPC service is not serving"),
            Self::NotGrpc => f.write_str("the response is not gRPC"),
            Self::TooLong => f.write_str("the response is too long"),
        }
    }
}

impl Error for CheckError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(cause) | Self::Request(cause) => Some(cause),
            // The text of this error is the text of `cause`.
            Self::Exchange(cause) => cause.source(),
            Self::Truncated(cause) => cause.source(),
            _ => None,
        }
    }
}

impl From<ResponseTruncated> for CheckError {
    fn from(cause: ResponseTruncated) -> Self {
        Self::Truncated(cause)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::time::sleep;

    use super::*;
    use crate::config::{self, Inputs, ServerAddress, TcpServer};
    use crate::upstream::tls::ClientFiles;

    /// pingora panics if it cannot read a file.
    #[tokio::test]
    async fn checks_continue_if_a_certificate_file_disappears_after_the_start() {
        let CertifiedKey { cert, .. } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, cert.pem()).expect("the file is written");
        let mut config = config::UpstreamConfig::to_test(Duration::from_secs(5));
        config.tls = ClientFiles::load(Some(ca.clone()), None, None, Inputs::Read)
            .expect("a valid certificate");
        config.servers = vec![ServerAddress::Tcp(TcpServer {
            secure: true,
            host: "localhost".to_owned(),
            port: 1,
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 1))],
        })];
        config.health = Some(HealthCheck {
            probe: HealthProbe::Http {
                path: "/".to_owned(),
            },
            interval: Duration::from_millis(1),
            timeout: Duration::from_secs(5),
            fall: 1,
            rise: 1,
        });
        let upstream = Upstream::start("app", &config).expect("a valid certificate");
        std::fs::remove_file(ca).expect("the file exists");
        let checks = run_checks(Arc::downgrade(&upstream));
        let two_failures = async {
            for _ in 0..2 {
                upstream.backends()[0].set_unhealthy(false);
                while !upstream.backends()[0].is_unhealthy() {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        tokio::select! {
            () = checks => panic!("the checks have ended"),
            () = two_failures => {}
        }
    }

    #[test]
    fn a_probe_is_encoded_as_a_grpc_message() {
        assert_eq!(grpc_request(""), &[0, 0, 0, 0, 0][..]);
        assert_eq!(
            grpc_request("ab"),
            &[0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b'][..]
        );
    }
}
