use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::{Begun, Checked, Verified, VerifyError};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::refusal::{Reason, Refusal};
use crate::source::{OnMismatch, Source};

/// A request whose head is good: its body may be read now.
#[derive(Debug)]
pub struct Receiving<'s> {
    source: &'s Source,
    begun: Begun<'s>,
    clock: Arc<dyn Clock>,
}

/// A request that was checked, for the source that it was checked for: a
/// delivery that verified, or a provider's handshake. It can be admitted once.
#[derive(Debug)]
pub struct Received<'s> {
    pub(crate) source: &'s Source,
    pub(crate) checked: Checked,
}

impl Received<'_> {
    /// The delivery that verified; none if the request is a handshake.
    pub fn verified(&self) -> Option<&Verified> {
        match &self.checked {
            Checked::Delivery(verified) => Some(verified),
            Checked::Handshake(_) => None,
        }
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
    pub(crate) fn new(source: &'s Source, begun: Begun<'s>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            begun,
            clock,
        }
    }

    /// Reads the body to its end, at most as many bytes as the source allows
    /// and in at most the time it allows, and verifies it. Of a handshake that is
    /// known by its head, nothing is read.
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
        let checked = match self.begun {
            Begun::Delivery(pending) => pending.finish(self.clock.now()),
            Begun::Handshake(answer) => Ok(Checked::Handshake(answer)),
        };
        match checked {
            Ok(checked) => Ok(Received {
                source: self.source,
                checked,
            }),
            Err(error) => {
                let refusal = self.source.refusal(error);
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
        let Begun::Delivery(pending) = &mut self.begun else {
            return Ok(());
        };
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    if chunk.len() > limit - pending.len() {
                        return Err(Reason::BodyTooLarge);
                    }
                    pending.push(chunk);
                }
                Ok(None) => return Ok(()),
                Err(BodyError::Incomplete) => return Err(Reason::BodyIncomplete),
                Err(BodyError::TooLarge) => return Err(Reason::BodyTooLarge),
            }
        }
    }
}
