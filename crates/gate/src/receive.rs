//! The receiving of a body: limits of size and time, and verification.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hookgate_core::internal::{begin_refused, hash_paired};
use hookgate_core::{Chunk, FetchedKey, HeadOutcome, RequestOutcome, Verified, VerifyError};
use http::{HeaderMap, Response};
use tokio::time::timeout;

use crate::body_source::{BodySource, BoxError, body_error};
use crate::clock::Clock;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::source::{Mode, Source};

/// A request whose body may be read: its head passed the checks, or its source observes.
pub struct AcceptedHead<'s> {
    source: &'s Source,
    outcome: HeadOutcome<'s>,
    clock: Arc<dyn Clock>,
    note: HeadNote,
}

/// A result of the check of the head, beside its outcome.
enum HeadNote {
    None,
    /// The verdict, if the head decides it and the source observes.
    Decided(Result<Box<Response<Bytes>>, Refusal>),
    /// The unsigned delivery id, if the source goes by it.
    DeliveryId(Box<str>),
}

/// A request that was checked by its source. It can be admitted once.
pub struct CheckedRequest<'s> {
    pub(crate) source: &'s Source,
    /// An error only if the source observes.
    pub(crate) checked: Result<RequestOutcome, Refusal>,
    /// The body, if the source observes.
    pub(crate) observed: Bytes,
    /// The unsigned delivery id, if the source goes by it.
    pub(crate) delivery_id: Option<Box<str>>,
    /// The client, if it is known and the key was fetched.
    pub(crate) client: Option<IpAddr>,
}

impl CheckedRequest<'_> {
    /// Returns the verified facts; `None` for a handshake, and for a request that did not
    /// verify and that its source only observes.
    pub fn verified(&self) -> Option<&Verified> {
        match &self.checked {
            Ok(RequestOutcome::Delivery(verified)) => Some(verified),
            Ok(RequestOutcome::Handshake(_)) | Err(_) => None,
        }
    }

    /// Returns the body that may be forwarded; empty if there is none.
    pub fn body(&self) -> &Bytes {
        self.verified().map_or(&self.observed, Verified::body)
    }
}

impl<'s> AcceptedHead<'s> {
    pub(crate) fn new(source: &'s Source, outcome: HeadOutcome<'s>, clock: Arc<dyn Clock>) -> Self {
        match (outcome, source.mode()) {
            (HeadOutcome::Handshake(response), Mode::Observe) => {
                Self::decided(source, Ok(response), clock)
            }
            (outcome, _) => Self {
                source,
                outcome,
                clock,
                note: HeadNote::None,
            },
        }
    }

    /// Creates the accepted head of a request that its source would refuse, if the source
    /// did not only observe.
    pub(crate) fn observing(source: &'s Source, refusal: Refusal, clock: Arc<dyn Clock>) -> Self {
        Self::decided(source, Err(refusal), clock)
    }

    fn decided(
        source: &'s Source,
        verdict: Result<Box<Response<Bytes>>, Refusal>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        // This verification only collects the body.
        let collecting = begin_refused(source.verifier(), VerifyError::FieldMissing);
        Self {
            source,
            outcome: HeadOutcome::Delivery(collecting),
            clock,
            note: HeadNote::Decided(verdict),
        }
    }

    /// Remembers the unsigned delivery id of the request, if the source goes by it.
    pub(crate) fn note_delivery_id(&mut self, headers: &HeaderMap) {
        if let HeadNote::None = self.note
            && let Some(id) = self.source.read_delivery_id(headers)
        {
            self.note = HeadNote::DeliveryId(id);
        }
    }

    /// Reserves memory for a body of `len` bytes.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::BodyTooLarge`] if the limit of the source is below `len`.
    pub(crate) fn expect_len(&mut self, len: u64) -> Result<(), Refusal> {
        if let HeadOutcome::Delivery(pending) = &mut self.outcome {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len > self.source.body_limit().get() {
                return Err(Reason::BodyTooLarge.into());
            }
            pending.expect_len(len);
        }
        Ok(())
    }

    /// Reads the body to its end, within the limits of the source, and verifies it.
    ///
    /// Reads nothing if the head alone shows that the request is a handshake.
    ///
    /// # Errors
    ///
    /// Returns the refusal of the delivery. The rest of the body was not read, unless the
    /// reason is [`Reason::Verify`].
    pub async fn receive(
        mut self,
        body: &mut impl BodySource,
    ) -> Result<CheckedRequest<'s>, Refusal> {
        let limit = self.source.body_timeout();
        let read = {
            let mut reading = pin!(self.read(body));
            // Most bodies have arrived already, and then a timer would be a waste.
            match poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
                Poll::Ready(read) => Ok(read),
                Poll::Pending => timeout(limit, reading).await,
            }
        };
        match read {
            Ok(Ok(())) => {
                if let HeadOutcome::Delivery(pending) = &mut self.outcome {
                    hash_paired(pending).await;
                }
                match self.source.key_fetcher() {
                    None => self.finish(None),
                    // Boxed, because few sources fetch keys and the future is large.
                    Some(_) => Box::pin(self.finish_received(body.client())).await,
                }
            }
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(Reason::BodyTimeout.into()),
        }
    }

    /// Reads the chunks of `next_chunk` to the end of the body, within the limits of the source,
    /// and verifies them. The chunks and their source need not be `Send`.
    ///
    /// # Errors
    ///
    /// Returns the refusal of the delivery. The reason is [`Reason::BodyIncomplete`] if the body
    /// ends before `declared_len` bytes.
    pub(crate) async fn receive_chunks<E: Into<BoxError>>(
        mut self,
        declared_len: u64,
        mut next_chunk: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, E>>>,
    ) -> Result<CheckedRequest<'s>, Refusal> {
        let limit = self.source.body_timeout();
        let reading = async {
            if matches!(self.outcome, HeadOutcome::Handshake(_)) {
                return Ok(());
            }
            let mut missing = declared_len;
            while let Some(chunk) = poll_fn(&mut next_chunk).await {
                let chunk = chunk.map_err(|error| {
                    // A caller returns `BodyError::TooLarge` for the limits of its framework.
                    body_error(error.into().as_ref(), |_| false).reason()
                })?;
                missing = missing.saturating_sub(chunk.len() as u64);
                self.push(chunk.into())?;
            }
            match missing {
                0 => Ok(()),
                _ => Err(Refusal::from(Reason::BodyIncomplete)),
            }
        };
        let timed_out = |_| Err(Reason::BodyTimeout.into());
        timeout(limit, reading).await.unwrap_or_else(timed_out)?;
        self.finish_received(None).await
    }

    async fn read(&mut self, body: &mut impl BodySource) -> Result<(), Refusal> {
        if matches!(self.outcome, HeadOutcome::Handshake(_)) {
            return Ok(());
        }
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => self.push(chunk)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(error.reason().into()),
            }
        }
    }

    /// Adds a chunk to the body.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::BodyTooLarge`] if the body exceeds the limit of the source.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Result<(), Refusal> {
        if let HeadOutcome::Delivery(pending) = &mut self.outcome {
            if chunk.len() > self.source.body_limit().get() - pending.len() {
                return Err(Reason::BodyTooLarge.into());
            }
            pending.push(chunk);
        }
        Ok(())
    }

    /// Verifies the body, which has arrived. Fetches the key first, if the source has none.
    ///
    /// Nothing is fetched for a delivery that fails whatever its key is.
    ///
    /// # Errors
    ///
    /// Returns the refusal, unless the source observes.
    pub(crate) async fn finish_received(
        mut self,
        client: Option<IpAddr>,
    ) -> Result<CheckedRequest<'s>, Refusal> {
        let (Some(keys), HeadOutcome::Delivery(pending)) =
            (self.source.key_fetcher(), &mut self.outcome)
        else {
            return self.finish(None);
        };
        if matches!(self.note, HeadNote::Decided(_)) {
            return self.finish(None);
        }
        let now = self.clock.now();
        let key = match pending.key_reference(now) {
            Ok(None) => return self.finish(None),
            Ok(Some(reference)) => keys.key(&reference, client, now).await,
            Err(error) => Err(error),
        };
        match key {
            Ok(key) => {
                let checked = self.finish(Some(&key))?;
                Ok(CheckedRequest { client, ..checked })
            }
            Err(error) => {
                self.note = HeadNote::Decided(Err(self.source.refusal(error)));
                self.finish(None)
            }
        }
    }

    /// Verifies the body, which has arrived, with a key that was fetched or with the keys of the
    /// source.
    ///
    /// # Errors
    ///
    /// Returns the refusal, unless the source observes.
    pub(crate) fn finish(self, key: Option<&FetchedKey>) -> Result<CheckedRequest<'s>, Refusal> {
        let Self {
            source,
            outcome,
            clock,
            note,
        } = self;
        let now = clock.now();
        let (observed, checked) = match (outcome, source.mode(), key) {
            (HeadOutcome::Delivery(pending), _, Some(key)) => pending.finish_with_key(key, now),
            (HeadOutcome::Delivery(pending), Mode::Enforce, None) => {
                (Bytes::new(), pending.finish(now))
            }
            (HeadOutcome::Delivery(pending), Mode::Observe, None) => pending.finish_with_body(now),
            (HeadOutcome::Handshake(response), _, _) => {
                (Bytes::new(), Ok(RequestOutcome::Handshake(response)))
            }
        };
        let (decided, delivery_id) = match note {
            HeadNote::None => (None, None),
            HeadNote::Decided(verdict) => (Some(verdict), None),
            HeadNote::DeliveryId(id) => (None, Some(id)),
        };
        let checked = match decided {
            Some(verdict) => verdict.map(RequestOutcome::Handshake),
            None => checked.map_err(|error| source.refusal_after_body(error)),
        };
        match checked {
            Err(refusal) if source.mode() == Mode::Enforce => Err(refusal),
            checked => Ok(CheckedRequest {
                source,
                checked,
                observed,
                delivery_id,
                client: None,
            }),
        }
    }
}

impl fmt::Debug for AcceptedHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptedHead")
            .field("source", &self.source)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// Leaves the body out, because it may hold private data.
impl fmt::Debug for CheckedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedRequest")
            .field("source", &self.source)
            .field("checked", &self.checked)
            .finish_non_exhaustive()
    }
}
