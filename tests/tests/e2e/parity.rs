//! Two real axum programs: the layer in one, the gateway in front of the other.
//! The same requests get the same verdicts.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Behaviour, Gateway, Provided, Upstream, now, send};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::Frame;

/// A front door with the program behind it.
struct Door {
    name: &'static str,
    address: SocketAddr,
    upstream: Upstream,
    _gateway: Option<Gateway>,
}

impl Door {
    async fn layer(provided: &Provided) -> Self {
        let upstream = Upstream::start_with(|router| router.layer(provided.layer())).await;
        Self {
            name: "layer",
            address: upstream.address(),
            upstream,
            _gateway: None,
        }
    }

    async fn gateway() -> Self {
        let upstream = Upstream::start().await;
        let gateway = Gateway::builder(upstream.address()).start();
        Self {
            name: "gateway",
            address: gateway.address(),
            upstream,
            _gateway: Some(gateway),
        }
    }
}

/// A request, with what must become of it: status, whether it is told to be a
/// duplicate, and how often the program saw it.
struct Step {
    name: &'static str,
    request: Request<BoxBody<Bytes, std::io::Error>>,
    behaviour: Option<Behaviour>,
    expected: (u16, bool, usize),
}

fn step(
    name: &'static str,
    request: Request<BoxBody<Bytes, std::io::Error>>,
    expected: (u16, bool, usize),
) -> Step {
    Step {
        name,
        request,
        behaviour: None,
        expected,
    }
}

/// The steps for `provided`. Made anew for each door: requests cannot be cloned.
fn steps(provided: &Provided) -> Vec<Step> {
    const REFUSED: (u16, bool, usize) = (401, false, 0);
    const FORWARDED: (u16, bool, usize) = (204, false, 1);
    const DUPLICATE: (u16, bool, usize) = (200, true, 0);
    let outside = Duration::from_secs(302);
    let signed = |id: &str, at| {
        let body = provided.body(id);
        (provided.sign(&body, at, id), body)
    };
    let changed = |change: &dyn Fn(&mut HeaderMap)| {
        let (mut headers, body) = signed("evt_changed", now());
        change(&mut headers);
        provided.request(headers, body)
    };
    let signature = match provided.name {
        "beatapi" => "x-beatapi-signature",
        "beel" => "beel-signature",
        _ => "webhook-signature",
    };
    let (stale, stale_body) = signed("evt_stale", now().minus(outside));
    let (future, future_body) = signed("evt_future", now().plus(outside));
    let (tampered, _) = signed("evt_tampered", now());
    let (large, large_body) = {
        let padding = "x".repeat(1024 * 1024 - 80);
        let body = serde_json::json!({ "id": "evt_large", "data": padding }).to_string();
        (
            provided.sign(body.as_bytes(), now(), "evt_large"),
            Bytes::from(body),
        )
    };
    let (too_large, too_large_body) = {
        let body = Bytes::from(vec![b' '; 1024 * 1024 + 1]);
        (provided.sign(&body, now(), "evt_too_large"), body)
    };
    let chunked = |id: &str, chunk: usize| {
        let (headers, body) = signed(id, now());
        let frames: Vec<_> = body.chunks(chunk).map(Bytes::copy_from_slice).collect();
        let body = Frames(frames.into_iter());
        provided
            .request(headers, Bytes::new())
            .map(|_| BodyExt::boxed(body))
    };
    vec![
        step("good", provided.delivery("evt_1"), FORWARDED),
        step("same again", provided.delivery("evt_1"), DUPLICATE),
        step("another event", provided.delivery("evt_2"), FORWARDED),
        step(
            "tampered body",
            provided.request(tampered, Bytes::from_static(b"{}")),
            REFUSED,
        ),
        step("stale", provided.request(stale, stale_body), REFUSED),
        step(
            "in the future",
            provided.request(future, future_body),
            REFUSED,
        ),
        step(
            "no headers",
            provided.request(HeaderMap::new(), provided.body("evt_3")),
            REFUSED,
        ),
        step(
            "no signature",
            changed(&|h| drop(h.remove(signature))),
            REFUSED,
        ),
        step(
            "empty signature",
            changed(&|h| drop(h.insert(signature, value("")))),
            REFUSED,
        ),
        step(
            "signature twice",
            changed(&|h| {
                let again = h[signature].clone();
                h.append(signature, again);
            }),
            REFUSED,
        ),
        step(
            "signature cut short",
            changed(&|h| {
                let bytes = h[signature].as_bytes();
                let short = HeaderValue::from_bytes(&bytes[..bytes.len() - 1]).expect("a value");
                h.insert(signature, short);
            }),
            REFUSED,
        ),
        step(
            "garbage",
            changed(&|h| drop(h.insert(signature, value("anything=")))),
            REFUSED,
        ),
        step("1 MiB", provided.request(large, large_body), FORWARDED),
        step(
            "over the limit",
            provided.request(too_large, too_large_body),
            (413, false, 0),
        ),
        step("chunked", chunked("evt_chunked", 7), FORWARDED),
        step(
            "a get",
            as_get(provided.delivery("evt_get")),
            (405, false, 0),
        ),
        Step {
            behaviour: Some(Behaviour::Answer(StatusCode::INTERNAL_SERVER_ERROR)),
            ..step(
                "upstream fails",
                provided.delivery("evt_4"),
                (500, false, 1),
            )
        },
        step("retry after that", provided.delivery("evt_4"), FORWARDED),
        step("retry once more", provided.delivery("evt_4"), DUPLICATE),
        Step {
            behaviour: Some(Behaviour::Answer(StatusCode::NOT_FOUND)),
            ..step(
                "upstream does not know",
                provided.delivery("evt_5"),
                (404, false, 1),
            )
        },
        step("retry after 404", provided.delivery("evt_5"), FORWARDED),
        Step {
            behaviour: Some(Behaviour::Answer(StatusCode::GONE)),
            ..step(
                "upstream is gone",
                provided.delivery("evt_6"),
                (502, false, 1),
            )
        },
        Step {
            behaviour: Some(Behaviour::Answer(StatusCode::FOUND)),
            ..step(
                "upstream redirects",
                provided.delivery("evt_6"),
                (502, false, 1),
            )
        },
        step("retry after those", provided.delivery("evt_6"), FORWARDED),
    ]
}

#[tokio::test]
async fn layer_and_gateway_come_to_the_same_verdicts() {
    for provided in Provided::all() {
        for door in [Door::layer(&provided).await, Door::gateway().await] {
            for Step {
                name,
                request,
                behaviour,
                expected,
            } in steps(&provided)
            {
                if let Some(behaviour) = behaviour {
                    door.upstream.next(behaviour);
                }
                let reply = send(door.address, request).await;
                let found = (
                    reply.status.as_u16(),
                    reply.outcome() == Some("duplicate"),
                    door.upstream.take().len(),
                );
                assert_eq!(found, expected, "{} {} {name}", provided.name, door.name);
            }
        }
    }
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
