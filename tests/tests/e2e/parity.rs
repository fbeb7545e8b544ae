//! Equal verdicts of the layer in an axum server, of the layer in a tonic server, and of the gateway
//! in every protocol. Equal requests also leave the replay store in the same state.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{
    Behaviour, Certificates, Gateway, GatewayBuilder, Protocol, TestProvider, Upstream, now,
    send_over,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::Frame;

/// An entry point with the upstream behind it.
struct EntryPoint {
    name: &'static str,
    protocol: Protocol,
    address: SocketAddr,
    upstream: Upstream,
    _gateway: Option<Gateway>,
}

impl EntryPoint {
    /// Starts every entry point for deliveries of `provider`.
    async fn all(provider: &TestProvider) -> Vec<Self> {
        let layer = |name, upstream: Upstream| Self {
            name,
            protocol: Protocol::Http1,
            address: upstream.address(),
            upstream,
            _gateway: None,
        };
        let axum = Upstream::start_with(|router| router.layer(provider.layer())).await;
        let tonic = Upstream::start_in_tonic(provider.layer()).await;
        let certificates = Certificates::new();
        certificates.issue("server", "localhost");
        let h2c = |gateway: GatewayBuilder| gateway.server("h2c = true");
        let tls = |gateway: GatewayBuilder| gateway.tls(&certificates);
        let over_tls = |protocol| Protocol::Tls(certificates.client(protocol));
        vec![
            layer("axum", axum),
            layer("tonic", tonic),
            Self::gateway("HTTP/1.1", Protocol::Http1, |gateway| gateway).await,
            Self::gateway("HTTP/1.1 with h2c enabled", Protocol::Http1, h2c).await,
            Self::gateway("h2c", Protocol::Http2, h2c).await,
            Self::gateway("HTTP/1.1 over TLS", over_tls("http/1.1"), tls).await,
            Self::gateway("HTTP/2 over TLS", over_tls("h2"), tls).await,
        ]
    }

    /// Starts a gateway with `adjust` applied to its configuration.
    async fn gateway(
        name: &'static str,
        protocol: Protocol,
        adjust: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Self {
        let upstream = Upstream::start().await;
        let gateway = adjust(Gateway::builder(upstream.address())).start();
        let address = match &protocol {
            Protocol::Http1 | Protocol::Http2 => gateway.address(),
            Protocol::Tls(_) => gateway.tls_address(),
        };
        Self {
            name,
            protocol,
            address,
            upstream,
            _gateway: Some(gateway),
        }
    }

    /// Sends `request`. Returns its verdict.
    async fn send(&self, request: Request<BoxBody<Bytes, std::io::Error>>) -> Verdict {
        let response = send_over(&self.protocol, self.address, request).await;
        let response = response.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let is_duplicate = response.outcome() == Some("duplicate");
        (
            response.status.as_u16(),
            is_duplicate,
            self.upstream.take_received().len(),
        )
    }
}

/// The status, whether the response marks a duplicate, and the number of forwarded requests.
type Verdict = (u16, bool, usize);

/// The record of the event in the replay store after the request. The verdict on a genuine delivery
/// of the event shows it.
#[derive(Clone, Copy, Debug)]
enum Record {
    Absent,
    Done,
}

impl Record {
    /// Returns the verdict on the next genuine delivery of the event.
    fn next_verdict(self) -> Verdict {
        match self {
            Self::Absent => FORWARDED,
            Self::Done => DUPLICATE,
        }
    }
}

const REFUSED: Verdict = (401, false, 0);
const FORWARDED: Verdict = (204, false, 1);
const DUPLICATE: Verdict = (200, true, 0);

/// A request for the event `id`, with the expected verdict and record.
struct Step {
    id: &'static str,
    request: Request<BoxBody<Bytes, std::io::Error>>,
    behaviour: Option<Behaviour>,
    expected: Verdict,
    record: Record,
}

/// Builds the steps for a provider. Each step has an event of its own, with the id of the step.
///
/// Every entry point needs new steps, because requests cannot be cloned.
struct Steps<'p> {
    provider: &'p TestProvider,
    steps: Vec<Step>,
}

impl Steps<'_> {
    fn add(
        &mut self,
        id: &'static str,
        request: Request<BoxBody<Bytes, std::io::Error>>,
        expected: Verdict,
        record: Record,
    ) {
        self.steps.push(Step {
            id,
            request,
            behaviour: None,
            expected,
            record,
        });
    }

    /// Adds a request that must be refused.
    fn add_refused(&mut self, id: &'static str, request: Request<BoxBody<Bytes, std::io::Error>>) {
        self.add(id, request, REFUSED, Record::Absent);
    }

    /// Adds a genuine delivery whose head is changed by `change`. It must be refused.
    fn add_changed(&mut self, id: &'static str, change: impl FnOnce(&mut HeaderMap)) {
        let body = self.provider.body(id);
        let mut headers = self.provider.sign(&body, now(), id);
        change(&mut headers);
        self.add_refused(id, self.provider.request(headers, body));
    }

    /// Adds a genuine delivery to which the upstream responds with `status`.
    fn add_response(
        &mut self,
        id: &'static str,
        status: StatusCode,
        expected: Verdict,
        record: Record,
    ) {
        self.add(id, self.provider.delivery(id), expected, record);
        if let Some(step) = self.steps.last_mut() {
            step.behaviour = Some(Behaviour::Status(status));
        }
    }
}

/// Returns the steps for `provider`.
fn steps(provider: &TestProvider) -> Vec<Step> {
    let mut steps = Steps {
        provider,
        steps: Vec::new(),
    };
    steps.add(
        "genuine",
        provider.delivery("genuine"),
        FORWARDED,
        Record::Done,
    );
    steps.add(
        "chunked",
        chunked(provider, "chunked", 7),
        FORWARDED,
        Record::Done,
    );

    // Deliveries outside of the window, tampered with, or without a valid signature.
    // Time passes before the deliveries are sent, so the second one must be far in the future.
    let outside = Duration::from_secs(3600);
    for (id, at) in [
        ("stale", now().minus(outside)),
        ("future", now().plus(outside)),
    ] {
        let body = provider.body(id);
        steps.add_refused(id, provider.request(provider.sign(&body, at, id), body));
    }
    let other = provider.sign(&provider.body("tampered"), now(), "tampered");
    steps.add_refused(
        "tampered",
        provider.request(other, Bytes::from_static(b"{}")),
    );
    let bare = provider.request(HeaderMap::new(), provider.body("bare"));
    steps.add_refused("bare", bare);
    let signature = match provider.name {
        "beatapi" => "x-beatapi-signature",
        "beel" => "beel-signature",
        _ => "webhook-signature",
    };
    steps.add_changed("unsigned", |head| drop(head.remove(signature)));
    steps.add_changed("empty", |head| drop(head.insert(signature, value(""))));
    steps.add_changed("twice", |head| {
        let again = head[signature].clone();
        head.append(signature, again);
    });
    steps.add_changed("short", |head| {
        let bytes = head[signature].as_bytes();
        let short = HeaderValue::from_bytes(&bytes[..bytes.len() - 1]).expect("the value is valid");
        head.insert(signature, short);
    });
    steps.add_changed("garbage", |head| {
        drop(head.insert(signature, value("anything=")))
    });

    // Sizes and methods.
    let padding = "x".repeat(1024 * 1024 - 80);
    let large = serde_json::json!({ "id": "large", "data": padding }).to_string();
    let headers = provider.sign(large.as_bytes(), now(), "large");
    steps.add(
        "large",
        provider.request(headers, large.into()),
        FORWARDED,
        Record::Done,
    );
    let too_large = Bytes::from(vec![b' '; 1024 * 1024 + 1]);
    let headers = provider.sign(&too_large, now(), "too_large");
    let request = provider.request(headers, too_large);
    steps.add("too_large", request, (413, false, 0), Record::Absent);
    let get = as_get(provider.delivery("get"));
    steps.add("get", get, (405, false, 0), Record::Absent);

    // Responses of the upstream.
    use StatusCode as S;
    steps.add_response("ok", S::OK, (200, false, 1), Record::Done);
    steps.add_response("accepted", S::ACCEPTED, (202, false, 1), Record::Done);
    steps.add_response(
        "failed",
        S::INTERNAL_SERVER_ERROR,
        (500, false, 1),
        Record::Absent,
    );
    steps.add_response("unknown", S::NOT_FOUND, (404, false, 1), Record::Absent);
    steps.add_response("conflict", S::CONFLICT, (409, false, 1), Record::Absent);
    steps.add_response("gone", S::GONE, (502, false, 1), Record::Absent);
    steps.add_response("moved", S::FOUND, (502, false, 1), Record::Absent);
    steps.steps
}

#[tokio::test]
async fn layer_and_gateway_reach_equal_verdicts_and_records() {
    for provider in TestProvider::all() {
        for entry_point in EntryPoint::all(&provider).await {
            for step in steps(&provider) {
                let at = format!("{} {} {}", provider.name, entry_point.name, step.id);
                if let Some(behaviour) = step.behaviour {
                    entry_point.upstream.queue_behaviour(behaviour);
                }
                assert_eq!(entry_point.send(step.request).await, step.expected, "{at}");
                let verdict = entry_point.send(provider.delivery(step.id)).await;
                assert_eq!(
                    verdict,
                    step.record.next_verdict(),
                    "{at}: record {:?}",
                    step.record
                );
            }
        }
    }
}

/// Returns a genuine delivery whose body has frames of `len` bytes.
fn chunked(
    provider: &TestProvider,
    id: &str,
    len: usize,
) -> Request<BoxBody<Bytes, std::io::Error>> {
    let body = provider.body(id);
    let headers = provider.sign(&body, now(), id);
    let frames: Vec<_> = body.chunks(len).map(Bytes::copy_from_slice).collect();
    provider
        .request(headers, Bytes::new())
        .map(|_| BodyExt::boxed(Frames(frames.into_iter())))
}

fn value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

/// Returns `request` with the method GET.
fn as_get(
    mut request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Request<BoxBody<Bytes, std::io::Error>> {
    *request.method_mut() = http::Method::GET;
    request
}

/// A body of several frames without a declared length.
struct Frames(std::vec::IntoIter<Bytes>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}
