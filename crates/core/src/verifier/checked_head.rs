//! The head of a delivery: checked, and what is known by it written down.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use super::Verifier;
use super::context::Port;
use super::evaluate::{HeadView, holds, render};
use super::jwt::{self, Claims};
use super::message::HeadSegments;
use super::text::Text;
use crate::error::VerifyError;
use crate::head::Head;
use crate::limits::MAX_CANDIDATES;
use crate::mac::{MacState, Tag};
use crate::message_signature::Digests;
use crate::scheme::field;
use crate::scheme::location::Location;
use crate::scheme::lookup::LookupError;
use crate::scheme::signature::Candidates;
use crate::scheme::template::Variable;
use crate::scheme::{Plan, SignatureKind};
use crate::time::UnixTime;

/// For how long a token may have ended, or not have begun, by clocks that differ.
const JWT_LEEWAY: Duration = Duration::from_secs(60);

/// What a head that is good says.
#[derive(Default)]
pub(super) struct CheckedHead {
    /// Index of the plan that decides.
    pub(super) plan: usize,
    pub(super) alternatives: MessageCandidates,
    /// Each active key with each alternative.
    pub(super) pairs: SignatureChecks,
    /// The MACs of the pairs, once some of the body is hashed before its end.
    pub(super) running: Vec<MacState>,
    /// How much of the body they have taken, in bytes.
    pub(super) hashed: usize,
    /// Of what was handed out to be hashed, and is not back yet.
    pub(super) work: Option<Arc<()>>,
    pub(super) id: Option<Box<str>>,
    /// If the head has it.
    pub(super) event_type: Option<Box<str>>,
    /// By the index of the requirement, the side of it that the head has.
    pub(super) required: Vec<(usize, Vec<u8>)>,
    /// What the body has to be, if a header says so that is signed.
    pub(super) digests: Option<Digests>,
    /// The last moment at which the signature counts, where it says so itself.
    pub(super) until: Option<UnixTime>,
}

/// One way to read the signed message. More than one where the provider may have
/// signed another spelling of the address, or signs in groups.
#[derive(Default)]
pub(super) struct MessageCandidate {
    /// None yet where the signature is in the body.
    pub(super) candidates: Candidates,
    pub(super) runs: HeadSegments,
    pub(super) timestamp: Option<UnixTime>,
}

pub(super) type MessageCandidates = SmallVec<[MessageCandidate; 1]>;

pub(super) type SignatureChecks = SmallVec<[SignatureCheck; 2]>;

/// A key that may have signed, and what.
#[derive(Clone, Copy)]
pub(super) struct SignatureCheck {
    pub(super) key: usize,
    pub(super) alternative: usize,
}

impl CheckedHead {
    /// Checks that the signature has not ended by its own words.
    pub(super) fn check_end(&self, now: UnixTime) -> Result<(), VerifyError> {
        match self.until {
            Some(end) if now > end => Err(VerifyError::TimestampTooOld),
            _ => Ok(()),
        }
    }
}

impl Verifier {
    pub(super) fn begin_delivery(
        &self,
        head: Head<'_>,
        now: UnixTime,
    ) -> Result<Box<CheckedHead>, VerifyError> {
        let (index, plan) = self.choose_plan(head)?;
        // Looking at all that are there takes less than looking each up.
        let mut names = head.headers.keys();
        if !plan.forbidden.is_empty() && names.any(|name| plan.forbidden.contains(name)) {
            return Err(VerifyError::SchemesMixed);
        }
        if !self.context.may_be_asked(plan, head.uri.query()) {
            return Err(VerifyError::FieldMalformed);
        }
        let mut view = HeadView {
            head,
            context: &self.context,
            list: None,
            claims: None,
            signature: None,
            port: Port::AsConfigured,
            timestamp: None,
            id: None,
            plan: Some(plan),
        };
        let id_text = id_location(plan).and_then(|location| view.at(location).ok());
        view.id = id_text.as_deref();
        let claims;
        let signature;
        let mut begun = Box::<CheckedHead>::default();
        begun.plan = index;
        match &plan.kind {
            SignatureKind::Jwt { algorithm } => {
                let (mut alternative, found) = self.read_token(plan, &view, algorithm)?;
                claims = found;
                begun.until = claims.check_time(now, JWT_LEEWAY)?;
                view.claims = Some(&claims);
                let text = timestamp_text(plan, &view)?;
                alternative.timestamp = self.timestamp(plan, text.as_deref(), now)?;
                begun.alternatives.push(alternative);
            }
            SignatureKind::MessageSignature(policy) => {
                let origin = self
                    .context
                    .address
                    .as_ref()
                    .and_then(|a| a.origin.as_ref());
                let mut read = policy.read(head, origin)?;
                begun.until = read.expires;
                begun.check_end(now)?;
                begun.digests = read.digests.take();
                signature = read;
                view.signature = Some(&signature);
                if !plan.algorithm.tag_len().allows(signature.signature.len()) {
                    return Err(VerifyError::SignatureMalformed);
                }
                let text = timestamp_text(plan, &view)?;
                begun.alternatives.push(MessageCandidate {
                    candidates: smallvec::smallvec![Tag::new(&signature.signature)],
                    runs: HeadSegments::one(&signature.base),
                    timestamp: self.timestamp(plan, text.as_deref(), now)?,
                });
            }
            SignatureKind::Message { .. } | SignatureKind::Token => {
                self.read_alternatives(plan, view, now, &mut begun.alternatives)?;
            }
        }
        begun.id = read_id(plan, &view)?;
        begun.event_type = read_event_type(plan, &view);
        read_required(plan, &view, &mut begun.required)?;
        self.read_pairs(index, begun.alternatives.len(), now, &mut begun.pairs)?;
        Ok(begun)
    }

    /// The first plan that applies. After a mismatch no other is tried: the
    /// sender must not choose the weakest.
    fn choose_plan(&self, head: Head<'_>) -> Result<(usize, &Plan), VerifyError> {
        let view = self.bare_view(head);
        let applies = |plan: &Plan| {
            let mut conditions = plan.when.iter();
            conditions.all(|condition| holds(condition, |location| view.at(location)))
        };
        self.plans().find(|(_, plan)| applies(plan)).ok_or_else(|| {
            let mut conditions = self.plans().flat_map(|(_, plan)| &plan.when);
            if self.scheme.plans().iter().any(applies) {
                VerifyError::SignatureVersionUnknown
            } else if conditions.any(|one| view.at(&one.location) == Err(LookupError::Repeated)) {
                VerifyError::FieldRepeated
            } else {
                VerifyError::SignatureMissing
            }
        })
    }

    fn read_alternatives(
        &self,
        plan: &Plan,
        view: HeadView<'_>,
        now: UnixTime,
        alternatives: &mut MessageCandidates,
    ) -> Result<(), VerifyError> {
        let field = &plan.signature;
        if field.location.is_in_body() {
            let none = |_: &mut Candidates| Ok(());
            return self.read_list(plan, view, now, alternatives, none);
        }
        let tag_len = plan.algorithm.tag_len();
        let values = field.values(view.head.headers, |location| view.at(location))?;
        let [value] = &values[..] else {
            return self.read_list(plan, view, now, alternatives, |candidates| {
                let mut values = values.iter();
                values.try_for_each(|value| field.candidates(value, tag_len, candidates))
            });
        };
        let mut all = 0;
        for (index, group) in field.groups(value).enumerate() {
            if index == MAX_CANDIDATES {
                return Err(VerifyError::SignatureTooMany);
            }
            let list = Some(group);
            let view = HeadView { list, ..view };
            self.read_list(plan, view, now, alternatives, |candidates| {
                field.candidates(group, tag_len, candidates)?;
                all += candidates.len();
                match all {
                    0..=MAX_CANDIDATES => Ok(()),
                    _ => Err(VerifyError::SignatureTooMany),
                }
            })?;
        }
        Ok(())
    }

    /// Adds what the signatures of a list may be of. Everything is read to where it stays:
    /// an alternative is large.
    fn read_list(
        &self,
        plan: &Plan,
        view: HeadView<'_>,
        now: UnixTime,
        alternatives: &mut MessageCandidates,
        candidates: impl FnOnce(&mut Candidates) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let first = alternatives.len();
        alternatives.push(MessageCandidate::default());
        let alternative = &mut alternatives[first];
        candidates(&mut alternative.candidates)?;
        let text = timestamp_text(plan, &view)?;
        let mut view = HeadView {
            timestamp: text.as_deref(),
            ..view
        };
        alternative.timestamp = self.timestamp(plan, view.timestamp, now)?;
        alternative.runs.read(&plan.message, &view)?;
        if plan.url.toggle_port {
            view.port = Port::Toggled;
            let mut toggled = MessageCandidate {
                candidates: alternative.candidates.clone(),
                timestamp: alternative.timestamp,
                runs: HeadSegments::default(),
            };
            toggled.runs.read(&plan.message, &view)?;
            alternatives.push(toggled);
        }
        Ok(())
    }

    /// A token's signature is over itself; what it claims of the rest is checked
    /// when its own signature is.
    fn read_token(
        &self,
        plan: &Plan,
        view: &HeadView<'_>,
        algorithm: &'static str,
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
        let claims = Claims::read(signed, algorithm)?;
        let tag = plan
            .signature
            .encoding
            .decode(signature, plan.algorithm.tag_len());
        let alternative = MessageCandidate {
            candidates: smallvec::smallvec![tag.ok_or(VerifyError::SignatureMalformed)?],
            runs: HeadSegments::one(signed),
            timestamp: None,
        };
        Ok((alternative, claims))
    }

    /// The timestamp, if the head has one: well-formed, and inside the window.
    fn timestamp(
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

    /// Every key that is active now, with every one of so many alternatives.
    fn read_pairs(
        &self,
        plan: usize,
        alternatives: usize,
        now: UnixTime,
        pairs: &mut SignatureChecks,
    ) -> Result<(), VerifyError> {
        let mut inactive = false;
        for (key, prepared) in self.keys.iter().enumerate() {
            if prepared.keys[plan].is_none() {
                continue;
            }
            if !prepared.is_active(now) {
                inactive = true;
                continue;
            }
            pairs.extend((0..alternatives).map(|alternative| SignatureCheck { key, alternative }));
        }
        match (pairs.is_empty(), inactive) {
            (false, _) => Ok(()),
            (true, true) => Err(VerifyError::NoActiveKey),
            // The secrets are those of another variant.
            (true, false) => Err(VerifyError::SignatureVersionUnknown),
        }
    }
}

/// The text of the timestamp, if that is in the head.
fn timestamp_text<'h>(
    plan: &Plan,
    view: &HeadView<'h>,
) -> Result<Option<Cow<'h, [u8]>>, VerifyError> {
    let location = plan.timestamp.as_ref().map(|field| &field.location);
    match location.filter(|location| !location.is_in_body()) {
        Some(location) => view.at(location).map(Some).map_err(timestamp_absent),
        None => Ok(None),
    }
}

/// Where the id is, if it is in the head and at one place.
fn id_location(plan: &Plan) -> Option<&Location> {
    match plan.id.as_ref()?.locations.as_slice() {
        [location] if !location.is_in_body() => Some(location),
        _ => None,
    }
}

pub(super) fn timestamp_absent(absence: LookupError) -> VerifyError {
    match absence {
        LookupError::Missing => VerifyError::TimestampMissing,
        LookupError::Repeated => VerifyError::TimestampRepeated,
        LookupError::Malformed => VerifyError::TimestampMalformed,
    }
}

/// The id, if the head has it and it is signed.
fn read_id(plan: &Plan, view: &HeadView<'_>) -> Result<Option<Box<str>>, VerifyError> {
    let Some(field) = plan.id.as_ref().filter(|id| id.signed && !id.is_in_body()) else {
        return Ok(None);
    };
    let id = join_id(&field.locations, &field.exclude, |location| match view.id {
        Some(text) => Ok(text.into()),
        None => view.at(location).map_err(VerifyError::from),
    });
    let in_message = || {
        plan.message
            .placeholders()
            .any(|value| match &value.variable {
                Variable::Id => true,
                Variable::At(location) => field.locations.contains(location),
                _ => false,
            })
    };
    match id {
        Ok(id) => Ok(Some(id)),
        // It could run into its neighbour.
        Err(error) if in_message() => Err(error),
        // The event is known by something else then.
        Err(_) => Ok(None),
    }
}

fn read_event_type(plan: &Plan, view: &HeadView<'_>) -> Option<Box<str>> {
    let location = plan.event_type.as_ref().filter(|at| !at.is_in_body())?;
    let text = view.at(location).ok()?;
    let text = Some(text).filter(|text| field::is_valid_id(text, b""))?;
    Some(std::str::from_utf8(&text).ok()?.into())
}

/// The id that is at `locations` together. A blank separates its parts, which no
/// part has.
pub(super) fn join_id<'a>(
    locations: &[Location],
    exclude: &[u8],
    read: impl Fn(&Location) -> Result<Cow<'a, [u8]>, VerifyError>,
) -> Result<Box<str>, VerifyError> {
    fn part<'p>(text: &'p [u8], exclude: &[u8]) -> Result<&'p str, VerifyError> {
        let part = Some(text).filter(|text| field::is_valid_id(text, exclude));
        let part = part.and_then(|part| std::str::from_utf8(part).ok());
        part.ok_or(VerifyError::FieldMalformed)
    }
    if let [location] = locations {
        return Ok(part(&read(location)?, exclude)?.into());
    }
    let mut id = String::new();
    for location in locations {
        if !id.is_empty() {
            id.push(' ');
        }
        id.push_str(part(&read(location)?, exclude)?);
    }
    Ok(id.into())
}

/// What the head has to say of the requirements; those that it decides alone are
/// decided.
fn read_required(
    plan: &Plan,
    view: &HeadView<'_>,
    required: &mut Vec<(usize, Vec<u8>)>,
) -> Result<(), VerifyError> {
    for (index, equal) in plan.require.iter().enumerate() {
        let location = match equal.location.is_in_body() {
            true => None,
            false => Some(view.at(&equal.location)?),
        };
        let template = match equal.needs_body() {
            true => None,
            false => {
                let mut text = Text::default();
                render(&equal.template, &|variable| view.value(variable), &mut text)?;
                Some(text)
            }
        };
        match (location, template) {
            (Some(one), Some(other)) => {
                if !bool::from(one.ct_eq(&other)) {
                    return Err(VerifyError::RequirementUnmet);
                }
            }
            (Some(side), None) => required.push((index, side.into_owned())),
            (None, Some(side)) => required.push((index, side.into_vec())),
            (None, None) => {}
        }
    }
    Ok(())
}
