//! Distributed traces: the gateway propagates the trace context to the upstream. With the feature
//! `otel` it sends a span for each delivery to a collector.

use bytes::Bytes;
use hookgate_tests::{Gateway, TestProvider, Upstream, send};
use http::{Request, StatusCode};
use http_body_util::combinators::BoxBody;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Returns a genuine delivery with a `traceparent` header.
fn traced(provider: &TestProvider, id: &str) -> Request<BoxBody<Bytes, std::io::Error>> {
    let mut request = provider.delivery(id);
    let context = format!("00-{TRACE}-{PARENT}-01");
    let context = context.parse().expect("the header value is valid");
    request.headers_mut().insert("traceparent", context);
    request
}

#[tokio::test]
async fn without_a_collector_the_trace_context_is_forwarded_unchanged() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let response = send(
        gateway.address(),
        traced(&TestProvider::named("beatapi"), "evt_1"),
    )
    .await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    let arrival = &upstream.take_received()[0];
    assert_eq!(
        arrival.headers["traceparent"],
        format!("00-{TRACE}-{PARENT}-01")
    );
}

#[cfg(feature = "otel")]
mod with_a_collector {
    use std::time::{Duration, Instant};

    use hookgate_tests::now;
    use tokio::time::sleep;

    use super::*;

    fn gateway(upstream: &Upstream, collector: &Upstream) -> Gateway {
        let endpoint = format!("http://{}", collector.address());
        Gateway::builder(upstream.address())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .env("OTEL_METRICS_EXPORTER", "none")
            .start()
    }

    /// Waits for a span that contains `text`. Returns the export request with it.
    async fn wait_for_span(collector: &Upstream, text: &str) -> Vec<u8> {
        let start = Instant::now();
        loop {
            for arrival in collector.take_received() {
                assert_eq!(arrival.path, "/v1/traces");
                if contains(&arrival.body, text.as_bytes()) {
                    return arrival.body.to_vec();
                }
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{text}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    fn binary(id: &str) -> Vec<u8> {
        hex::decode(id).expect("the text is hex")
    }

    #[tokio::test]
    async fn a_delivery_has_a_span_in_the_trace_of_its_sender() {
        let (upstream, collector) = (Upstream::start().await, Upstream::start().await);
        let gateway = gateway(&upstream, &collector);
        let provider = TestProvider::named("beatapi");
        let response = send(gateway.address(), traced(&provider, "evt_1")).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
        let arrival = &upstream.take_received()[0];
        let traceparent = arrival.headers["traceparent"]
            .to_str()
            .expect("the bytes are UTF-8");
        let (trace, own) = (&traceparent[3..35], &traceparent[36..52]);
        assert_eq!(trace, TRACE);
        assert_ne!(own, PARENT);
        let span = wait_for_span(&collector, "webhook delivery").await;
        for id in [TRACE, PARENT, own] {
            assert!(contains(&span, &binary(id)), "{id}");
        }
        for text in ["hookgate.outcome", "forwarded", "evt_1", "beatapi"] {
            assert!(contains(&span, text.as_bytes()), "{text}");
        }
        assert!(!contains(&span, provider.secret.as_bytes()));
    }

    #[tokio::test]
    async fn the_span_of_an_outage_is_failed_and_not_refused() {
        let (upstream, collector) = (Upstream::start().await, Upstream::start().await);
        let gateway = gateway(&upstream, &collector);
        drop(upstream);
        let provider = TestProvider::named("beatapi");
        let response = send(gateway.address(), provider.delivery("evt_1")).await;
        assert_eq!(response.status, StatusCode::BAD_GATEWAY);
        let span = wait_for_span(&collector, "upstream_unreachable").await;
        assert!(contains(&span, b"failed"));
        for other in ["refused", "forwarded"] {
            assert!(!contains(&span, other.as_bytes()), "{other}");
        }
    }

    #[tokio::test]
    async fn an_unverified_request_cannot_choose_the_trace_of_its_span() {
        let (upstream, collector) = (Upstream::start().await, Upstream::start().await);
        let gateway = gateway(&upstream, &collector);
        let provider = TestProvider::named("beatapi");
        let mut forged = traced(&provider, "evt_1");
        let headers = provider.sign(b"{}", now(), "");
        forged.headers_mut().extend(headers);
        let response = send(gateway.address(), forged).await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED);
        let span = wait_for_span(&collector, "hookgate.reason").await;
        assert!(!contains(&span, &binary(TRACE)));
        // The gateway exports the remaining spans when it exits.
        let mut gateway = gateway;
        send(gateway.address(), traced(&provider, "evt_last")).await;
        gateway.signal("TERM");
        assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
        wait_for_span(&collector, "evt_last").await;
    }
}
