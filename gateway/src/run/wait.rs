//! Polls a condition until it holds.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Time between two checks of a condition.
pub(super) const CONDITION_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `condition` holds or `timeout` has passed.
pub(super) async fn wait_until(timeout: Duration, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() && start.elapsed() < timeout {
        sleep(CONDITION_CHECK_INTERVAL).await;
    }
}
