//! Serves the HTTP/1 requests of one connection, one after the other. The head of each
//! request has one deadline for all of its bytes.

use std::pin::pin;

use hookgate_core::internal::ErrorChain;
use hookgate_gate::{Audience, Reason, Refusal};
use hookgate_http1::{BodyLen, HeadError, check_request, read_request};
use http::Method;
use http::request::Parts;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use pingora_http::RequestHeader;
use tokio::time::{Instant, sleep_until};

use crate::gateway::Gateway;
use crate::listener::connection_table::{Evicted, LastRequest, Slot};
use crate::listener::timeouts::{CLOSE_TIMEOUT, IDLE_TIMEOUT, wait_for_shutdown};
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::http1::{Http1Session, empty_request};
use crate::pipeline::downstream::{Disconnected, Downstream};
use crate::pipeline::refuse::refusal_response;
use crate::poll::{now_or_never, timeout, timeout_at};

/// Serves requests until the connection ends.
pub(crate) async fn serve(
    gateway: &Gateway,
    stream: Stream,
    slot: &Slot,
    shutdown: &ShutdownWatch,
) {
    let mut session = Http1Session::new(stream);
    let mut shut_down = pin!(wait_for_shutdown(shutdown));
    // A client that sends no byte of its first head gets the response for an incomplete head.
    let mut is_first = true;
    let mut deadline = Instant::now() + gateway.limits().head_timeout;
    let mut idle = pin!(sleep_until(deadline));
    loop {
        // The deadline of a head does not include the time between two requests.
        while session.connection.is_drained() {
            tokio::select! {
                biased;
                filled = session.connection.fill() => match filled {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "idle connection of a sender lost");
                        return;
                    }
                },
                () = &mut shut_down => return,
                () = &mut idle => {
                    if Instant::now() >= deadline {
                        if is_first {
                            gateway.refuse_head(&mut session, Reason::HeadTimeout).await;
                        }
                        return;
                    }
                    // The timer ran for an earlier deadline. Resetting it for each request
                    // would cost more than this wake-up.
                    idle.as_mut().reset(deadline);
                }
            }
        }
        let first_deadline = is_first.then_some(deadline);
        let Ok(last_request) = gateway
            .serve_http1(&mut session, slot, shutdown, first_deadline)
            .await
        else {
            return;
        };
        if !session.keeps_alive {
            return close(session).await;
        }
        // The other parts of the request are dropped before `recycle`: they borrow the read
        // buffer, which could not be reused otherwise.
        let Parts { headers, .. } = std::mem::replace(&mut session.request, empty_request()).into();
        session.connection.recycle(headers);
        is_first = false;
        let now = Instant::now();
        slot.end_request(last_request, now.into_std());
        deadline = now + IDLE_TIMEOUT;
    }
}

/// Closes the connection. A sender that does not read the last response loses it.
async fn close(mut session: Http1Session) {
    if timeout(CLOSE_TIMEOUT, pin!(session.shutdown()))
        .await
        .is_err()
    {
        tracing::debug!("cannot shut down the connection of a sender in time");
    }
}

impl Gateway {
    /// Serves one request. Its head must arrive by `deadline`, or within the head timeout
    /// from now if `deadline` is `None`.
    ///
    /// # Errors
    ///
    /// Returns [`Evicted`] if the connection has made room for another one before its head was
    /// complete.
    async fn serve_http1(
        &self,
        session: &mut Http1Session,
        slot: &Slot,
        shutdown: &ShutdownWatch,
        deadline: Option<Instant>,
    ) -> Result<LastRequest, Evicted> {
        let read = {
            let mut reading = pin!(read_request(&mut session.connection));
            match deadline {
                Some(deadline) => timeout_at(deadline, reading).await,
                None => match now_or_never(reading.as_mut()).await {
                    Some(read) => Ok(read),
                    None => {
                        slot.start_head();
                        timeout(self.limits().head_timeout, reading).await
                    }
                },
            }
        };
        slot.start_request()?;
        let checked = match read {
            Ok(Err(error @ HeadError::Disconnected(_))) => {
                tracing::debug!(error = %ErrorChain(&error), "request of a sender lost");
                session.close();
                return Ok(LastRequest::Unverified);
            }
            Ok(read) => read
                .and_then(|request| {
                    let body = check_request(&request)?;
                    Ok((RequestHeader::from(request), body))
                })
                .map_err(|error| head_reason(&error)),
            Err(_) => Err(Reason::HeadTimeout),
        };
        match checked {
            Ok((request, body)) => {
                session.begin(request, body);
                session.keeps_alive &= !*shutdown.borrow();
                let mut downstream = Downstream::new((&mut *session).into(), body);
                if let Some(trusted) = self.startup().trusted_proxies() {
                    downstream.find_sender(trusted);
                }
                downstream.make_room_by(slot);
                let last_request = self.deliver(&mut downstream).await;
                session.keeps_alive &= session.is_complete();
                Ok(last_request)
            }
            Err(reason) => {
                self.refuse_head(session, reason).await;
                Ok(LastRequest::Unverified)
            }
        }
    }

    /// Refuses a request with an invalid head. The connection ends, because the bytes after
    /// such a head cannot be trusted to be a request.
    async fn refuse_head(&self, session: &mut Http1Session, reason: Reason) {
        let client = session.peer;
        let refusal = self.limit_refusal_rate(Refusal::new(reason), "", client);
        let mut record = AccessRecord::start(self, client);
        record.refused(None, refusal);
        let mut request = empty_request();
        if session.connection.is_head_request() {
            request.set_method(Method::HEAD);
        }
        session.begin(request, BodyLen::Known(0));
        session.close();
        let (head, body) = refusal_response(refusal, Audience::Http, &record.id, None);
        let mut downstream = Downstream::new(session.into(), BodyLen::Known(0));
        let responded = timeout(CLOSE_TIMEOUT, pin!(downstream.respond(head, body, None))).await;
        if let Err(error) = responded.unwrap_or(Err(Disconnected::TimedOut)) {
            record.log_lost_response(&error);
        }
    }
}

/// Returns the reason for which a request with this head is refused.
fn head_reason(error: &HeadError) -> Reason {
    match error {
        HeadError::TooLarge => Reason::HeadTooLarge,
        HeadError::Ambiguous => Reason::FramingAmbiguous,
        _ => Reason::RequestMalformed,
    }
}
