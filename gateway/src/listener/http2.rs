//! Serves the HTTP/2 requests of one connection, each in a task of its own.
//!
//! These are the ways to flood such a connection, and the protections:
//!
//! * Too many streams: streams above [`MAX_STREAMS`] are refused (RFC 9113 §5.1.2).
//! * Opening and resetting streams in turn (CVE-2023-44487): a reset stream counts until its
//!   task has ended. The attack thus starts no more tasks than [`MAX_STREAMS`] at once. h2
//!   closes a connection that continues the attack.
//! * Large heads: h2 limits the bytes of a head, CONTINUATION frames included.
//! * A head that never ends: the connection counts as idle, and an idle connection must
//!   answer pings. A client in the middle of a head cannot answer one (RFC 9113 §6.10).

mod requests;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::Connection;
use h2::{Ping, PingPong};
use hookgate_core::internal::ErrorChain;
use hookgate_gate::Reason;
use hookgate_http1::{BodyLen, MAX_HEAD};
use http::header::{COOKIE, HOST};
use pingora_core::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora_core::protocols::{Digest, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_http::RequestHeader;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use self::requests::{ActiveRequest, Counts, Requests};
use crate::gateway::Gateway;
use crate::listener::connection_table::{LastRequest, Slot};
use crate::listener::framing;
use crate::listener::timeouts::IDLE_TIMEOUT;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::Downstream;
use crate::stream::TransportError;

/// Maximum number of concurrent requests on one connection.
const MAX_STREAMS: u32 = 100;
/// Flow-control window of a stream in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Flow-control window of a connection in bytes.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Maximum size in bytes of cookies that are split over several fields.
const MAX_SPLIT_COOKIES: usize = 4096;
/// Maximum number of malformed requests before the connection is closed.
const MAX_MALFORMED: u32 = 32;

/// Serves requests until the connection ends.
pub(crate) async fn serve(
    gateway: &Arc<Gateway>,
    stream: Stream,
    slot: &Arc<Slot>,
    shutdown: &ShutdownWatch,
) {
    let digest = Arc::new(digest_of(&stream));
    let head_timeout = gateway.limits().head_timeout;
    let mut connection = match timeout(head_timeout, handshake(stream, Some(options()))).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return log_error(error),
        Err(_) => return,
    };
    let Some(mut pings) = connection.ping_pong() else {
        return;
    };
    let mut shutdown = shutdown.clone();
    let mut is_shutting_down = false;
    let mut malformed = 0;
    // The first request has the same deadline as over HTTP/1; later ones have `IDLE_TIMEOUT`.
    let mut idle_timeout = head_timeout;
    let requests = Requests::new(slot);
    let counts = requests.counts();
    loop {
        let next = next_request(&mut connection, &digest, counts.clone());
        let accepted = tokio::select! {
            biased;
            // Requests that the client sends before it receives the GOAWAY are served.
            _ = shutdown.wait_for(|is_shutdown| *is_shutdown), if !is_shutting_down => {
                is_shutting_down = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = next => accepted,
            () = wait_until_idle_or_dead(&mut pings, counts.clone(), idle_timeout, head_timeout) => {
                return;
            }
        };
        idle_timeout = IDLE_TIMEOUT;
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                let Ok(mut request) = requests.start() else {
                    return;
                };
                let gateway = Arc::clone(gateway);
                // The delivery continues in its own task if the sender resets the stream.
                tokio::spawn(async move {
                    request.last_request = gateway.serve_http2(session, &request).await;
                    drop(request);
                });
            }
            Ok(Some(H2Accept::Rejected)) if malformed < MAX_MALFORMED => malformed += 1,
            Ok(Some(H2Accept::Rejected) | None) => return,
            Err(error) => return log_error(error),
        }
    }
}

fn digest_of(stream: &Stream) -> Digest {
    Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    }
}

fn log_error(error: Box<pingora_core::Error>) {
    let error = TransportError::from(error);
    tracing::debug!(error = %ErrorChain(&error), "HTTP/2 connection of a sender lost");
}

/// Waits for the next request while fewer than [`MAX_STREAMS`] are active. Returns `None` at
/// the end of the connection.
async fn next_request(
    connection: &mut Connection<Stream, Bytes>,
    digest: &Arc<Digest>,
    mut counts: watch::Receiver<Counts>,
) -> pingora_core::Result<Option<H2Accept>> {
    // The connection makes progress only while it is polled.
    tokio::select! {
        _ = counts.wait_for(|counts| counts.active < MAX_STREAMS) => {}
        _ = poll_fn(|cx| connection.poll_closed(cx)) => return Ok(None),
    }
    HttpSession::from_h2_conn(connection, Arc::clone(digest)).await
}

fn options() -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    options
}

/// Returns once no request has been active for `idle_timeout`, or once an idle client no
/// longer answers pings within half of `head_timeout`.
async fn wait_until_idle_or_dead(
    pings: &mut PingPong,
    mut counts: watch::Receiver<Counts>,
    idle_timeout: Duration,
    head_timeout: Duration,
) {
    if counts.wait_for(|counts| counts.active == 0).await.is_err() {
        return;
    }
    let end = Instant::now() + idle_timeout;
    while Instant::now() < end {
        sleep(head_timeout / 2).await;
        // Sending fails while an earlier ping is unanswered. The pong of that one counts.
        let _: Result<(), _> = pings.send_ping(Ping::opaque());
        let pong = poll_fn(|cx| pings.poll_pong(cx));
        if !matches!(timeout(head_timeout / 2, pong).await, Ok(Ok(_))) {
            return;
        }
    }
}

impl Gateway {
    /// Serves one request.
    async fn serve_http2(&self, mut session: HttpSession, active: &ActiveRequest) -> LastRequest {
        let normalized = normalize_fields(session.req_header_mut());
        let has_no_body = session.is_body_empty();
        let body =
            normalized.and_then(|()| framing::check_http2(session.req_header(), has_no_body));
        let body_len = body.unwrap_or(BodyLen::Unknown);
        let mut downstream = Downstream::new((&mut session).into(), body_len);
        if let Some(trusted) = self.startup().trusted_proxies() {
            downstream.find_sender(trusted);
        }
        downstream.make_room_by(active);
        let last_request = match body {
            Ok(_) => self.deliver(&mut downstream).await,
            Err(reason) => {
                let mut record = AccessRecord::start(self, downstream.address());
                self.refuse(&mut downstream, None, reason.into(), &mut record)
                    .await;
                record.end(&mut downstream);
                LastRequest::Unverified
            }
        };
        if !downstream.is_aborted()
            && let Err(error) = session.finish()
        {
            // The sender has reset the stream, or the connection is lost.
            log_error(error);
        }
        last_request
    }
}

/// Rewrites a head into the fields that it has in HTTP/1, because a scheme may sign these
/// fields: the authority becomes `Host` (RFC 9113 §8.3.1), and the cookies become one field
/// (RFC 9113 §8.2.3).
///
/// Joining copies the cookies. HPACK lets a few bytes on the wire repeat a long cookie many
/// times, so the size of the result is limited.
///
/// # Errors
///
/// Returns [`Reason::HeadTooLarge`] if split cookies exceed [`MAX_SPLIT_COOKIES`].
fn normalize_fields(request: &mut RequestHeader) -> Result<(), Reason> {
    // The inserts cannot fail: the names are constants, and the values come from this head.
    if !request.headers.contains_key(HOST)
        && let Some(authority) = request.uri.authority().cloned()
    {
        let _: Result<(), _> = request.insert_header(HOST, authority.as_str());
    }
    if request.headers.get_all(COOKIE).iter().nth(1).is_some() {
        let cookies: Vec<&[u8]> = request
            .headers
            .get_all(COOKIE)
            .iter()
            .map(|cookie| cookie.as_bytes())
            .collect();
        if cookies.iter().map(|cookie| cookie.len() + 2).sum::<usize>() > MAX_SPLIT_COOKIES {
            return Err(Reason::HeadTooLarge);
        }
        let joined = cookies.join(&b"; "[..]);
        let _: Result<(), _> = request.insert_header(COOKIE, joined);
    }
    Ok(())
}
