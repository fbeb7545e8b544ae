//! The body of a delivery, collected chunk by chunk.

use std::fmt;
use std::ops::Deref;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// A chunk of a body.
pub enum Chunk {
    /// Bytes that may have further owners.
    Shared(Bytes),
    /// Bytes with a single owner. Adjacent chunks of one buffer are joined without a copy; a
    /// body in several buffers is copied once.
    Owned(BytesMut),
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

impl From<BytesMut> for Chunk {
    fn from(bytes: BytesMut) -> Self {
        Self::Owned(bytes)
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Shows only the length.
impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

/// Most bytes to reserve at first, whatever length is announced.
const FIRST_CAPACITY: usize = 64 * 1024;
/// Reserve at most this many times the bytes received so far: a sender that announces a long
/// body and sends little must not hold much memory.
const GROWTH: usize = 4;
/// Longest chunk that is copied. Longer chunks stay in their own buffer.
const MAX_COPIED_CHUNK: usize = 4096;

/// The body of a delivery. A single chunk is kept without a copy.
#[derive(Default)]
pub(super) enum Body {
    #[default]
    Empty,
    /// Empty, with the announced length.
    Expected(usize),
    /// A single chunk that may have further owners.
    One(Bytes),
    /// Buffers with a single owner in their order, and the number of bytes in all of them.
    Owned(SmallVec<[BytesMut; 1]>, usize),
}

impl Body {
    pub(super) fn push(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        match (&mut *self, chunk) {
            (Self::Empty | Self::Expected(_), Chunk::Owned(chunk)) => {
                let len = chunk.len();
                *self = Self::Owned(smallvec::smallvec![chunk], len);
            }
            (Self::Expected(len), Chunk::Shared(chunk)) if chunk.len() < *len => {
                let capacity = FIRST_CAPACITY.max(chunk.len() * GROWTH).min(*len);
                *self = Self::copied(&[&chunk], capacity);
            }
            (Self::Empty | Self::Expected(_), Chunk::Shared(chunk)) => *self = Self::One(chunk),
            (Self::One(first), chunk) => {
                let capacity = (first.len() + chunk.len()) * 2;
                *self = Self::copied(&[first, &chunk], capacity);
            }
            (Self::Owned(parts, len), chunk) => {
                *len += chunk.len();
                match (parts.last_mut(), chunk) {
                    (Some(last), Chunk::Owned(chunk))
                        if last.as_ptr_range().end == chunk.as_ptr() =>
                    {
                        last.unsplit(chunk);
                    }
                    (_, Chunk::Owned(chunk)) if chunk.len() > MAX_COPIED_CHUNK => parts.push(chunk),
                    (Some(last), chunk) => last.extend_from_slice(&chunk),
                    (None, chunk) => parts.push(BytesMut::from(&chunk[..])),
                }
            }
        }
    }

    /// Returns the body without its first `skipped` bytes, in parts. No part is empty.
    pub(super) fn parts(&self, mut skipped: usize) -> impl Iterator<Item = &[u8]> {
        let (one, owned) = match self {
            Self::Empty | Self::Expected(_) => (None, &[][..]),
            Self::One(chunk) => (Some(&chunk[..]), &[][..]),
            Self::Owned(parts, _) => (None, &parts[..]),
        };
        let parts = one.into_iter().chain(owned.iter().map(|part| &part[..]));
        parts.filter_map(move |part| {
            let left = part.get(skipped..).filter(|left| !left.is_empty());
            skipped = skipped.saturating_sub(part.len());
            left
        })
    }

    fn copied(chunks: &[&[u8]], capacity: usize) -> Self {
        let mut body = BytesMut::with_capacity(capacity);
        chunks
            .iter()
            .for_each(|chunk| body.extend_from_slice(chunk));
        let len = body.len();
        Self::Owned(smallvec::smallvec![body], len)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty | Self::Expected(_) => 0,
            Self::One(chunk) => chunk.len(),
            Self::Owned(_, len) => *len,
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty | Self::Expected(_) => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Owned(mut parts, _) => match parts.len() {
                1 => parts.remove(0).freeze(),
                _ => parts.concat().into(),
            },
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_chunks_of_one_buffer_are_joined_without_a_copy() {
        let text = b"one, two, three";
        let mut buffer = BytesMut::from(&text[..]);
        let start = buffer.as_ptr();
        let mut body = Body::Empty;
        for len in [3, 5, 7] {
            body.push(buffer.split_to(len).into());
        }
        let body = body.into_bytes();
        assert_eq!((&body[..], body.as_ptr()), (&text[..], start));
    }

    #[test]
    fn shared_and_owned_chunks_make_the_same_body() {
        let text: Vec<u8> = (0..30_000_u32).map(|n| (n % 251) as u8).collect();
        let (one, rest) = text.split_at(3);
        let (two, three) = rest.split_at(5 + 2 * MAX_COPIED_CHUNK);
        let len = text.len();
        for expected in [Body::Empty, Body::Expected(len), Body::Expected(3)] {
            for kinds in 0..8 {
                let mut body = match &expected {
                    Body::Expected(len) => Body::Expected(*len),
                    _ => Body::Empty,
                };
                for (index, part) in [one, two, three].into_iter().enumerate() {
                    body.push(match kinds >> index & 1 {
                        0 => Chunk::Shared(Bytes::copy_from_slice(part)),
                        _ => Chunk::Owned(BytesMut::from(part)),
                    });
                }
                assert_eq!(body.len(), len, "{kinds}");
                assert!(body.into_bytes() == text, "{kinds}");
            }
        }
    }
}
