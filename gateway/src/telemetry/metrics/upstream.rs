//! The metrics of one upstream.

use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, IntCounter};

use super::Metrics;

/// The metrics that deliveries to one upstream update.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    /// Responses by status class, from 2xx to 5xx.
    classes: [IntCounter; 4],
    other: IntCounter,
    error: IntCounter,
    response_seconds: Histogram,
}

impl UpstreamMetrics {
    /// Looks up the metrics of `upstream`.
    pub(crate) fn new(metrics: &Metrics, upstream: &str) -> Self {
        let metrics = &metrics.upstreams;
        let class = |class| metrics.responses.with_label_values(&[upstream, class]);
        Self {
            classes: ["2xx", "3xx", "4xx", "5xx"].map(class),
            other: class("other"),
            error: class("error"),
            response_seconds: metrics.response_seconds.with_label_values(&[upstream]),
        }
    }

    /// Counts a response. `None` stands for a request without a response.
    pub(crate) fn observe_response(&self, status: Option<StatusCode>, took: Duration) {
        let class = status.map(|status| usize::from(status.as_u16() / 100));
        let counter = match class {
            None => &self.error,
            Some(class) => class
                .checked_sub(2)
                .and_then(|index| self.classes.get(index))
                .unwrap_or(&self.other),
        };
        counter.inc();
        self.response_seconds.observe(took.as_secs_f64());
    }
}
