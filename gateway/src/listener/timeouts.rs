//! How long idle and closing connections of senders stay open.

use std::time::Duration;

use pingora_core::server::ShutdownWatch;
use tokio::time::sleep;

/// Maximum time without a request on an open connection.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum time for each of two steps: writing the refusal of an invalid head, and closing the
/// connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for which a connection without a request stays open after the shutdown signal. A
/// request may already be on its way, and closing the connection would lose it.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Waits until the gateway shuts down and [`SHUTDOWN_GRACE`] has passed.
pub(crate) async fn wait_for_shutdown(shutdown: &ShutdownWatch) {
    // An error means that the process ends.
    let _: Result<_, _> = shutdown.clone().wait_for(|is_shutdown| *is_shutdown).await;
    sleep(SHUTDOWN_GRACE).await;
}
