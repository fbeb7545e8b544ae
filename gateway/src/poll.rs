//! Polls a future once before waiting for it.
//!
//! Most steps of a delivery are ready at once, so these functions read the clock and start
//! a timer only if the future is pending. Callers pin their futures, because these futures
//! are large and would be copied with every call.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{self, Instant};

/// Polls the future once. Returns `None` if it is pending.
pub(crate) async fn now_or_never<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Waits for the future and adds the time during which it was pending to `blocked`.
pub(crate) async fn time_blocked<F: Future>(
    mut future: Pin<&mut F>,
    blocked: &mut Duration,
) -> F::Output {
    if let Some(output) = now_or_never(future.as_mut()).await {
        return output;
    }
    let _timer = BlockedTimer(Instant::now(), blocked);
    future.await
}

/// Adds the time since its creation when it is dropped, so that a cancelled wait counts too.
struct BlockedTimer<'b>(Instant, &'b mut Duration);

impl Drop for BlockedTimer<'_> {
    fn drop(&mut self) {
        *self.1 += self.0.elapsed();
    }
}

/// Waits for the future for at most `limit`. The time starts when the future is first pending.
///
/// # Errors
///
/// Returns [`Elapsed`] if the time passes first.
pub(crate) async fn timeout<F: Future>(
    limit: Duration,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Elapsed> {
    match now_or_never(future.as_mut()).await {
        Some(output) => Ok(output),
        None => time::timeout(limit, future).await,
    }
}

/// Waits for the future until `deadline`. A future that is ready succeeds even after it.
///
/// # Errors
///
/// Returns [`Elapsed`] if the deadline passes first.
pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Elapsed> {
    match now_or_never(future.as_mut()).await {
        Some(output) => Ok(output),
        None => time::timeout_at(deadline, future).await,
    }
}
