//! The metrics of the queue.

use hookgate_queue::{AttemptResult, BreakerState, QueueStats, SourceStats};
use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result,
};

use super::registry::Registrar;
use super::{STORE_SECONDS, gauge_value};

/// The metrics of the queue. They stay zero without one.
#[derive(Debug)]
pub(super) struct QueueMetrics {
    deliveries: IntGaugeVec,
    oldest: GaugeVec,
    attempts: IntCounterVec,
    operation_seconds: HistogramVec,
    errors: IntCounter,
    dead_deleted: IntCounter,
    bytes: IntGauge,
    /// A metric without labels. Its only series is absent if the queue has no limit.
    max_bytes: IntGaugeVec,
    breaker_open: IntGaugeVec,
}

impl QueueMetrics {
    pub(super) fn new(registrar: &Registrar<'_>) -> Result<Self> {
        let metrics = Self {
            deliveries: registrar.gauges_by(
                "hookgate_queue_deliveries",
                "Stored deliveries by state: waiting, in_flight, dead, delivered, or orphaned, \
                 which is waiting without a configured source.",
                &["source", "state"],
            )?,
            oldest: registrar.float_gauges(
                "hookgate_queue_oldest_seconds",
                "Age of the oldest stored delivery that waits or is in flight.",
                "source",
            )?,
            attempts: registrar.counters(
                "hookgate_queue_attempts_total",
                "Attempts to send a stored delivery by result: delivered, retried, dead or error.",
                &["source", "result"],
            )?,
            operation_seconds: registrar.histograms(
                "hookgate_queue_store_seconds",
                "Duration of storing, leasing or settling deliveries in the queue.",
                &STORE_SECONDS,
                "op",
            )?,
            errors: registrar.counter(
                "hookgate_queue_store_errors_total",
                "Operations of the queue that failed.",
            )?,
            dead_deleted: registrar.counter(
                "hookgate_queue_dead_deleted_total",
                "Dead letters that were deleted because they were older than queue.keep_dead.",
            )?,
            bytes: registrar.gauge(
                "hookgate_queue_bytes",
                "Space that stored deliveries use in bytes.",
            )?,
            max_bytes: registrar.gauges_by(
                "hookgate_queue_max_bytes",
                "Space that stored deliveries may use in bytes.",
                &[],
            )?,
            breaker_open: registrar.gauges(
                "hookgate_upstream_breaker_open",
                "1 while the queue holds deliveries back because the upstream fails, else 0.",
                "upstream",
            )?,
        };
        metrics.set_max_bytes(0);
        Ok(metrics)
    }

    /// Creates the series of a source. Some have alerts on an increase, so they must exist before
    /// they count anything.
    pub(super) fn prepare(&self, source: &str) {
        for result in AttemptResult::ALL {
            self.attempts.with_label_values(&[source, result.label()]);
        }
    }

    /// Counts an attempt.
    pub(super) fn count_attempt(&self, source: &str, result: AttemptResult) {
        let labels = &[source, result.label()];
        self.attempts.with_label_values(labels).inc();
    }

    pub(super) fn count_dead_deleted(&self, count: u64) {
        self.dead_deleted.inc_by(count);
    }

    /// Returns the histogram for the duration of the operation `op`.
    pub(super) fn seconds(&self, op: &str) -> Histogram {
        self.operation_seconds.with_label_values(&[op])
    }

    pub(super) fn errors(&self) -> IntCounter {
        self.errors.clone()
    }

    /// Sets the numbers of the stored deliveries. The sources in `configured` have series even if
    /// they have no delivery.
    pub(super) fn set(&self, stats: &QueueStats, configured: &[&str]) {
        // A source whose last delivery has left must disappear, unless it is configured.
        self.deliveries.reset();
        self.oldest.reset();
        for source in configured {
            self.set_source(source, &SourceStats::default(), true);
        }
        for (source, stats) in &stats.sources {
            self.set_source(source, stats, configured.contains(&&**source));
        }
        self.bytes.set(gauge_value(stats.bytes));
        self.set_max_bytes(stats.max_bytes);
    }

    /// Sets the space that stored deliveries may use. `u64::MAX` means that there is no limit.
    fn set_max_bytes(&self, max_bytes: u64) {
        match max_bytes {
            u64::MAX => self.max_bytes.reset(),
            limit => self
                .max_bytes
                .with_label_values(&[])
                .set(gauge_value(limit)),
        }
    }

    fn set_source(&self, source: &str, stats: &SourceStats, is_configured: bool) {
        let (waiting, orphaned) = match is_configured {
            true => (stats.waiting, 0),
            false => (0, stats.waiting),
        };
        for (state, count) in [
            ("waiting", waiting),
            ("orphaned", orphaned),
            ("in_flight", stats.in_flight),
            ("dead", stats.dead),
            ("delivered", stats.delivered),
        ] {
            let gauge = self.deliveries.with_label_values(&[source, state]);
            gauge.set(gauge_value(count));
        }
        let oldest = stats.oldest.unwrap_or_default();
        let gauge = self.oldest.with_label_values(&[source]);
        gauge.set(oldest.as_secs_f64());
    }

    /// Sets the states of the breakers, by upstream.
    pub(super) fn set_breakers<'u>(&self, breakers: impl Iterator<Item = (&'u str, BreakerState)>) {
        self.breaker_open.reset();
        for (upstream, state) in breakers {
            let is_open = state != BreakerState::Closed;
            let gauge = self.breaker_open.with_label_values(&[upstream]);
            gauge.set(i64::from(is_open));
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_queue_without_a_limit_exports_no_limit() {
        let registry = Registry::new();
        let metrics = QueueMetrics::new(&Registrar(&registry)).expect("the names are free");
        let limit = || {
            let families = registry.gather();
            let mut families = families.iter();
            let family = families.find(|family| family.get_name() == "hookgate_queue_max_bytes")?;
            Some(family.get_metric()[0].get_gauge().get_value())
        };
        assert_eq!(limit(), Some(0.0));
        for (max_bytes, exported) in [(4096, Some(4096.0)), (u64::MAX, None), (1, Some(1.0))] {
            let stats = QueueStats {
                max_bytes,
                ..QueueStats::default()
            };
            metrics.set(&stats, &[]);
            assert_eq!(limit(), exported);
        }
    }
}
