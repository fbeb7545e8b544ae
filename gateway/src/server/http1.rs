//! HTTP/1: requests one after the other, each with a total deadline for its head.

use hookgate_gate::{Audience, Reason, Refusal};
use http::header::CONTENT_LENGTH;
use pingora_core::ErrorType;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use tokio::time::{Instant, timeout, timeout_at};

use super::Gateway;
use super::connection::{FINISH, IDLE, begins};
use super::delivery::refusal_answer;
use super::framing::{self, BodyLen};
use super::record::Record;
use super::sender::{Sender, client_address};

pub(super) async fn serve(gateway: &Gateway, mut stream: Stream, shutdown: &ShutdownWatch) {
    let mut head_by = Instant::now() + gateway.limits().head_timeout;
    // Whoever is late with all of a head is told so like who is late with the rest.
    if let Ok(None) = timeout_at(head_by, begins(&mut stream, shutdown)).await {
        return;
    }
    while let Some(next) = gateway
        .serve_http1(ServerSession::new_http1(stream), shutdown, head_by)
        .await
    {
        stream = next;
        // The time between two requests does not count.
        let Ok(Some(())) = timeout(IDLE, begins(&mut stream, shutdown)).await else {
            return;
        };
        head_by = Instant::now() + gateway.limits().head_timeout;
    }
}

impl Gateway {
    /// Serves one request. The stream comes back if it can take another one.
    async fn serve_http1(
        &self,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
        head_by: Instant,
    ) -> Option<Stream> {
        session.set_keepalive(Some(IDLE.as_secs()));
        let body = match read_head(&mut session, head_by).await {
            Ok(Some(body)) => body,
            Ok(None) => return None,
            Err(reason) => {
                self.refuse_head(&mut session, reason).await;
                return None;
            }
        };
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
        let mut sender = Sender::new(&mut session, body);
        self.deliver(&mut sender).await;
        if sender.is_over() {
            return None;
        }
        let finished = timeout(FINISH, session.finish()).await.ok()?;
        let (stream, _) = finished.ok().flatten()?.into_parts();
        Some(stream)
    }

    /// Refuses a request whose head is not one: nothing after it can be trusted
    /// to be a request either, so the connection ends.
    async fn refuse_head(&self, session: &mut ServerSession, reason: Reason) {
        let client = client_address(session);
        let refusal = self.slow_down(Refusal::new(reason), "", client);
        let mut record = Record::start(self, client);
        record.refused(None, refusal);
        session.set_keepalive(None);
        let (mut head, body) = refusal_answer(refusal, Audience::Http, &record.id, None);
        let _: Result<(), _> = head.insert_header(CONTENT_LENGTH, body.len());
        let answer = async {
            session.write_response_header(Box::new(head)).await?;
            session.write_response_body(body, true).await?;
            session.shutdown().await;
            Ok::<(), Box<pingora_core::Error>>(())
        };
        // A sender that does not take its answer does without.
        let _: Result<_, _> = timeout(FINISH, answer).await;
    }
}

/// Reads a head within its deadline; `None` if the sender has gone.
async fn read_head(session: &mut ServerSession, by: Instant) -> Result<Option<BodyLen>, Reason> {
    match timeout_at(by, session.read_request()).await {
        Ok(Ok(true)) => framing::check(&session.to_h1_raw(), session.req_header()).map(Some),
        Ok(Ok(false)) => Ok(None),
        Ok(Err(error)) if *error.etype() == ErrorType::ConnectionClosed => Ok(None),
        Ok(Err(error)) => Err(framing::blame(&error)),
        Err(_) => Err(Reason::HeadTimeout),
    }
}
