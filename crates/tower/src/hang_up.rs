//! The fate of a call whose sender disconnects, and a future that survives its drop.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::watch;

/// What happens to the call of the inner service when its response is no longer awaited,
/// because the sender disconnected or an outer layer timed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnHangUp {
    /// The call is dropped, as is usual in tower. The claim is released, and a retry runs the
    /// handler again from its start.
    #[default]
    Drop,
    /// The call runs to its end in a task of its own, and its response settles the event.
    ///
    /// A retry waits for the call, at most for
    /// [`duplicate_wait`](hookgate_gate::Source::duplicate_wait). It is acknowledged as a
    /// duplicate if the call succeeds in that time, and forwarded if the call fails. If the
    /// wait ends first, the retry gets 503. A retry is also forwarded if the call takes longer than
    /// [`max_run`](hookgate_gate::Source::max_run).
    ///
    /// Outer layers, such as a concurrency limit, no longer count the call. A shutdown of the
    /// runtime does not wait for it, so await
    /// [`HookgateLayer::finished`](crate::HookgateLayer::finished) before the program ends. If the sender disconnects after a gRPC response has
    /// begun, the unread rest of the response still releases the claim.
    Finish,
}

/// The number of calls that continue in tasks of their own.
#[derive(Clone, Debug)]
pub(crate) struct Continuing(watch::Sender<usize>);

/// One call that continues in a task of its own.
struct ContinuingCall(watch::Sender<usize>);

impl Continuing {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Completes when no call continues.
    pub(crate) async fn finished(&self) {
        let mut count = self.0.subscribe();
        // `self` has a sender, so the channel is open.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    fn begin(&self) -> ContinuingCall {
        self.0.send_modify(|count| *count += 1);
        ContinuingCall(self.0.clone())
    }
}

impl Drop for ContinuingCall {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A future that continues in a task of its own when it is dropped. The task passes its output
/// to `then`.
pub(crate) struct FinishOnDrop<T, N, F>
where
    T: Send + 'static,
    N: FnOnce(T) -> F + Send + Unpin + 'static,
    F: Future + Send + 'static,
{
    running: Option<(Running<T>, N)>,
    continuing: Continuing,
}

type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T, N, F> FinishOnDrop<T, N, F>
where
    T: Send + 'static,
    N: FnOnce(T) -> F + Send + Unpin + 'static,
    F: Future + Send + 'static,
{
    pub(crate) fn new(
        future: impl Future<Output = T> + Send + 'static,
        continuing: Continuing,
        then: N,
    ) -> Self {
        Self {
            running: Some((Box::pin(future), then)),
            continuing,
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
        // Out of `self` during the poll: a future that panicked must not continue in a task.
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
            let call = self.continuing.begin();
            runtime.spawn(async move {
                then(running.await).await;
                drop(call);
            });
        }
    }
}
