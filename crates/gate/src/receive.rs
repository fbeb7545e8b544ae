use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::{Pending, Verified};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::refusal::{Reason, Refusal};
use crate::source::Source;

/// A delivery whose head is good: its body may be read now.
#[derive(Debug)]
pub struct Receiving<'s> {
    source: &'s Source,
    pending: Pending<'s>,
    clock: Arc<dyn Clock>,
}

/// Where the chunks of a body come from.
pub trait BodySource: Send {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    ///
    /// The body ended early, or was not framed as it should be.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyError>> + Send;
}

/// Why the next chunk of a body could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The sender stopped before the end.
    Incomplete,
    /// A limit of the transport was hit first.
    TooLarge,
}

impl<'s> Receiving<'s> {
    pub(crate) fn new(source: &'s Source, pending: Pending<'s>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            pending,
            clock,
        }
    }

    /// Reads the body to its end, at most as many bytes as the source allows
    /// and in at most the time it allows, and verifies it.
    ///
    /// # Errors
    ///
    /// Why the delivery is refused. Unless it is [`Reason::Verify`], the rest of
    /// the body was not read.
    pub async fn receive(mut self, body: &mut impl BodySource) -> Result<Verified, Refusal> {
        match timeout(self.source.body_timeout(), self.read(body)).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Err(reason.into()),
            Err(_) => return Err(Reason::BodyTimeout.into()),
        }
        self.pending.finish(self.clock.now()).map_err(|error| {
            let refusal = Refusal::from(error);
            if error == hookgate_core::VerifyError::SignatureMismatch {
                refusal.with_status(self.source.mismatch_status())
            } else {
                refusal
            }
        })
    }

    async fn read(&mut self, body: &mut impl BodySource) -> Result<(), Reason> {
        let limit = self.source.body_limit().get();
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    if chunk.len() > limit - self.pending.len() {
                        return Err(Reason::BodyTooLarge);
                    }
                    self.pending.push(chunk);
                }
                Ok(None) => return Ok(()),
                Err(BodyError::Incomplete) => return Err(Reason::BodyIncomplete),
                Err(BodyError::TooLarge) => return Err(Reason::BodyTooLarge),
            }
        }
    }
}
