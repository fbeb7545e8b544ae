//! Checking the head of a delivery: which plan applies, which signatures it offers, and under
//! which keys.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use smallvec::SmallVec;

use super::after_url::AfterUrl;
use super::head_fields::{
    id_location, item_or_value, read_event_type, read_id, read_requirements, timestamp_text,
};
use super::head_segments::HeadSegments;
use super::head_view::{HeadView, Reading};
use super::jwt::{self, Claims};
use super::lookup::holds;
use super::{Ages, Verifier};
use crate::error::VerifyError;
use crate::head::Head;
use crate::limits::MAX_CANDIDATES;
use crate::mac::{MacState, Tag};
use crate::message_signature::Digests;
use crate::multipart::Boundary;
use crate::scheme::location::Location;
use crate::scheme::lookup::LookupError;
use crate::scheme::signature::Candidates;
use crate::scheme::{JwtAlgorithm, KeyReference, Plan, SignatureKind};
use crate::time::UnixTime;

/// Clock difference that is allowed for the `exp` and `nbf` of a JWT.
const JWT_LEEWAY: Duration = Duration::from_secs(60);

/// The result of checking a head, and the state of hashing the body.
#[derive(Default)]
pub(super) struct CheckedHead {
    /// Index of the plan that verifies the delivery.
    pub(super) plan: usize,
    pub(super) messages: MessageCandidates,
    /// Every active key with every message.
    pub(super) checks: SignatureChecks,
    /// The MACs of the checks, if a part of the body was hashed before its end.
    pub(super) macs: Vec<MacState>,
    /// Bytes of the body that the MACs have processed.
    pub(super) hashed: usize,
    /// Identifies the [`BodyHash`](super::BodyHash) that was taken out and not put back yet.
    pub(super) taken: Option<Arc<()>>,
    /// The event id, if the head has it.
    pub(super) id: Option<Box<str>>,
    /// The event type, if the head has it.
    pub(super) event_type: Option<Box<str>>,
    /// The head's values in requirements that compare head and body, each with the index of its
    /// requirement.
    pub(super) requirements: Vec<(usize, Vec<u8>)>,
    /// Values that few deliveries have. Boxed, so that all others are not larger.
    pub(super) rare: Option<Box<RareValues>>,
    /// The last time at which the signature is valid, if the signature says so itself.
    pub(super) expires: Option<UnixTime>,
    /// The rule for the text after the URL in the message.
    pub(super) after_url: AfterUrl,
}

/// Values of a checked head that few schemes have.
#[derive(Default)]
pub(super) struct RareValues {
    /// Digests that the body must have, if a signed header says so.
    pub(super) digests: Option<Digests>,
    /// The values of the head that name the key, if the key is to be fetched.
    pub(super) key: Option<KeyReference>,
    /// The boundary of a body in `multipart/form-data`.
    pub(super) boundary: Option<Boundary>,
}

/// One message that the provider may have signed, with the signatures that may belong to it.
///
/// A delivery has several if the provider may have written its URL in two ways, or if it signs
/// in groups.
#[derive(Default)]
pub(super) struct MessageCandidate {
    /// The signatures. Empty until the body is complete if they are in the body.
    pub(super) signatures: Candidates,
    pub(super) segments: HeadSegments,
    pub(super) timestamp: Option<UnixTime>,
}

pub(super) type MessageCandidates = SmallVec<[MessageCandidate; 1]>;

pub(super) type SignatureChecks = SmallVec<[SignatureCheck; 2]>;

/// One comparison to make: the index of a key in the verifier, and the index of the message
/// candidate that it may have signed.
#[derive(Clone, Copy)]
pub(super) struct SignatureCheck {
    pub(super) key: usize,
    pub(super) message: usize,
}

impl CheckedHead {
    /// Returns the rare values, to set them.
    pub(super) fn rare(&mut self) -> &mut RareValues {
        self.rare.get_or_insert_default()
    }

    /// Returns the values of the head that name the key, if the key is to be fetched.
    pub(super) fn key_reference(&self) -> Option<&KeyReference> {
        self.rare.as_ref()?.key.as_ref()
    }

    /// Reads the values of the head that are used when the body is complete.
    fn read_values(&mut self, plan: &Plan, view: &HeadView<'_>) -> Result<(), VerifyError> {
        self.id = read_id(plan, view)?;
        self.event_type = read_event_type(plan, view);
        read_requirements(plan, view, &mut self.requirements)?;
        if plan.multipart {
            self.rare().boundary = Some(Boundary::of(view.head.headers)?);
        }
        Ok(())
    }

    /// Takes out the boundary of the body.
    pub(super) fn take_boundary(&mut self) -> Option<Boundary> {
        self.rare.as_mut()?.boundary.take()
    }

    /// Returns the digests that the body must have.
    pub(super) fn digests(&self) -> Option<&Digests> {
        self.rare.as_ref()?.digests.as_ref()
    }

    /// Checks that the signature has not expired.
    pub(super) fn check_expiry(&self, now: UnixTime) -> Result<(), VerifyError> {
        match self.expires {
            Some(end) if now > end => Err(VerifyError::TimestampTooOld),
            _ => Ok(()),
        }
    }
}

impl Verifier {
    /// Checks the head of a delivery.
    ///
    /// # Errors
    ///
    /// Returns a [`VerifyError`] if the delivery cannot verify, whatever its body is.
    pub(super) fn begin_delivery(
        &self,
        head: Head<'_>,
        now: UnixTime,
    ) -> Result<Box<CheckedHead>, VerifyError> {
        let (index, plan) = self.choose_plan(head)?;
        let after_url = self.check_allowed(plan, head)?;
        let mut view = HeadView {
            plan: Some(plan),
            ..HeadView::new(head, &self.settings)
        };
        let id_text = id_location(plan).and_then(|location| view.at(location).ok());
        view.id = id_text.as_deref();
        let claims;
        let signature;
        let mut checked = Box::<CheckedHead>::default();
        checked.plan = index;
        checked.after_url = after_url;
        match &plan.kind {
            SignatureKind::Jwt { algorithms } => {
                let (mut message, found) = self.read_token(plan, &view, algorithms)?;
                claims = found;
                checked.expires = claims.check_time(now, self.token_leeway())?;
                view.claims = Some(&claims);
                if plan.detached.is_some() {
                    message.segments = self.read_payload(plan, &view)?;
                }
                let text = timestamp_text(plan, &view)?;
                message.timestamp = self.check_head_timestamp(plan, text.as_deref(), now)?;
                checked.messages.push(message);
            }
            SignatureKind::MessageSignature(policy) => {
                let endpoint = self.settings.endpoint.as_ref();
                let origin = endpoint.and_then(|endpoint| endpoint.origin.as_ref());
                let mut read = policy.read(head, origin)?;
                checked.expires = read.expires.filter(|_| self.ages == Ages::Checked);
                checked.check_expiry(now)?;
                if let Some(digests) = read.digests.take() {
                    checked.rare().digests = Some(digests);
                }
                signature = read;
                view.signature = Some(&signature);
                if !plan.algorithm.tag_len().allows(signature.signature.len()) {
                    return Err(VerifyError::SignatureMalformed);
                }
                let text = timestamp_text(plan, &view)?;
                checked.messages.push(MessageCandidate {
                    signatures: smallvec::smallvec![Tag::new(&signature.signature)],
                    segments: HeadSegments::single(&signature.base),
                    timestamp: self.check_head_timestamp(plan, text.as_deref(), now)?,
                });
            }
            SignatureKind::Message { .. } | SignatureKind::Token => {
                self.read_messages(plan, view, now, &mut checked.messages)?;
            }
        }
        checked.read_values(plan, &view)?;
        if let Err(error) = self.add_checks(index, checked.messages.len(), now, &mut checked.checks)
        {
            self.add_fetched_key(&view, plan, &mut checked, error)?;
        }
        Ok(checked)
    }

    /// Returns the timestamp of a head that was not verified, if the head has a readable one
    /// outside of a token.
    pub(crate) fn claimed_timestamp(&self, head: Head<'_>) -> Option<UnixTime> {
        let (_, plan) = self.choose_plan(head).ok()?;
        let field = plan.timestamp.as_ref()?;
        let view = HeadView {
            plan: Some(plan),
            ..HeadView::new(head, &self.settings)
        };
        let text = item_or_value(plan, &view, &field.location).ok()?;
        field.unit.parse(&text)
    }

    /// Returns the header that has the event id of a head that was not verified.
    pub(crate) fn claimed_id_header(&self, head: Head<'_>) -> Option<&HeaderName> {
        let (_, plan) = self.choose_plan(head).ok()?;
        match id_location(plan)? {
            Location::Header(name) => Some(name),
            _ => None,
        }
    }

    /// Returns the clock difference that is allowed for the times of a token.
    fn token_leeway(&self) -> Duration {
        match self.ages {
            Ages::Checked => JWT_LEEWAY,
            Ages::Ignored => Duration::MAX,
        }
    }

    /// Checks that the head has no header and no query that the plan forbids. Returns the rule
    /// for the text after the URL.
    fn check_allowed(&self, plan: &Plan, head: Head<'_>) -> Result<AfterUrl, VerifyError> {
        // One pass over the present headers is faster than one search per forbidden name.
        let mut names = head.headers.keys();
        if !plan.forbidden.is_empty() && names.any(|name| plan.forbidden.contains(name)) {
            return Err(match plan.signature.is_in(head.headers) {
                true => VerifyError::SchemesMixed,
                false => VerifyError::SignatureMissing,
            });
        }
        let after_url = self.settings.after_url(plan, head.uri.query());
        after_url.ok_or(VerifyError::FieldMalformed)
    }

    /// Returns the first enabled plan whose `when` holds.
    ///
    /// The signature of this plan decides alone. A good weak signature therefore does not make
    /// up for a bad strong one. A sender who leaves out the strong one still reaches the weaker
    /// plan; the operator prevents that by choosing a variant.
    fn choose_plan(&self, head: Head<'_>) -> Result<(usize, &Plan), VerifyError> {
        let applies = |plan: &Plan| plan.when.is_empty() || self.meets_conditions(plan, head);
        self.plans().find(|(_, plan)| applies(plan)).ok_or_else(|| {
            let view = HeadView::new(head, &self.settings);
            let mut conditions = self.plans().flat_map(|(_, plan)| &plan.when);
            if self.scheme.plans().iter().any(applies) {
                VerifyError::SignatureVersionUnknown
            } else if conditions
                .any(|condition| view.at(&condition.location) == Err(LookupError::Repeated))
            {
                VerifyError::FieldRepeated
            } else {
                VerifyError::SignatureMissing
            }
        })
    }

    /// Whether `head` meets every condition of `plan`.
    // Not inlined, because most plans have no condition: see the case `stale` of
    // benches/instructions.py.
    #[inline(never)]
    fn meets_conditions(&self, plan: &Plan, head: Head<'_>) -> bool {
        let view = HeadView::new(head, &self.settings);
        let mut conditions = plan.when.iter();
        conditions.all(|condition| holds(condition, |location| view.at(location)))
    }

    /// Adds a message for each group of signatures in the header. This serves templates and
    /// tokens; a JWT and an RFC 9421 signature have one message each.
    fn read_messages(
        &self,
        plan: &Plan,
        view: HeadView<'_>,
        now: UnixTime,
        messages: &mut MessageCandidates,
    ) -> Result<(), VerifyError> {
        let field = &plan.signature;
        if field.location.is_in_body() {
            let none = |_: &mut Candidates| Ok(());
            return self.read_list(plan, view, now, messages, none);
        }
        let tag_len = plan.algorithm.tag_len();
        let values = field.values(view.head.headers, |location| view.at(location))?;
        let [value] = &values[..] else {
            return self.read_list(plan, view, now, messages, |signatures| {
                let mut values = values.iter();
                values.try_for_each(|value| field.candidates(value, tag_len, signatures))
            });
        };
        let mut total = 0;
        for (index, group) in field.groups(value).enumerate() {
            if index == MAX_CANDIDATES {
                return Err(VerifyError::SignatureTooMany);
            }
            let list = Some(group);
            let view = HeadView { list, ..view };
            self.read_list(plan, view, now, messages, |signatures| {
                field.candidates(group, tag_len, signatures)?;
                total += signatures.len();
                match total {
                    0..=MAX_CANDIDATES => Ok(()),
                    _ => Err(VerifyError::SignatureTooMany),
                }
            })?;
        }
        Ok(())
    }

    /// Adds the message for one list of signatures, or two messages if the port of the URL may
    /// be written or left out.
    ///
    /// The values are written in place, because a [`MessageCandidate`] is large.
    fn read_list(
        &self,
        plan: &Plan,
        view: HeadView<'_>,
        now: UnixTime,
        messages: &mut MessageCandidates,
        read_signatures: impl FnOnce(&mut Candidates) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let first = messages.len();
        messages.push(MessageCandidate::default());
        let message = &mut messages[first];
        read_signatures(&mut message.signatures)?;
        let text = timestamp_text(plan, &view)?;
        let mut view = HeadView {
            timestamp: text.as_deref(),
            ..view
        };
        message.timestamp = self.check_head_timestamp(plan, view.timestamp, now)?;
        message.segments.read(&plan.message, &view)?;
        if plan.two_readings {
            view.reading = Reading::Changed;
            let mut toggled = MessageCandidate {
                signatures: message.signatures.clone(),
                timestamp: message.timestamp,
                segments: HeadSegments::default(),
            };
            toggled.segments.read(&plan.message, &view)?;
            if toggled.segments != message.segments {
                messages.push(toggled);
            }
        }
        Ok(())
    }

    /// Reads a JWT. Its signature covers only the token itself. The requirements of the plan
    /// compare its claims with the rest of the delivery.
    fn read_token(
        &self,
        plan: &Plan,
        view: &HeadView<'_>,
        algorithms: &[JwtAlgorithm],
    ) -> Result<(MessageCandidate, Claims), VerifyError> {
        let values = plan
            .signature
            .values(view.head.headers, |location| view.at(location))?;
        let [value] = &values[..] else {
            return Err(VerifyError::SignatureRepeated);
        };
        let token = plan.signature.without_prefix(value);
        let token = token.ok_or(VerifyError::SignatureMalformed)?;
        let (signed, signature) = jwt::split(token).ok_or(VerifyError::SignatureMalformed)?;
        let (claims, algorithm) = match plan.detached {
            None => Claims::read(signed, algorithms)?,
            Some(_) => Claims::read_detached(signed, algorithms)?,
        };
        // The length of the signature binds it to this algorithm: the others differ in length.
        let tag = plan
            .signature
            .encoding
            .decode(signature, algorithm.tag_len());
        let message = MessageCandidate {
            signatures: smallvec::smallvec![tag.ok_or(VerifyError::SignatureMalformed)?],
            segments: HeadSegments::single(signed),
            timestamp: None,
        };
        Ok((message, claims))
    }

    /// Parses the timestamp, if the head has one, and checks it against the window.
    fn check_head_timestamp(
        &self,
        plan: &Plan,
        text: Option<&[u8]>,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, VerifyError> {
        let (Some(field), Some(text)) = (&plan.timestamp, text) else {
            return Ok(None);
        };
        let at = field.unit.parse(text);
        let at = at.ok_or(VerifyError::TimestampMalformed)?;
        self.window_of(field)
            .check(at, now, field.unit.precision())?;
        Ok(Some(at))
    }

    /// Adds a check of every active key with each of `messages` messages.
    fn add_checks(
        &self,
        plan: usize,
        messages: usize,
        now: UnixTime,
        checks: &mut SignatureChecks,
    ) -> Result<(), VerifyError> {
        let mut has_inactive = false;
        for (key, prepared) in self.keys.iter().enumerate() {
            if prepared.plans[plan].is_none() {
                continue;
            }
            if !prepared.is_active(now) {
                has_inactive = true;
                continue;
            }
            checks.extend((0..messages).map(|message| SignatureCheck { key, message }));
        }
        match (checks.is_empty(), has_inactive) {
            (false, _) => Ok(()),
            (true, true) => Err(VerifyError::NoActiveKey),
            // All secrets belong to other variants.
            (true, false) => Err(VerifyError::SignatureVersionUnknown),
        }
    }
}
