//! Connections to an upstream: TLS, HTTP/2, reuse, and the limits on connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract;
use axum::middleware::{Next, from_fn};
use bytes::Bytes;
use hookgate_tests::{Behaviour, Certificates, Gateway, Upstream, send};
use http::StatusCode;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{beatapi, deliver_own, gateway, own};

/// The start of the cause in the log if no authority of the gateway has issued the certificate.
const INVALID: &str = "invalid peer certificate: ";

#[tokio::test]
async fn an_upstream_certificate_is_verified_before_anything_is_sent() {
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
    for (name, upstream, server, tls, expected, cause) in [
        (
            "trusted authority",
            &open,
            named(open.address().port()),
            ca.clone(),
            204,
            None,
        ),
        (
            "system authorities only",
            &open,
            named(open.address().port()),
            String::new(),
            502,
            Some(INVALID),
        ),
        (
            "another authority",
            &open,
            named(open.address().port()),
            other_ca,
            502,
            Some(INVALID),
        ),
        (
            "address instead of the name",
            &open,
            format!("https://{}", open.address()),
            ca.clone(),
            502,
            Some("certificate not valid for name"),
        ),
        (
            "address with tls.name",
            &open,
            format!("https://{}", open.address()),
            format!("{ca}, name = \"localhost\""),
            204,
            None,
        ),
        (
            "client certificate of the right authority",
            &closed,
            named(closed.address().port()),
            identity(&clients),
            204,
            None,
        ),
        // In TLS 1.3, the server checks the client certificate after the client may send.
        (
            "client certificate of another authority",
            &closed,
            named(closed.address().port()),
            identity(&others),
            502,
            None,
        ),
    ] {
        for protocol in ["http1", "h2"] {
            let gateway = gateway(&format!(
                "servers = [\"{server}\"]\nprotocol = \"{protocol}\"\ntls = {{ {tls} }}\n\
                 timeout = \"25s\"\nconnect_timeout = \"25s\""
            ))
            .start();
            let status = deliver_own(&gateway, "evt_1").await;
            assert_eq!(status, expected, "{name} {protocol}: {}", gateway.log());
            if let Some(cause) = cause {
                gateway.wait_for_log(cause).await;
            }
            let arrivals = upstream.take_received();
            assert_eq!(arrivals.len(), usize::from(expected == 204), "{name}");
            if let Some(arrival) = arrivals.first() {
                assert_eq!(arrival.headers["hookgate-verified"], "true");
            }
        }
    }
}

#[tokio::test]
async fn an_upstream_receives_the_same_over_http_2_as_over_http_1() {
    let upstream = Upstream::start().await;
    let mut seen = Vec::new();
    for protocol in ["http1", "h2c"] {
        let gateway = gateway(&format!(
            "servers = [\"{}\"]\nprotocol = \"{protocol}\"",
            upstream.address()
        ))
        .start();
        // Three deliveries run concurrently; later ones reuse their connections.
        let first = tokio::join!(
            deliver_own(&gateway, "evt_1"),
            deliver_own(&gateway, "evt_2"),
            deliver_own(&gateway, "evt_3")
        );
        assert_eq!(first, (204, 204, 204), "{protocol}");
        upstream.queue_behaviour(Behaviour::Response(
            StatusCode::ACCEPTED,
            &[("x-response", "1")],
            Bytes::from(vec![b'z'; 1_000_000]),
        ));
        let mut request = beatapi().delivery("evt_4");
        *request.uri_mut() = "/own".parse().expect("the path is valid");
        let response = send(gateway.address(), request).await;
        assert_eq!(response.status, StatusCode::ACCEPTED);
        assert_eq!(response.headers["x-response"], "1");
        assert_eq!(response.body.len(), 1_000_000);
        upstream.queue_behaviour(Behaviour::Status(StatusCode::GONE));
        assert_eq!(deliver_own(&gateway, "evt_5").await, 502);
        let arrival = upstream.take_received().remove(3);
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

/// `REFUSED_STREAM` means that the server did not process the request (RFC 9113 §8.7).
#[tokio::test]
async fn a_delivery_on_a_refused_stream_is_sent_again_on_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream)
                    .await
                    .expect("the HTTP/2 handshake succeeds");
                let mut served = 0;
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    served += 1;
                    if served > 1 {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                        continue;
                    }
                    let count = Arc::clone(&count);
                    tokio::spawn(async move {
                        // An early success would not commit the event, so the body is read first.
                        let mut body = request.into_body();
                        while let Some(Ok(_)) = body.data().await {}
                        count.fetch_add(1, Ordering::SeqCst);
                        let head = http::Response::builder().status(204).body(());
                        let _ = respond.send_response(head.expect("the head is valid"), true);
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

/// Relays connections to `upstream`. Counts the connections made and the open ones.
async fn relay_and_count(
    listener: TcpListener,
    upstream: SocketAddr,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
) {
    loop {
        let (mut here, _) = listener.accept().await.expect("the server listens");
        let open = Arc::clone(&open);
        made.fetch_add(1, Ordering::SeqCst);
        open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let mut there = TcpStream::connect(upstream)
                .await
                .expect("the server listens");
            // The result does not matter: the connection has ended.
            let _: std::io::Result<_> = copy_bidirectional(&mut here, &mut there).await;
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Under `at_most_once` no connection is reused, and an idle one would occupy a small server.
#[tokio::test]
async fn with_at_most_once_no_connection_stays_open() {
    const DELIVERIES: usize = 10;
    let cases = ["at_most_once", "at_least_once"]
        .into_iter()
        .flat_map(|guarantee| ["http1", "h2c"].map(|protocol| (guarantee, protocol)));
    for (guarantee, protocol) in cases {
        let upstream = Upstream::start().await;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("the address is valid");
        let [made, open] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        tokio::spawn(relay_and_count(
            listener,
            upstream.address(),
            Arc::clone(&made),
            Arc::clone(&open),
        ));
        let gateway = Gateway::builder(address)
            .upstream(&format!(
                "protocol = \"{protocol}\"\nidle_timeout = \"120s\""
            ))
            .every_source(&format!("delivery = \"{guarantee}\""))
            .start();
        for event in 0..DELIVERIES {
            let delivery = beatapi().delivery(&format!("evt_{event}"));
            let response = send(gateway.address(), delivery).await;
            assert_eq!(response.status, StatusCode::NO_CONTENT);
        }
        let counted = || [&made, &open].map(|count| count.load(Ordering::SeqCst));
        let is_expected = || match (guarantee, counted()) {
            ("at_most_once", [made, open]) => made == DELIVERIES && open == 0,
            // The control. A sender can begin the next delivery before the connection of the
            // last one is idle, so some deliveries open another one.
            (_, [made, open]) => made < DELIVERIES && open > 0,
        };
        let settled = async {
            while !is_expected() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let settled = timeout(Duration::from_secs(60), settled).await;
        assert!(settled.is_ok(), "{guarantee} {protocol}: {:?}", counted());
    }
}

/// Starts a slow upstream that responds to no request until it has `expected` requests at once.
/// The counter holds its highest number of concurrent requests.
async fn counting_concurrency(expected: usize) -> (Upstream, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let upstream = Upstream::start_with(|router| {
        router.layer(from_fn(move |request: extract::Request, next: Next| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                while most.load(Ordering::SeqCst) < expected {
                    sleep(Duration::from_millis(5)).await;
                }
                // A request beyond the limit would arrive meanwhile.
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
async fn no_server_exceeds_max_connections_and_waiting_deliveries_are_sent() {
    // One HTTP/2 connection carries up to a hundred requests.
    for (limit, protocol, expected) in [
        ("max_connections = 2", "http1", 2),
        ("max_connections = 2", "h2c", 8),
        ("", "http1", 8),
    ] {
        let ((one, most_of_one), (two, most_of_two)) = (
            counting_concurrency(expected).await,
            counting_concurrency(expected).await,
        );
        let gateway = gateway(&format!(
            "servers = [\"{}\", \"{}\"]\ntimeout = \"25s\"\nconnect_timeout = \"25s\"\n\
             protocol = \"{protocol}\"\n{limit}",
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
            assert_eq!(most, expected, "{limit} {protocol}");
        }
    }
}

#[tokio::test]
async fn a_delivery_that_finds_no_free_connection_in_time_is_503_and_its_retry_is_forwarded() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&format!(
        "servers = [\"{}\"]\nmax_connections = 1\ntimeout = \"12s\"\nconnect_timeout = \"1s\"",
        upstream.address()
    ))
    .start();
    upstream.queue_behaviour(Behaviour::Hang);
    let stuck = deliver_own(&gateway, "evt_stuck");
    let others = async {
        while upstream.take_received().is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            let response = send(gateway.address(), own("evt_1")).await;
            assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers["retry-after"], "5");
            assert_eq!(response.outcome(), Some("upstream"));
        }
        let metrics = gateway.get_admin("/metrics").await;
        for expected in [
            "hookgate_upstream_requests_in_flight{upstream=\"own\"} 1\n",
            "hookgate_failed_total{reason=\"upstream_busy\",source=\"own\"} 2\n",
        ] {
            assert!(metrics.contains(expected), "{metrics}");
        }
    };
    let (stuck, ()) = tokio::join!(stuck, others);
    assert_eq!(stuck, 504);
    assert!(
        upstream.take_received().is_empty(),
        "a delivery was sent without a connection"
    );
    // The 503 released the claim, and the timeout freed the connection.
    assert_eq!(deliver_own(&gateway, "evt_1").await, 204);
    assert_eq!(upstream.take_received().len(), 1);
}
