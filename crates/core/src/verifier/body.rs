use std::fmt;
use std::ops::Deref;

use bytes::{Bytes, BytesMut};

/// A part of a body.
pub enum Chunk {
    /// Bytes that others may hold as well.
    Shared(Bytes),
    /// Bytes of nobody else's. Chunks that lie one behind the other in one buffer are
    /// put together without a copy.
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

/// The body as it arrives. A single chunk is kept as it is.
#[derive(Default)]
pub(super) enum Body {
    #[default]
    Empty,
    Expected(usize),
    One(Bytes),
    Many(BytesMut),
}

impl Body {
    pub(super) fn push(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        match (&mut *self, chunk) {
            (Self::Empty | Self::Expected(_), Chunk::Own(chunk)) => *self = Self::Many(chunk),
            (Self::Expected(len), Chunk::Shared(chunk)) if chunk.len() < *len => {
                let mut body = BytesMut::with_capacity(*len);
                body.extend_from_slice(&chunk);
                *self = Self::Many(body);
            }
            (Self::Empty | Self::Expected(_), Chunk::Shared(chunk)) => *self = Self::One(chunk),
            (Self::One(first), chunk) => {
                let mut body = BytesMut::with_capacity((first.len() + chunk.len()) * 2);
                body.extend_from_slice(first);
                body.extend_from_slice(&chunk);
                *self = Self::Many(body);
            }
            (Self::Many(body), Chunk::Own(chunk)) => body.unsplit(chunk),
            (Self::Many(body), Chunk::Shared(chunk)) => body.extend_from_slice(&chunk),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty | Self::Expected(_) => 0,
            Self::One(chunk) => chunk.len(),
            Self::Many(body) => body.len(),
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty | Self::Expected(_) => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Many(body) => body.freeze(),
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
        let text = b"one, two, three";
        let (one, rest) = text.split_at(3);
        let (two, three) = rest.split_at(5);
        for expected in [Body::Empty, Body::Expected(15), Body::Expected(3)] {
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
                assert_eq!(
                    (body.len(), &body.into_bytes()[..]),
                    (15, &text[..]),
                    "{kinds}"
                );
            }
        }
    }
}
