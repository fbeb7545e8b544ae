//! Everything up to the claim, by the configuration as it is at that moment.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::Head;
use hookgate_gate::{AcceptedHead, Admission, CheckedRequest, Mode, Reason, Refusal};
use pingora_http::RequestHeader;

use crate::gateway::Gateway;
use crate::pipeline::access_record::{AccessRecord, TimedBody};
use crate::pipeline::downstream::{Disconnected, Downstream};
use crate::pipeline::route::Route;
use crate::poll::timed;
use crate::run::store::Store;

/// What becomes of a request, and the route that decided it.
pub(crate) struct Admitted {
    pub(crate) route: Arc<Route>,
    pub(crate) admission: Result<Admission<Store>, Refusal>,
}

impl Gateway {
    /// Reads and checks a delivery, and claims its event. Nothing is sent anywhere
    /// before that. None if no source has its address.
    ///
    /// What a reload overtakes is checked once more, by its source as it is then: a
    /// key that was taken out counts no longer from that moment on (CVE-2026-45005),
    /// and one that was let in counts.
    pub(crate) async fn admit(
        &self,
        sender: &mut Downstream<'_>,
        record: &mut AccessRecord<'_>,
    ) -> Option<Admitted> {
        let mut overtaken: Option<Bytes> = None;
        loop {
            let (route, version) = {
                let running = self.running.load();
                (
                    running.routes.find(sender.request()).map(Arc::clone)?,
                    running.version,
                )
            };
            record.routed(&route);
            let again = overtaken.is_some();
            let observes = route.source.mode() == Mode::Observe;
            let received = match overtaken.take() {
                None => self.receive(sender, &route, record).await,
                Some(body) => {
                    let head = head(sender.request());
                    let received = self.gate.check_whole(&route.source, head, body);
                    record.checked(Duration::ZERO);
                    received
                }
            };
            let is_current = || self.running.load().version == version;
            let admission = match received {
                // The sender may have signed for what the source is by now, or the key
                // may be gone for good: its next try will tell, and nothing is lost.
                Err(refusal) if again || !is_current() => Err(refusal.overtaken()),
                Err(refusal) => Err(refusal),
                Ok(received) if !is_current() && (observes || received.verified().is_some()) => {
                    overtaken = Some(received.body().clone());
                    continue;
                }
                Ok(received) => {
                    if let Some(verified) = received.verified() {
                        record.verified(&route, verified);
                    }
                    let admission = self.gate.admit(received).await;
                    record.claimed();
                    admission
                }
            };
            // It may have waited for another delivery of its event. What was claimed goes
            // back when it is dropped here.
            let body = admission.as_ref().ok().and_then(Admission::body);
            match body.cloned() {
                Some(body) if !is_current() => overtaken = Some(body),
                _ => return Some(Admitted { route, admission }),
            }
        }
    }

    async fn receive<'r>(
        &self,
        sender: &mut Downstream<'_>,
        route: &'r Route,
        record: &mut AccessRecord<'_>,
    ) -> Result<CheckedRequest<'r>, Refusal> {
        let head = head(sender.request());
        let begun = self.gate.begin(&route.source, head, sender.declared_len());
        let mut waited = Duration::ZERO;
        let received = match begun {
            Ok(receiving) => self.receive_body(receiving, sender, &mut waited).await,
            Err(refusal) => Err(refusal),
        };
        record.checked(waited);
        received
    }

    /// `waited` is how long the sender took.
    async fn receive_body<'r>(
        &self,
        receiving: AcceptedHead<'r>,
        sender: &mut Downstream<'_>,
        waited: &mut Duration,
    ) -> Result<CheckedRequest<'r>, Refusal> {
        if let Err(Disconnected) = timed(pin!(sender.proceed()), waited).await {
            return Err(Reason::BodyIncomplete.into());
        }
        let most = self.limits().unverified_bodies;
        let body = self.bodies.hold(sender, most);
        receiving.receive(&mut TimedBody { body, waited }).await
    }
}

fn head(request: &RequestHeader) -> Head<'_> {
    Head::new(&request.method, &request.uri, &request.headers)
}
