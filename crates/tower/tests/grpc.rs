//! Tests of gRPC responses: the status in the trailers settles the event.

mod support;

use std::convert::Infallible;
use std::future::ready;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_hookgate::{HookgateLayer, VerifiedBody};

use self::support::{BODY, Calls, signed, source};

type Frames = Vec<Result<Frame<Bytes>, std::io::Error>>;
type GrpcResponse = Response<BoxBody<Bytes, std::io::Error>>;

fn call() -> Request<Full<Bytes>> {
    let mut request = signed(BODY);
    *request.version_mut() = Version::HTTP_2;
    let content_type = HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", content_type);
    request
}

fn message() -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x01x")))
}

fn status(code: &'static str) -> Result<Frame<Bytes>, std::io::Error> {
    let trailers = [(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(code),
    )];
    Ok(Frame::trailers(HeaderMap::from_iter(trailers)))
}

fn reset() -> Result<Frame<Bytes>, std::io::Error> {
    Err(std::io::ErrorKind::ConnectionReset.into())
}

/// Returns a service that responds to every call with these frames.
fn responding_with(
    calls: &Calls,
    frames: fn() -> Frames,
) -> impl Service<Request<VerifiedBody>, Response = GrpcResponse, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let calls = calls.clone();
    service_fn(move |_| {
        calls.begin();
        let frames = frames();
        let body = StreamBody::new(Stream(frames.into_iter()));
        let mut response = Response::new(BodyExt::boxed(body));
        let content_type = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", content_type);
        ready(Ok(response))
    })
}

struct Stream(std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>);

impl futures_core::Stream for Stream {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

#[tokio::test]
async fn an_event_is_done_if_the_trailers_report_success() {
    type Row = (&'static str, fn() -> Frames, usize);
    let rows: [Row; 6] = [
        ("ok", || vec![message(), status("0")], 1),
        ("stream", || vec![message(), message(), status("0")], 1),
        ("failed", || vec![message(), status("13")], 2),
        ("no status", || vec![message()], 2),
        ("empty", Vec::new, 2),
        ("reset", || vec![message(), reset()], 2),
    ];
    for (name, frames, begun) in rows {
        let calls = Calls::default();
        let service = HookgateLayer::new(source()).layer(responding_with(&calls, frames));
        let sent: Frames = frames();
        let response = service.clone().oneshot(call()).await.unwrap();
        let body = response.into_body().collect().await;
        let trailers = sent
            .iter()
            .rev()
            .find_map(|frame| frame.as_ref().ok()?.trailers_ref());
        match body {
            Ok(body) => assert_eq!(body.trailers(), trailers, "{name}"),
            Err(error) => assert_eq!(
                (error.kind(), name),
                (std::io::ErrorKind::ConnectionReset, "reset")
            ),
        }
        let retry = service.oneshot(call()).await.unwrap();
        let is_duplicate = retry.headers().contains_key("hookgate-outcome");
        assert_eq!((calls.begun(), is_duplicate), (begun, begun == 1), "{name}");
    }
}

#[tokio::test]
async fn a_response_that_is_dropped_before_its_trailers_releases_the_claim() {
    let calls = Calls::default();
    let frames = || vec![message(), status("0")];
    let service = HookgateLayer::new(source()).layer(responding_with(&calls, frames));
    let mut body = service.clone().oneshot(call()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    drop(body);
    drop(service.oneshot(call()).await.unwrap());
    assert_eq!(calls.begun(), 2);
}
