//! [`Call`]: a call of the queue that the writer carries out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hookgate_sqlite::WriteError;
use tokio::sync::oneshot;

use super::table::Table;
use crate::error::QueueError;

/// A part of a transaction. The writer may run it several times, each time in a new transaction.
pub(super) trait Operation: Send {
    /// Returns whether the call is to be carried out. If so, the caller can no longer give up
    /// without an unknown outcome.
    fn begin(&self) -> bool;

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
    /// The transaction may have been written.
    Unknown(Arc<WriteError>),
}

/// The failure of a call as its caller sees it.
#[derive(Debug)]
pub(super) enum CallError {
    NotDone(QueueError),
    Unknown(QueueError),
}

pub(super) struct Call<T, F> {
    /// `None` if the call is carried out even after its caller has given up.
    pub(super) ticket: Option<Ticket>,
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

impl<T, F> Operation for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Table<'_>) -> rusqlite::Result<T> + Send,
{
    fn begin(&self) -> bool {
        let is_awaited = |ticket: &Ticket| !self.reply.is_closed() && ticket.take();
        self.ticket.as_ref().is_none_or(is_awaited)
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
            CallFailure::Unknown(error) => Self::Unknown(QueueError::new(error)),
        }
    }
}

impl From<CallError> for QueueError {
    fn from(error: CallError) -> Self {
        let (CallError::NotDone(error) | CallError::Unknown(error)) = error;
        error
    }
}
