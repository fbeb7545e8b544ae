//! HTTP/2: many requests at once on one connection, each in a task of its own.
//!
//! What floods such a connection, and what stands against it: more streams at once
//! than [`STREAMS`] are refused (RFC 9113 §5.1.2). One that is reset counts until
//! its task has ended, so that opening and resetting in turn (CVE-2023-44487)
//! starts no more work than that, and h2 closes a connection that goes on with it.
//! Heads, CONTINUATION frames included, are limited by h2 in bytes. One that never
//! ends makes the connection an idle one, which has to answer a ping now and then:
//! who is in the middle of a head cannot (§6.10).

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::Connection;
use h2::{Ping, PingPong};
use hookgate_gate::Reason;
use http::header::{COOKIE, HOST};
use pingora_core::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora_core::protocols::{Digest, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_http::RequestHeader;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::gateway::Gateway;
use crate::listener::framing;
use crate::listener::timeouts::IDLE;
use crate::pipeline::access_record::AccessRecord;
use crate::pipeline::downstream::Downstream;
use hookgate_http1::{BodyLen, MAX_HEAD};

/// Most requests at once on one connection.
const STREAMS: u32 = 100;
/// Bytes that a sender may have under way on one stream and on the connection.
const WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Most bytes of cookies that come in several fields.
const COOKIES: usize = 4096;
/// After so many requests that no HTTP/2 client sends, the connection ends.
const MALFORMED: u32 = 32;

pub(crate) async fn serve(gateway: &Arc<Gateway>, stream: Stream, shutdown: &ShutdownWatch) {
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let patience = gateway.limits().head_timeout;
    let Ok(Ok(mut connection)) = timeout(patience, handshake(stream, Some(options()))).await else {
        return;
    };
    let Some(mut pings) = connection.ping_pong() else {
        return;
    };
    let mut shutdown = shutdown.clone();
    let mut ending = false;
    let mut malformed = 0;
    // The first request has to come as soon as over HTTP/1.
    let mut idle = patience;
    let (running, count) = watch::channel(0);
    loop {
        let next = next(&mut connection, &digest, count.clone());
        let accepted = tokio::select! {
            biased;
            // What its client still sends before it has heard of this is served.
            _ = shutdown.wait_for(|ends| *ends), if !ending => {
                ending = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = next => accepted,
            () = is_gone(&mut pings, count.clone(), idle, patience) => return,
        };
        idle = IDLE;
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                let running = Running::count(&running);
                let gateway = Arc::clone(gateway);
                // A stream that the sender resets does not take its delivery along.
                tokio::spawn(async move {
                    gateway.serve_http2(session).await;
                    drop(running);
                });
            }
            Ok(Some(H2Accept::Rejected)) if malformed < MALFORMED => malformed += 1,
            Ok(Some(H2Accept::Rejected) | None) | Err(_) => return,
        }
    }
}

/// The next request, once there is room for one; `None` at the end of the connection.
async fn next(
    connection: &mut Connection<Stream, Bytes>,
    digest: &Arc<Digest>,
    mut running: watch::Receiver<u32>,
) -> pingora_core::Result<Option<H2Accept>> {
    // The connection has to be driven meanwhile.
    tokio::select! {
        _ = running.wait_for(|count| *count < STREAMS) => {}
        _ = poll_fn(|cx| connection.poll_closed(cx)) => return Ok(None),
    }
    HttpSession::from_h2_conn(connection, Arc::clone(digest)).await
}

fn options() -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    options
}

/// Returns once nothing has run for `idle`, or nobody answers any more.
async fn is_gone(
    pings: &mut PingPong,
    mut running: watch::Receiver<u32>,
    idle: Duration,
    patience: Duration,
) {
    if running.wait_for(|count| *count == 0).await.is_err() {
        return;
    }
    let end = Instant::now() + idle;
    while Instant::now() < end {
        sleep(patience / 2).await;
        // Fails if one is under way already: then that one is waited for.
        let _: Result<(), _> = pings.send_ping(Ping::opaque());
        let pong = poll_fn(|cx| pings.poll_pong(cx));
        if !matches!(timeout(patience / 2, pong).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// Counts a request while it runs.
struct Running(watch::Sender<u32>);

impl Running {
    fn count(running: &watch::Sender<u32>) -> Self {
        running.send_modify(|count| *count += 1);
        Self(running.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Gateway {
    async fn serve_http2(&self, mut session: HttpSession) {
        let written = as_http1(session.req_header_mut());
        let bodiless = session.is_body_empty();
        let body = written.and_then(|()| framing::check_http2(session.req_header(), bodiless));
        let mut sender = Downstream::new((&mut session).into(), body.unwrap_or(BodyLen::Unknown));
        match body {
            Ok(_) => self.deliver(&mut sender).await,
            Err(reason) => {
                let mut record = AccessRecord::start(self, sender.address());
                self.refuse(&mut sender, None, reason.into(), &mut record)
                    .await;
            }
        }
        if !sender.is_over() {
            let _: Result<_, _> = session.finish();
        }
    }
}

/// Writes a head as HTTP/1 has it, because a scheme may sign these fields: the
/// authority as `Host` (RFC 9113 §8.3.1), and cookies in one field (§8.2.3). That copies
/// them, however often a few bytes on the wire may name the same one, so there is a limit.
fn as_http1(request: &mut RequestHeader) -> Result<(), Reason> {
    // Neither fails: the names are constants, the values were some in this head.
    if !request.headers.contains_key(HOST)
        && let Some(authority) = request.uri.authority().cloned()
    {
        let _: Result<(), _> = request.insert_header(HOST, authority.as_str());
    }
    if request.headers.get_all(COOKIE).iter().nth(1).is_some() {
        let crumbs: Vec<&[u8]> = request
            .headers
            .get_all(COOKIE)
            .iter()
            .map(|crumb| crumb.as_bytes())
            .collect();
        if crumbs.iter().map(|crumb| crumb.len() + 2).sum::<usize>() > COOKIES {
            return Err(Reason::HeadTooLarge);
        }
        let cookies = crumbs.join(&b"; "[..]);
        let _: Result<(), _> = request.insert_header(COOKIE, cookies);
    }
    Ok(())
}
