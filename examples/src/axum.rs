//! A receiver of BeatAPI's webhooks with axum on hyper-util. It has a deadline for request heads,
//! which `axum::serve` lacks, and a graceful shutdown that loses no delivery. Try it:
//!
//! ```text
//! export BEATAPI_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run -p hookgate-examples --bin axum -- 127.0.0.1:3000
//! hookgate send --provider beatapi --secret env:BEATAPI_SECRET --to http://127.0.0.1:3000/hooks/beatapi
//! ```

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use tokio::net::TcpListener;
use tower_hookgate::{HookgateLayer, OnHangUp, Secret, VerifiedEvent, VerifiedJson};

/// The longest wait for the requests in flight at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Task {
    event: String,
}

/// Handles an event. The layer keeps forged, stale, and repeated deliveries away.
///
/// After a response that is no success, the provider's retry runs this handler again.
async fn handle(event: VerifiedEvent, VerifiedJson(task): VerifiedJson<Task>) -> StatusCode {
    println!("event {:?}: {}", event.id(), task.event);
    tokio::time::sleep(work_time()).await;
    println!("done {:?}", event.id());
    StatusCode::NO_CONTENT
}

/// Returns how long the work on an event takes: `WORK_MS` milliseconds.
fn work_time() -> Duration {
    let millis = std::env::var("WORK_MS").unwrap_or_default();
    Duration::from_millis(millis.parse().unwrap_or(0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = Secret::from_env("BEATAPI_SECRET")?;
    // A disconnect does not cancel a running handler, so the retry does not run it a second time.
    let hookgate = HookgateLayer::provider("beatapi", secret)?.on_hang_up(OnHangUp::Finish);

    let app = Router::new()
        .route("/hooks/beatapi", post(handle))
        .route_layer(hookgate.clone()) // covers the routes above this line
        .route("/healthz", axum::routing::get(async || "ok\n"));

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    let shutdown = shutdown_signal()?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, app, shutdown).await;
    // The handlers whose senders have disconnected.
    let _: Result<(), _> = tokio::time::timeout(SHUTDOWN_TIMEOUT, hookgate.finished()).await;
    Ok(())
}

/// Serves until `shutdown` completes. Then finishes the requests in flight.
async fn serve(listener: TcpListener, app: Router, shutdown: impl Future<Output = ()>) {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10));
    let in_flight = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut shutdown => break,
        };
        let Ok((stream, _)) = accepted else {
            // The process may be out of file descriptors. Wait until other connections close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let service = TowerToHyperService::new(app.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let connection = in_flight.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
    drop(listener);
    let _: Result<(), _> = tokio::time::timeout(SHUTDOWN_TIMEOUT, in_flight.shutdown()).await;
}

/// Returns a future that completes on Ctrl-C or SIGTERM. The signals are caught from this call
/// on.
#[cfg(unix)]
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _: Result<(), _> = tokio::signal::ctrl_c().await;
    })
}
