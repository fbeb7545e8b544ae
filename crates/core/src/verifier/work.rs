use std::{fmt, mem, ptr};

use super::begun::Begun;
use super::body::Body;
use crate::mac::{Running, Sha256};

/// Bytes of a body that are to be hashed, and the hashes that take them. Two of them,
/// each of another delivery, can be run side by side.
pub struct Work {
    /// Address of the delivery's head, whose hashes these are.
    of: usize,
    running: Vec<Running>,
    body: Body,
    /// Bytes that have been hashed.
    hashed: usize,
}

impl Work {
    /// A body is hashed in parts of so many bytes or more: each is still in the cache of
    /// the processor then, and none holds up others for long.
    pub const PART: usize = 64 * 1024;

    /// Takes `body` and the hashes out of `begun`.
    pub(super) fn of(begun: &mut Begun, body: &mut Body) -> Self {
        Self {
            of: ptr::from_ref(begun).addr(),
            running: mem::take(&mut begun.running),
            body: mem::take(body),
            hashed: begun.hashed,
        }
    }

    /// Puts them back. What is of another delivery is let go: nothing matches then.
    pub(super) fn back(self, begun: &mut Begun, body: &mut Body) {
        if self.of == ptr::from_ref(begun).addr() {
            (begun.running, begun.hashed) = (self.running, self.hashed);
            *body = self.body;
        }
    }

    /// Whether [`run_both`](Self::run_both) takes less time than one after the other:
    /// whether the processor has instructions for it.
    pub fn is_faster_for_both() -> bool {
        Sha256::is_faster_for_both()
    }

    /// Bytes that are there and not hashed yet.
    pub fn left(&self) -> usize {
        self.body.len() - self.hashed
    }

    /// Hashes what is left.
    pub fn run(&mut self) {
        for part in self.body.parts(self.hashed) {
            for running in &mut self.running {
                running.update(part);
            }
        }
        self.hashed = self.body.len();
    }

    /// Hashes what is left of the delivery that has less, and as much of the other one, in
    /// little more time than one of them takes.
    pub fn run_both(one: &mut Self, two: &mut Self) {
        let ([running_one], [running_two]) = (&mut one.running[..], &mut two.running[..]) else {
            return [one, two].into_iter().for_each(Self::run);
        };
        let (Some(hash_one), Some(hash_two)) = (running_one.sha256(), running_two.sha256()) else {
            return [one, two].into_iter().for_each(Self::run);
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
            Sha256::update_both([hash_one, hash_two], now);
            one.hashed += len;
            two.hashed += len;
        }
    }
}

/// Nothing of the body is shown.
impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("body", &self.body)
            .field("hashed", &self.hashed)
            .finish_non_exhaustive()
    }
}
