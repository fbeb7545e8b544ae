//! Responses to handshakes: requests by which a provider checks who owns an endpoint.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response};
use subtle::ConstantTimeEq;

use super::Verifier;
use super::body_view::BodyView;
use super::head_view::HeadView;
use super::lookup::{LookupResult, holds};
use super::render::render_response;
use crate::error::VerifyError;
use crate::head::Head;
use crate::scheme::handshake::{Condition, Handshake, HandshakeSignature, MAX_PROBE};
use crate::scheme::location::Location;
use crate::scheme::lookup::LookupError;
use crate::scheme::signature::SignatureLocation;
use crate::scheme::template::Variable;
use crate::time::UnixTime;

/// A handshake whose response depends on the body.
pub(super) struct LateHandshake {
    /// Index of the handshake in the scheme.
    pub(super) index: usize,
    /// The values of the head that the response needs.
    head_values: Vec<(Location, Vec<u8>)>,
}

impl LateHandshake {
    /// Copies the values of the head that the response to `handshake` needs.
    pub(super) fn new(index: usize, handshake: &Handshake, view: &HeadView<'_>) -> Self {
        let head_values = handshake.head_locations.iter().filter_map(|location| {
            let value = view.at(location).ok()?;
            Some((location.clone(), value.into_owned()))
        });
        Self {
            index,
            head_values: head_values.collect(),
        }
    }
}

impl Verifier {
    /// Whether `head` meets all conditions of `handshake` that are about the head.
    pub(super) fn head_matches(&self, handshake: &Handshake, head: Head<'_>) -> bool {
        let view = HeadView::new(head, &self.settings);
        let in_head = |condition: &&Condition| !condition.location.is_in_body();
        handshake
            .when
            .iter()
            .filter(in_head)
            .all(|condition| holds(condition, |location| view.at(location)))
    }

    /// Returns the response to the first of `handshakes` that the body matches, or `None`.
    ///
    /// A handshake that must be signed matches only if the delivery is `verified`.
    pub(super) fn late_handshake_response(
        &self,
        handshakes: &[LateHandshake],
        verified: bool,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Option<Response<Bytes>>, VerifyError> {
        let compiled = self.scheme.compiled();
        let view = BodyView::new(body, &compiled.handshake_json, &self.settings, None);
        for late in handshakes {
            let handshake = &compiled.handshakes[late.index];
            let body_matches = handshake.when.iter().all(|condition| {
                !condition.location.is_in_body() || holds(condition, |location| view.at(location))
            });
            let signature_fits = match handshake.signature {
                HandshakeSignature::Any => true,
                HandshakeSignature::Valid => verified,
                HandshakeSignature::Absent => {
                    body.len() <= MAX_PROBE && !self.has_signature_in(body)
                }
            };
            if body_matches && signature_fits {
                let read = |variable: &Variable| {
                    let mut head_values = late.head_values.iter();
                    let found = head_values
                        .find(|(location, _)| *variable == Variable::At(location.clone()));
                    match found {
                        Some((_, value)) => Ok(value.into()),
                        None => view.value(variable),
                    }
                };
                return self.handshake_response(handshake, &read, now).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether `body` has a value where any variant of the scheme expects a signature.
    fn has_signature_in(&self, body: &[u8]) -> bool {
        let mut plans = self.scheme.plans().iter();
        plans.any(|plan| {
            let view = BodyView::new(body, &plan.json, &self.settings, Some(plan));
            let is_present = |location| !matches!(view.at(location), Err(LookupError::Missing));
            match &plan.signature.location {
                SignatureLocation::Locations(locations) => {
                    let mut in_body = locations.iter().filter(|location| location.is_in_body());
                    in_body.any(is_present)
                }
                SignatureLocation::HeaderPrefix(_) => false,
            }
        })
    }

    /// Returns the response to `handshake`, with the values that `read` returns.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::HandshakeRefused`] if a check of the handshake fails, or if the
    /// response needs a value that the request does not have.
    pub(super) fn handshake_response<'a>(
        &self,
        handshake: &Handshake,
        read: &dyn Fn(&Variable) -> LookupResult<'a>,
        now: UnixTime,
    ) -> Result<Response<Bytes>, VerifyError> {
        const REFUSED: VerifyError = VerifyError::HandshakeRefused;
        let value_at = |location: &Location| read(&Variable::At(location.clone())).ok();
        for check in &handshake.check {
            let found = value_at(&check.location).ok_or(REFUSED)?;
            let wanted = render_response(&check.template, None, None, read).ok_or(REFUSED)?;
            if !bool::from(found.ct_eq(&wanted)) {
                return Err(REFUSED);
            }
        }
        for guard in &handshake.guards {
            let found = value_at(&guard.location).ok_or(REFUSED)?;
            if !guard.text.contains([&*found]) {
                return Err(REFUSED);
            }
        }
        // The first active key signs the response: it is the newest, so the provider uses it.
        let key = self
            .keys
            .iter()
            .find(|key| key.is_active(now))
            .and_then(|key| key.plans.first()?.as_ref());
        let respond = &handshake.respond;
        let body =
            render_response(&respond.body, respond.response_type, key, read).ok_or(REFUSED)?;
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = respond.status;
        let headers = response.headers_mut();
        if let Some(response_type) = respond.response_type {
            headers.insert(CONTENT_TYPE, response_type.media_type());
        }
        // A browser must not show the sender's text as a page (cross-site scripting).
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, template) in &respond.headers {
            let value = render_response(template, None, key, read).ok_or(REFUSED)?;
            let value = HeaderValue::from_bytes(&value).ok().ok_or(REFUSED)?;
            headers.insert(name, value);
        }
        Ok(response)
    }
}
