//! HTTP/1: requests one after the other, each with a total deadline for its head.

use std::pin::pin;

use hookgate_gate::{Audience, Reason, Refusal};
use hookgate_http1::{BodyLen, HeadError, check_request, read_request};
use http::request::Parts;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use pingora_http::RequestHeader;
use tokio::time::{Instant, sleep_until};

use crate::gateway::Gateway;
use crate::listener::timeouts::{FINISH, IDLE, ended};
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::Downstream;
use crate::pipeline::downstream::http1::{Http1Session, empty_request};
use crate::pipeline::forward::refusal_answer;
use crate::poll::{timeout, timeout_at};

pub(crate) async fn serve(gateway: &Gateway, stream: Stream, shutdown: &ShutdownWatch) {
    let mut session = Http1Session::new(stream);
    let mut ends = pin!(ended(shutdown));
    // Whoever is late with all of the first head is told so like who is late with the rest.
    let mut is_first = true;
    let mut until = Instant::now() + gateway.limits().head_timeout;
    let mut idle = pin!(sleep_until(until));
    loop {
        // The deadline of a head does not count the time between two requests.
        while session.connection.is_drained() {
            tokio::select! {
                biased;
                filled = session.connection.fill() => match filled {
                    Ok(len) if len > 0 => {}
                    _ => return,
                },
                () = &mut ends => return,
                () = &mut idle => {
                    if Instant::now() >= until {
                        if is_first {
                            gateway.refuse_head(&mut session, Reason::HeadTimeout).await;
                        }
                        return;
                    }
                    // It was set for an earlier request: setting it for each costs more.
                    idle.as_mut().reset(until);
                }
            }
        }
        let head_by = is_first.then_some(until);
        gateway.serve_http1(&mut session, shutdown, head_by).await;
        if !session.keeps_alive {
            // One that does not take its answer does without.
            let _: Result<(), _> = timeout(FINISH, pin!(session.shutdown())).await;
            return;
        }
        // The rest of it is dropped here: it has the room that the connection is to give back.
        let Parts { headers, .. } = std::mem::replace(&mut session.request, empty_request()).into();
        session.connection.recycle(headers);
        is_first = false;
        until = Instant::now() + IDLE;
    }
}

impl Gateway {
    /// Serves one request, whose head has to be there by then, or in good time from now.
    async fn serve_http1(
        &self,
        session: &mut Http1Session,
        shutdown: &ShutdownWatch,
        head_by: Option<Instant>,
    ) {
        let read = {
            let reading = pin!(read_request(&mut session.connection));
            match head_by {
                Some(by) => timeout_at(by, reading).await,
                None => timeout(self.limits().head_timeout, reading).await,
            }
        };
        let checked = match read {
            Ok(Err(HeadError::Disconnected(_))) => {
                session.keeps_alive = false;
                return;
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
                self.deliver(&mut Downstream::new((&mut *session).into(), body))
                    .await;
                session.keeps_alive &= session.is_over();
            }
            Err(reason) => self.refuse_head(session, reason).await,
        }
    }

    /// Refuses a request whose head is not one: nothing after it can be trusted
    /// to be a request either, so the connection ends.
    async fn refuse_head(&self, session: &mut Http1Session, reason: Reason) {
        let client = session.client;
        let refusal = self.slow_down(Refusal::new(reason), "", client);
        let mut record = AccessRecord::start(self, client);
        record.refused(None, refusal);
        session.begin(empty_request(), BodyLen::Known(0));
        session.keeps_alive = false;
        let (head, body) = refusal_answer(refusal, Audience::Http, &record.id, None);
        let mut sender = Downstream::new(session.into(), BodyLen::Known(0));
        // A sender that does not take its answer does without.
        let _: Result<_, _> = timeout(FINISH, pin!(sender.answer(head, body, None))).await;
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
