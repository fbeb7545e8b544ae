//! Waiting, and not: most of what a delivery needs is there already, and then neither
//! a clock nor a timer is. Futures are pinned where they are made: they are large, and
//! would be copied with every call.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{self, Instant};

/// What a future has without waiting.
pub(crate) async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// What a future has; how long it had to wait is added to `waited`.
pub(crate) async fn timed<F: Future>(mut future: Pin<&mut F>, waited: &mut Duration) -> F::Output {
    if let Some(output) = at_once(future.as_mut()).await {
        return output;
    }
    let _waiting = Waiting(Instant::now(), waited);
    future.await
}

/// Adds up, even if the future is dropped while it waits.
struct Waiting<'w>(Instant, &'w mut Duration);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.1 += self.0.elapsed();
    }
}

/// What a future has within `limit`, which begins when it has to wait.
///
/// # Errors
///
/// It has not.
pub(crate) async fn timeout<F: Future>(
    limit: Duration,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Elapsed> {
    match at_once(future.as_mut()).await {
        Some(output) => Ok(output),
        None => time::timeout(limit, future).await,
    }
}

/// Likewise, until `deadline`.
///
/// # Errors
///
/// It is past, and the future would have to wait.
pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Elapsed> {
    match at_once(future.as_mut()).await {
        Some(output) => Ok(output),
        None => time::timeout_at(deadline, future).await,
    }
}
