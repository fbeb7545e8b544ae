//! Three real programs: the layer in an axum server and in a tonic server, and the
//! gateway in front of a server of its own, in every protocol. The same requests get
//! the same verdicts, and leave the same behind.

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

/// A front door with the program behind it.
struct Door {
    name: &'static str,
    protocol: Protocol,
    address: SocketAddr,
    upstream: Upstream,
    _gateway: Option<Gateway>,
}

impl Door {
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
            Self::gateway("HTTP/1.1 where h2c is", Protocol::Http1, h2c).await,
            Self::gateway("h2c", Protocol::Http2, h2c).await,
            Self::gateway("HTTP/1.1 over TLS", over_tls("http/1.1"), tls).await,
            Self::gateway("HTTP/2 over TLS", over_tls("h2"), tls).await,
        ]
    }

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

    /// Status, whether it is told to be a duplicate, and how often the program saw it.
    async fn send(&self, request: Request<BoxBody<Bytes, std::io::Error>>) -> Told {
        let reply = send_over(&self.protocol, self.address, request).await;
        let reply = reply.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let is_duplicate = reply.outcome() == Some("duplicate");
        (
            reply.status.as_u16(),
            is_duplicate,
            self.upstream.take_received().len(),
        )
    }
}

type Told = (u16, bool, usize);

/// What the store knows of the event of a request when it has been answered; it
/// shows in what a good delivery of the event is told then.
#[derive(Clone, Copy, Debug)]
enum Then {
    Absent,
    Done,
}

impl Then {
    fn told(self) -> Told {
        match self {
            Self::Absent => FORWARDED,
            Self::Done => DUPLICATE,
        }
    }
}

const REFUSED: Told = (401, false, 0);
const FORWARDED: Told = (204, false, 1);
const DUPLICATE: Told = (200, true, 0);

/// A request for the event `id`, and what must become of it.
struct Step {
    id: &'static str,
    request: Request<BoxBody<Bytes, std::io::Error>>,
    behaviour: Option<Behaviour>,
    expected: Told,
    then: Then,
}

/// Makes the steps for a provider: anew for each door, because requests cannot be
/// cloned. Each is of an event of its own, called after it.
struct Steps<'p> {
    provider: &'p TestProvider,
    steps: Vec<Step>,
}

impl Steps<'_> {
    fn add(
        &mut self,
        id: &'static str,
        request: Request<BoxBody<Bytes, std::io::Error>>,
        expected: Told,
        then: Then,
    ) {
        self.steps.push(Step {
            id,
            request,
            behaviour: None,
            expected,
            then,
        });
    }

    fn refused(&mut self, id: &'static str, request: Request<BoxBody<Bytes, std::io::Error>>) {
        self.add(id, request, REFUSED, Then::Absent);
    }

    /// A good delivery but for this change of its head.
    fn changed(&mut self, id: &'static str, change: impl FnOnce(&mut HeaderMap)) {
        let body = self.provider.body(id);
        let mut headers = self.provider.sign(&body, now(), id);
        change(&mut headers);
        self.refused(id, self.provider.request(headers, body));
    }

    /// A good delivery that the program answers so.
    fn answered(&mut self, id: &'static str, status: StatusCode, expected: Told, then: Then) {
        self.add(id, self.provider.delivery(id), expected, then);
        if let Some(step) = self.steps.last_mut() {
            step.behaviour = Some(Behaviour::Status(status));
        }
    }
}

fn steps(provider: &TestProvider) -> Vec<Step> {
    let mut of = Steps {
        provider,
        steps: Vec::new(),
    };
    of.add("good", provider.delivery("good"), FORWARDED, Then::Done);
    of.add(
        "chunked",
        chunked(provider, "chunked", 7),
        FORWARDED,
        Then::Done,
    );

    // What is not signed, not now, or not this.
    let outside = Duration::from_secs(302);
    for (id, at) in [
        ("stale", now().minus(outside)),
        ("future", now().plus(outside)),
    ] {
        let body = provider.body(id);
        of.refused(id, provider.request(provider.sign(&body, at, id), body));
    }
    let other = provider.sign(&provider.body("tampered"), now(), "tampered");
    of.refused(
        "tampered",
        provider.request(other, Bytes::from_static(b"{}")),
    );
    let bare = provider.request(HeaderMap::new(), provider.body("bare"));
    of.refused("bare", bare);
    let signature = match provider.name {
        "beatapi" => "x-beatapi-signature",
        "beel" => "beel-signature",
        _ => "webhook-signature",
    };
    of.changed("unsigned", |head| drop(head.remove(signature)));
    of.changed("empty", |head| drop(head.insert(signature, value(""))));
    of.changed("twice", |head| {
        let again = head[signature].clone();
        head.append(signature, again);
    });
    of.changed("short", |head| {
        let bytes = head[signature].as_bytes();
        let short = HeaderValue::from_bytes(&bytes[..bytes.len() - 1]).expect("the value is valid");
        head.insert(signature, short);
    });
    of.changed("garbage", |head| {
        drop(head.insert(signature, value("anything=")))
    });

    // Sizes and methods.
    let padding = "x".repeat(1024 * 1024 - 80);
    let large = serde_json::json!({ "id": "large", "data": padding }).to_string();
    let headers = provider.sign(large.as_bytes(), now(), "large");
    of.add(
        "large",
        provider.request(headers, large.into()),
        FORWARDED,
        Then::Done,
    );
    let too_large = Bytes::from(vec![b' '; 1024 * 1024 + 1]);
    let headers = provider.sign(&too_large, now(), "too_large");
    let request = provider.request(headers, too_large);
    of.add("too_large", request, (413, false, 0), Then::Absent);
    let get = as_get(provider.delivery("get"));
    of.add("get", get, (405, false, 0), Then::Absent);

    // What the program makes of it.
    use StatusCode as S;
    of.answered("ok", S::OK, (200, false, 1), Then::Done);
    of.answered("accepted", S::ACCEPTED, (202, false, 1), Then::Done);
    of.answered(
        "failed",
        S::INTERNAL_SERVER_ERROR,
        (500, false, 1),
        Then::Absent,
    );
    of.answered("unknown", S::NOT_FOUND, (404, false, 1), Then::Absent);
    of.answered("conflict", S::CONFLICT, (409, false, 1), Then::Absent);
    of.answered("gone", S::GONE, (502, false, 1), Then::Absent);
    of.answered("moved", S::FOUND, (502, false, 1), Then::Absent);
    of.steps
}

#[tokio::test]
async fn layer_and_gateway_come_to_the_same_verdicts_and_leave_the_same_behind() {
    for provider in TestProvider::all() {
        for door in Door::all(&provider).await {
            for step in steps(&provider) {
                let at = format!("{} {} {}", provider.name, door.name, step.id);
                if let Some(behaviour) = step.behaviour {
                    door.upstream.queue_behaviour(behaviour);
                }
                assert_eq!(door.send(step.request).await, step.expected, "{at}");
                let told = door.send(provider.delivery(step.id)).await;
                assert_eq!(told, step.then.told(), "{at}: then {:?}", step.then);
            }
        }
    }
}

/// A good delivery in frames of `len` bytes.
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

fn as_get(
    mut request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Request<BoxBody<Bytes, std::io::Error>> {
    *request.method_mut() = http::Method::GET;
    request
}

/// A body of several frames and of no known length.
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
