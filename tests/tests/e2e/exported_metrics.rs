//! Metrics that are sent to an OpenTelemetry collector. They are those of `/metrics`, read from the
//! same registry. The collector of these tests decodes the messages of the protocol.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, GatewayBuilder, TestProvider, Upstream, now, send};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use prost::Message;
use tokio::time::sleep;

use crate::observability::METRICS;

/// An export: the attributes of the process, the metrics by their names, and the HTTP headers.
struct Export {
    resource: BTreeMap<String, String>,
    metrics: BTreeMap<String, Metric>,
    headers: HeaderMap,
}

impl Export {
    /// Returns the value of a counter or a gauge. `None` without such a series.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let points = match self.metrics.get(name)?.data.as_ref()? {
            metric::Data::Sum(sum) => {
                assert!(sum.is_monotonic, "{name}");
                &sum.data_points
            }
            metric::Data::Gauge(gauge) => &gauge.data_points,
            other => panic!("{name}: {other:?}"),
        };
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let labels: BTreeMap<String, String> = labels.collect();
        let mut points = points.iter();
        let point = points.find(|point| texts(&point.attributes) == labels)?;
        match point.value? {
            number_data_point::Value::AsDouble(value) => Some(value),
            number_data_point::Value::AsInt(value) => panic!("{name}: {value}"),
        }
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone()?.value? {
        any_value::Value::StringValue(text) => Some((attribute.key.clone(), text)),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}

/// Returns a gateway that exports its metrics every 50 ms.
fn exporting(upstream: &Upstream, collector: &Upstream) -> GatewayBuilder {
    let endpoint = format!("http://{}/own/path", collector.address());
    Gateway::builder(upstream.address())
        .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &endpoint)
        .env("OTEL_METRIC_EXPORT_INTERVAL", "50")
}

/// Sends a genuine delivery, which is forwarded.
async fn deliver(gateway: &Gateway, id: &str) {
    let delivery = TestProvider::named("beatapi").delivery(id);
    let response = send(gateway.address(), delivery).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
}

/// Waits for an export that satisfies `is_expected`.
async fn wait_for_export(collector: &Upstream, is_expected: impl Fn(&Export) -> bool) -> Export {
    let start = Instant::now();
    loop {
        for arrival in collector.take_received() {
            assert_eq!(arrival.path, "/own/path");
            let message = ExportMetricsServiceRequest::decode(arrival.body);
            let message = message.expect("the body is an export");
            let [resource] = &message.resource_metrics[..] else {
                panic!("{message:?}");
            };
            let attributes = resource.resource.as_ref().map(|of| &of.attributes[..]);
            let metrics = resource
                .scope_metrics
                .iter()
                .flat_map(|scope| &scope.metrics);
            let export = Export {
                resource: texts(attributes.unwrap_or_default()),
                metrics: metrics
                    .map(|metric| (metric.name.clone(), metric.clone()))
                    .collect(),
                headers: arrival.headers,
            };
            if is_expected(&export) {
                return export;
            }
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no such export");
        sleep(Duration::from_millis(10)).await;
    }
}

const FORWARDED: [(&str, &str); 2] = [("source", "beatapi"), ("outcome", "forwarded")];
const REFUSED: [(&str, &str); 2] = [("source", "beatapi"), ("outcome", "refused")];
const DELIVERIES: &str = "hookgate_deliveries_total";

#[tokio::test]
async fn a_collector_receives_the_metrics_of_the_prometheus_endpoint() {
    let (upstream, collector) = (Upstream::start().await, Upstream::start().await);
    let gateway = exporting(&upstream, &collector)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-team=a%20b")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        .start();
    for id in ["evt_1", "evt_2", "evt_3"] {
        deliver(&gateway, id).await;
    }
    let provider = TestProvider::named("beatapi");
    let forged = provider.request(provider.sign(b"{}", now(), ""), provider.body("evt_4"));
    let refused = send(gateway.address(), forged).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let verified = |export: &Export| match &export.metrics["hookgate_verify_seconds"].data {
        Some(metric::Data::Histogram(histogram)) => histogram.data_points[0].count,
        other => panic!("{other:?}"),
    };
    let is_complete = |export: &Export| {
        verified(export) == 4
            && export.value(DELIVERIES, &FORWARDED) == Some(3.0)
            && export.value(DELIVERIES, &REFUSED) == Some(1.0)
    };
    let export = wait_for_export(&collector, is_complete).await;
    assert_eq!(export.value("hookgate_replay_entries", &[]), Some(3.0));
    assert_eq!(export.resource["service.name"], "hookgate");
    assert_eq!(export.resource["deployment.environment"], "test");
    assert_eq!(export.headers["x-team"], "a b");
    assert_eq!(export.headers["content-type"], "application/x-protobuf");
    // Every metric of the endpoint is exported, and no other one. The histograms have the same
    // count, and the exports have counted nothing.
    let text = gateway.get_admin("/metrics").await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|line| line.split(' ').next());
    let names: Vec<String> = names.map(str::to_owned).collect();
    let exported: Vec<String> = export.metrics.keys().cloned().collect();
    assert_eq!(exported, names);
    assert!(names.len() > METRICS.len() / 2, "{names:?}");
    assert_eq!(
        gateway
            .existing_counter("hookgate_verify_seconds_count")
            .await,
        4
    );
    let later = wait_for_export(&collector, |_| true).await;
    assert_eq!(later.value(DELIVERIES, &FORWARDED), Some(3.0));
}

/// The control: without the variable, or with another exporter, nothing is sent.
#[tokio::test]
async fn no_metrics_are_sent_without_a_collector_or_with_another_exporter() {
    for exporter in ["none", "prometheus"] {
        let (upstream, collector) = (Upstream::start().await, Upstream::start().await);
        let mut gateway = exporting(&upstream, &collector)
            .env("OTEL_METRICS_EXPORTER", exporter)
            .start();
        deliver(&gateway, "evt_1").await;
        gateway.signal("TERM");
        assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
        assert!(collector.take_received().is_empty(), "{exporter}");
    }
}

#[tokio::test]
async fn the_last_metrics_are_sent_when_the_gateway_exits() {
    let (upstream, collector) = (Upstream::start().await, Upstream::start().await);
    let mut gateway = exporting(&upstream, &collector)
        .env("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
        .start();
    deliver(&gateway, "evt_1").await;
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_exit().await.code(), Some(0));
    let export = wait_for_export(&collector, |_| true).await;
    assert_eq!(export.value(DELIVERIES, &FORWARDED), Some(1.0));
}

#[tokio::test]
async fn a_collector_that_fails_harms_no_delivery_and_is_logged() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:1/")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "20")
        .start();
    gateway.wait_for_log("cannot send the metrics").await;
    deliver(&gateway, "evt_1").await;
    let log = gateway.log();
    assert_eq!(log.matches("cannot send the metrics").count(), 1, "{log}");
}

#[tokio::test]
async fn a_variable_that_is_not_supported_prevents_the_start_with_its_name() {
    let upstream = Upstream::start().await;
    for (name, value) in [
        ("OTEL_METRICS_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
    ] {
        let collector = Upstream::start().await;
        let started = exporting(&upstream, &collector)
            .env(name, value)
            .try_start();
        let log = started.expect_err("the gateway does not start");
        assert!(log.contains(name) && log.contains("expected"), "{log}");
    }
}
