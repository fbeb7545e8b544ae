//! The way of one delivery, in order: route, head, body, claim, forward, settle.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::Head;
use hookgate_gate::{
    Admission, Audience, BodyError, BodySource, Delivery, Outcome, Reason, Refusal,
};
use hookgate_replay::MemoryStore;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use tokio::time::{Instant, timeout};

use super::Gateway;
use super::route::Route;
use crate::upstream::{self, Answer, Context};

/// Unread bytes of a refused body that are worth reading, so that the
/// connection can go on.
const DRAIN: usize = 64 * 1024;
/// For how long to read them.
const DRAIN_TIME: Duration = Duration::from_secs(1);

impl Gateway {
    pub(super) async fn deliver(&self, session: &mut ServerSession) {
        let id = self.request_ids.next();
        let Some(route) = self.routes.find(session.req_header()).map(Arc::clone) else {
            return self
                .refuse(session, None, Reason::SourceUnknown.into(), &id)
                .await;
        };
        match self.admit(session, &route).await {
            Ok(Admission::Forward(delivery)) => self.forward(session, &route, delivery, &id).await,
            Ok(Admission::Duplicate(verified)) => {
                let (source, event) = (route.source.name(), verified.id());
                tracing::info!(request_id = %id, source, event, "duplicate");
                self.metrics.duplicate(source);
                self.acknowledge_duplicate(session).await;
            }
            Err(refusal) => self.refuse(session, Some(&route), refusal, &id).await,
        }
    }

    /// Everything up to the claim. Nothing is sent anywhere before it.
    async fn admit(
        &self,
        session: &mut ServerSession,
        route: &Route,
    ) -> Result<Admission<MemoryStore>, Refusal> {
        let request = session.req_header();
        let head = Head::new(&request.method, &request.uri, &request.headers);
        let declared = declared_len(session);
        let receiving = self.gate.begin(&route.source, head, declared)?;
        if expects_continue(session)
            && let Ok(proceed) = ResponseHeader::build(StatusCode::CONTINUE, Some(0))
        {
            // A sender that is gone shows when the body is read.
            let _: Result<(), _> = session.write_response_header(Box::new(proceed)).await;
        }
        let verified = receiving.receive(&mut SessionBody(session)).await?;
        let source = route.source.name();
        self.metrics
            .verified(source, verified.key_id(), verified.body().len());
        self.gate.admit(&route.source, verified).await
    }

    /// Forwards a delivery and settles it by the upstream's answer. A sender
    /// that hangs up meanwhile changes nothing: this runs on.
    async fn forward(
        &self,
        session: &mut ServerSession,
        route: &Route,
        delivery: Delivery<MemoryStore>,
        id: &str,
    ) {
        let source = route.source.name();
        self.metrics.forwarded(source);
        let client = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .map(|a| a.ip());
        let context = Context {
            source: &route.source,
            client,
            request_id: id,
        };
        let request = upstream::request_head(session.req_header(), &delivery, &context);
        let body = delivery.verified().body().clone();

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
                tracing::debug!(
                    request_id = id,
                    source,
                    event = delivery.verified().id(),
                    attempt = delivery.attempt(),
                    status = status.as_u16(),
                    "forwarded"
                );
                let outcome = if status.is_success() {
                    Outcome::Delivered
                } else {
                    Outcome::Failed
                };
                delivery.settle(outcome).await;
                // A redirect would be followed to nowhere, and 410 makes senders
                // disable the endpoint: neither is the upstream's to say.
                if status.is_redirection() || status == StatusCode::GONE {
                    tracing::warn!(request_id = id, source, %status, "the upstream's answer is withheld");
                    self.refuse(session, Some(route), Reason::UpstreamFailed.into(), id)
                        .await;
                } else {
                    self.relay(session, answer).await;
                }
            }
            Err(failure) => {
                let (reason, cause) = (failure.reason.label(), &failure.cause);
                tracing::warn!(request_id = id, source, reason, %cause, "forwarding failed");
                delivery.settle(failure.outcome).await;
                self.refuse(session, Some(route), failure.reason.into(), id)
                    .await;
            }
        }
    }

    /// Passes the upstream's answer on as it arrives.
    async fn relay(&self, session: &mut ServerSession, mut answer: Answer<'_>) {
        let mut head = upstream::response_head(answer.head());
        let has_length = head.headers.contains_key(CONTENT_LENGTH);
        let bodiless = matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if !has_length && !bodiless {
            if session.req_header().version == Version::HTTP_11 {
                let _: Result<(), _> = head.insert_header(TRANSFER_ENCODING, "chunked");
            } else {
                // The end of the connection is the end of the body.
                session.set_keepalive(None);
            }
        }
        let relayed = async {
            session.write_response_header(Box::new(head)).await.ok()?;
            while let Some(chunk) = answer.chunk().await.ok()? {
                session.write_response_body(chunk, false).await.ok()?;
            }
            session.finish_body().await.ok()
        };
        match relayed.await {
            Some(()) => answer.release().await,
            // Cut off: the sender must not take what it got for the whole.
            None => session.shutdown().await,
        }
    }

    async fn acknowledge_duplicate(&self, session: &mut ServerSession) {
        let mut head = ResponseHeader::from(http::Response::new(()).into_parts().0);
        let _: Result<(), _> = head.insert_header("hookgate-outcome", "duplicate");
        let _: Result<(), _> = head.insert_header(CONTENT_LENGTH, "0");
        let _: Result<(), _> = session.write_response_header(Box::new(head)).await;
    }

    async fn refuse(
        &self,
        session: &mut ServerSession,
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
        let audience = Audience::of(&session.req_header().headers);
        let detail = route
            .filter(|route| route.expose_reason)
            .map(|_| reason.label());
        if session.is_body_done() {
            return self.answer(session, refusal, audience, id, detail).await;
        }
        // A short body is likely here already; read it, and the connection goes
        // on. A sender that waits for leave to send, or has much to send, is
        // told first, and the connection ends: whatever comes is not a request.
        let slow = matches!(reason, Reason::BodyTimeout | Reason::BodyIncomplete);
        let short = declared_len(session).is_some_and(|len| len <= DRAIN as u64);
        if short && !slow && !expects_continue(session) && drain(session).await {
            return self.answer(session, refusal, audience, id, detail).await;
        }
        session.set_keepalive(None);
        self.answer(session, refusal, audience, id, detail).await;
        if !slow {
            drain(session).await;
        }
        session.shutdown().await;
    }

    pub(super) async fn answer(
        &self,
        session: &mut ServerSession,
        refusal: Refusal,
        audience: Audience,
        id: &str,
        detail: Option<&str>,
    ) {
        let (mut parts, body) = refusal.response(audience, Some(id), detail).into_parts();
        parts.headers.insert(CONTENT_LENGTH, body.len().into());
        let head = Box::new(ResponseHeader::from(parts));
        // A sender that is gone needs no answer.
        if session.write_response_header(head).await.is_ok() {
            let _: Result<(), _> = session.write_response_body(body, true).await;
        }
    }
}

/// Reads what is left of a body that nobody wants, within bounds. Whether that
/// was all.
async fn drain(session: &mut ServerSession) -> bool {
    let read = async {
        let mut drained = 0;
        while drained <= DRAIN {
            match session.read_request_body().await {
                Ok(Some(chunk)) => drained += chunk.len(),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    };
    timeout(DRAIN_TIME, read).await.unwrap_or(false)
}

fn declared_len(session: &ServerSession) -> Option<u64> {
    session
        .get_header(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn expects_continue(session: &ServerSession) -> bool {
    session
        .get_header(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
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

/// The body of a request as the gate reads it.
struct SessionBody<'s>(&'s mut ServerSession);

impl BodySource for SessionBody<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.0
            .read_request_body()
            .await
            .map_err(|_| BodyError::Incomplete)
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
