//! Upstreams as they are: over TLS and HTTP/2, several servers, sick ones, and such as
//! do not do their part. The sender always gets an answer, and in time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use bytes::Bytes;
use hookgate_tests::{
    Behaviour, Certificates, Gateway, GatewayBuilder, Provided, Upstream, now, send, try_send,
};
use http::{Request, StatusCode};
use http_body_util::combinators::BoxBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

fn beatapi() -> Provided {
    Provided::named("beatapi")
}

/// A gateway of which the upstream is written out.
fn gateway(upstream: &str) -> GatewayBuilder {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let table = format!("[upstreams.own]\n{upstream}");
    Gateway::builder(nowhere)
        .table(&table)
        .table(
            "[[sources]]\nname = \"own\"\npath = \"/own\"\nprovider = \"beatapi\"\n\
             secrets = [\"env:OWN\"]\nupstream = \"own\"\nbody = \"64MiB\"",
        )
        .env("OWN", beatapi().secret)
}

fn own(id: &str) -> Request<BoxBody<Bytes, std::io::Error>> {
    let mut request = beatapi().delivery(id);
    *request.uri_mut() = "/own".parse().expect("a path");
    request
}

async fn deliver_own(gateway: &Gateway, id: &str) -> u16 {
    send(gateway.address(), own(id)).await.status.as_u16()
}

/// A server of raw bytes: it counts the requests that it has begun to read.
async fn raw<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 1024];
            if !matches!(stream.read(&mut some).await, Ok(1..)) {
                continue;
            }
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, seen)
}

/// What the sender sees of an upstream's fault.
#[derive(Debug, PartialEq)]
enum Seen {
    Status(u16),
    /// An answer that breaks off, so that nobody takes it for the whole.
    BrokenOff,
}

const OK_LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
const OK_CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn whatever_an_upstream_does_the_sender_has_an_answer_in_time() {
    use Seen::{BrokenOff, Status};
    let hang = || sleep(Duration::from_secs(600));
    /// Writes, and then `rest` again and again for as long as it is taken.
    async fn write(mut stream: TcpStream, first: &[u8], rest: &[u8]) {
        let mut written = stream.write_all(first).await;
        while written.is_ok() && !rest.is_empty() {
            written = stream.write_all(rest).await;
        }
        sleep(Duration::from_secs(600)).await;
    }
    let answers =
        |first: &'static [u8], rest: &'static [u8]| raw(move |stream| write(stream, first, rest));
    let servers = [
        (
            "dies",
            raw(|stream| async move { drop(stream) }).await,
            Status(502),
        ),
        (
            "resets",
            raw(|stream| async move {
                let _ = stream.set_zero_linger();
            })
            .await,
            Status(502),
        ),
        (
            "resets in mid-answer",
            raw(|mut stream| async move {
                let _ = stream.write_all(OK_LENGTH).await;
                let _ = stream.write_all(b"half").await;
                sleep(Duration::from_millis(100)).await;
                let _ = stream.set_zero_linger();
            })
            .await,
            BrokenOff,
        ),
        (
            "hangs",
            raw(move |stream| async move {
                hang().await;
                drop(stream)
            })
            .await,
            Status(504),
        ),
        (
            "hangs in the head",
            answers(b"HTTP/1.1 200 OK\r\nx: ", b"").await,
            Status(504),
        ),
        (
            "hangs in the body",
            answers(OK_LENGTH, b"").await,
            BrokenOff,
        ),
        (
            "never stops",
            answers(OK_CHUNKED, b"5\r\nhello\r\n").await,
            BrokenOff,
        ),
        (
            "never stops in the head",
            answers(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n").await,
            Status(502),
        ),
        (
            "says nothing but 1xx",
            answers(b"", b"HTTP/1.1 102 Processing\r\n\r\n").await,
            Status(504),
        ),
        (
            "is no HTTP server",
            answers(b"SSH-2.0-OpenSSH_9.2\r\n", b"").await,
            Status(502),
        ),
        (
            "is gone",
            answers(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", b"").await,
            Status(502),
        ),
        (
            "redirects",
            answers(
                b"HTTP/1.1 307 Elsewhere\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
                b"",
            )
            .await,
            Status(502),
        ),
        (
            "has a length and no body",
            answers(
                b"HTTP/1.1 204 No Content\r\ncontent-length: 40\r\n\r\n",
                b"",
            )
            .await,
            Status(204),
        ),
        (
            "answers early and keeps the socket",
            answers(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n", b"").await,
            Status(413),
        ),
    ];
    for (name, (address, seen), expected) in servers {
        // Early answers have to come although the rest is never read.
        let gateway = gateway(&format!("servers = [\"{address}\"]\ntimeout = \"2s\"")).start();
        let body = if expected == Status(413) {
            Bytes::from(vec![b' '; 32 * 1024 * 1024])
        } else {
            beatapi().body("evt_1")
        };
        let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
        *request.uri_mut() = "/own".parse().expect("a path");
        let start = Instant::now();
        let found = match try_send(gateway.address(), request).await {
            Ok(reply) => Status(reply.status.as_u16()),
            Err(_) => BrokenOff,
        };
        assert_eq!(found, expected, "{name}");
        assert!(start.elapsed() < Duration::from_secs(15), "{name}");
        assert_eq!(seen.load(Ordering::SeqCst), 1, "{name}: more than once");
    }
}

/// The upstream's whole time is not spent on an answer that has been there long ago.
#[tokio::test]
async fn an_early_answer_is_passed_on_at_once() {
    let (address, _) = raw(|mut stream| async move {
        let answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(answer).await;
        sleep(Duration::from_secs(600)).await;
    })
    .await;
    let gateway = gateway(&format!("servers = [\"{address}\"]\ntimeout = \"60s\"")).start();
    let body = Bytes::from(vec![b' '; 32 * 1024 * 1024]);
    let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
    *request.uri_mut() = "/own".parse().expect("a path");
    // The client of the tests has less patience than that upstream.
    let reply = send(gateway.address(), request).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// A refusal may come early. A success that does counts once everything has been sent, or
/// the rest would be lost.
#[tokio::test]
async fn a_success_counts_once_everything_is_sent() {
    const LEN: usize = 32 * 1024 * 1024;
    // Without what `raw` has read.
    const REST: usize = LEN - 1024;
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n";
    for (early, reads, late, expected) in [
        (OK, true, &b""[..], StatusCode::OK),
        (HINTS, true, OK, StatusCode::OK),
        (&[HINTS, OK].concat(), true, b"", StatusCode::OK),
        (OK, false, b"", StatusCode::BAD_GATEWAY),
    ] {
        let (early, read) = (early.to_vec(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&read);
        let shown = early.escape_ascii().to_string();
        let (address, _) = raw(move |mut stream| {
            let (early, count) = (early.clone(), Arc::clone(&count));
            async move {
                let _ = stream.write_all(&early).await;
                let mut some = vec![0; 64 * 1024];
                while reads && count.load(Ordering::SeqCst) < REST {
                    match stream.read(&mut some).await {
                        Ok(len @ 1..) => count.fetch_add(len, Ordering::SeqCst),
                        _ => return,
                    };
                }
                let _ = stream.write_all(late).await;
            }
        })
        .await;
        let gateway = gateway(&format!("servers = [\"{address}\"]\ntimeout = \"10s\"")).start();
        let body = Bytes::from(vec![b' '; LEN]);
        let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
        *request.uri_mut() = "/own".parse().expect("a path");
        let reply = send(gateway.address(), request).await;
        assert_eq!(reply.status, expected, "{shown} {reads}");
        // What is written may be on its way.
        while reads && read.load(Ordering::SeqCst) < REST {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn so_it_is_over_http_2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("it listens");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let mut unread = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = http::Response::builder().status(413).body(());
            let _ = respond.send_response(head.expect("a head"), true);
            // What is not taken is not read, and not declined either.
            unread.push(request);
        }
    });
    let gateway = gateway(&format!(
        "servers = [\"{address}\"]\nprotocol = \"h2c\"\ntimeout = \"60s\""
    ))
    .start();
    let body = Bytes::from(vec![b' '; 32 * 1024 * 1024]);
    let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
    *request.uri_mut() = "/own".parse().expect("a path");
    let reply = send(gateway.address(), request).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn each_deadline_ends_what_it_is_for() {
    let (hangs, _) = raw(|stream| async move {
        sleep(Duration::from_secs(600)).await;
        drop(stream);
    })
    .await;
    for (deadline, len) in [
        ("first_byte_timeout", 10),
        ("write_timeout", 32 * 1024 * 1024),
    ] {
        let gateway = gateway(&format!(
            "servers = [\"{hangs}\"]\ntimeout = \"60s\"\n{deadline} = \"300ms\""
        ))
        .start();
        let body = Bytes::from(vec![b' '; len]);
        let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
        *request.uri_mut() = "/own".parse().expect("a path");
        let reply = send(gateway.address(), request).await;
        assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT, "{deadline}");
    }
    // Nothing was sent to a server that does not shake hands.
    let gateway = gateway(&format!(
        "servers = [\"https://{hangs}\"]\ntimeout = \"60s\"\nconnect_timeout = \"300ms\""
    ))
    .start();
    assert_eq!(deliver_own(&gateway, "evt_1").await, 502);
}

#[tokio::test]
async fn an_upstream_over_tls_is_verified_before_it_sees_anything() {
    let certificates = Certificates::new();
    certificates.issue("server", "localhost");
    let clients = Certificates::new();
    clients.issue("client", "hookgate");
    let others = Certificates::new();
    others.issue("client", "hookgate");
    let open = Upstream::start_tls(certificates.server("server", None)).await;
    let closed = Upstream::start_tls(certificates.server("server", Some(&clients))).await;
    let ca = format!("ca = {}", certificates.quoted("ca.pem"));
    let other_ca = format!("ca = {}", others.quoted("ca.pem"));
    let identity = |of: &Certificates| {
        let (cert, key) = (of.quoted("client.pem"), of.quoted("client.key"));
        format!("{ca}, cert = {cert}, key = {key}")
    };
    let named = |port: u16| format!("https://localhost:{port}");
    for (name, upstream, server, tls, expected) in [
        (
            "trusted",
            &open,
            named(open.address().port()),
            ca.clone(),
            204,
        ),
        (
            "of nobody",
            &open,
            named(open.address().port()),
            String::new(),
            502,
        ),
        (
            "of another",
            &open,
            named(open.address().port()),
            other_ca,
            502,
        ),
        (
            "for another name",
            &open,
            format!("https://{}", open.address()),
            ca.clone(),
            502,
        ),
        (
            "for the name that is set",
            &open,
            format!("https://{}", open.address()),
            format!("{ca}, name = \"localhost\""),
            204,
        ),
        (
            "for clients with a certificate",
            &closed,
            named(closed.address().port()),
            identity(&clients),
            204,
        ),
        // Of TLS 1.3, a client hears of this only after it has sent its request.
        (
            "for other clients",
            &closed,
            named(closed.address().port()),
            identity(&others),
            502,
        ),
    ] {
        for protocol in ["http1", "h2"] {
            let gateway = gateway(&format!(
                "servers = [\"{server}\"]\nprotocol = \"{protocol}\"\ntls = {{ {tls} }}"
            ))
            .start();
            let status = deliver_own(&gateway, "evt_1").await;
            assert_eq!(status, expected, "{name} {protocol}: {}", gateway.log());
            let arrivals = upstream.take();
            assert_eq!(arrivals.len(), usize::from(expected == 204), "{name}");
            if let Some(arrival) = arrivals.first() {
                assert_eq!(arrival.headers["hookgate-verified"], "true");
            }
        }
    }
}

#[tokio::test]
async fn an_upstream_over_http_2_gets_what_one_over_http_1_gets() {
    let upstream = Upstream::start().await;
    let mut seen = Vec::new();
    for protocol in ["http1", "h2c"] {
        let gateway = gateway(&format!(
            "servers = [\"{}\"]\nprotocol = \"{protocol}\"",
            upstream.address()
        ))
        .start();
        // Some at once, and some on the same connection.
        let first = tokio::join!(
            deliver_own(&gateway, "evt_1"),
            deliver_own(&gateway, "evt_2"),
            deliver_own(&gateway, "evt_3")
        );
        assert_eq!(first, (204, 204, 204), "{protocol}");
        upstream.next(Behaviour::Respond(
            StatusCode::ACCEPTED,
            &[("x-answer", "1")],
            Bytes::from(vec![b'z'; 1_000_000]),
        ));
        let mut request = beatapi().delivery("evt_4");
        *request.uri_mut() = "/own".parse().expect("a path");
        let reply = send(gateway.address(), request).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
        assert_eq!(reply.headers["x-answer"], "1");
        assert_eq!(reply.body.len(), 1_000_000);
        upstream.next(Behaviour::Answer(StatusCode::GONE));
        assert_eq!(deliver_own(&gateway, "evt_5").await, 502);
        let arrival = upstream.take().remove(3);
        let host = arrival.headers.get("host").cloned();
        let mut headers: Vec<_> = arrival
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .filter(|name| name != "host")
            .collect();
        headers.sort();
        assert!(host.is_none() || host.is_some_and(|host| host == "hooks.example"));
        seen.push((
            arrival.path.replace("http://hooks.example", ""),
            arrival.body,
            headers,
        ));
    }
    assert_eq!(seen[0], seen[1]);
}

/// HTTP/2 lets a server say that it did nothing with a request (RFC 9113 §8.7).
#[tokio::test]
async fn a_stream_that_was_refused_unseen_is_sent_on_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                let mut served = 0;
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    served += 1;
                    if served > 1 {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                        continue;
                    }
                    let count = Arc::clone(&count);
                    tokio::spawn(async move {
                        // A success counts only once everything was read.
                        let mut body = request.into_body();
                        while let Some(Ok(_)) = body.data().await {}
                        count.fetch_add(1, Ordering::SeqCst);
                        let head = http::Response::builder().status(204).body(());
                        let _ = respond.send_response(head.expect("a head"), true);
                    });
                }
            });
        }
    });
    let gateway = gateway(&format!("servers = [\"{address}\"]\nprotocol = \"h2c\"")).start();
    for id in ["evt_1", "evt_2", "evt_3"] {
        let status = deliver_own(&gateway, id).await;
        assert_eq!(status, 204, "{id}: {}", gateway.log());
    }
    assert_eq!(answered.load(Ordering::SeqCst), 3);
}

/// A server that can be sick, for its health checks alone.
async fn patient() -> (Upstream, Arc<AtomicBool>) {
    let sick = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&sick);
    let health = get(async move || match asked.load(Ordering::SeqCst) {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    });
    let upstream = Upstream::start_with(|router| router.route("/healthz", health)).await;
    (upstream, sick)
}

#[tokio::test]
async fn a_sick_server_gets_nothing_until_it_is_well_again() {
    for protocol in ["http1", "h2c"] {
        let ((one, sick), (two, _)) = (patient().await, patient().await);
        let gateway = gateway(&format!(
            "servers = [\"{}\", \"{}\"]\nprotocol = \"{protocol}\"\n\
             health = {{ path = \"/healthz\", interval = \"50ms\", fall = 2, rise = 2 }}",
            one.address(),
            two.address()
        ))
        .start();
        let share = async |round: &str| {
            for index in 0..10 {
                let id = format!("evt_{round}_{index}");
                assert_eq!(deliver_own(&gateway, &id).await, 204, "{protocol}");
            }
            (one.take().len(), two.take().len())
        };
        assert_eq!(share("well").await, (5, 5), "{protocol}");
        sick.store(true, Ordering::SeqCst);
        gateway.says("server is out").await;
        assert_eq!(share("sick").await, (0, 10), "{protocol}");
        let metrics = gateway.ask("/metrics").await;
        let out = "hookgate_upstream_unhealthy_servers{upstream=\"own\"} 1\n";
        assert!(metrics.contains(out), "{metrics}");
        sick.store(false, Ordering::SeqCst);
        gateway.says("server is back").await;
        assert_eq!(share("again").await, (5, 5), "{protocol}");
    }
}

#[tokio::test]
async fn with_no_server_well_a_delivery_is_tried_and_not_lost() {
    let (upstream, sick) = patient().await;
    sick.store(true, Ordering::SeqCst);
    let gateway = gateway(&format!(
        "servers = [\"{}\"]\nhealth = {{ path = \"/healthz\", interval = \"50ms\", fall = 1 }}",
        upstream.address()
    ))
    .start();
    gateway.says("server is out").await;
    assert_eq!(deliver_own(&gateway, "evt_1").await, 204);
}

#[tokio::test]
async fn an_event_keeps_to_its_server() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let servers = format!("servers = [\"{}\", \"{}\"]", one.address(), two.address());
    let by_event = gateway(&format!("{servers}\nbalance = \"hash\"")).start();
    for index in 0..8 {
        let id = format!("evt_{index}");
        for upstream in [&one, &two] {
            // Every try of it fails but the last.
            upstream.next(Behaviour::Answer(StatusCode::INTERNAL_SERVER_ERROR));
            upstream.next(Behaviour::Answer(StatusCode::INTERNAL_SERVER_ERROR));
        }
        for expected in [500, 500, 204] {
            assert_eq!(deliver_own(&by_event, &id).await, expected, "{id}");
        }
        let (to_one, to_two) = (one.take().len(), two.take().len());
        assert!(
            matches!((to_one, to_two), (3, 0) | (0, 3)),
            "{to_one} {to_two}"
        );
        // What the other one was told to do is not for the next event.
        let other = if to_one == 0 { &one } else { &two };
        drain(other).await;
    }
}

/// Spends the two behaviours that nobody has asked for.
async fn drain(upstream: &Upstream) {
    for _ in 0..2 {
        let request = beatapi().delivery("spent");
        let _ = try_send(upstream.address(), request).await;
    }
    upstream.take();
}

#[tokio::test]
async fn a_server_that_is_busy_comes_after_one_that_is_not() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let gateway = gateway(&format!(
        "servers = [\"{}\", \"{}\"]\nbalance = \"least_requests\"",
        one.address(),
        two.address()
    ))
    .start();
    one.next(Behaviour::Hang);
    let stuck = deliver_own(&gateway, "evt_stuck");
    let others = async {
        while one.take().is_empty() {
            tokio::task::yield_now().await;
        }
        for index in 0..6 {
            assert_eq!(deliver_own(&gateway, &format!("evt_{index}")).await, 204);
        }
    };
    tokio::select! {
        status = stuck => panic!("it hangs: {status}"),
        () = others => {}
    }
    assert_eq!((one.take().len(), two.take().len()), (0, 6));
}

/// An upstream that takes its time, and the most requests that it has had at once.
async fn crowded() -> (Upstream, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let upstream = Upstream::start_with(|router| {
        router.layer(from_fn(move |request: extract::Request, next: Next| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                next.run(request).await
            }
        }))
    })
    .await;
    (upstream, seen)
}

#[tokio::test]
async fn no_server_gets_more_than_its_connections_and_what_waits_is_delivered() {
    // Over HTTP/2, one connection takes a hundred.
    for (limit, protocol, expected) in [
        ("max_connections = 2", "http1", 2),
        ("max_connections = 2", "h2c", 8),
        ("", "http1", 8),
    ] {
        let ((one, most_of_one), (two, most_of_two)) = (crowded().await, crowded().await);
        let gateway = gateway(&format!(
            "servers = [\"{}\", \"{}\"]\nconnect_timeout = \"8s\"\nprotocol = \"{protocol}\"\n\
             {limit}",
            one.address(),
            two.address()
        ))
        .start();
        let mut deliveries = JoinSet::new();
        for index in 0..16 {
            let address = gateway.address();
            deliveries.spawn(async move {
                let request = own(&format!("evt_{index}"));
                send(address, request).await.status.as_u16()
            });
        }
        let statuses = deliveries.join_all().await;
        assert_eq!(statuses, [204; 16], "{limit} {protocol}");
        for most in [most_of_one, most_of_two] {
            let most = most.load(Ordering::SeqCst);
            assert!(most <= expected, "{limit} {protocol}: {most}");
            assert!(most > expected / 2, "{limit} {protocol}: {most}");
        }
    }
}

#[tokio::test]
async fn what_finds_no_room_in_time_is_told_to_come_again_and_may() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&format!(
        "servers = [\"{}\"]\nmax_connections = 1\ntimeout = \"4s\"\nconnect_timeout = \"200ms\"",
        upstream.address()
    ))
    .start();
    upstream.next(Behaviour::Hang);
    let stuck = deliver_own(&gateway, "evt_stuck");
    let others = async {
        while upstream.take().is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            let reply = send(gateway.address(), own("evt_1")).await;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(reply.headers["retry-after"], "5");
            assert_eq!(reply.outcome(), Some("upstream"));
        }
        let metrics = gateway.ask("/metrics").await;
        for expected in [
            "hookgate_upstream_requests_in_flight{upstream=\"own\"} 1\n",
            "hookgate_refused_total{reason=\"upstream_busy\",source=\"own\"} 2\n",
        ] {
            assert!(metrics.contains(expected), "{metrics}");
        }
    };
    let (stuck, ()) = tokio::join!(stuck, others);
    assert_eq!(stuck, 504);
    assert!(upstream.take().is_empty(), "nothing was sent");
    // Its claim went back, and so did the room.
    assert_eq!(deliver_own(&gateway, "evt_1").await, 204);
    assert_eq!(upstream.take().len(), 1);
}

/// An answer that is no HTTP may well be the request itself, with what is secret in it.
#[tokio::test]
async fn what_an_upstream_sends_back_is_not_logged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let echo = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                // Not as a request line, which is parsed by its first letters.
                let _ = stream.write_all(b"\x01").await;
                let _ = stream.write_all(&bytes[..read]).await;
            }
        }
    });
    let gateway = Gateway::builder(address).start();
    let provided = Provided::named("beatapi");
    let reply = send(gateway.address(), provided.delivery("evt_canary")).await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    gateway.says("forwarding failed").await;
    let log = gateway.log();
    for secret in ["\\\"type\\\"", "hookgate-verified", "x-beatapi-signature"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    echo.abort();
}
