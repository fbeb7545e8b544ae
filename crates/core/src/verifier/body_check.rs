//! Checking a delivery whose body is complete: its signature, and all values in the body.

use std::sync::OnceLock;

use sha2::Digest;
use subtle::ConstantTimeEq;

use super::Verifier;
use super::after_url::AfterUrl;
use super::body_view::BodyView;
use super::checked_head::{CheckedHead, MessageCandidate, SignatureCheck};
use super::detached;
use super::head_fields::compose_event_id;
use super::key::PreparedKey;
use super::lookup::timestamp_error;
use super::render::{Rendered, render};
use super::verified::{Discriminators, Event};
use crate::error::VerifyError;
use crate::identity::Discriminator;
use crate::mac::{self, Expected, MacState};
use crate::scheme::location::Location;
use crate::scheme::signature::Candidates;
use crate::scheme::{Plan, field, json};
use crate::time::UnixTime;

/// The key that has signed a message, and the timestamp of the message.
struct MatchedMessage {
    key: usize,
    timestamp: Option<UnixTime>,
}

impl Verifier {
    /// Starts the MACs if the message can be hashed as the body arrives, unless they are
    /// started already.
    pub(super) fn start_macs(&self, head: &mut CheckedHead) {
        let message = &self.scheme.plans()[head.plan].message;
        if !message.streams || !head.macs.is_empty() {
            return;
        }
        let start = |check: &SignatureCheck| {
            let mut mac = key_of(&self.keys, *check, head.plan)?.state()?.clone();
            let segments = &head.messages[check.message].segments;
            mac.update(segments.before_body(message));
            Some(mac)
        };
        head.macs = head.checks.iter().filter_map(start).collect();
    }

    /// Verifies a delivery with its complete body, by one of `keys`.
    pub(super) fn finish_delivery(
        &self,
        keys: &[PreparedKey],
        head: &mut CheckedHead,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Event, VerifyError> {
        let plan = &self.scheme.plans()[head.plan];
        let mut view = BodyView::new(body, &plan.json, &self.settings, Some(plan));
        if let Some(boundary) = head.take_boundary() {
            view = view.with_boundary(Some(boundary));
        }
        let mut discriminators = Discriminators::default();
        let first = match &plan.each {
            None => self.finish_message(keys, plan, head, &view, now, &mut discriminators)?,
            Some(pointer) => {
                let elements = json::elements(body, pointer).ok_or(VerifyError::FieldMissing)?;
                let mut first = None;
                for element in elements {
                    let element = element.get().as_bytes();
                    let view = BodyView::new(element, &plan.json, &self.settings, Some(plan));
                    let matched =
                        self.finish_message(keys, plan, head, &view, now, &mut discriminators)?;
                    first.get_or_insert(matched);
                }
                // A batch without elements has no signature.
                first.ok_or(VerifyError::FieldMissing)?
            }
        };
        let event_type = match (head.event_type.take(), &plan.event_type) {
            (Some(event_type), _) => OnceLock::from(Some(event_type)),
            // The members of the body are parsed already, so reading the type costs nothing.
            (None, Some(Location::Json(pointer))) if plan.each.is_none() && view.is_parsed() => {
                let text = view.text(pointer).ok();
                let text = text.filter(|text| field::is_valid_id(text.as_bytes()));
                OnceLock::from(text.map(Into::into))
            }
            (None, _) => OnceLock::new(),
        };
        Ok(Event {
            event_type,
            scheme: self.scheme.clone(),
            plan: head.plan,
            timestamp: first.timestamp,
            key_id: keys[first.key].id.clone(),
            discriminators,
        })
    }

    /// Verifies one message: that of the delivery, or of one element of a batch. Adds the
    /// identity of its event to `discriminators`.
    fn finish_message(
        &self,
        keys: &[PreparedKey],
        plan: &Plan,
        head: &mut CheckedHead,
        view: &BodyView<'_>,
        now: UnixTime,
        discriminators: &mut Discriminators,
    ) -> Result<MatchedMessage, VerifyError> {
        if plan.signature.location.is_in_body() {
            view.check_fields()?;
            let signatures = read_signatures(plan, view)?;
            for message in &mut head.messages {
                message.signatures = signatures.clone();
            }
        }
        let SignatureCheck { key, message } = match self.find_match(keys, plan, head, view) {
            Ok(matching) => matching,
            // The provider has signed a part of the batch, so the signature cannot match.
            Err(_) if plan.body_form.is_unsigned_batch(view.body) => {
                return Err(plan.body_form.refusal(view.body));
            }
            Err(error) => return Err(error),
        };
        // Both checks run again: a slow body must outlive neither the signature nor the key.
        head.check_expiry(now)?;
        if !keys[key].is_active(now) {
            return Err(VerifyError::NoActiveKey);
        }
        let message = &head.messages[message];
        self.check_values(plan, head, view)?;
        let timestamp = self.check_timestamp(plan, message, view, now)?;
        self.check_guards(plan, message, view)?;

        // All values below are signed.
        let id = match (&plan.each, &mut head.id) {
            (None, id @ Some(_)) => id.take(),
            (Some(_), Some(id)) => Some(id.clone()),
            (_, None) => read_body_id(plan, view),
        };
        let digest = || message.segments.digest(&plan.message, view).map(Box::new);
        discriminators.push(match (id, timestamp) {
            (Some(id), _) => Discriminator::Id(id),
            // The token is the same for many deliveries, so the body tells them apart.
            (None, _) if plan.bearer => Discriminator::Content(Box::new(sha256(view.body))),
            (None, Some(_)) => Discriminator::Exact(digest()?),
            (None, None) => Discriminator::Content(digest()?),
        });
        Ok(MatchedMessage { key, timestamp })
    }

    /// Returns a key and a message that match one of the signatures.
    ///
    /// Every check runs, so the time shows nothing about which one matches.
    fn find_match(
        &self,
        keys: &[PreparedKey],
        plan: &Plan,
        head: &mut CheckedHead,
        view: &BodyView<'_>,
    ) -> Result<SignatureCheck, VerifyError> {
        let message = &plan.message;
        if head.checks.len() > 1 {
            self.start_macs(head);
        }
        // All keys of a plan have one algorithm, so either all checks have a MAC or none has. A
        // single check has none if no part of the body was hashed before its end.
        debug_assert!(head.macs.is_empty() || head.macs.len() == head.checks.len());
        let mut macs = std::mem::take(&mut head.macs);
        MacState::update_all(&mut macs, &view.body[head.hashed..]);
        let mut macs = macs.into_iter();
        // The text of one message, for algorithms that need it as a whole.
        let (mut text_of, mut text) = (None, Vec::new());
        let mut matching = None;
        for check in &head.checks {
            let MessageCandidate {
                signatures,
                segments,
                ..
            } = &head.messages[check.message];
            let Some(key) = key_of(keys, *check, head.plan) else {
                continue;
            };
            let expected = if let Some(mut mac) = macs.next() {
                segments.after_body(message, view, |bytes| mac.update(bytes))?;
                Expected::Mac(mac.finish())
            } else if message.streams
                && let Some(state) = key.state()
            {
                let mut mac = state.clone();
                segments.whole_message(message, view, |bytes| mac.update(bytes))?;
                Expected::Mac(mac.finish())
            } else {
                if text_of.replace(check.message) != Some(check.message) {
                    text.clear();
                    text.reserve(view.body.len() + 128);
                    let append = |bytes: &[u8]| text.extend_from_slice(bytes);
                    segments.whole_message(message, view, append)?;
                    if plan.detached.is_some() {
                        text = detached::signing_input(&text);
                    }
                }
                match key.expects(&text, signatures) {
                    Some(expected) => expected,
                    None => continue,
                }
            };
            for signature in signatures {
                if expected.matches(signature) {
                    matching = Some(check);
                }
            }
        }
        matching.copied().ok_or(VerifyError::SignatureMismatch)
    }

    /// Runs every check of a delivery but that of its signature.
    pub(super) fn check_unsigned(
        &self,
        plan: &Plan,
        head: &CheckedHead,
        view: &BodyView<'_>,
        now: UnixTime,
    ) -> Result<(), VerifyError> {
        if plan.signature.location.is_in_body() {
            read_signatures(plan, view)?;
        }
        head.check_expiry(now)?;
        self.check_values(plan, head, view)?;
        let mut result = Err(VerifyError::SignatureMissing);
        for message in &head.messages {
            result = self
                .check_timestamp(plan, message, view, now)
                .and_then(|_| self.check_guards(plan, message, view))
                .and_then(|()| message.segments.digest(&plan.message, view))
                .map(drop);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Checks the requirements, the digests and the form of a body.
    #[inline]
    fn check_values(
        &self,
        plan: &Plan,
        head: &CheckedHead,
        view: &BodyView<'_>,
    ) -> Result<(), VerifyError> {
        check_requirements(plan, &head.requirements, view)?;
        if head
            .digests()
            .is_some_and(|digests| !digests.matches(view.body))
        {
            return Err(VerifyError::RequirementUnmet);
        }
        if plan.constrains_body {
            self.check_body(plan, head.after_url, view)?;
        }
        Ok(())
    }

    /// Checks the form of the body, and the text after the URL in the message.
    fn check_body(
        &self,
        plan: &Plan,
        after_url: AfterUrl,
        view: &BodyView<'_>,
    ) -> Result<(), VerifyError> {
        if !plan.allows_body(view.body) {
            return Err(plan.body_form.refusal(view.body));
        }
        match self.settings.allows_after_url(plan, after_url, view)? {
            true => Ok(()),
            false => Err(VerifyError::FieldMalformed),
        }
    }

    /// Checks the timestamp, which the head or the body has, against the window.
    fn check_timestamp(
        &self,
        plan: &Plan,
        message: &MessageCandidate,
        view: &BodyView<'_>,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, VerifyError> {
        let Some(field) = &plan.timestamp else {
            return Ok(None);
        };
        let at = match message.timestamp {
            Some(at) => at,
            None => {
                let raw = view.at(&field.location).map_err(timestamp_error)?;
                let at = field.unit.parse(&raw);
                at.ok_or(VerifyError::TimestampMalformed)?
            }
        };
        self.window_of(field)
            .check(at, now, field.unit.precision())?;
        Ok(Some(at))
    }

    /// Refuses a message that the response to a handshake would sign for any sender.
    fn check_guards(
        &self,
        plan: &Plan,
        message: &MessageCandidate,
        view: &BodyView<'_>,
    ) -> Result<(), VerifyError> {
        let handshakes = &self.scheme.compiled().handshakes;
        for guard in handshakes.iter().flat_map(|handshake| &handshake.guards) {
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            message
                .segments
                .whole_message(&plan.message, view, |bytes| {
                    // One byte more than the maximum shows that the piece is too long.
                    pieces.push(bytes[..bytes.len().min(guard.text.max_len + 1)].to_vec());
                })?;
            if guard.text.contains(pieces.iter().map(Vec::as_slice)) {
                return Err(VerifyError::FieldMalformed);
            }
        }
        Ok(())
    }
}

/// Returns the key of `check` for the plan of this index.
fn key_of(keys: &[PreparedKey], check: SignatureCheck, plan: usize) -> Option<&mac::Key> {
    keys.get(check.key)?.plans[plan].as_ref()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// Reads the signatures that are in the body.
fn read_signatures(plan: &Plan, view: &BodyView<'_>) -> Result<Candidates, VerifyError> {
    let headers = http::HeaderMap::new();
    let values = plan.signature.values(&headers, |location| {
        view.at(location).map(|value| value.into_owned().into())
    })?;
    let mut signatures = Candidates::new();
    for value in &values {
        plan.signature
            .candidates(value, plan.algorithm.tag_len(), &mut signatures)?;
    }
    Ok(signatures)
}

/// Checks the requirements that need the body. `head_values` has the values of the head.
fn check_requirements(
    plan: &Plan,
    head_values: &[(usize, Vec<u8>)],
    view: &BodyView<'_>,
) -> Result<(), VerifyError> {
    for (index, equal) in plan.require.iter().enumerate() {
        let head_value = head_values.iter().find(|(of, _)| *of == index);
        let location_in_body = equal.location.is_in_body();
        let template_in_body = equal.needs_body();
        let mut rendered = Rendered::new();
        if template_in_body {
            render(
                &equal.template,
                &|variable| view.value(variable),
                &mut rendered,
            )?;
        }
        let equals = match (location_in_body, template_in_body, head_value) {
            // The check of the head has compared them.
            (false, false, _) => continue,
            (true, true, _) => view.at(&equal.location)?.ct_eq(&rendered),
            (true, false, Some((_, value))) => view.at(&equal.location)?.ct_eq(value),
            (false, true, Some((_, value))) => rendered.ct_eq(value),
            (false, true, None) if equal.may_lack_body() => u8::from(view.body.is_empty()).into(),
            (_, _, None) => 0.into(),
        };
        if !bool::from(equals) {
            return Err(VerifyError::RequirementUnmet);
        }
    }
    Ok(())
}

/// Returns the event id, if it is in the body, signed and well-formed.
fn read_body_id(plan: &Plan, view: &BodyView<'_>) -> Option<Box<str>> {
    let id = plan.id.as_ref().filter(|id| id.signed && id.is_in_body())?;
    compose_event_id(&id.locations, &id.exclude, |location| {
        view.at(location).map_err(VerifyError::from)
    })
    .ok()
}
