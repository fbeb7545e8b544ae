use std::fmt;

use bytes::{Bytes, BytesMut};

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
    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        match self {
            Self::Empty => *self = Self::One(chunk),
            Self::Expected(len) if chunk.len() < *len => {
                let mut body = BytesMut::with_capacity(*len);
                body.extend_from_slice(&chunk);
                *self = Self::Many(body);
            }
            Self::Expected(_) => *self = Self::One(chunk),
            Self::One(first) => {
                let mut body = BytesMut::with_capacity((first.len() + chunk.len()) * 2);
                body.extend_from_slice(first);
                body.extend_from_slice(&chunk);
                *self = Self::Many(body);
            }
            Self::Many(body) => body.extend_from_slice(&chunk),
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
