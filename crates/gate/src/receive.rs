use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::{Pending, Verified, VerifyError};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::refusal::{Reason, Refusal};
use crate::source::{OnMismatch, Source};

/// A delivery whose head is good: its body may be read now.
#[derive(Debug)]
pub struct Receiving<'s> {
    source: &'s Source,
    pending: Pending<'s>,
    clock: Arc<dyn Clock>,
}

/// A delivery that verified, of the source that it verified for. It can be
/// admitted once.
#[derive(Debug)]
pub struct Received<'s> {
    pub(crate) source: &'s Source,
    pub(crate) verified: Verified,
}

impl Received<'_> {
    /// What verified.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }
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
    pub async fn receive(mut self, body: &mut impl BodySource) -> Result<Received<'s>, Refusal> {
        match timeout(self.source.body_timeout(), self.read(body)).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Err(reason.into()),
            Err(_) => return Err(Reason::BodyTimeout.into()),
        }
        match self.pending.finish(self.clock.now()) {
            Ok(verified) => Ok(Received {
                source: self.source,
                verified,
            }),
            Err(error) => {
                let refusal = Refusal::from(error);
                let retry = error == VerifyError::SignatureMismatch
                    && self.source.on_mismatch() == OnMismatch::AskToRetry;
                Err(if retry {
                    refusal.asking_to_retry()
                } else {
                    refusal
                })
            }
        }
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
