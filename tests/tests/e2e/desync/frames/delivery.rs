//! A signed delivery as HTTP/2 fields. A test can change each field.

use bytes::Bytes;
use hookgate_tests::http2_frames::{DATA, END_HEADERS, END_STREAM, HEADERS, frame, literal_fields};
use hookgate_tests::{TestProvider, now};

/// A delivery. Each value may be invalid.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Bytes,
}

impl Delivery {
    /// Returns a genuine delivery of the event `id`.
    pub(super) fn genuine(id: &str) -> Self {
        let provider = TestProvider::named("beatapi");
        let body = provider.body(id);
        let mut delivery = Self {
            fields: Vec::new(),
            body: body.clone(),
        };
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/hooks/beatapi"),
            (":authority", "hooks.example"),
        ] {
            delivery = delivery.with(name, value);
        }
        for (name, value) in &provider.sign(&body, now(), id) {
            delivery = delivery.with(name.as_str(), value.as_bytes());
        }
        delivery
    }

    /// Adds a field behind the others.
    pub(super) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds a field before the others.
    pub(super) fn with_first(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let field = (name.to_owned(), value.as_ref().to_vec());
        self.fields.insert(0, field);
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(found, _)| found != name);
        self
    }

    /// Replaces the value of a field, which keeps its place.
    pub(super) fn replace(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for (found, old) in &mut self.fields {
            if found == name {
                *old = value.as_ref().to_vec();
            }
        }
        self
    }

    /// Returns the value of a field.
    pub(super) fn value(&self, name: &str) -> Vec<u8> {
        let field = self.fields.iter().find(|(found, _)| found == name);
        field.expect("the delivery has the field").1.clone()
    }

    /// Returns the compressed fields.
    pub(super) fn block(&self) -> Vec<u8> {
        literal_fields(self.fields.iter().map(|(name, value)| (name, value)))
    }

    /// Returns a HEADERS frame.
    pub(super) fn head(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream, &self.block())
    }

    /// Returns a DATA frame, which is the last one of its stream.
    pub(super) fn data(&self, stream: u32) -> Vec<u8> {
        frame(DATA, END_STREAM, stream, &self.body)
    }

    /// Returns the frames of the whole request.
    pub(super) fn request(&self, stream: u32) -> Vec<u8> {
        [self.head(stream), self.data(stream)].concat()
    }
}
