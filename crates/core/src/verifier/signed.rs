//! What a delivery's head contributes to its signed message.

use std::ops::Range;

use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::scheme::{Plan, Segment, SignedHeader};
use crate::time::UnixTime;

/// What the head contributes to the signed message, as raw text.
#[derive(Debug)]
pub(super) struct SignedParts {
    pub(super) timestamp: Option<Timestamp>,
    pub(super) id: Option<Raw>,
    pub(super) more: MoreHeaders,
}

#[derive(Debug)]
pub(super) struct Timestamp {
    pub(super) raw: Raw,
    pub(super) at: UnixTime,
}

impl SignedParts {
    /// Hands the bytes of `segments` to `take`, one after the other. `segments`
    /// is one of the two halves of the message.
    pub(super) fn feed(&self, segments: &[Segment], mut take: impl FnMut(&[u8])) {
        for segment in segments {
            match segment {
                Segment::Literal(text) => take(text),
                Segment::Timestamp => {
                    if let Some(timestamp) = &self.timestamp {
                        take(timestamp.raw.bytes());
                    }
                }
                Segment::Id => {
                    if let Some(id) = &self.id {
                        take(id.bytes());
                    }
                }
                Segment::Header(SignedHeader { name, .. }) => {
                    if let Some((_, raw)) = self.more.iter().find(|(other, _)| other == name) {
                        take(raw.bytes());
                    }
                }
            }
        }
    }

    fn feed_all(&self, plan: &Plan, body: &[u8], mut take: impl FnMut(&[u8])) {
        self.feed(&plan.message.before_body, &mut take);
        take(body);
        self.feed(&plan.message.after_body, &mut take);
    }

    pub(super) fn whole(&self, plan: &Plan, body: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(body.len() + 128);
        self.feed_all(plan, body, |bytes| whole.extend_from_slice(bytes));
        whole
    }

    /// SHA-256 of the signed message. Not the signature: that differs from key
    /// to key, and a delivery signed with two would pass twice.
    pub(super) fn digest(&self, plan: &Plan, body: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        self.feed_all(plan, body, |bytes| digest.update(bytes));
        digest.finalize().into()
    }
}

/// A part of a header's value, kept without copying it.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) value: HeaderValue,
    pub(super) range: Range<usize>,
}

impl Raw {
    pub(super) fn whole(value: &HeaderValue) -> Self {
        Self {
            value: value.clone(),
            range: 0..value.len(),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.value.as_bytes()[self.range.clone()]
    }
}

/// Values of the `{header:NAME}` segments.
pub(super) type MoreHeaders = SmallVec<[(HeaderName, Raw); 1]>;
