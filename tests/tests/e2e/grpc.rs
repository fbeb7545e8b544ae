//! gRPC: a real service in a tonic server behind the layer, which also receives webhooks over
//! HTTP/1.1, and the same service behind the gateway. gRPC health checks are here as well.

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

/// The result of a call: the gRPC status, from the headers or the trailers, and the message.
#[derive(Debug, PartialEq)]
struct CallResult {
    status: String,
    outcome: Option<String>,
    message: Bytes,
}

/// Returns a framed gRPC message: a health check of `service`.
fn check(service: &str) -> Bytes {
    let len = u8::try_from(service.len()).expect("the name is short");
    let field = [&[0x0a, len], service.as_bytes()].concat();
    let len = u32::try_from(field.len()).expect("the message is short");
    [&[0][..], &len.to_be_bytes(), &field].concat().into()
}

/// Calls the health service with `headers` added.
async fn call(address: SocketAddr, headers: HeaderMap, body: Bytes) -> CallResult {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("the HTTP/2 handshake succeeds");
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
    CallResult {
        status: field("grpc-status").expect("the status is valid"),
        outcome: field("hookgate-outcome"),
        message: body.to_bytes(),
    }
}

#[tokio::test]
async fn behind_the_layer_genuine_calls_reach_the_service_once() {
    let provider = TestProvider::named("standard-webhooks");
    let upstream = Upstream::start_in_tonic(provider.layer()).await;
    assert_verdicts(upstream.address()).await;
    // A webhook over HTTP/1.1 uses the same port.
    let response = send(upstream.address(), provider.delivery("4")).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    assert_eq!(upstream.take_received().len(), 1);
}

/// Starts a gateway with a source for the calls of a gRPC service.
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
async fn behind_the_gateway_genuine_calls_reach_the_service_once() {
    let (upstream, _health) = Upstream::start_grpc().await;
    let gateway = gateway(upstream.address(), "h2c");
    assert_verdicts(gateway.address()).await;
}

/// The gRPC health protocol reports one service, or the whole server under the empty name.
#[tokio::test]
async fn a_server_is_unhealthy_while_its_service_reports_not_serving() {
    for service in ["program", ""] {
        let (upstream, health) = Upstream::start_grpc().await;
        let gateway = Gateway::builder(upstream.address())
            .upstream(&format!(
                "protocol = \"h2c\"\nhealth = {{ grpc_service = \"{service}\", \
                 interval = \"20ms\", fall = 2, rise = 2 }}"
            ))
            .start();
        for (status, expected_log) in [
            (
                tonic_health::ServingStatus::NotServing,
                "the gRPC service is not serving",
            ),
            (tonic_health::ServingStatus::Serving, "server healthy"),
        ] {
            assert!(!gateway.log().contains(expected_log), "{service}");
            health.set_service_status(service, status).await;
            gateway.wait_for_log(expected_log).await;
        }
    }
}

#[tokio::test]
async fn a_server_without_the_configured_service_is_unhealthy() {
    let (grpc, _health) = Upstream::start_grpc().await;
    for (upstream, expected_log) in [
        (grpc, "the gRPC status is 5"),
        // This upstream is no gRPC server: it responds 204 to everything.
        (Upstream::start().await, "the response is not gRPC"),
    ] {
        let health = "health = { grpc_service = \"unknown\", interval = \"20ms\" }";
        let gateway = Gateway::builder(upstream.address())
            .upstream(&format!("protocol = \"h2c\"\n{health}"))
            .start();
        gateway.wait_for_log("server unhealthy").await;
        gateway.wait_for_log(expected_log).await;
    }
}

/// An HTTP/1.1 sender reads no trailers, so the status must carry the result of the call.
#[tokio::test]
async fn a_failed_call_is_502_for_a_sender_over_http_1() {
    let provider = TestProvider::named("standard-webhooks");
    let (upstream, _health) = Upstream::start_grpc().await;
    let gateway = gateway(upstream.address(), "h2c");
    let result = async |id: &str, service: &str| {
        let body = check(service);
        let mut request = provider.request(provider.sign(&body, now(), id), body);
        *request.uri_mut() = "/grpc.health.v1.Health/Check"
            .parse()
            .expect("the path is valid");
        let grpc = http::HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", grpc);
        let response = send(gateway.address(), request).await;
        (
            response.status.as_u16(),
            response.outcome().map(str::to_owned),
        )
    };
    let upstreams = Some("upstream".to_owned());
    let duplicate = Some("duplicate".to_owned());
    assert_eq!(result("1", "program").await, (204, None));
    assert_eq!(result("1", "program").await, (200, duplicate));
    assert_eq!(result("2", "unknown").await, (502, upstreams.clone()));
    assert_eq!(result("2", "unknown").await, (502, upstreams));
    let lines = gateway.wait_for_access_log(4).await;
    let outcomes: Vec<_> = lines.iter().map(|line| &line["outcome"]).collect();
    assert_eq!(outcomes, ["forwarded", "duplicate", "failed", "failed"]);
}

/// The gateway must learn the outcome even if the sender does not read the response. Otherwise a
/// retry would be forwarded again.
#[tokio::test]
async fn an_event_is_settled_although_its_sender_does_not_read_the_response() {
    let provider = TestProvider::named("standard-webhooks");
    for len in [7, 100_000, 2 * 1024 * 1024] {
        let (address, calls) = respond_with_len(len).await;
        let gateway = gateway(address, "h2c");
        let body = check("program");
        let signed = || provider.sign(&body, now(), "1");
        let (mut response, reads) =
            call_without_reading(gateway.address(), signed(), body.clone()).await;
        let again = call(gateway.address(), signed(), body.clone()).await;
        assert_eq!(again.outcome.as_deref(), Some("duplicate"), "{len}");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{len}");
        if len <= 100_000 {
            // The gateway buffered the response until the sender reads it.
            reads.send(()).expect("the connection task runs");
            let mut read = 0;
            while let Some(chunk) = response.data().await {
                let chunk = chunk.expect("the response continues").len();
                let flow = response.flow_control();
                flow.release_capacity(chunk).expect("the claim was granted");
                read += chunk;
            }
            assert_eq!(read, len);
            let trailers = response
                .trailers()
                .await
                .expect("the response ends")
                .expect("the response has trailers");
            assert_eq!(trailers["grpc-status"], "0");
        } else {
            // The gateway does not buffer more, and resets the stream.
            let end = response.data().await.expect("the response ends early");
            assert!(end.expect_err("the stream is reset").is_reset());
        }
    }
}

/// Starts a gRPC service whose responses are messages of `len` bytes. The counter holds the number
/// of calls.
async fn respond_with_len(len: usize) -> (SocketAddr, Arc<AtomicUsize>) {
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
                while let Some(Ok((request, respond))) = connection.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(respond_after_request(request.into_body(), respond, len));
                }
            });
        }
    });
    (address, calls)
}

/// Reads the request to its end, and responds with a message of `len` bytes.
///
/// A success that precedes the end of the request does not count as delivered.
async fn respond_after_request(
    mut request: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    len: usize,
) {
    while let Some(chunk) = request.data().await {
        let chunk = chunk.expect("the request is complete");
        let flow = request.flow_control();
        flow.release_capacity(chunk.len())
            .expect("the chunk was received");
    }
    let head = http::Response::builder().header("content-type", "application/grpc");
    let head = head.body(()).expect("the head is valid");
    let mut stream = respond
        .send_response(head, false)
        .expect("the connection is open");
    stream
        .send_data(Bytes::from(vec![0; len]), false)
        .expect("the connection is open");
    let status = (
        "grpc-status".parse().expect("the name is valid"),
        "0".parse().expect("the bytes are UTF-8"),
    );
    stream
        .send_trailers(HeaderMap::from_iter([status]))
        .expect("the connection is open");
}

/// Calls the service with a closed flow-control window, which the returned sender opens.
async fn call_without_reading(
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
        opened.expect("the window size is valid");
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
    let (response, mut stream) = client
        .send_request(request, false)
        .expect("the client sends");
    stream.send_data(body, true).expect("the client sends");
    (
        response.await.expect("the head is valid").into_body(),
        reads,
    )
}

/// Asserts the results of genuine, repeated, forged, and failing calls.
async fn assert_verdicts(address: SocketAddr) {
    let provider = TestProvider::named("standard-webhooks");
    let result = |status: &str, outcome: Option<&str>, message: &[u8]| CallResult {
        status: status.to_owned(),
        outcome: outcome.map(str::to_owned),
        message: Bytes::copy_from_slice(message),
    };
    let serving = u8::try_from(ServingStatus::Serving as i32).expect("the number is small");
    let response = [0, 0, 0, 0, 2, 0x08, serving];
    let (known, unknown) = (check("program"), check("unknown"));
    let signed = |id: &str, body: &Bytes| provider.sign(body, now(), id);
    for (name, headers, body, expected) in [
        (
            "genuine",
            signed("1", &known),
            &known,
            result("0", None, &response),
        ),
        // The response is a success with an empty message.
        (
            "duplicate",
            signed("1", &known),
            &known,
            result("0", Some("duplicate"), &[0; 5]),
        ),
        (
            "tampered",
            signed("2", &known),
            &unknown,
            result("16", Some("refused"), b""),
        ),
        (
            "unsigned",
            HeaderMap::new(),
            &known,
            result("16", Some("refused"), b""),
        ),
        // The service responds NOT_FOUND, which releases the claim.
        (
            "failed",
            signed("3", &unknown),
            &unknown,
            result("5", None, b""),
        ),
        (
            "retry of the failed call",
            signed("3", &unknown),
            &unknown,
            result("5", None, b""),
        ),
    ] {
        let found = call(address, headers, body.clone()).await;
        assert_eq!(found, expected, "{name}");
    }
}
