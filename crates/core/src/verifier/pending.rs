use bytes::Bytes;
use smallvec::SmallVec;

use super::body::Body;
use super::signed::SignedParts;
use super::{Verified, Verifier};
use crate::error::VerifyError;
use crate::identity::Discriminator;
use crate::mac::Running;
use crate::scheme::field::{self, Candidates};
use crate::scheme::{Location, Plan, json};
use crate::time::UnixTime;

/// A delivery whose head is good, and whose body is arriving.
#[derive(Debug)]
pub struct Pending<'v> {
    pub(super) verifier: &'v Verifier,
    pub(super) candidates: Candidates,
    pub(super) parts: SignedParts,
    pub(super) macs: Macs,
    pub(super) body: Body,
}

/// One MAC for each active key, by the key's index.
pub(super) type Macs = SmallVec<[(usize, Option<Running>); 1]>;

impl Pending<'_> {
    /// Takes the next chunk of the body.
    pub fn push(&mut self, chunk: Bytes) {
        for (_, running) in &mut self.macs {
            if let Some(running) = running {
                running.update(&chunk);
            }
        }
        self.body.push(chunk);
    }

    /// Makes room for `bytes` of body in all, if more than one chunk comes.
    pub fn expect_len(&mut self, bytes: usize) {
        if matches!(self.body, Body::Empty) {
            self.body = Body::Expected(bytes);
        }
    }

    /// Length of the body so far, in bytes.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether no byte of the body has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks the signature over the whole, and the timestamp once more: a slow
    /// body must not outlive the window.
    ///
    /// # Errors
    ///
    /// [`VerifyError::SignatureMismatch`], or that the window has passed.
    pub fn finish(self, now: UnixTime) -> Result<Verified, VerifyError> {
        let Self {
            verifier,
            candidates,
            parts,
            macs,
            body,
        } = self;
        let plan = verifier.scheme.plan();
        let body = body.into_bytes();
        let key_index = matching_key(verifier, &candidates, &parts, macs, &body)
            .ok_or(VerifyError::SignatureMismatch)?;
        if let (Some(timestamp), Some(field)) = (&parts.timestamp, &plan.timestamp) {
            verifier
                .window
                .check(timestamp.at, now, field.unit.precision())?;
        }
        // From here on everything is signed.
        let (id, event_type) = read_names(plan, &parts, &body);
        let discriminator = match (id, &parts.timestamp) {
            (Some(id), _) => Discriminator::Id(id),
            (None, Some(_)) => Discriminator::Exact(parts.digest(plan, &body)),
            (None, None) => Discriminator::Content(parts.digest(plan, &body)),
        };
        Ok(Verified {
            body,
            event_type,
            timestamp: parts.timestamp.map(|timestamp| timestamp.at),
            key_id: verifier.keys[key_index].id.clone(),
            discriminator,
        })
    }
}

/// The index of a key that fits a candidate. Looks at every pair, so that the
/// time taken says nothing about which one fits.
fn matching_key(
    verifier: &Verifier,
    candidates: &Candidates,
    parts: &SignedParts,
    macs: Macs,
    body: &[u8],
) -> Option<usize> {
    let message = &verifier.scheme.plan().message;
    let mut matching = None;
    let mut whole = None;
    for (index, running) in macs {
        match running {
            Some(mut running) => {
                parts.feed(&message.after_body, |bytes| running.update(bytes));
                let expected = running.finish();
                for candidate in candidates {
                    if expected.matches(candidate) {
                        matching = Some(index);
                    }
                }
            }
            None => {
                let whole = whole.get_or_insert_with(|| parts.whole(verifier.scheme.plan(), body));
                for candidate in candidates {
                    if verifier.keys[index].key.verify(whole, candidate) {
                        matching = Some(index);
                    }
                }
            }
        }
    }
    matching
}

/// The event's id and type, from what is signed.
fn read_names(
    plan: &Plan,
    parts: &SignedParts,
    body: &[u8],
) -> (Option<Box<str>>, Option<Box<str>>) {
    let signed_id = plan.id.as_ref().filter(|id| id.signed);
    let pointers = [signed_id.map(|id| &id.location), plan.event_type.as_ref()]
        .map(|location| location.and_then(Location::pointer));
    let [id, event_type] = json::texts(body, pointers);
    let usable = |text: &str, exclude: &[u8]| field::is_id(text.as_bytes(), exclude);
    let id = match &parts.id {
        Some(raw) => std::str::from_utf8(raw.bytes()).ok().map(Box::from),
        None => id
            .filter(|id| usable(id, signed_id.map_or(b"", |field| &field.exclude)))
            .map(String::into_boxed_str),
    };
    (
        id,
        event_type
            .filter(|text| usable(text, b""))
            .map(String::into_boxed_str),
    )
}
