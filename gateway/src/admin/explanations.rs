//! Runs explanations, which take up to seconds of a processor, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::problem::Problem;

/// Maximum number of explanations that run or wait.
const MAX_QUEUED: usize = 8;
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The explanations that run or wait.
#[derive(Debug)]
pub(super) struct Explanations {
    queued: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Default for Explanations {
    fn default() -> Self {
        Self {
            queued: Arc::new(Semaphore::new(MAX_QUEUED)),
            running: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Explanations {
    /// Runs `explain` on a thread that may block.
    ///
    /// # Errors
    ///
    /// Returns 503 if too many explanations wait, or if this one panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        explain: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = |_| Problem::busy("too many explanations at once; try again", RETRY_AFTER);
        let queued = Arc::clone(&self.queued).try_acquire_owned().map_err(busy)?;
        // The semaphore is never closed, so this waits for its turn.
        let running = Arc::clone(&self.running).acquire_owned().await;
        let explained = tokio::task::spawn_blocking(move || {
            // The thread goes on if the client leaves, so it keeps both permits.
            let _permits = (queued, running);
            explain()
        });
        let failed = "the explanation failed; the log of the gateway has the cause";
        explained
            .await
            .map_err(|_| Problem::busy(failed, RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::poll::now_or_never;

    #[tokio::test]
    async fn explanations_run_one_by_one_and_the_queue_is_bounded() {
        let explanations = Explanations::default();
        let (release, released) = mpsc::channel();
        let mut first = Box::pin(explanations.run(move || released.recv()));
        assert!(now_or_never(first.as_mut()).await.is_none());
        let mut waiting = Vec::new();
        for index in 1..=MAX_QUEUED {
            let mut next = Box::pin(explanations.run(|| ()));
            let ended = now_or_never(next.as_mut()).await;
            // The last one finds the queue full.
            assert_eq!(ended.is_some(), index == MAX_QUEUED);
            match ended {
                Some(result) => assert!(result.is_err()),
                None => waiting.push(next),
            }
        }
        release.send(()).unwrap();
        assert!(matches!(first.await, Ok(Ok(()))));
        for next in waiting {
            assert!(next.await.is_ok());
        }
    }
}
