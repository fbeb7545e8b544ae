//! How long idle and closing connections of senders stay open.

use std::time::Duration;

use pingora_core::server::ShutdownWatch;
use tokio::time::sleep;

/// How long a connection may be idle between two requests.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// How long the last bytes of an answer may take.
pub(crate) const FINISH: Duration = Duration::from_secs(10);

/// How long a connection on which nothing has begun stays open once the gateway is about
/// to end: something may be on its way already, and closing would lose it.
const LINGER: Duration = Duration::from_secs(1);

/// Returns when a connection on which nothing has begun is closed, because the gateway ends.
pub(crate) async fn ended(shutdown: &ShutdownWatch) {
    // The end of the signal's sender is the end of the process.
    let _: Result<_, _> = shutdown.clone().wait_for(|ends| *ends).await;
    sleep(LINGER).await;
}
