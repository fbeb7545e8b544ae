use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// What becomes of the call of the service inside when nobody waits for its answer
/// any more: the sender has hung up, or a layer outside of this one gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHangUp {
    /// It is dropped, as services of tower are. The event is given back, and the
    /// retry runs the handler again from its start.
    #[default]
    Drop,
    /// It runs to its end in a task of its own, and the event is settled by its
    /// answer: the retry waits for it and is told of a duplicate. Layers outside of
    /// this one, such as a concurrency limit, no longer count it, and a shutdown of
    /// the runtime does not wait for it. A gRPC answer that has begun, and that nobody
    /// reads to its end, still gives the event back.
    Finish,
}

/// A future that runs on in a task of its own when it is dropped; `then` takes its
/// output there.
pub(crate) struct FinishOnDrop<T, N, F>
where
    T: Send + 'static,
    N: FnOnce(T) -> F + Send + Unpin + 'static,
    F: Future + Send + 'static,
{
    running: Option<(Running<T>, N)>,
}

type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T, N, F> FinishOnDrop<T, N, F>
where
    T: Send + 'static,
    N: FnOnce(T) -> F + Send + Unpin + 'static,
    F: Future + Send + 'static,
{
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static, then: N) -> Self {
        Self {
            running: Some((Box::pin(future), then)),
        }
    }
}

impl<T, N, F> Future for FinishOnDrop<T, N, F>
where
    T: Send + 'static,
    N: FnOnce(T) -> F + Send + Unpin + 'static,
    F: Future + Send + 'static,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out while it is polled: one that panics must not run on.
        let Some((mut running, then)) = self.running.take() else {
            return Poll::Pending;
        };
        let polled = running.as_mut().poll(cx);
        if polled.is_pending() {
            self.running = Some((running, then));
        }
        polled
    }
}

impl<T, N, F> Drop for FinishOnDrop<T, N, F>
where
    T: Send + 'static,
    N: FnOnce(T) -> F + Send + Unpin + 'static,
    F: Future + Send + 'static,
{
    fn drop(&mut self) {
        if let (Some((running, then)), Ok(runtime)) = (self.running.take(), Handle::try_current()) {
            runtime.spawn(async move {
                then(running.await).await;
            });
        }
    }
}
