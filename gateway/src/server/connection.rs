//! One connection of a sender: requests one after the other, each with a total
//! deadline for its head.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookgate_gate::{Audience, Reason, Refusal};
use pingora_core::ErrorType;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use prometheus::IntGauge;
use tokio::time::timeout;

use super::{Gateway, framing};

/// How long a connection may be idle between two requests.
const IDLE: Duration = Duration::from_secs(60);
/// How long one write to a sender may take.
const WRITE: Duration = Duration::from_secs(10);

/// The listening side of the gateway.
pub(crate) struct Front(pub(crate) Arc<Gateway>);

#[async_trait]
impl ServerApp for Front {
    async fn process_new(
        self: &Arc<Self>,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let gateway = &*self.0;
        let limit = gateway.limits.connections;
        let _open = Open::count(gateway.metrics.connections(), limit)?;
        loop {
            let mut session = ServerSession::new_http1(stream);
            session.set_keepalive((!*shutdown.borrow()).then_some(IDLE.as_secs()));
            session.set_write_timeout(Some(WRITE));
            stream = gateway.serve(session).await?;
            wait_for_next(&mut stream, shutdown).await?;
        }
    }
}

/// Waits until the next request begins, so that its head's deadline does not
/// count the time between two requests.
async fn wait_for_next(stream: &mut Stream, shutdown: &ShutdownWatch) -> Option<()> {
    let mut shutdown = shutdown.clone();
    if *shutdown.borrow_and_update() {
        return None;
    }
    let mut first = [0];
    tokio::select! {
        peeked = timeout(IDLE, stream.try_peek(&mut first)) => peeked.ok()?.ok().map(drop),
        _ = shutdown.changed() => None,
    }
}

impl Gateway {
    /// Serves one request. The stream comes back if it can take another one.
    async fn serve(&self, mut session: ServerSession) -> Option<Stream> {
        match timeout(self.limits.head_timeout, session.read_request()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return None,
            Ok(Err(error)) => {
                if *error.etype() != ErrorType::ConnectionClosed {
                    self.refuse_early(&mut session, Reason::RequestMalformed)
                        .await;
                }
                return None;
            }
            Err(_) => {
                self.refuse_early(&mut session, Reason::HeadTimeout).await;
                return None;
            }
        }
        if let Err(reason) = framing::check(&session.to_h1_raw(), session.req_header()) {
            self.refuse_early(&mut session, reason).await;
            return None;
        }
        self.deliver(&mut session).await;
        let (stream, _) = session.finish().await.ok().flatten()?.into_parts();
        Some(stream)
    }

    /// Refuses a request whose head is not one: nothing after it can be trusted
    /// to be a request either, so the connection ends.
    async fn refuse_early(&self, session: &mut ServerSession, reason: Reason) {
        let id = self.request_ids.next();
        let label = reason.label();
        tracing::info!(request_id = %id, reason = label, "request refused");
        self.metrics.refused("", reason);
        session.set_keepalive(None);
        self.answer(session, Refusal::new(reason), Audience::Http, &id, None)
            .await;
        session.shutdown().await;
    }
}

/// Counts a connection while it is open.
struct Open<'m>(&'m IntGauge);

impl<'m> Open<'m> {
    /// `None` above the limit: the connection is closed unanswered, because
    /// answering it is what there is no room for.
    fn count(gauge: &'m IntGauge, limit: usize) -> Option<Self> {
        gauge.inc();
        let open = Self(gauge);
        let within = usize::try_from(gauge.get()).is_ok_and(|count| count <= limit);
        within.then_some(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
