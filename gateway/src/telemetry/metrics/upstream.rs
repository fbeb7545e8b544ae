use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, IntCounter};

use super::Metrics;

/// What forwarding to one upstream counts.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    /// 2xx to 5xx.
    classes: [IntCounter; 4],
    other: IntCounter,
    error: IntCounter,
    seconds: Histogram,
}

impl UpstreamMetrics {
    pub(crate) fn new(metrics: &Metrics, upstream: &str) -> Self {
        let class = |class| {
            metrics
                .upstream_responses
                .with_label_values(&[upstream, class])
        };
        Self {
            classes: ["2xx", "3xx", "4xx", "5xx"].map(class),
            other: class("other"),
            error: class("error"),
            seconds: metrics
                .upstream_response_seconds
                .with_label_values(&[upstream]),
        }
    }

    /// Counts an answer, or that there was none.
    pub(crate) fn answered(&self, status: Option<StatusCode>, took: Duration) {
        let class = status.map(|status| usize::from(status.as_u16() / 100));
        let counter = match class {
            None => &self.error,
            Some(class) => class
                .checked_sub(2)
                .and_then(|index| self.classes.get(index))
                .unwrap_or(&self.other),
        };
        counter.inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
