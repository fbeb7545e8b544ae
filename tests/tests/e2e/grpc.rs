//! A real gRPC service, in a server of tonic behind the layer: one port for it and for
//! webhooks over HTTP/1.1.

use std::net::SocketAddr;

use bytes::Bytes;
use hookgate_tests::{Provided, Upstream, now, send};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
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
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body))
        .expect("a request");
    request.headers_mut().extend(headers);
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("the whole answer");
    let mut fields = head.headers;
    fields.extend(body.trailers().cloned().unwrap_or_default());
    let field = |name| Some(fields.get(name)?.to_str().expect("text").to_owned());
    Told {
        status: field("grpc-status").expect("a status"),
        outcome: field("hookgate-outcome"),
        message: body.to_bytes(),
    }
}

#[tokio::test]
async fn signed_calls_reach_the_service_once_and_others_do_not() {
    let provided = Provided::named("standard-webhooks");
    let upstream = Upstream::start_in_tonic(provided.layer()).await;
    let told = |status: &str, outcome: Option<&str>, message: &[u8]| Told {
        status: status.to_owned(),
        outcome: outcome.map(str::to_owned),
        message: Bytes::copy_from_slice(message),
    };
    let serving = u8::try_from(ServingStatus::Serving as i32).expect("small");
    let answer = [0, 0, 0, 0, 2, 0x08, serving];
    let (known, unknown) = (check("program"), check("nobody"));
    let signed = |id: &str, body: &Bytes| provided.sign(body, now(), id);
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
        let found = call(upstream.address(), headers, body.clone()).await;
        assert_eq!(found, expected, "{name}");
    }
    // On the same port, a webhook.
    let reply = send(upstream.address(), provided.delivery("4")).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(upstream.take().len(), 1);
}
