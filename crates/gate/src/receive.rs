use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use hookgate_core::internal::{begin_refused, restore_body_hash, take_body_hash};
use hookgate_core::{Chunk, HeadOutcome, RequestOutcome, Verified, VerifyError};
use http::Response;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::refusal::{Reason, Refusal};
use crate::source::{Mode, Source};
use crate::together;

/// A request whose head is good: its body may be read now.
pub struct AcceptedHead<'s> {
    source: &'s Source,
    begun: HeadOutcome<'s>,
    clock: Arc<dyn Clock>,
    /// What the head has decided already, of a source that only observes.
    foregone: Option<Result<Box<Response<Bytes>>, Refusal>>,
}

/// A request that was checked, for the source that it was checked for. It can be
/// admitted once.
pub struct CheckedRequest<'s> {
    pub(crate) source: &'s Source,
    /// Without an error, unless the source only observes.
    pub(crate) checked: Result<RequestOutcome, Refusal>,
    /// The body, if the source only observes.
    pub(crate) observed: Bytes,
}

impl CheckedRequest<'_> {
    /// The delivery that verified; none if the request is a handshake, or was let
    /// through by a source that only observes.
    pub fn verified(&self) -> Option<&Verified> {
        match &self.checked {
            Ok(RequestOutcome::Delivery(verified)) => Some(verified),
            Ok(RequestOutcome::Handshake(_)) | Err(_) => None,
        }
    }

    /// The body that may be forwarded, if anything may.
    pub fn body(&self) -> &Bytes {
        self.verified().map_or(&self.observed, Verified::body)
    }
}

/// Where the chunks of a body come from.
pub trait BodySource: Send {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    ///
    /// The body ended early, or was not framed as it should be.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Chunk>, BodyError>> + Send;
}

/// Why the next chunk of a body could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The sender stopped before the end.
    Incomplete,
    /// A limit of the transport was hit first.
    TooLarge,
    /// It had to make room for others.
    Overloaded,
}

impl<'s> AcceptedHead<'s> {
    pub(crate) fn new(source: &'s Source, begun: HeadOutcome<'s>, clock: Arc<dyn Clock>) -> Self {
        match (begun, source.mode()) {
            (HeadOutcome::Handshake(answer), Mode::Observe) => {
                Self::foregone(source, Ok(answer), clock)
            }
            (begun, _) => Self {
                source,
                begun,
                clock,
                foregone: None,
            },
        }
    }

    /// A request that is refused already, and whose source only observes.
    pub(crate) fn observing(source: &'s Source, refusal: Refusal, clock: Arc<dyn Clock>) -> Self {
        Self::foregone(source, Err(refusal), clock)
    }

    fn foregone(
        source: &'s Source,
        verdict: Result<Box<Response<Bytes>>, Refusal>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        // What is begun here only collects the body.
        let collecting = begin_refused(source.verifier(), VerifyError::FieldMissing);
        Self {
            source,
            begun: HeadOutcome::Delivery(collecting),
            clock,
            foregone: Some(verdict),
        }
    }

    /// Makes room for a body of `len` bytes.
    pub(crate) fn expect_len(&mut self, len: u64) -> Result<(), Refusal> {
        if let HeadOutcome::Delivery(pending) = &mut self.begun {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len > self.source.body_limit().get() {
                return Err(Reason::BodyTooLarge.into());
            }
            pending.expect_len(len);
        }
        Ok(())
    }

    /// Reads the body to its end, at most as many bytes as the source allows
    /// and in at most the time it allows, and verifies it. Of a handshake that is
    /// known by its head, nothing is read.
    ///
    /// # Errors
    ///
    /// Why the delivery is refused. Unless it is [`Reason::Verify`], the rest of
    /// the body was not read.
    pub async fn receive(
        mut self,
        body: &mut impl BodySource,
    ) -> Result<CheckedRequest<'s>, Refusal> {
        let limit = self.source.body_timeout();
        let read = {
            let mut reading = pin!(self.read(body));
            // Most bodies are there already, and no timer is needed.
            match poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
                Poll::Ready(read) => Ok(read),
                Poll::Pending => timeout(limit, reading).await,
            }
        };
        match read {
            Ok(Ok(())) => {
                self.hash().await;
                self.finish()
            }
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(Reason::BodyTimeout.into()),
        }
    }

    async fn read(&mut self, body: &mut impl BodySource) -> Result<(), Refusal> {
        if matches!(self.begun, HeadOutcome::Handshake(_)) {
            return Ok(());
        }
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => self.push(chunk)?,
                Ok(None) => return Ok(()),
                Err(BodyError::Incomplete) => return Err(Reason::BodyIncomplete.into()),
                Err(BodyError::TooLarge) => return Err(Reason::BodyTooLarge.into()),
                Err(BodyError::Overloaded) => return Err(Reason::Overloaded.into()),
            }
        }
    }

    /// Hashes a body that is long, together with others.
    async fn hash(&mut self) {
        if let HeadOutcome::Delivery(pending) = &mut self.begun
            && let Some(work) = take_body_hash(pending, together::WORTHWHILE)
        {
            // Few bodies are so long: the others need no room for it.
            let work = Box::pin(together::run(work)).await;
            restore_body_hash(pending, work);
        }
    }

    pub(crate) fn push(&mut self, chunk: Chunk) -> Result<(), Refusal> {
        if let HeadOutcome::Delivery(pending) = &mut self.begun {
            if chunk.len() > self.source.body_limit().get() - pending.len() {
                return Err(Reason::BodyTooLarge.into());
            }
            pending.push(chunk);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<CheckedRequest<'s>, Refusal> {
        let Self {
            source,
            begun,
            clock,
            foregone,
        } = self;
        let now = clock.now();
        let (observed, checked) = match (begun, source.mode()) {
            (HeadOutcome::Delivery(pending), Mode::Enforce) => (Bytes::new(), pending.finish(now)),
            (HeadOutcome::Delivery(pending), Mode::Observe) => pending.finish_with_body(now),
            (HeadOutcome::Handshake(answer), _) => {
                (Bytes::new(), Ok(RequestOutcome::Handshake(answer)))
            }
        };
        let checked = match foregone {
            Some(verdict) => verdict.map(RequestOutcome::Handshake),
            None => checked.map_err(|error| source.refusal_of_whole(error)),
        };
        match checked {
            Err(refusal) if source.mode() == Mode::Enforce => Err(refusal),
            checked => Ok(CheckedRequest {
                source,
                checked,
                observed,
            }),
        }
    }
}

impl fmt::Debug for AcceptedHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptedHead")
            .field("source", &self.source)
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

/// The body is not shown: it may hold what nobody should log.
impl fmt::Debug for CheckedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedRequest")
            .field("source", &self.source)
            .field("checked", &self.checked)
            .finish_non_exhaustive()
    }
}
