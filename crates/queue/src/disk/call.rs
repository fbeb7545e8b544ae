//! [`Call`]: a call of the queue that the writer carries out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hookgate_sqlite::WriteError;
use tokio::sync::oneshot;

use super::table::Table;
use crate::error::QueueError;

/// A part of a transaction. The writer may run it several times, each time in a new transaction.
pub(super) trait Operation: Send {
    /// Returns whether the call is to be carried out. If so, the caller can no longer give up
    /// without an unknown outcome.
    fn begin(&self) -> bool;

    /// Returns the bytes that the operation adds to the file. `None` if it works on entries that
    /// are stored.
    fn adds(&self) -> Option<usize>;

    fn run(&mut self, table: &mut Table<'_>) -> rusqlite::Result<()>;

    /// Replies after the transaction has committed. Returns the operation that reverts this
    /// one if the caller has gone and cannot use the result.
    fn succeed(self: Box<Self>) -> Option<Box<dyn Operation>>;

    fn fail(self: Box<Self>, failure: CallFailure);
}

/// Why a call has no result.
#[derive(Clone, Debug)]
pub(super) enum CallFailure {
    /// Nothing was written.
    NotDone(Arc<WriteError>),
    /// The disk has no space for a new delivery. Nothing was written.
    NoSpace(Arc<WriteError>),
    /// The transaction may have been written.
    Unknown(Arc<WriteError>),
}

/// The failure of a call as its caller sees it.
#[derive(Debug)]
pub(super) enum CallError {
    NotDone(QueueError),
    NoSpace(QueueError),
    Unknown(QueueError),
}

pub(super) struct Call<T, F> {
    /// `None` if the call is carried out even after its caller has given up.
    pub(super) ticket: Option<Ticket>,
    /// See [`Operation::adds`].
    pub(super) adds: Option<QueuedBytes>,
    pub(super) run: F,
    pub(super) result: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, CallFailure>>,
    /// Returns the operation that reverts a result without a receiver.
    pub(super) undo: fn(T) -> Option<Box<dyn Operation>>,
}

/// Decides between the writer that begins a call and the caller that gives up.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    /// Returns `true` for the first of the two.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
}

/// The bytes of all deliveries that wait for the writer.
#[derive(Debug, Default)]
pub(super) struct ByteBudget(Arc<AtomicUsize>);

/// The bytes of one delivery that waits for the writer. A drop returns them.
#[derive(Debug)]
pub(super) struct QueuedBytes {
    bytes: usize,
    budget: Arc<AtomicUsize>,
}

impl ByteBudget {
    /// The most bytes that wait. A large delivery waits alone.
    const MAX: usize = 256 << 20;

    /// Takes the bytes of a delivery. Returns `None` if too many bytes wait.
    pub(super) fn take(&self, bytes: usize) -> Option<QueuedBytes> {
        let fits = |queued: usize| {
            let total = queued.saturating_add(bytes);
            (queued == 0 || total <= Self::MAX).then_some(total)
        };
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.ok()?;
        Some(QueuedBytes {
            bytes,
            budget: Arc::clone(&self.0),
        })
    }
}

impl QueuedBytes {
    fn get(&self) -> usize {
        self.bytes
    }
}

impl Drop for QueuedBytes {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl<T, F> Operation for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Table<'_>) -> rusqlite::Result<T> + Send,
{
    fn begin(&self) -> bool {
        let is_awaited = |ticket: &Ticket| !self.reply.is_closed() && ticket.take();
        self.ticket.as_ref().is_none_or(is_awaited)
    }

    fn adds(&self) -> Option<usize> {
        self.adds.as_ref().map(QueuedBytes::get)
    }

    fn run(&mut self, table: &mut Table<'_>) -> rusqlite::Result<()> {
        self.result = Some((self.run)(table)?);
        Ok(())
    }

    fn succeed(self: Box<Self>) -> Option<Box<dyn Operation>> {
        match self.reply.send(Ok(self.result?)) {
            Err(Ok(result)) => (self.undo)(result),
            _ => None,
        }
    }

    fn fail(self: Box<Self>, failure: CallFailure) {
        // The caller may have gone.
        drop(self.reply.send(Err(failure)));
    }
}

impl From<CallFailure> for CallError {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::NotDone(error) => Self::NotDone(QueueError::new(error)),
            CallFailure::NoSpace(error) => Self::NoSpace(QueueError::new(error)),
            CallFailure::Unknown(error) => Self::Unknown(QueueError::new(error)),
        }
    }
}

impl From<CallError> for QueueError {
    fn from(error: CallError) -> Self {
        let (CallError::NotDone(error) | CallError::NoSpace(error) | CallError::Unknown(error)) =
            error;
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_bounds_the_bytes_that_wait() {
        let budget = ByteBudget::default();
        let half = ByteBudget::MAX / 2;
        let one = budget.take(half).unwrap();
        let other = budget.take(half);
        assert!(other.is_some());
        assert!(budget.take(1).is_none());
        drop(one);
        assert!(budget.take(half).is_some());
        drop(other);
        // A delivery that exceeds the budget waits alone.
        let alone = budget.take(2 * ByteBudget::MAX).unwrap();
        assert!(budget.take(1).is_none());
        drop(alone);
        assert!(budget.take(1).is_some());
    }
}
