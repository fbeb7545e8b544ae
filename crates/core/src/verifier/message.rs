//! The signed message of one delivery: what the head says is written down at
//! once, what the body says when it is there.

use smallvec::SmallVec;

use super::evaluate::{BodyView, HeadView, render};
use super::text::Text;
use crate::error::VerifyError;
use crate::mac::Sha256;
use crate::scheme::message::{Message, Part};

/// What the head contributes, run by run.
#[derive(Clone, Default)]
pub(super) struct HeadSegments {
    text: Text,
    /// Where each run ends in `text`.
    ends: SmallVec<[usize; 2]>,
}

impl HeadSegments {
    pub(super) fn of(message: &Message, view: &HeadView<'_>) -> Result<Self, VerifyError> {
        let mut runs = Self::default();
        runs.read(message, view)?;
        Ok(runs)
    }

    /// Adds the runs of `message`.
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

    /// One run of these bytes.
    pub(super) fn one(text: &[u8]) -> Self {
        Self {
            text: Text::from(text),
            ends: smallvec::smallvec![text.len()],
        }
    }

    fn run(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }

    /// Hands out what comes before the raw body, for a message that streams.
    pub(super) fn before_body(&self, message: &Message) -> &[u8] {
        match message.parts.first() {
            Some(Part::Head(_)) => self.run(0),
            _ => &[],
        }
    }

    /// Hands out what comes after the raw body, for a message that streams.
    ///
    /// # Errors
    ///
    /// A value that the body should have is not there.
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
        self.pieces(message, raw.map_or(0, |at| at + 1), body, take)
    }

    /// Hands out the whole message.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub(super) fn whole(
        &self,
        message: &Message,
        body: &BodyView<'_>,
        take: impl FnMut(&[u8]),
    ) -> Result<(), VerifyError> {
        self.pieces(message, 0, body, take)
    }

    fn pieces(
        &self,
        message: &Message,
        from: usize,
        body: &BodyView<'_>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), VerifyError> {
        let mut run = message.parts[..from]
            .iter()
            .filter(|part| matches!(part, Part::Head(_)))
            .count();
        for part in &message.parts[from..] {
            match part {
                Part::Head(_) => {
                    take(self.run(run));
                    run += 1;
                }
                Part::RawBody => take(body.body),
                Part::Body(segment) => {
                    let mut text = Text::default();
                    let segment = std::slice::from_ref(segment);
                    render(segment, &|variable| body.value(variable), &mut text)?;
                    take(&text);
                }
            }
        }
        Ok(())
    }

    /// SHA-256 of the message. Not the signature: that differs from key to key,
    /// and a delivery signed with two would pass twice.
    pub(super) fn digest(
        &self,
        message: &Message,
        body: &BodyView<'_>,
    ) -> Result<[u8; 32], VerifyError> {
        let mut digest = Sha256::new(&[]);
        self.whole(message, body, |bytes| digest.update(bytes))?;
        Ok(digest.finish())
    }
}
