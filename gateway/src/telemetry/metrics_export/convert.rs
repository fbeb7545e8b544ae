//! Turns metrics of Prometheus into the messages of the OpenTelemetry protocol.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto::{self, MetricFamily, MetricType};

/// The times of all values of an export, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When the process started to count.
    pub(super) start: u64,
    pub(super) now: u64,
}

/// Returns the message that exports `families`.
pub(super) fn export_request(
    families: &[MetricFamily],
    resource: Resource,
    times: Times,
) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope {
        name: "hookgate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let metrics = families.iter().filter_map(|family| metric(family, times));
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics: metrics.collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// Returns a metric with its series. `None` for a type that the gateway does not have.
fn metric(family: &MetricFamily, times: Times) -> Option<Metric> {
    let series = family.get_metric();
    let temporality = AggregationTemporality::Cumulative.into();
    let numbers = |value: fn(&proto::Metric) -> f64, start| {
        series
            .iter()
            .map(|series| NumberDataPoint {
                attributes: attributes(series),
                start_time_unix_nano: start,
                time_unix_nano: times.now,
                value: Some(number_data_point::Value::AsDouble(value(series))),
                ..NumberDataPoint::default()
            })
            .collect()
    };
    let data = match family.get_field_type() {
        MetricType::COUNTER => metric::Data::Sum(Sum {
            data_points: numbers(|series| series.get_counter().get_value(), times.start),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        // A gauge has no start: each value stands alone.
        MetricType::GAUGE => metric::Data::Gauge(Gauge {
            data_points: numbers(|series| series.get_gauge().get_value(), 0),
        }),
        MetricType::HISTOGRAM => metric::Data::Histogram(Histogram {
            data_points: series
                .iter()
                .map(|series| histogram(series, times))
                .collect(),
            aggregation_temporality: temporality,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: family.get_name().to_owned(),
        description: family.get_help().to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// Returns a histogram. The buckets of Prometheus include all smaller values, and those of
/// OpenTelemetry do not. Only the latter have a bucket above the last bound.
fn histogram(series: &proto::Metric, times: Times) -> HistogramDataPoint {
    let histogram = series.get_histogram();
    let count = histogram.get_sample_count();
    let mut below = 0;
    let mut bucket_counts = Vec::new();
    let mut explicit_bounds = Vec::new();
    for bucket in histogram.get_bucket() {
        if bucket.get_upper_bound().is_finite() {
            let up_to = bucket.get_cumulative_count();
            bucket_counts.push(up_to.saturating_sub(below));
            explicit_bounds.push(bucket.get_upper_bound());
            below = up_to;
        }
    }
    bucket_counts.push(count.saturating_sub(below));
    HistogramDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts,
        explicit_bounds,
        ..HistogramDataPoint::default()
    }
}

fn attributes(series: &proto::Metric) -> Vec<KeyValue> {
    let labels = series.get_label().iter();
    labels
        .map(|label| KeyValue {
            key: label.get_name().to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue(label.get_value().to_owned())),
            }),
            ..KeyValue::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;

    const TIMES: Times = Times { start: 1, now: 2 };

    fn exported(registry: &Registry) -> Vec<Metric> {
        let request = export_request(&registry.gather(), Resource::default(), TIMES);
        let mut resources = request.resource_metrics.into_iter();
        let mut scopes = resources
            .next()
            .expect("one resource")
            .scope_metrics
            .into_iter();
        scopes.next().expect("one scope").metrics
    }

    #[test]
    fn a_histogram_keeps_its_count_its_sum_and_its_buckets() {
        let options = HistogramOpts::new("h", "help").buckets(vec![1.0, 2.0, 4.0]);
        let histogram = prometheus::Histogram::with_opts(options).unwrap();
        let registry = Registry::new();
        registry.register(Box::new(histogram.clone())).unwrap();
        for value in [0.5, 1.5, 1.5, 4.0, 9.0] {
            histogram.observe(value);
        }
        let metrics = exported(&registry);
        let Some(metric::Data::Histogram(exported)) = &metrics[0].data else {
            panic!("{metrics:?}");
        };
        let point = &exported.data_points[0];
        assert_eq!(point.explicit_bounds, [1.0, 2.0, 4.0]);
        assert_eq!(point.bucket_counts, [1, 2, 1, 1]);
        assert_eq!((point.count, point.sum), (5, Some(16.5)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
    }

    #[test]
    fn counters_and_gauges_keep_their_values_and_labels() {
        let counters = IntCounterVec::new(Opts::new("c", "help"), &["source"]).unwrap();
        let gauge = IntGauge::new("g", "help").unwrap();
        let registry = Registry::new();
        registry.register(Box::new(counters.clone())).unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        counters.with_label_values(&["a"]).inc_by(3);
        gauge.set(-2);
        let metrics = exported(&registry);
        let Some(metric::Data::Sum(sum)) = &metrics[0].data else {
            panic!("{metrics:?}");
        };
        assert!(sum.is_monotonic);
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(number_data_point::Value::AsDouble(3.0)));
        assert_eq!(point.attributes[0].key, "source");
        let Some(metric::Data::Gauge(gauge)) = &metrics[1].data else {
            panic!("{metrics:?}");
        };
        let value = gauge.data_points[0].value;
        assert_eq!(value, Some(number_data_point::Value::AsDouble(-2.0)));
    }
}
