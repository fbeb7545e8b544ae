//! What the gateway sends on, what it keeps, and what it does when the upstream
//! does not do its part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Scheme, Secret, Signer};
use hookgate_tests::{Behaviour, Gateway, Provided, Upstream, now, send};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const SECRET: &str = "a-secret-of-these-tests-0123456789";

fn beatapi() -> Provided {
    Provided::named("beatapi")
}

#[tokio::test]
async fn the_upstream_gets_the_exact_bytes_and_our_word_on_them() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provided = beatapi();
    // Compressed, as far as anybody here knows: not to be touched.
    let body = Bytes::from_static(b"\x1f\x8b\x08\0\xff\xfe not text {\"id\":");
    let mut headers = provided.sign(&body, now(), "");
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    headers.insert("x-custom", HeaderValue::from_static("kept"));
    let reply = send(
        gateway.address(),
        provided.request(headers.clone(), body.clone()),
    )
    .await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);

    let arrival = upstream.take().pop().expect("it was forwarded");
    assert_eq!(arrival.body, body);
    assert_eq!(arrival.path, "/hooks/beatapi");
    let got = |name: &str| {
        arrival
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    for (name, expected) in [
        ("host", Some("hooks.example")),
        ("content-encoding", Some("gzip")),
        ("x-custom", Some("kept")),
        ("content-length", Some(body.len().to_string().as_str())),
        ("transfer-encoding", None),
        ("hookgate-verified", Some("true")),
        ("hookgate-source", Some("beatapi")),
        ("hookgate-provider", Some("beatapi")),
        ("hookgate-key-id", Some("1")),
        ("hookgate-attempt", Some("1")),
        ("hookgate-event-id", None),
        (
            "hookgate-timestamp",
            headers["x-beatapi-timestamp"].to_str().ok(),
        ),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("hooks.example")),
    ] {
        assert_eq!(got(name), expected, "{name}");
    }
    assert_eq!(got("x-request-id").map(str::len), Some(32));
}

#[tokio::test]
async fn no_spelling_of_our_headers_gets_past_us() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provided = beatapi();
    let body = provided.body("evt_1");
    let mut headers = provided.sign(&body, now(), "");
    for name in [
        "hookgate-verified",
        "hookgate_verified",
        "hookgate.verified",
        "hookgate-event-id",
        "hookgate_source",
        "x-forwarded-for",
        "x_forwarded_for",
        "forwarded",
        "x-request-id",
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static("forged"),
        );
    }
    // A sender that lists our headers in `Connection` does not take them away.
    headers.insert("x-hop", HeaderValue::from_static("1"));
    let named = HeaderValue::from_static("hookgate-verified, hookgate-source, x-hop");
    headers.insert("connection", named);
    assert_eq!(
        send(gateway.address(), provided.request(headers, body))
            .await
            .status,
        204
    );

    let arrival = upstream.take().pop().expect("it was forwarded");
    assert!(
        arrival.headers.values().all(|value| value != "forged"),
        "{:?}",
        arrival.headers
    );
    assert_eq!(
        arrival.headers.get_all("hookgate-verified").iter().count(),
        1
    );
    assert_eq!(arrival.headers["hookgate-verified"], "true");
    assert_eq!(arrival.headers["hookgate-source"], "beatapi");
    assert!(!arrival.headers.contains_key("x-hop"));
}

/// Otherwise who has got hold of a delivery that did not arrive could have it arrive without what
/// was verified.
#[tokio::test]
async fn no_connection_takes_what_the_scheme_reads() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let provided = Provided::named("standard-webhooks");
    let body = provided.body("evt_1");
    let mut headers = provided.sign(&body, now(), "evt_1");
    for (name, value) in [
        (
            "connection",
            "webhook-id, Webhook-Signature, content-type, x-hop",
        ),
        ("content-type", "application/json"),
        ("x-hop", "1"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let reply = send(gateway.address(), provided.request(headers.clone(), body)).await;
    assert_eq!(reply.status, 204);
    let arrival = upstream.take().pop().expect("it was forwarded");
    for name in [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "content-type",
    ] {
        assert_eq!(arrival.headers.get(name), headers.get(name), "{name}");
    }
    assert!(!arrival.headers.contains_key("x-hop"));
}

#[tokio::test]
async fn a_request_id_that_is_signed_arrives_as_it_came() {
    let scheme = "alg = \"hmac-sha256\"\nsig = { in = \"header:x-sig\", enc = \"hex\" }\n\
                  msg = \"{header:x-request-id}.{body}\"\nid = \"header:x-request-id\"";
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table(&format!(
            "[[sources]]\nname = \"own\"\npath = \"/own\"\nsecrets = [\"env:OWN\"]\n\
             upstream = \"app\"\n[sources.scheme]\n{scheme}"
        ))
        .env("OWN", SECRET)
        .start();
    let scheme = Scheme::from_toml(scheme).expect("it loads");
    let signer = Signer::new(&scheme, &Secret::new(SECRET).expect("a secret")).expect("it fits");
    let request = Request::post("/own")
        .header("host", "hooks.example")
        .body(Bytes::from_static(b"{}"))
        .expect("a request");
    let signed = signer.sign_request(request, now(), Some("evt_1"));
    let whole = |body| Full::new(body).map_err(|never| match never {}).boxed();
    let signed = signed.expect("it can be signed").map(whole);
    assert_eq!(send(gateway.address(), signed).await.status, 204);
    let arrival = upstream.take().pop().expect("it was forwarded");
    let ids: Vec<_> = arrival.headers.get_all("x-request-id").iter().collect();
    assert_eq!(ids, ["evt_1"]);
    assert_eq!(arrival.headers["hookgate-request-id"].len(), 32);
}

#[tokio::test]
async fn the_upstreams_answer_is_passed_on() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let large = Bytes::from(vec![b'z'; 3_000_000]);
    let behaviour = Behaviour::Respond(
        StatusCode::ACCEPTED,
        &[
            ("x-answer", "1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ],
        large.clone(),
    );
    upstream.next(behaviour);
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.body, large);
    assert_eq!(reply.headers["x-answer"], "1");
    assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 2);
    assert!(!reply.headers.contains_key("x-hop"));
}

#[tokio::test]
async fn answers_that_would_end_a_subscription_are_withheld_and_the_retry_gets_through() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for (index, status) in [301, 302, 304, 307, 410].into_iter().enumerate() {
        let event = format!("evt_{index}");
        upstream.next(Behaviour::Answer(
            StatusCode::from_u16(status).expect("a status"),
        ));
        let reply = send(gateway.address(), beatapi().delivery(&event)).await;
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{status}");
        let retry = send(gateway.address(), beatapi().delivery(&event)).await;
        assert_eq!(retry.status, StatusCode::NO_CONTENT, "{status}");
    }
    assert_eq!(upstream.take().len(), 10);
}

/// An address that nobody listens on. Bound once, so that nobody else gets it.
async fn closed_port() -> (SocketAddr, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a free port");
    (socket.local_addr().expect("it is bound"), socket)
}

#[tokio::test]
async fn an_upstream_that_is_down_is_502_and_the_retry_gets_through() {
    let (address, socket) = closed_port().await;
    let gateway = Gateway::builder(address).start();
    let down = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (down.status, down.outcome()),
        (StatusCode::BAD_GATEWAY, Some("upstream"))
    );

    // It comes up, and the claim is free.
    let listener = socket.listen(8).expect("it listens now");
    let server = tokio::spawn(answer_each(listener, b"HTTP/1.1 204 No Content\r\n\r\n"));
    let retry = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(retry.status, StatusCode::NO_CONTENT);
    server.abort();
}

#[tokio::test]
async fn of_two_servers_the_one_that_lives_gets_it() {
    let (dead, _socket) = closed_port().await;
    let upstream = Upstream::start().await;
    let live = upstream.address();
    let gateway = Gateway::builder(dead)
        .table(&format!(
            "[upstreams.pair]\nservers = [\"{dead}\", \"{live}\"]"
        ))
        .table(
            "[[sources]]\nname = \"pair\"\npath = \"/pair\"\nprovider = \"beatapi\"\n\
             secrets = [\"env:PAIR\"]\nupstream = \"pair\"",
        )
        .env("PAIR", beatapi().secret)
        .start();
    for index in 0..6 {
        let mut request = beatapi().delivery(&format!("evt_{index}"));
        *request.uri_mut() = "/pair".parse().expect("a path");
        assert_eq!(
            send(gateway.address(), request).await.status,
            StatusCode::NO_CONTENT
        );
    }
    assert_eq!(upstream.take().len(), 6);
}

#[tokio::test]
async fn an_upstream_that_is_late_is_504_and_its_event_is_forwarded_again_as_a_second_attempt() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .upstream("timeout = \"300ms\"")
        .every_source("duplicate_wait = \"20s\"")
        .start();
    upstream.next(Behaviour::Hang);
    let late = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    // The retry waits for the lease to run out, because nobody knows whether
    // the first attempt did its work.
    let retry = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(retry.status, StatusCode::NO_CONTENT);
    let attempts: Vec<_> = upstream
        .take()
        .into_iter()
        .map(|arrival| {
            arrival.headers["hookgate-attempt"]
                .to_str()
                .expect("text")
                .to_owned()
        })
        .collect();
    assert_eq!(attempts, ["1", "2"]);
}

#[tokio::test]
async fn with_at_most_once_an_unknown_outcome_is_not_forwarded_again() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .upstream("timeout = \"300ms\"")
        .every_source("duplicate_wait = \"6s\"\ndelivery = \"at_most_once\"")
        .start();
    upstream.next(Behaviour::Hang);
    let late = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    let retry = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(retry.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(retry.headers.contains_key("retry-after"));
    assert_eq!(upstream.take().len(), 1);
}

/// Passes connections on to `upstream`, and counts those that were made and those that are open.
async fn count(
    listener: TcpListener,
    upstream: SocketAddr,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
) {
    loop {
        let (mut here, _) = listener.accept().await.expect("it listens");
        let open = Arc::clone(&open);
        made.fetch_add(1, Ordering::SeqCst);
        open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let mut there = TcpStream::connect(upstream).await.expect("it listens");
            // However it ends.
            let _: std::io::Result<_> = copy_bidirectional(&mut here, &mut there).await;
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Nobody would use it again, and a small server has no other to spare.
#[tokio::test]
async fn with_at_most_once_no_connection_is_kept() {
    for (promise, protocol, expected) in [
        ("at_most_once", "http1", [10, 0]),
        ("at_most_once", "h2c", [10, 0]),
        ("at_least_once", "http1", [1, 1]),
        ("at_least_once", "h2c", [1, 1]),
    ] {
        let upstream = Upstream::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let [made, open] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        tokio::spawn(count(
            listener,
            upstream.address(),
            Arc::clone(&made),
            Arc::clone(&open),
        ));
        let gateway = Gateway::builder(address)
            .upstream(&format!("protocol = \"{protocol}\""))
            .every_source(&format!("delivery = \"{promise}\""))
            .start();
        for event in 0..10 {
            let delivery = beatapi().delivery(&format!("evt_{event}"));
            let reply = send(gateway.address(), delivery).await;
            assert_eq!(reply.status, StatusCode::NO_CONTENT);
        }
        let counted = || [&made, &open].map(|count| count.load(Ordering::SeqCst));
        let settled = async {
            while counted() != expected {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let settled = timeout(Duration::from_secs(20), settled).await;
        assert!(settled.is_ok(), "{promise} {protocol}: {:?}", counted());
    }
}

/// Reads each request to the end of its body, which closing would answer with a reset
/// otherwise, and answers with `answer`; closes the connection then.
async fn answer_each(listener: TcpListener, answer: &'static [u8]) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("it listens");
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            if stream.read_buf(&mut request).await.expect("it reads") == 0 {
                break;
            }
        }
        stream.write_all(answer).await.expect("it writes");
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_gets_no_second_copy_behind_the_senders_back() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 2",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"nonsense\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (seen, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("it listens");
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    if stream.read_buf(&mut request).await.expect("it reads") == 0 {
                        break;
                    }
                }
                seen.send(()).expect("the test listens");
                stream.write_all(answer).await.expect("it writes");
            }
        });
        let gateway = Gateway::builder(address).start();
        let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{answer:?}");
        assert_eq!(arrivals.recv().await, Some(()));
        assert!(
            arrivals.try_recv().is_err(),
            "{answer:?}: it was sent twice"
        );
        server.abort();
    }
}

/// Reads some of each request and answers; once for each of `answers`, with a
/// pause between its parts, on as many connections as are opened.
async fn answer_early(listener: TcpListener, parts: &'static [&'static [u8]]) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("it listens");
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                for part in parts {
                    let _ = stream.write_all(part).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_read_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("it listens");
            let mut some = [0; 4096];
            let _ = stream.read(&mut some).await;
            let refusal =
                b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(refusal).await;
            let _ = stream.shutdown().await;
            // Kept, so that what was not read does not reset the connection.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                drop(stream);
            });
        }
    });
    let gateway = Gateway::builder(address)
        .every_source("body = \"64MiB\"")
        .start();
    let provided = beatapi();
    let body = Bytes::from(vec![b' '; 100_000]);
    let reply = send(
        gateway.address(),
        provided.request(provided.sign(&body, now(), ""), body),
    );
    assert_eq!(reply.await.status, StatusCode::PAYLOAD_TOO_LARGE);
    server.abort();
}

/// A connection whose state is not known must not carry another delivery: its
/// sender would get somebody else's answer.
#[tokio::test]
async fn an_answer_that_contradicts_itself_does_not_poison_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(answer_early(
        listener,
        &[
            b"HTTP/1.1 204 No Content\r\ncontent-length: 40\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL",
        ],
    ));
    let gateway = Gateway::builder(address).start();
    for index in 0..6 {
        let reply = send(
            gateway.address(),
            beatapi().delivery(&format!("evt_{index}")),
        )
        .await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{index}");
        assert!(!reply.headers.contains_key("content-length"), "{index}");
    }
    server.abort();
}

#[tokio::test]
async fn an_answer_of_http_1_0_is_framed_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(answer_each(listener, b"HTTP/1.0 200 OK\r\n\r\nto the end"));
    let gateway = Gateway::builder(address).start();
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (reply.status, reply.body.as_ref()),
        (StatusCode::OK, &b"to the end"[..])
    );
    assert_eq!(reply.headers["transfer-encoding"], "chunked");
    server.abort();
}

#[tokio::test]
async fn an_answer_in_a_coding_that_is_not_known_is_withheld() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let server = tokio::spawn(answer_each(listener, answer));
    let gateway = Gateway::builder(address).start();
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_no_delivery_is_lost_to_the_server_that_is_down() {
    let (dead, _socket) = closed_port().await;
    let upstream = Upstream::start().await;
    let live = upstream.address();
    let pair = format!("[upstreams.pair]\nservers = [\"{dead}\", \"{live}\"]");
    let source = "[[sources]]\nname = \"pair\"\npath = \"/pair\"\nprovider = \"beatapi\"\n\
                  secrets = [\"env:PAIR\"]\nupstream = \"pair\"";
    let gateway = Gateway::builder(live)
        .table(&pair)
        .table(source)
        .env("PAIR", beatapi().secret)
        .start();
    let mut deliveries = tokio::task::JoinSet::new();
    for index in 0..200 {
        let mut request = beatapi().delivery(&format!("evt_{index}"));
        *request.uri_mut() = "/pair".parse().expect("a path");
        deliveries.spawn(send(gateway.address(), request));
    }
    let replies = deliveries.join_all().await;
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == StatusCode::NO_CONTENT)
    );
    assert_eq!(upstream.take().len(), 200);
}

/// A log that nobody takes must neither stop deliveries nor change what becomes
/// of them.
#[tokio::test]
async fn a_log_that_nobody_reads_is_no_reason_to_lose_a_delivery() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::builder(upstream.address()).start();
    gateway.stop_reading_the_log();
    for index in 0..20 {
        let event = format!("evt_{index}");
        for expected in [StatusCode::NO_CONTENT, StatusCode::OK] {
            assert_eq!(
                send(gateway.address(), beatapi().delivery(&event))
                    .await
                    .status,
                expected
            );
        }
    }
    assert_eq!(upstream.take().len(), 20);
}

#[tokio::test]
async fn interim_answers_are_read_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let answer = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
                   HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
    let server = tokio::spawn(answer_each(listener, answer));
    let gateway = Gateway::builder(address).start();
    let reply = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (reply.status, reply.body.as_ref()),
        (StatusCode::CREATED, &b"ok"[..])
    );
    server.abort();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_on_as_a_whole_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let server = tokio::spawn(answer_each(listener, answer));
    let gateway = Gateway::builder(address).start();
    let request = raw_delivery("evt_1");
    let reply = hookgate_tests::exchange_raw(gateway.address(), &request, Duration::from_secs(5));
    let reply = String::from_utf8(reply.await).expect("text");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert!(!reply.contains("0\r\n\r\n"), "{reply}");
    server.abort();
}

#[tokio::test]
async fn a_sender_that_hangs_up_does_not_stop_its_delivery() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    upstream.next(Behaviour::After(
        Duration::from_millis(300),
        StatusCode::NO_CONTENT,
    ));
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("it listens");
    stream
        .write_all(&raw_delivery("evt_1"))
        .await
        .expect("it reads");
    while upstream.take().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(stream);
    // The same event waits for the first delivery, which runs on.
    let again = send(gateway.address(), beatapi().delivery("evt_1")).await;
    assert_eq!(
        (again.status, again.outcome()),
        (StatusCode::OK, Some("duplicate"))
    );
    assert!(upstream.take().is_empty());
}

/// A good delivery as bytes.
pub(crate) fn raw_delivery(id: &str) -> Vec<u8> {
    let provided = beatapi();
    let body = provided.body(id);
    raw_request(&provided.path(), &provided.sign(&body, now(), id), &body)
}

fn raw_request(path: &str, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: hooks.example\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    request
}
