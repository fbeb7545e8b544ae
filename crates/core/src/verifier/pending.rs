use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use http::Response;
use subtle::ConstantTimeEq;

use super::body::{Body, Chunk};
use super::body_hash::BodyHash;
use super::checked_head::{
    CheckedHead, MessageCandidate, SignatureCheck, join_id, timestamp_absent,
};
use super::evaluate::{BodyView, render};
use super::text::Text;
use super::verified::{Discriminators, Event};
use super::{RequestOutcome, Verified, Verifier};
use crate::error::VerifyError;
use crate::identity::Discriminator;
use crate::mac::{self, Expected, MacState};
use crate::scheme::location::Location;
use crate::scheme::signature::Candidates;
use crate::scheme::template::Variable;
use crate::scheme::{Plan, field, json};
use crate::time::UnixTime;

/// A body that is longer is hashed in parts of so many bytes or more, as it comes: a
/// delivery holds up others for no longer.
const PART: usize = 1024 * 1024;

/// A delivery whose head is good, waiting for its body.
pub struct Pending<'v> {
    pub(super) verifier: &'v Verifier,
    /// An error of the head, where the request may still be a handshake that is
    /// known by its body. Large, and handed on often before the body is there.
    pub(super) begun: Result<Box<CheckedHead>, VerifyError>,
    /// Handshakes that the head may have begun.
    pub(super) handshakes: Vec<LateHandshake>,
    pub(super) body: Body,
}

/// A handshake whose answer waits for the body.
pub(super) struct LateHandshake {
    pub(super) index: usize,
    /// What the answer has of the head.
    pub(super) of_head: Vec<(Location, Vec<u8>)>,
}

impl Pending<'_> {
    /// Takes the next chunk of the body.
    pub fn push(&mut self, chunk: impl Into<Chunk>) {
        // Most bodies are hashed at the end: no state has to be kept then.
        if self.unhashed() >= PART {
            self.hash();
        }
        self.body.push(chunk.into());
    }

    /// What has come of the body and is not hashed yet, if that is at least so many bytes
    /// and takes less time [together](BodyHash::update_pair) with that of another delivery. It is
    /// to be run, and to be given [back](Self::resume) before anything else is done here:
    /// without it nothing matches.
    pub(crate) fn take_body_hash(&mut self, at_least: usize) -> Option<BodyHash> {
        if self.unhashed() < at_least || !BodyHash::pairing_is_faster() {
            return None;
        }
        let begun = self.begun.as_mut().ok()?;
        self.verifier.start(begun);
        BodyHash::of(begun, &mut self.body)
    }

    /// Takes back what [`work`](Self::work) has handed out, after it was run.
    pub(crate) fn restore_body_hash(&mut self, work: BodyHash) {
        if let Ok(begun) = &mut self.begun {
            work.restore(begun, &mut self.body);
        }
    }

    /// Bytes of the body that are there and not hashed yet.
    fn unhashed(&self) -> usize {
        let hashed = self.begun.as_ref().map_or(0, |begun| begun.hashed);
        self.body.len() - hashed
    }

    /// Hashes what is there, if the message can be hashed before its end.
    fn hash(&mut self) {
        if let Ok(begun) = &mut self.begun {
            self.verifier.start(begun);
            if begun.running.is_empty() {
                return;
            }
            let parts = self.body.parts(begun.hashed);
            parts.for_each(|part| MacState::update_all(&mut begun.running, part));
            begun.hashed = self.body.len();
        }
    }

    /// Makes room for `bytes` of body in all, if more than one chunk comes.
    pub fn expect_len(&mut self, bytes: usize) {
        if matches!(self.body, Body::Empty) {
            self.body = Body::Expected(bytes);
        }
    }

    /// Length of the body so far, in bytes.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether no byte of the body has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks the signature over the whole, and the timestamp once more: a slow
    /// body must not outlive the window.
    ///
    /// # Errors
    ///
    /// [`VerifyError::SignatureMismatch`], that the window has passed, or that
    /// something in the body is not as the scheme demands.
    pub fn finish(mut self, now: UnixTime) -> Result<RequestOutcome, VerifyError> {
        let body = std::mem::take(&mut self.body).into_bytes();
        self.check(body, now)
    }

    /// Like [`finish`](Self::finish), with the body whatever came out: for those
    /// who only observe.
    pub fn finish_with_body(
        mut self,
        now: UnixTime,
    ) -> (Bytes, Result<RequestOutcome, VerifyError>) {
        let body = std::mem::take(&mut self.body).into_bytes();
        (body.clone(), self.check(body, now))
    }

    fn check(&mut self, body: Bytes, now: UnixTime) -> Result<RequestOutcome, VerifyError> {
        let verifier = self.verifier;
        let event = match &mut self.begun {
            Ok(begun) => verifier.finish_delivery(begun, &body, now),
            Err(error) => Err(*error),
        };
        if self.handshakes.is_empty() {
            return event.map(|event| RequestOutcome::Delivery(Verified { body, event }));
        }
        // One that needs no signature may come with a wrong one.
        match verifier.late_handshake(&self.handshakes, event.is_ok(), &body, now)? {
            Some(answer) => Ok(RequestOutcome::Handshake(answer.into())),
            None => event.map(|event| RequestOutcome::Delivery(Verified { body, event })),
        }
    }
}

/// What was read of the head is not shown, nor is the body.
impl fmt::Debug for Pending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("verifier", &self.verifier)
            .field("error", &self.begun.as_ref().err())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// What one message turned out to be.
struct One {
    key: usize,
    timestamp: Option<UnixTime>,
}

impl Verifier {
    /// The answer to one of `handshakes`, which wait for the body. Those that need
    /// a signature are answered if it is `verified`.
    fn late_handshake(
        &self,
        handshakes: &[LateHandshake],
        verified: bool,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Option<Response<Bytes>>, VerifyError> {
        let compiled = self.scheme.compiled();
        let view = BodyView::new(body, &compiled.handshake_json, &self.context, None);
        for late in handshakes {
            let handshake = &compiled.handshakes[late.index];
            let applies = handshake.when.iter().all(|condition| {
                !condition.location.is_in_body()
                    || super::evaluate::holds(condition, |location| view.at(location))
            });
            if applies && (verified || !handshake.verified) {
                let read = |variable: &Variable| {
                    let mut of_head = late.of_head.iter();
                    let found =
                        of_head.find(|(location, _)| *variable == Variable::At(location.clone()));
                    match found {
                        Some((_, value)) => Ok(value.into()),
                        None => view.value(variable),
                    }
                };
                return self.answer(handshake, &read, now).map(Some);
            }
        }
        Ok(None)
    }

    /// Starts the MACs, if they take the body as it comes and have not been started yet.
    fn start(&self, begun: &mut CheckedHead) {
        let message = &self.scheme.plans()[begun.plan].message;
        if !message.streams || !begun.running.is_empty() {
            return;
        }
        let start = |pair: &SignatureCheck| {
            let mut running = self.key(*pair, begun.plan)?.state()?.clone();
            let runs = &begun.alternatives[pair.alternative].runs;
            running.update(runs.before_body(message));
            Some(running)
        };
        begun.running = begun.pairs.iter().filter_map(start).collect();
    }

    fn key(&self, pair: SignatureCheck, plan: usize) -> Option<&mac::Key> {
        self.keys[pair.key].keys[plan].as_ref()
    }

    fn finish_delivery(
        &self,
        begun: &mut CheckedHead,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Event, VerifyError> {
        let plan = &self.scheme.plans()[begun.plan];
        let view = BodyView::new(body, &plan.json, &self.context, Some(plan));
        let mut discriminators = Discriminators::default();
        let first = match &plan.each {
            None => self.finish_one(plan, begun, &view, now, &mut discriminators)?,
            Some(pointer) => {
                let elements = json::elements(body, pointer).ok_or(VerifyError::FieldMissing)?;
                let mut first = None;
                for element in elements {
                    let element = element.get().as_bytes();
                    let view = BodyView::new(element, &plan.json, &self.context, Some(plan));
                    let one = self.finish_one(plan, begun, &view, now, &mut discriminators)?;
                    first.get_or_insert(one);
                }
                // Nothing is not a delivery.
                first.ok_or(VerifyError::FieldMissing)?
            }
        };
        let event_type = match (begun.event_type.take(), &plan.event_type) {
            (Some(event_type), _) => OnceLock::from(Some(event_type)),
            // It has been read with the rest.
            (None, Some(Location::Json(pointer))) if plan.each.is_none() && view.is_read() => {
                let text = view.text(pointer).ok();
                let text = text.filter(|text| field::is_valid_id(text.as_bytes(), b""));
                OnceLock::from(text.map(Into::into))
            }
            (None, _) => OnceLock::new(),
        };
        Ok(Event {
            event_type,
            scheme: self.scheme.clone(),
            plan: begun.plan,
            timestamp: first.timestamp,
            key_id: self.keys[first.key].id.clone(),
            discriminators,
        })
    }

    /// Verifies one message: that of the delivery, or of one element of it. Adds what
    /// tells its event from others.
    fn finish_one(
        &self,
        plan: &Plan,
        begun: &mut CheckedHead,
        view: &BodyView<'_>,
        now: UnixTime,
        discriminators: &mut Discriminators,
    ) -> Result<One, VerifyError> {
        if plan.signature.location.is_in_body() {
            let candidates = read_candidates(plan, view)?;
            for alternative in &mut begun.alternatives {
                alternative.candidates = candidates.clone();
            }
        }
        let SignatureCheck { key, alternative } = self.matching(plan, begun, view)?;
        // Once more: a slow body must outlive neither the signature nor the key.
        begun.check_end(now)?;
        if !self.keys[key].is_active(now) {
            return Err(VerifyError::NoActiveKey);
        }
        let alternative = &begun.alternatives[alternative];
        check_requirements(plan, &begun.required, view)?;
        if begun
            .digests
            .as_ref()
            .is_some_and(|digests| !digests.matches(view.body))
        {
            return Err(VerifyError::RequirementUnmet);
        }
        if !plan.allows_body(view.body) {
            return Err(VerifyError::FieldMalformed);
        }
        let timestamp = self.check_timestamp(plan, alternative, view, now)?;
        self.check_guards(plan, alternative, view)?;

        // From here on everything is signed.
        let id = match (&plan.each, &mut begun.id) {
            (None, id @ Some(_)) => id.take(),
            (Some(_), Some(id)) => Some(id.clone()),
            (_, None) => read_body_id(plan, view),
        };
        let digest = || alternative.runs.digest(&plan.message, view).map(Box::new);
        discriminators.push(match (id, timestamp) {
            (Some(id), _) => Discriminator::Id(id),
            (None, Some(_)) => Discriminator::Exact(digest()?),
            (None, None) => Discriminator::Content(digest()?),
        });
        Ok(One { key, timestamp })
    }

    /// A key and an alternative that fit a candidate. Looks at every pair, so that
    /// the time taken says nothing about which one fits.
    fn matching(
        &self,
        plan: &Plan,
        begun: &mut CheckedHead,
        view: &BodyView<'_>,
    ) -> Result<SignatureCheck, VerifyError> {
        let message = &plan.message;
        if begun.pairs.len() > 1 {
            self.start(begun);
        }
        // Of all pairs or, where there is one and nothing of the body has been hashed yet, of
        // none: the keys of a plan have one algorithm.
        debug_assert!(begun.running.is_empty() || begun.running.len() == begun.pairs.len());
        let mut running = std::mem::take(&mut begun.running);
        MacState::update_all(&mut running, &view.body[begun.hashed..]);
        let mut running = running.into_iter();
        // The message of an alternative, for what does not take it in pieces.
        let (mut text_of, mut text) = (None, Vec::new());
        let mut matching = None;
        for pair in &begun.pairs {
            let MessageCandidate {
                candidates, runs, ..
            } = &begun.alternatives[pair.alternative];
            let Some(key) = self.key(*pair, begun.plan) else {
                continue;
            };
            let expected = if let Some(mut running) = running.next() {
                runs.after_body(message, view, |bytes| running.update(bytes))?;
                Expected::Mac(running.finish())
            } else if message.streams
                && let Some(state) = key.state()
            {
                let mut running = state.clone();
                runs.whole(message, view, |bytes| running.update(bytes))?;
                Expected::Mac(running.finish())
            } else {
                if text_of.replace(pair.alternative) != Some(pair.alternative) {
                    text.clear();
                    text.reserve(view.body.len() + 128);
                    runs.whole(message, view, |bytes| text.extend_from_slice(bytes))?;
                }
                key.expects(&text)
            };
            for candidate in candidates {
                if expected.matches(candidate) {
                    matching = Some(pair);
                }
            }
        }
        matching.copied().ok_or(VerifyError::SignatureMismatch)
    }

    fn check_timestamp(
        &self,
        plan: &Plan,
        alternative: &MessageCandidate,
        view: &BodyView<'_>,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, VerifyError> {
        let Some(field) = &plan.timestamp else {
            return Ok(None);
        };
        let at = match alternative.timestamp {
            Some(at) => at,
            None => {
                let raw = view.at(&field.location).map_err(timestamp_absent)?;
                let at = field.unit.parse(&raw);
                at.ok_or(VerifyError::TimestampMalformed)?
            }
        };
        self.window_of(field)
            .check(at, now, field.unit.precision())?;
        Ok(Some(at))
    }

    /// Refuses a message that a handshake would have signed for anybody.
    fn check_guards(
        &self,
        plan: &Plan,
        alternative: &MessageCandidate,
        view: &BodyView<'_>,
    ) -> Result<(), VerifyError> {
        let handshakes = &self.scheme.compiled().handshakes;
        for guard in handshakes.iter().flat_map(|handshake| &handshake.guards) {
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            alternative.runs.whole(&plan.message, view, |bytes| {
                // Enough to see that it is too long.
                pieces.push(bytes[..bytes.len().min(guard.text.max_len + 1)].to_vec());
            })?;
            if guard.text.contains(pieces.iter().map(Vec::as_slice)) {
                return Err(VerifyError::FieldMalformed);
            }
        }
        Ok(())
    }
}

fn read_candidates(plan: &Plan, view: &BodyView<'_>) -> Result<Candidates, VerifyError> {
    let headers = http::HeaderMap::new();
    let values = plan.signature.values(&headers, |location| {
        view.at(location).map(|value| value.into_owned().into())
    })?;
    let mut candidates = Candidates::new();
    for value in &values {
        plan.signature
            .candidates(value, plan.algorithm.tag_len(), &mut candidates)?;
    }
    Ok(candidates)
}

fn check_requirements(
    plan: &Plan,
    head_sides: &[(usize, Vec<u8>)],
    view: &BodyView<'_>,
) -> Result<(), VerifyError> {
    for (index, equal) in plan.require.iter().enumerate() {
        let head_side = head_sides.iter().find(|(of, _)| *of == index);
        let location = equal.location.is_in_body();
        let template = equal.needs_body();
        let mut rendered = Text::default();
        if template {
            render(
                &equal.template,
                &|variable| view.value(variable),
                &mut rendered,
            )?;
        }
        let equals = match (location, template, head_side) {
            // Decided by the head.
            (false, false, _) => continue,
            (true, true, _) => view.at(&equal.location)?.ct_eq(&rendered),
            (true, false, Some((_, side))) => view.at(&equal.location)?.ct_eq(side),
            (false, true, Some((_, side))) => rendered.ct_eq(side),
            (_, _, None) => 0.into(),
        };
        if !bool::from(equals) {
            return Err(VerifyError::RequirementUnmet);
        }
    }
    Ok(())
}

/// The id in the body, if it is signed and usable.
fn read_body_id(plan: &Plan, view: &BodyView<'_>) -> Option<Box<str>> {
    let id = plan.id.as_ref().filter(|id| id.signed && id.is_in_body())?;
    join_id(&id.locations, &id.exclude, |location| {
        view.at(location).map_err(VerifyError::from)
    })
    .ok()
}
