//! A real gRPC service, in a server of tonic behind the layer, with one port for it and
//! for webhooks over HTTP/1.1; and in another one behind the gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hookgate_tests::{Gateway, TestProvider, Upstream, now, send};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tonic_health::pb::health_check_response::ServingStatus;

/// What a caller reads: `grpc-status`, from wherever it is, and the message.
#[derive(Debug, PartialEq)]
struct Told {
    status: String,
    outcome: Option<String>,
    message: Bytes,
}

/// A health check of `service` as it is framed on the wire.
fn check(service: &str) -> Bytes {
    let len = u8::try_from(service.len()).expect("a short name");
    let field = [&[0x0a, len], service.as_bytes()].concat();
    let len = u32::try_from(field.len()).expect("a short message");
    [&[0][..], &len.to_be_bytes(), &field].concat().into()
}

async fn call(address: SocketAddr, headers: HeaderMap, body: Bytes) -> Told {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body))
        .expect("the request is valid");
    request.headers_mut().extend(headers);
    let response = sender
        .send_request(request)
        .await
        .expect("the server responds");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("the response is complete");
    let mut fields = head.headers;
    fields.extend(body.trailers().cloned().unwrap_or_default());
    let field = |name| {
        Some(
            fields
                .get(name)?
                .to_str()
                .expect("the bytes are UTF-8")
                .to_owned(),
        )
    };
    Told {
        status: field("grpc-status").expect("the status is valid"),
        outcome: field("hookgate-outcome"),
        message: body.to_bytes(),
    }
}

#[tokio::test]
async fn signed_calls_reach_the_service_once_and_others_do_not() {
    let provider = TestProvider::named("standard-webhooks");
    let upstream = Upstream::start_in_tonic(provider.layer()).await;
    the_verdicts_are_right(upstream.address()).await;
    // On the same port, a webhook.
    let reply = send(upstream.address(), provider.delivery("4")).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(upstream.take_received().len(), 1);
}

/// A gateway in front of a gRPC service.
fn gateway(upstream: SocketAddr, protocol: &str) -> Gateway {
    Gateway::builder(upstream)
        .server("h2c = true")
        .upstream(&format!("protocol = \"{protocol}\""))
        .table(
            "[[sources]]\nname = \"grpc\"\npath = \"/grpc.health.v1.Health/Check\"\n\
             provider = \"standard-webhooks\"\nsecrets = [\"env:GRPC\"]\nupstream = \"app\"",
        )
        .env("GRPC", TestProvider::named("standard-webhooks").secret)
        .start()
}

#[tokio::test]
async fn through_the_gateway_too() {
    let (upstream, _health) = Upstream::start_grpc().await;
    let gateway = gateway(upstream.address(), "h2c");
    the_verdicts_are_right(gateway.address()).await;
}

/// By the protocol that gRPC has for it, of one service or of the server as a whole.
#[tokio::test]
async fn a_service_that_says_it_does_not_serve_is_out_until_it_does() {
    for service in ["program", ""] {
        let (upstream, health) = Upstream::start_grpc().await;
        let gateway = Gateway::builder(upstream.address())
            .upstream(&format!(
                "protocol = \"h2c\"\nhealth = {{ grpc_service = \"{service}\", \
                 interval = \"20ms\", fall = 2, rise = 2 }}"
            ))
            .start();
        for (status, says) in [
            (tonic_health::ServingStatus::NotServing, "it does not serve"),
            (tonic_health::ServingStatus::Serving, "server is back"),
        ] {
            assert!(!gateway.log().contains(says), "{service}");
            health.set_service_status(service, status).await;
            gateway.wait_for_log(says).await;
        }
    }
}

#[tokio::test]
async fn a_server_without_that_service_is_out() {
    let (grpc, _health) = Upstream::start_grpc().await;
    for (upstream, says) in [
        (grpc, "it answers grpc-status 5"),
        // One that is no gRPC server, and answers 204 to everything.
        (Upstream::start().await, "its answer is not gRPC"),
    ] {
        let health = "health = { grpc_service = \"nobody\", interval = \"20ms\" }";
        let gateway = Gateway::builder(upstream.address())
            .upstream(&format!("protocol = \"h2c\"\n{health}"))
            .start();
        gateway.wait_for_log("server is out").await;
        gateway.wait_for_log(says).await;
    }
}

/// Who reads no trailers is told by a status what became of the call.
#[tokio::test]
async fn a_sender_over_http_1_is_not_told_that_a_call_succeeded_which_did_not() {
    let provider = TestProvider::named("standard-webhooks");
    let (upstream, _health) = Upstream::start_grpc().await;
    let gateway = gateway(upstream.address(), "h2c");
    let told = async |id: &str, service: &str| {
        let body = check(service);
        let mut request = provider.request(provider.sign(&body, now(), id), body);
        *request.uri_mut() = "/grpc.health.v1.Health/Check"
            .parse()
            .expect("the path is valid");
        let grpc = http::HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", grpc);
        let reply = send(gateway.address(), request).await;
        (reply.status.as_u16(), reply.outcome().map(str::to_owned))
    };
    let upstreams = Some("upstream".to_owned());
    let duplicate = Some("duplicate".to_owned());
    assert_eq!(told("1", "program").await, (204, None));
    assert_eq!(told("1", "program").await, (200, duplicate));
    assert_eq!(told("2", "nobody").await, (502, upstreams.clone()));
    assert_eq!(told("2", "nobody").await, (502, upstreams));
}

/// Who has signed a delivery and does not read the answer must not keep the gateway from
/// knowing what became of it, or its next try would be forwarded again.
#[tokio::test]
async fn a_sender_that_does_not_read_its_answer_does_not_keep_the_event_from_being_settled() {
    let provider = TestProvider::named("standard-webhooks");
    for len in [7, 100_000, 2 * 1024 * 1024] {
        let (address, calls) = answering(len).await;
        let gateway = gateway(address, "h2c");
        let body = check("program");
        let signed = || provider.sign(&body, now(), "1");
        let (mut answer, reads) = unread(gateway.address(), signed(), body.clone()).await;
        let again = call(gateway.address(), signed(), body.clone()).await;
        assert_eq!(again.outcome.as_deref(), Some("duplicate"), "{len}");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{len}");
        if len <= 100_000 {
            // What is held for it is there when it reads at last.
            reads.send(()).expect("the connection is there");
            let mut read = 0;
            while let Some(chunk) = answer.data().await {
                let chunk = chunk.expect("no end of it").len();
                let flow = answer.flow_control();
                flow.release_capacity(chunk).expect("the claim was granted");
                read += chunk;
            }
            assert_eq!(read, len);
            let trailers = answer.trailers().await.expect("the end").expect("trailers");
            assert_eq!(trailers["grpc-status"], "0");
        } else {
            // More than that is not held for anybody.
            let end = answer.data().await.expect("the response ends early");
            assert!(end.expect_err("cut off").is_reset());
        }
    }
}

/// A gRPC service whose every answer is a message of `len` bytes, and how many calls it
/// has had.
async fn answering(len: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream)
                    .await
                    .expect("the HTTP/2 handshake succeeds");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    let head = http::Response::builder().header("content-type", "application/grpc");
                    let head = head.body(()).expect("the head is valid");
                    let mut stream = respond
                        .send_response(head, false)
                        .expect("the connection is open");
                    let message = Bytes::from(vec![0; len]);
                    stream
                        .send_data(message, false)
                        .expect("the connection is open");
                    let status = (
                        "grpc-status".parse().expect("the name is valid"),
                        "0".parse().expect("the bytes are UTF-8"),
                    );
                    let trailers = HeaderMap::from_iter([status]);
                    stream
                        .send_trailers(trailers)
                        .expect("the connection is open");
                }
            });
        }
    });
    (address, calls)
}

/// Calls, and opens no window for the answer before it is told to.
async fn unread(
    address: SocketAddr,
    headers: HeaderMap,
    body: Bytes,
) -> (h2::RecvStream, oneshot::Sender<()>) {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let mut client = h2::client::Builder::new();
    let (client, mut connection) = client
        .initial_window_size(0)
        .handshake(stream)
        .await
        .expect("the HTTP/2 handshake succeeds");
    let (reads, opens) = oneshot::channel();
    tokio::spawn(async move {
        tokio::select! {
            _ = &mut connection => return,
            Ok(()) = opens => {}
        }
        let opened = connection.set_initial_window_size(1 << 20);
        opened.expect("it is a size");
        let _ = connection.await;
    });
    let mut request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("the request is valid");
    request.headers_mut().extend(headers);
    let mut client = client
        .ready()
        .await
        .expect("the connection accepts a stream");
    let (answer, mut stream) = client
        .send_request(request, false)
        .expect("the client sends");
    stream.send_data(body, true).expect("the client sends");
    (answer.await.expect("the head is valid").into_body(), reads)
}

async fn the_verdicts_are_right(address: SocketAddr) {
    let provider = TestProvider::named("standard-webhooks");
    let told = |status: &str, outcome: Option<&str>, message: &[u8]| Told {
        status: status.to_owned(),
        outcome: outcome.map(str::to_owned),
        message: Bytes::copy_from_slice(message),
    };
    let serving = u8::try_from(ServingStatus::Serving as i32).expect("the number is small");
    let answer = [0, 0, 0, 0, 2, 0x08, serving];
    let (known, unknown) = (check("program"), check("nobody"));
    let signed = |id: &str, body: &Bytes| provider.sign(body, now(), id);
    for (name, headers, body, expected) in [
        (
            "good",
            signed("1", &known),
            &known,
            told("0", None, &answer),
        ),
        // Success, with a message in which nothing is set.
        (
            "again",
            signed("1", &known),
            &known,
            told("0", Some("duplicate"), &[0; 5]),
        ),
        (
            "tampered",
            signed("2", &known),
            &unknown,
            told("16", Some("refused"), b""),
        ),
        (
            "unsigned",
            HeaderMap::new(),
            &known,
            told("16", Some("refused"), b""),
        ),
        // NOT_FOUND: the service has failed, so the retry gets through.
        (
            "failing",
            signed("3", &unknown),
            &unknown,
            told("5", None, b""),
        ),
        (
            "its retry",
            signed("3", &unknown),
            &unknown,
            told("5", None, b""),
        ),
    ] {
        let found = call(address, headers, body.clone()).await;
        assert_eq!(found, expected, "{name}");
    }
}
