//! The way of one delivery, in order: route, head, body, claim, forward, settle.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use hookgate_core::Verified;
use hookgate_gate::{
    Admission, Audience, Finding, Outcome, Passage, Reason, Refusal, acknowledge_duplicate,
    is_withheld,
};
use http::StatusCode;
use pingora_http::ResponseHeader;
use tokio::time::Instant;

use super::Gateway;
use super::admit::Admitted;
use super::route::Route;
use super::sender::{Connection, Gone, Sender};
use crate::store::Store;
use crate::upstream::{self, Answer, Context};

impl Gateway {
    pub(super) async fn deliver(&self, sender: &mut Sender<'_>) {
        let _under_way = UnderWay::count(&self.deliveries);
        let id = self.request_ids.next();
        let Some(Admitted { route, admission }) = self.admit(sender).await else {
            let unknown = Reason::SourceUnknown.into();
            return self.refuse(sender, None, unknown, &id).await;
        };
        match admission {
            Ok(Admission::Forward(delivery)) => {
                self.forward(sender, &route, Passage::Verified(delivery), &id)
                    .await;
            }
            Ok(Admission::Observed(observed)) => {
                self.note_observed(&route, observed.finding(), &id);
                self.forward(sender, &route, Passage::Observed(observed), &id)
                    .await;
            }
            Ok(Admission::Duplicate(verified)) => {
                let (source, event) = (route.source.name(), verified.id());
                self.metrics.duplicate(source);
                tracing::info!(request_id = %id, source, event, "duplicate");
                let (answer, trailers) = acknowledge_duplicate(sender.audience());
                let (head, body) = answer.into_parts();
                if let Err(Gone) = sender.answer(head.into(), body, trailers).await {
                    sender.abort().await;
                }
            }
            Ok(Admission::Handshake(answer)) => {
                let source = route.source.name();
                self.metrics.handshake(source);
                tracing::info!(request_id = %id, source, "handshake");
                let (head, body) = answer.into_parts();
                // One that is known by its head may have a body, which nobody reads.
                let connection = sender.before_refusal().await;
                self.tell(sender, head.into(), body, connection).await;
            }
            Err(refusal) => self.refuse(sender, Some(&route), refusal, &id).await,
        }
    }

    /// Forwards a delivery and settles it by the upstream's answer. A sender
    /// that hangs up meanwhile changes nothing: this runs on.
    async fn forward(
        &self,
        sender: &mut Sender<'_>,
        route: &Route,
        passage: Passage<Store>,
        id: &str,
    ) {
        let source = route.source.name();
        let is_enforced = matches!(passage, Passage::Verified(_));
        let (body, verified, mut settlement) = passage.into_parts();
        let context = Context {
            verified: verified.as_ref(),
            body_len: body.len(),
            attempt: settlement.attempt(),
            source: &route.source,
            server: route.upstream.host(),
            client: sender.address(),
            scheme: sender.scheme(),
            request_id: id,
        };
        let request = upstream::request_head(sender.request(), &context);

        settlement.handed_over();
        let start = Instant::now();
        let sent = route.upstream.send(request, &body).await;
        let class = sent
            .as_ref()
            .map_or("error", |answer| class(answer.status()));
        self.metrics
            .upstream(route.upstream.name(), class, start.elapsed());
        match sent {
            Ok(answer) => {
                let status = answer.status();
                let event = verified.as_ref().and_then(Verified::id);
                let attempt = settlement.attempt();
                settlement.settle(Outcome::of(status)).await;
                if is_enforced {
                    self.metrics.forwarded(source);
                }
                let code = status.as_u16();
                tracing::debug!(
                    request_id = id,
                    source,
                    event,
                    attempt,
                    status = code,
                    "forwarded"
                );
                if is_enforced && is_withheld(status) {
                    tracing::warn!(
                        request_id = id,
                        source,
                        status = code,
                        "the answer is withheld"
                    );
                    self.refuse(sender, Some(route), Reason::UpstreamFailed.into(), id)
                        .await;
                } else {
                    relay(sender, answer).await;
                }
            }
            Err(failure) => {
                settlement.settle(failure.outcome).await;
                if is_enforced && failure.outcome == Outcome::Unknown {
                    self.metrics.forwarded(source);
                }
                let (reason, cause) = (failure.reason.label(), &failure.cause);
                tracing::warn!(request_id = id, source, reason, %cause, "forwarding failed");
                self.refuse(sender, Some(route), failure.reason.into(), id)
                    .await;
            }
        }
    }

    /// Counts a delivery of a source that only observes as what would have become of it.
    fn note_observed(&self, route: &Route, finding: Finding, id: &str) {
        let source = route.source.name();
        let found = match finding {
            Finding::Duplicate => {
                self.metrics.duplicate(source);
                "duplicate"
            }
            Finding::Handshake => {
                self.metrics.handshake(source);
                "handshake"
            }
            Finding::Refused(refusal) => {
                self.metrics.refused(source, refusal.reason());
                refusal.reason().label()
            }
            _ => return self.metrics.forwarded(source),
        };
        tracing::warn!(
            request_id = id,
            source,
            found,
            "forwarded only because the source observes"
        );
    }

    pub(super) async fn refuse(
        &self,
        sender: &mut Sender<'_>,
        route: Option<&Route>,
        refusal: Refusal,
        id: &str,
    ) {
        let source = route.map_or("", |route| route.source.name());
        let reason = refusal.reason();
        self.metrics.refused(source, reason);
        let status = refusal.status().as_u16();
        tracing::info!(
            request_id = id,
            source,
            reason = reason.label(),
            status,
            "delivery refused"
        );
        if reason == Reason::BodyTimeout {
            sender.give_up_body();
        }
        let connection = sender.before_refusal().await;
        let detail = route
            .filter(|route| route.expose_reason)
            .map(|_| reason.label());
        let (head, body) = refusal_answer(refusal, sender.audience(), id, detail);
        self.tell(sender, head, body, connection).await;
    }

    /// Answers a request whose body may not have been read.
    async fn tell(
        &self,
        sender: &mut Sender<'_>,
        head: ResponseHeader,
        body: Bytes,
        connection: Connection,
    ) {
        let told = sender.answer(head, body, None).await;
        if told.is_err() {
            sender.abort().await;
        } else if connection == Connection::Close {
            sender.after_refusal().await;
        }
    }
}

/// The answer to a refused request, as a head and a body.
pub(super) fn refusal_answer(
    refusal: Refusal,
    audience: Audience,
    id: &str,
    detail: Option<&str>,
) -> (ResponseHeader, Bytes) {
    let (head, body) = refusal.response(audience, Some(id), detail).into_parts();
    (head.into(), body)
}

/// Passes the upstream's answer on as it arrives.
async fn relay(sender: &mut Sender<'_>, mut answer: Answer<'_>) {
    let relayed = async {
        sender.start(upstream::response_head(answer.head())).await?;
        while let Some(chunk) = answer.chunk().await.map_err(|()| Gone)? {
            sender.chunk(chunk).await?;
        }
        sender.finish(None).await
    };
    match relayed.await {
        Ok(()) => answer.release().await,
        // Cut off: the sender must not take what it got for the whole.
        Err(Gone) => sender.abort().await,
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

/// Counts a delivery while it is under way.
struct UnderWay<'g>(&'g AtomicUsize);

impl<'g> UnderWay<'g> {
    fn count(deliveries: &'g AtomicUsize) -> Self {
        deliveries.fetch_add(1, Ordering::SeqCst);
        Self(deliveries)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Makes ids that tell requests apart, in this process and between processes.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // Seeded by the operating system.
        Self {
            process: RandomState::new().build_hasher().finish(),
            next: AtomicU64::new(1),
        }
    }

    pub(super) fn next(&self) -> String {
        let mut id = String::with_capacity(32);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let _: std::fmt::Result = write!(id, "{:016x}{number:016x}", self.process);
        id
    }
}
