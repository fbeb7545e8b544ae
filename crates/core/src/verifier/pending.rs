//! A delivery whose head is checked and whose body is arriving.

use std::fmt;

use bytes::Bytes;

use super::body::{Body, Chunk};
use super::body_hash::BodyHash;
use super::checked_head::CheckedHead;
use super::handshake::LateHandshake;
use super::key::PreparedKey;
use super::{RequestOutcome, Verified, Verifier};
use crate::error::VerifyError;
use crate::mac::MacState;
use crate::time::UnixTime;

/// Unhashed bytes after which a body is hashed as it arrives. Without this limit, hashing a
/// large body at its end would block other deliveries for too long.
const HASH_CHUNK: usize = 1024 * 1024;

/// A delivery whose head is checked, and which waits for its body.
pub struct Pending<'v> {
    pub(super) verifier: &'v Verifier,
    /// The checked head. An error if the request may still be a handshake, which only its body
    /// shows. Boxed because a `Pending` moves often before the body is complete.
    pub(super) head: Result<Box<CheckedHead>, VerifyError>,
    /// Handshakes whose conditions on the head are met.
    pub(super) handshakes: Vec<LateHandshake>,
    body: Body,
}

impl<'v> Pending<'v> {
    pub(super) fn new(verifier: &'v Verifier, head: Result<Box<CheckedHead>, VerifyError>) -> Self {
        Self {
            verifier,
            head,
            handshakes: Vec::new(),
            body: Body::Empty,
        }
    }
}

impl Pending<'_> {
    /// Appends the next chunk of the body.
    pub fn push(&mut self, chunk: impl Into<Chunk>) {
        // Most bodies are shorter and are hashed at their end, which needs no stored state.
        if self.unhashed() >= HASH_CHUNK {
            self.hash();
        }
        self.body.push(chunk.into());
    }

    /// Takes out the hash of the body, for hashing it beside that of another delivery.
    ///
    /// Returns `None` if fewer than `min_len` bytes are unhashed, or if
    /// [pairing](BodyHash::update_pair) saves no time.
    /// [`restore_body_hash`](Self::restore_body_hash) must follow before anything else is done
    /// with this delivery: without the hash, no signature matches.
    pub(crate) fn take_body_hash(&mut self, min_len: usize) -> Option<BodyHash> {
        if self.unhashed() < min_len || !BodyHash::pairing_is_faster() {
            return None;
        }
        let head = self.head.as_mut().ok()?;
        self.verifier.start_macs(head);
        BodyHash::take(head, &mut self.body)
    }

    /// Puts back the hash that [`take_body_hash`](Self::take_body_hash) took out.
    pub(crate) fn restore_body_hash(&mut self, hash: BodyHash) {
        if let Ok(head) = &mut self.head {
            hash.restore(head, &mut self.body);
        }
    }

    /// Number of received bytes that are not hashed yet.
    fn unhashed(&self) -> usize {
        let hashed = self.head.as_ref().map_or(0, |head| head.hashed);
        self.body.len() - hashed
    }

    /// Hashes the received bytes, if the message can be hashed as the body arrives.
    fn hash(&mut self) {
        if let Ok(head) = &mut self.head {
            self.verifier.start_macs(head);
            if head.macs.is_empty() {
                return;
            }
            let parts = self.body.parts(head.hashed);
            parts.for_each(|part| MacState::update_all(&mut head.macs, part));
            head.hashed = self.body.len();
        }
    }

    /// Announces the length of the body in bytes.
    ///
    /// If the body arrives in several chunks, memory for it is allocated at once.
    pub fn expect_len(&mut self, bytes: usize) {
        if matches!(self.body, Body::Empty) {
            self.body = Body::Expected(bytes);
        }
    }

    /// Number of received bytes.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether no byte of the body has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks the signature over the complete message.
    ///
    /// The timestamp is checked once more, because a slow body must not outlive the window.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::SignatureMismatch`] if no signature matches, an error of the
    /// timestamp if the window has passed, or an error of the body if it does not meet the
    /// scheme.
    pub fn finish(mut self, now: UnixTime) -> Result<RequestOutcome, VerifyError> {
        let body = std::mem::take(&mut self.body).into_bytes();
        self.check(body, now)
    }

    /// Checks the signature like [`finish`](Self::finish), and returns the body in any case.
    ///
    /// A source that only observes forwards the body of a refused delivery, too.
    pub fn finish_with_body(
        mut self,
        now: UnixTime,
    ) -> (Bytes, Result<RequestOutcome, VerifyError>) {
        let body = std::mem::take(&mut self.body).into_bytes();
        (body.clone(), self.check(body, now))
    }

    /// Takes the received body out.
    pub(super) fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body).into_bytes()
    }

    fn check(&mut self, body: Bytes, now: UnixTime) -> Result<RequestOutcome, VerifyError> {
        self.check_with(&self.verifier.keys, body, now)
    }

    /// Checks the signature with one of `keys`.
    pub(super) fn check_with(
        &mut self,
        keys: &[PreparedKey],
        body: Bytes,
        now: UnixTime,
    ) -> Result<RequestOutcome, VerifyError> {
        let verifier = self.verifier;
        let event = match &mut self.head {
            Ok(head) => verifier.finish_delivery(keys, head, &body, now),
            Err(error) => Err(*error),
        };
        if self.handshakes.is_empty() {
            return event.map(|event| RequestOutcome::Delivery(Verified { body, event }));
        }
        // A handshake that needs no signature may have a wrong one.
        match verifier.late_handshake_response(&self.handshakes, event.is_ok(), &body, now)? {
            Some(response) => Ok(RequestOutcome::Handshake(response.into())),
            None => event.map(|event| RequestOutcome::Delivery(Verified { body, event })),
        }
    }
}

/// Shows neither values of the head nor the body.
impl fmt::Debug for Pending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("verifier", &self.verifier)
            .field("error", &self.head.as_ref().err())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
