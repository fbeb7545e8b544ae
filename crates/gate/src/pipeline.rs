//! The pipeline of one delivery, as both entry points run it: check the head, receive the
//! body, verify it, claim the event, and check again if the source was replaced meanwhile.

use std::pin::pin;

use bytes::Bytes;
use hookgate_core::{Head, Verified};
use hookgate_replay::ReplayStore;

use crate::admission::Admission;
use crate::gate::Gate;
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

    /// Called when the attempt to claim the event is over.
    fn on_claimed(&mut self) {}
}

impl<S: ReplayStore> Gate<S> {
    /// Checks `request` by its route and claims its event.
    ///
    /// `route` is the route that the entry point found. A reload can replace it while the
    /// body arrives, or while the delivery waits for another delivery of its event. The
    /// delivery is then checked again, and `route` becomes the route that decides.
    ///
    /// # Security
    ///
    /// Only the current source decides. A key that the operator removed stops counting at
    /// once, also for deliveries that are under way (CVE-2026-45005), and a key that the
    /// operator added counts at once.
    ///
    /// # Errors
    ///
    /// Returns the refusal of the delivery. It asks the sender to retry if the signature
    /// does not match and the source was replaced: the sender may have signed for the new
    /// source, or for the old one.
    pub async fn admit_current<R: InboundRequest>(
        &self,
        route: &mut R::Route,
        request: &mut R,
    ) -> Result<Admission<S>, Refusal> {
        let mut earlier_body: Option<Bytes> = None;
        loop {
            request.on_routed(route);
            let is_recheck = earlier_body.is_some();
            let source = (*route).as_ref();
            let checked = match earlier_body.take() {
                Some(body) => self.recheck(source, request.head(), body),
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
            } else {
                if let Some(verified) = checked.verified() {
                    request.on_verified(route, verified);
                }
                let admission = pin!(self.admit(checked)).await;
                request.on_claimed();
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
    }

    /// Checks a request whose whole body has arrived.
    fn recheck<'s>(
        &self,
        source: &'s Source,
        head: Head<'_>,
        body: Bytes,
    ) -> Result<CheckedRequest<'s>, Refusal> {
        let mut accepted = self.begin(source, head, u64::try_from(body.len()).ok())?;
        accepted.push(body.into())?;
        accepted.finish()
    }
}
