use std::sync::Arc;
use std::{fmt, mem};

use super::body::Body;
use super::checked_head::CheckedHead;
use crate::mac::{MacState, Sha256};

/// What is to be hashed of the body of a delivery. That of two deliveries can be hashed
/// side by side.
pub struct BodyHash {
    /// That of the delivery which waits for it.
    ticket: Arc<()>,
    running: MacState,
    body: Body,
    /// Bytes that have been hashed.
    hashed: usize,
}

impl BodyHash {
    /// Takes `body` and its hash out of `begun`, if it is one and SHA-256.
    pub(super) fn of(begun: &mut CheckedHead, body: &mut Body) -> Option<Self> {
        let [running] = &mut begun.running[..] else {
            return None;
        };
        running.sha256()?;
        Some(Self {
            running: begun.running.pop()?,
            ticket: Arc::clone(begun.work.insert(Arc::default())),
            body: mem::take(body),
            hashed: mem::take(&mut begun.hashed),
        })
    }

    /// Puts them back. What is of another delivery is let go.
    pub(super) fn restore(self, begun: &mut CheckedHead, body: &mut Body) {
        if begun
            .work
            .take_if(|ticket| Arc::ptr_eq(ticket, &self.ticket))
            .is_some()
        {
            begun.running.push(self.running);
            begun.hashed = self.hashed;
            *body = self.body;
        }
    }

    /// Whether [`update_pair`](Self::update_pair) takes less time than one after the other:
    /// whether the processor has instructions for it.
    pub fn pairing_is_faster() -> bool {
        Sha256::pairing_is_faster()
    }

    /// Bytes that are there and not hashed yet.
    pub fn remaining(&self) -> usize {
        self.body.len() - self.hashed
    }

    /// Hashes what is left.
    pub fn hash_remaining(&mut self) {
        let parts = self.body.parts(self.hashed);
        parts.for_each(|part| self.running.update(part));
        self.hashed = self.body.len();
    }

    /// Hashes what is left of the delivery that has less, and as much of the other one, in
    /// little more time than one of them takes.
    pub fn update_pair(one: &mut Self, two: &mut Self) {
        let (Some(hash_one), Some(hash_two)) = (one.running.sha256(), two.running.sha256()) else {
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

/// Nothing of the body is shown.
impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyHash")
            .field("body", &self.body)
            .field("hashed", &self.hashed)
            .finish_non_exhaustive()
    }
}
