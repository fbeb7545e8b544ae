use std::fmt;
use std::ops::Deref;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// A part of a body.
pub enum Chunk {
    /// Bytes that others may hold as well.
    Shared(Bytes),
    /// Bytes of nobody else's. Chunks that lie one behind the other in one buffer are
    /// put together without a copy; a body in several buffers is copied once.
    Own(BytesMut),
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

impl From<BytesMut> for Chunk {
    fn from(bytes: BytesMut) -> Self {
        Self::Own(bytes)
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// How long it is; what is in it nobody should log.
impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

/// Bytes for which there is room at first, whatever is announced.
const FIRST_ROOM: usize = 64 * 1024;
/// So many times the bytes of what has come there is room for at most.
const GROWTH: usize = 4;
/// A chunk so short is copied rather than kept where it is.
const SHORT: usize = 4096;

/// The body as it arrives. A single chunk is kept as it is.
#[derive(Default)]
pub(super) enum Body {
    #[default]
    Empty,
    Expected(usize),
    One(Bytes),
    /// In buffers of its own, one after the other, and how many bytes that are.
    Own(SmallVec<[BytesMut; 1]>, usize),
}

impl Body {
    pub(super) fn push(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        match (&mut *self, chunk) {
            (Self::Empty | Self::Expected(_), Chunk::Own(chunk)) => {
                let len = chunk.len();
                *self = Self::Own(smallvec::smallvec![chunk], len);
            }
            (Self::Expected(len), Chunk::Shared(chunk)) if chunk.len() < *len => {
                let room = FIRST_ROOM.max(chunk.len() * GROWTH).min(*len);
                *self = Self::copied(&[&chunk], room);
            }
            (Self::Empty | Self::Expected(_), Chunk::Shared(chunk)) => *self = Self::One(chunk),
            (Self::One(first), chunk) => {
                let room = (first.len() + chunk.len()) * 2;
                *self = Self::copied(&[first, &chunk], room);
            }
            (Self::Own(parts, len), chunk) => {
                *len += chunk.len();
                match (parts.last_mut(), chunk) {
                    (Some(last), Chunk::Own(chunk))
                        if last.as_ptr_range().end == chunk.as_ptr() =>
                    {
                        last.unsplit(chunk);
                    }
                    (_, Chunk::Own(chunk)) if chunk.len() > SHORT => parts.push(chunk),
                    (Some(last), chunk) => last.extend_from_slice(&chunk),
                    (None, chunk) => parts.push(BytesMut::from(&chunk[..])),
                }
            }
        }
    }

    /// All but the first `skipped` bytes, as they lie. No part is empty.
    pub(super) fn parts(&self, mut skipped: usize) -> impl Iterator<Item = &[u8]> {
        let (one, own) = match self {
            Self::Empty | Self::Expected(_) => (None, &[][..]),
            Self::One(chunk) => (Some(&chunk[..]), &[][..]),
            Self::Own(parts, _) => (None, &parts[..]),
        };
        let parts = one.into_iter().chain(own.iter().map(|part| &part[..]));
        parts.filter_map(move |part| {
            let left = part.get(skipped..).filter(|left| !left.is_empty());
            skipped = skipped.saturating_sub(part.len());
            left
        })
    }

    fn copied(chunks: &[&[u8]], room: usize) -> Self {
        let mut body = BytesMut::with_capacity(room);
        chunks
            .iter()
            .for_each(|chunk| body.extend_from_slice(chunk));
        let len = body.len();
        Self::Own(smallvec::smallvec![body], len)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty | Self::Expected(_) => 0,
            Self::One(chunk) => chunk.len(),
            Self::Own(_, len) => *len,
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty | Self::Expected(_) => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Own(mut parts, _) => match parts.len() {
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
    fn chunks_of_one_buffer_are_put_together_where_they_are() {
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
    fn chunks_of_any_kind_make_the_same_body() {
        let text: Vec<u8> = (0..30_000_u32).map(|n| (n % 251) as u8).collect();
        let (one, rest) = text.split_at(3);
        let (two, three) = rest.split_at(5 + 2 * SHORT);
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
                        _ => Chunk::Own(BytesMut::from(part)),
                    });
                }
                assert_eq!(body.len(), len, "{kinds}");
                assert!(body.into_bytes() == text, "{kinds}");
            }
        }
    }
}
