//! The segments of the signed message that come from the head. They are rendered when the head
//! is checked; the segments from the body follow when the body is complete.

use smallvec::SmallVec;

use super::body_view::BodyView;
use super::head_view::HeadView;
use super::render::{Rendered, render};
use crate::error::VerifyError;
use crate::mac::Sha256;
use crate::scheme::message::{Message, Part};

/// The rendered segments of a message that come from its head, in order.
#[derive(Clone, Default, PartialEq)]
pub(super) struct HeadSegments {
    text: Rendered,
    /// End of each segment in `text`.
    ends: SmallVec<[usize; 2]>,
}

impl HeadSegments {
    /// Renders the head's segments of `message`.
    pub(super) fn new(message: &Message, view: &HeadView<'_>) -> Result<Self, VerifyError> {
        let mut segments = Self::default();
        segments.read(message, view)?;
        Ok(segments)
    }

    /// Appends the rendered segments of `message`.
    pub(super) fn read(
        &mut self,
        message: &Message,
        view: &HeadView<'_>,
    ) -> Result<(), VerifyError> {
        for part in &message.parts {
            if let Part::Head(segments) = part {
                render(segments, &|variable| view.value(variable), &mut self.text)?;
                self.ends.push(self.text.len());
            }
        }
        Ok(())
    }

    /// Creates a single segment from its text.
    pub(super) fn single(text: &[u8]) -> Self {
        Self {
            text: Rendered::from_slice(text),
            ends: smallvec::smallvec![text.len()],
        }
    }

    fn segment(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }

    /// Returns the text before the raw body, for a message that can be hashed as the body
    /// arrives.
    pub(super) fn before_body(&self, message: &Message) -> &[u8] {
        match message.parts.first() {
            Some(Part::Head(_)) => self.segment(0),
            _ => &[],
        }
    }

    /// Passes the text after the raw body to `take`, for a message that can be hashed as the
    /// body arrives.
    ///
    /// # Errors
    ///
    /// Returns an error if the body lacks a value that the message needs.
    pub(super) fn after_body(
        &self,
        message: &Message,
        body: &BodyView<'_>,
        take: impl FnMut(&[u8]),
    ) -> Result<(), VerifyError> {
        let raw = message
            .parts
            .iter()
            .position(|part| matches!(part, Part::RawBody));
        self.parts_from(message, raw.map_or(0, |at| at + 1), body, take)
    }

    /// Passes the whole message to `take`, piece by piece.
    ///
    /// # Errors
    ///
    /// Returns an error if the body lacks a value that the message needs.
    pub(super) fn whole_message(
        &self,
        message: &Message,
        body: &BodyView<'_>,
        take: impl FnMut(&[u8]),
    ) -> Result<(), VerifyError> {
        self.parts_from(message, 0, body, take)
    }

    fn parts_from(
        &self,
        message: &Message,
        from: usize,
        body: &BodyView<'_>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), VerifyError> {
        let mut index = message.parts[..from]
            .iter()
            .filter(|part| matches!(part, Part::Head(_)))
            .count();
        for part in &message.parts[from..] {
            match part {
                Part::Head(_) => {
                    take(self.segment(index));
                    index += 1;
                }
                Part::RawBody => take(body.body),
                Part::Body(segment) => {
                    let mut text = Rendered::new();
                    let segment = std::slice::from_ref(segment);
                    render(segment, &|variable| body.value(variable), &mut text)?;
                    take(&text);
                }
            }
        }
        Ok(())
    }

    /// Returns SHA-256 of the message, which identifies the event.
    ///
    /// The signature would not do: it differs from key to key, so an attacker could replay a
    /// delivery that is signed with two keys.
    pub(super) fn digest(
        &self,
        message: &Message,
        body: &BodyView<'_>,
    ) -> Result<[u8; 32], VerifyError> {
        let mut digest = Sha256::new(&[]);
        self.whole_message(message, body, |bytes| digest.update(bytes))?;
        Ok(digest.finish())
    }
}
