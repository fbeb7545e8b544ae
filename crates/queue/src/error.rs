//! The errors of a queue. They go to logs, never to a sender.

use std::error::Error;
use std::fmt;

type Cause = Box<dyn Error + Send + Sync>;

/// Error of a call of a queue.
///
/// The text does not contain the cause, so a log also needs the [`source`](Error::source).
#[derive(Debug)]
pub struct QueueError(Cause);

impl QueueError {
    /// Wraps the error of the backend.
    pub fn new(error: impl Into<Cause>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue did not answer")
    }
}

impl Error for QueueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// Error of storing a delivery.
#[derive(Debug)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The queue has no space for the delivery. Nothing was stored.
    Full,
    /// The source uses all the space that it may use. Nothing was stored.
    SourceFull,
    /// The delivery is larger than the queue can store. Nothing was stored.
    TooLarge,
    /// The disk has no space for the delivery. Nothing was stored.
    DiskFull(QueueError),
    /// The queue failed. Nothing was stored.
    NotStored(QueueError),
    /// The queue did not say whether it has stored the delivery. The claim stays until its
    /// lease ends.
    Unknown(QueueError),
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the queue is full",
            Self::SourceFull => "the source has used its share of the queue",
            Self::TooLarge => "the delivery is larger than the queue can store",
            Self::DiskFull(_) => "the disk has no space for the delivery",
            Self::NotStored(_) => "the queue could not store the delivery",
            Self::Unknown(_) => "the queue did not confirm that it stored the delivery",
        })
    }
}

impl Error for EnqueueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::DiskFull(error) | Self::NotStored(error) | Self::Unknown(error) => error.source(),
            Self::Full | Self::SourceFull | Self::TooLarge => None,
        }
    }
}
