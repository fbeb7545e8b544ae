//! The pipeline of one delivery, as both entry points run it: check the head, receive the
//! body, verify it, claim the event, and check again if the source was replaced meanwhile.

use std::net::IpAddr;
use std::pin::pin;

use bytes::Bytes;
use hookgate_core::{Head, Verified};
use hookgate_replay::ReplayStore;

use crate::admission::Admission;
use crate::gate::Gate;
use crate::reason::Reason;
use crate::receive::{AcceptedHead, CheckedRequest};
use crate::refusal::Refusal;
use crate::source::{Mode, Source};

/// A request as its entry point hands it to [`Gate::admit_current`].
pub trait InboundRequest: Send {
    /// A source, with all that belongs to it in the entry point.
    type Route: AsRef<Source> + Send + Sync;

    /// Returns the head of the request.
    fn head(&self) -> Head<'_>;

    /// Returns the length of the body, if the sender declares it.
    fn declared_len(&self) -> Option<u64>;

    /// Returns the address of the client, if it is known. See [`BodySource::client`].
    ///
    /// [`BodySource::client`]: crate::BodySource::client
    fn client(&self) -> Option<IpAddr> {
        None
    }

    /// Reads the body with [`AcceptedHead::receive`].
    ///
    /// # Errors
    ///
    /// Returns the refusal of the delivery.
    fn receive<'s>(
        &mut self,
        head: AcceptedHead<'s>,
    ) -> impl Future<Output = Result<CheckedRequest<'s>, Refusal>> + Send;

    /// Returns whether `route` is still the route of this request.
    fn is_current(&self, route: &Self::Route) -> bool;

    /// Finds the current route of this request.
    ///
    /// # Errors
    ///
    /// Returns the refusal if the request has no route any more, or if the lookup fails.
    fn find_route(&mut self) -> impl Future<Output = Result<Self::Route, Refusal>> + Send;

    /// Called when a check by `route` begins.
    fn on_routed(&mut self, route: &Self::Route) {
        let _ = route;
    }

    /// Called when a check is over, whatever its result is.
    fn on_checked(&mut self) {}

    /// Called when the delivery has verified by `route`, before its event is claimed.
    fn on_verified(&mut self, route: &Self::Route, verified: &Verified) {
        let _ = (route, verified);
    }

    /// Called when the admission by a route has ended, whatever its result is. Duplicates
    /// and handshakes claim nothing, for example.
    fn on_admitted(&mut self) {}
}

/// How often a request is checked if its source is replaced during each check.
const MAX_CHECKS: usize = 4;

impl<S: ReplayStore> Gate<S> {
    /// Checks `request` by its route and claims its event.
    ///
    /// `route` is the route that the entry point found. A reload can replace it while the
    /// body arrives, or while the delivery waits for another delivery of its event. The
    /// delivery is then checked again, and `route` becomes the route that decides.
    ///
    /// # Security
    ///
    /// Only the current source forwards a delivery, acknowledges a duplicate or responds to
    /// a handshake. A key that the operator removed stops counting at once, also for
    /// requests that are under way (CVE-2026-45005).
    ///
    /// A replaced source can still refuse a request. If the request did not verify, or if
    /// it is a handshake, the refusal asks the sender to retry by the new source. Every
    /// other refusal is final, such as that of a body above the limit.
    ///
    /// # Errors
    ///
    /// Returns the refusal of the request. It asks the sender to retry if the source was
    /// replaced and the request did not verify: the sender may have signed for the new
    /// source, or for the old one. The reason is [`Reason::SourceUnavailable`] if the source
    /// of a handshake was replaced, or if the source was replaced during each of several checks.
    pub async fn admit_current<R: InboundRequest>(
        &self,
        route: &mut R::Route,
        request: &mut R,
    ) -> Result<Admission<S>, Refusal> {
        let mut earlier_body: Option<Bytes> = None;
        for _ in 0..MAX_CHECKS {
            request.on_routed(route);
            let is_recheck = earlier_body.is_some();
            let source = (*route).as_ref();
            let checked = match earlier_body.take() {
                Some(body) => match self.begin_with_body(source, request.head(), body) {
                    Ok(head) => pin!(head.finish_received(request.client())).await,
                    Err(refusal) => Err(refusal),
                },
                None => match self.begin(source, request.head(), request.declared_len()) {
                    Ok(head) => pin!(request.receive(head)).await,
                    Err(refusal) => Err(refusal),
                },
            };
            request.on_checked();
            let is_current = request.is_current(route);
            let checked = match checked {
                Ok(checked) => checked,
                Err(refusal) if is_recheck || !is_current => {
                    return Err(refusal.source_replaced());
                }
                Err(refusal) => return Err(refusal),
            };
            let may_forward = checked.verified().is_some() || source.mode() == Mode::Observe;
            let body = if !is_current && may_forward {
                checked.body().clone()
            } else if !is_current {
                // The response to a handshake can be signed, with a key that was removed.
                return Err(Reason::SourceUnavailable.into());
            } else {
                if let Some(verified) = checked.verified() {
                    request.on_verified(route, verified);
                }
                let admission = pin!(self.admit(checked)).await;
                request.on_admitted();
                let body = admission.as_ref().ok().and_then(Admission::body);
                match body {
                    // The claim of this admission is released by its drop.
                    Some(body) if !request.is_current(route) => body.clone(),
                    _ => return admission,
                }
            };
            *route = request.find_route().await?;
            earlier_body = Some(body);
        }
        Err(Reason::SourceUnavailable.into())
    }

    /// Checks the head of a request whose whole body has arrived, and adds the body.
    pub(crate) fn begin_with_body<'s>(
        &self,
        source: &'s Source,
        head: Head<'_>,
        body: Bytes,
    ) -> Result<AcceptedHead<'s>, Refusal> {
        let mut accepted = self.begin(source, head, u64::try_from(body.len()).ok())?;
        accepted.push(body.into())?;
        Ok(accepted)
    }
}
