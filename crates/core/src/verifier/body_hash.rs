//! The hash of one body, taken out of its delivery so that two bodies can be hashed at once.

use std::sync::Arc;
use std::{fmt, mem};

use super::body::Body;
use super::checked_head::CheckedHead;
use crate::mac::{MacState, Sha256};

/// The running hash of a delivery's body, together with that body.
pub struct BodyHash {
    /// Identifies the delivery that the hash belongs to.
    ticket: Arc<()>,
    mac: MacState,
    body: Body,
    /// Number of bytes that are hashed.
    hashed: usize,
}

impl BodyHash {
    /// Takes `body` and its hash out of `head`. Returns `None` unless there is exactly one hash,
    /// and it is SHA-256.
    pub(super) fn take(head: &mut CheckedHead, body: &mut Body) -> Option<Self> {
        let [mac] = &mut head.macs[..] else {
            return None;
        };
        mac.sha256()?;
        Some(Self {
            mac: head.macs.pop()?,
            ticket: Arc::clone(head.taken.insert(Arc::default())),
            body: mem::take(body),
            hashed: mem::take(&mut head.hashed),
        })
    }

    /// Puts the body and its hash back. A hash of another delivery is dropped.
    pub(super) fn restore(self, head: &mut CheckedHead, body: &mut Body) {
        if head
            .taken
            .take_if(|ticket| Arc::ptr_eq(ticket, &self.ticket))
            .is_some()
        {
            head.macs.push(self.mac);
            head.hashed = self.hashed;
            *body = self.body;
        }
    }

    /// Whether [`update_pair`](Self::update_pair) is faster than hashing one body after the
    /// other. This depends on the processor's instructions.
    pub fn pairing_is_faster() -> bool {
        Sha256::pairing_is_faster()
    }

    /// Number of received bytes that are not hashed yet.
    pub fn remaining(&self) -> usize {
        self.body.len() - self.hashed
    }

    /// Hashes the remaining bytes.
    pub fn hash_remaining(&mut self) {
        let parts = self.body.parts(self.hashed);
        parts.for_each(|part| self.mac.update(part));
        self.hashed = self.body.len();
    }

    /// Hashes the remaining bytes of the shorter body, and as many bytes of the other one. Both
    /// together take little longer than one of them.
    pub fn update_pair(one: &mut Self, two: &mut Self) {
        let (Some(hash_one), Some(hash_two)) = (one.mac.sha256(), two.mac.sha256()) else {
            return [one, two].into_iter().for_each(Self::hash_remaining);
        };
        let mut parts = [one.body.parts(one.hashed), two.body.parts(two.hashed)];
        let mut left: [&[u8]; 2] = [&[], &[]];
        loop {
            for (left, parts) in left.iter_mut().zip(&mut parts) {
                if left.is_empty() {
                    *left = parts.next().unwrap_or_default();
                }
            }
            let len = left[0].len().min(left[1].len());
            if len == 0 {
                return;
            }
            let now = left.map(|left| &left[..len]);
            left = left.map(|left| &left[len..]);
            Sha256::update_pair([hash_one, hash_two], now);
            one.hashed += len;
            two.hashed += len;
        }
    }
}

/// Shows no byte of the body.
impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyHash")
            .field("body", &self.body)
            .field("hashed", &self.hashed)
            .finish_non_exhaustive()
    }
}
