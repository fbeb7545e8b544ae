//! The Prometheus metrics of the gateway. `docs/operating.md` lists them.
//!
//! The handles for each source, key and upstream are looked up when the configuration is read
//! ([`SourceMetrics`], [`UpstreamMetrics`]), so that a delivery only increments counters.

mod inspector;
mod keys;
mod queue;
mod registry;
mod source;
mod tenants;
mod upstream;

use std::time::Duration;

use hookgate_gate::{Clock, Reason, Stats, SystemClock};
use hookgate_keys::KeyStats;
use hookgate_queue::{AttemptResult, BreakerState, QueueStats};
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, Result, TextEncoder,
};

use self::inspector::InspectorMetrics;
pub(crate) use self::inspector::{Act, ActResult};
use self::keys::KeyMetrics;
use self::queue::QueueMetrics;
use self::registry::Registrar;
pub(crate) use self::source::SourceMetrics;
use self::tenants::TenantVectors;
pub(crate) use self::tenants::{Series, TenantMetrics};
pub(crate) use self::upstream::UpstreamMetrics;
use crate::config::TlsListener;
use crate::inspector::Inspector;

/// Buckets from 1 ms to 30 s, with the timeouts of common providers: 3, 5, 8 and 10 s.
const RESPONSE_SECONDS: [f64; 14] = [
    1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0, 8.0, 10.0, 30.0,
];
/// Buckets from 2 µs for a few bytes to 100 ms for a large body or a public-key signature.
const VERIFY_SECONDS: [f64; 9] = [2e-6, 5e-6, 1e-5, 2.5e-5, 1e-4, 5e-4, 2.5e-3, 1e-2, 1e-1];
/// Buckets from 2 µs for the memory store to 1 s for a remote server.
const STORE_SECONDS: [f64; 11] = [
    2e-6, 1e-5, 5e-5, 2e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 5e-2, 0.25, 1.0,
];
/// Buckets from 256 B to 16 MiB.
const BODY_BYTES: [f64; 9] = [
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// Every metric of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    deliveries: DeliveryVectors,
    tenants: TenantVectors,
    upstreams: UpstreamVectors,
    connections: ConnectionMetrics,
    replay: ReplayMetrics,
    keys: KeyMetrics,
    queue: QueueMetrics,
    inspector: InspectorMetrics,
    certificate_expiry: IntGaugeVec,
    config_reloads: IntCounterVec,
    last_reload_success: IntGauge,
    last_reload_time: IntGauge,
    log_lines_dropped: IntCounter,
}

/// Metrics of deliveries and their verification.
#[derive(Debug)]
struct DeliveryVectors {
    deliveries: IntCounterVec,
    refused: IntCounterVec,
    failed: IntCounterVec,
    key_matches: IntCounterVec,
    verify_seconds: Histogram,
    body_bytes: Histogram,
    signature_age: GaugeVec,
}

/// Metrics of forwarding, by upstream.
#[derive(Debug)]
struct UpstreamVectors {
    responses: IntCounterVec,
    response_seconds: HistogramVec,
    unhealthy_servers: IntGaugeVec,
    requests_in_flight: IntGaugeVec,
}

/// Metrics of connections from senders, and of the memory for their bodies.
#[derive(Debug)]
struct ConnectionMetrics {
    open: IntGauge,
    limit: IntGauge,
    refused: IntCounterVec,
    evicted: IntCounterVec,
    unverified_bytes: IntGauge,
}

/// Metrics of the replay store.
#[derive(Debug)]
struct ReplayMetrics {
    entries: IntGauge,
    operation_seconds: HistogramVec,
    errors: IntCounter,
    conflicts: IntCounter,
    stale_settlements: IntCounter,
}

/// The state of one upstream at the time of a scrape.
pub(crate) struct UpstreamState<'u> {
    pub(crate) name: &'u str,
    pub(crate) unhealthy_servers: usize,
    pub(crate) requests_in_flight: usize,
}

/// The result of a configuration reload.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReloadResult {
    Success,
    Failure,
}

impl Metrics {
    /// Creates and registers every metric.
    ///
    /// # Errors
    ///
    /// Returns an error if two metrics have the same name, which is a bug of this module.
    pub(crate) fn new() -> Result<Self> {
        let registry = Registry::new();
        let registrar = Registrar(&registry);
        registrar.info(
            "hookgate_build_info",
            "Version of the running hookgate; the value is always 1.",
            "version",
            env!("CARGO_PKG_VERSION"),
        )?;
        let metrics = Self {
            deliveries: DeliveryVectors::new(&registrar)?,
            tenants: TenantVectors::new(&registrar)?,
            upstreams: UpstreamVectors::new(&registrar)?,
            connections: ConnectionMetrics::new(&registrar)?,
            replay: ReplayMetrics::new(&registrar)?,
            keys: KeyMetrics::new(&registrar)?,
            queue: QueueMetrics::new(&registrar)?,
            inspector: InspectorMetrics::new(&registrar)?,
            certificate_expiry: registrar.gauges(
                "hookgate_tls_certificate_expiry_timestamp_seconds",
                "End of the validity of the certificate of a listener, in seconds since 1970.",
                "listen",
            )?,
            config_reloads: registrar.counters(
                "hookgate_config_reloads_total",
                "Reloads of the configuration by result: success or failure.",
                &["result"],
            )?,
            last_reload_success: registrar.gauge(
                "hookgate_config_last_reload_success",
                "Whether the start or the last reload of the configuration succeeded: 1 or 0.",
            )?,
            last_reload_time: registrar.gauge(
                "hookgate_config_last_reload_timestamp_seconds",
                "Time of the start or of the last successful reload, in seconds since 1970.",
            )?,
            log_lines_dropped: registrar.counter(
                "hookgate_log_lines_dropped_total",
                "Access log lines that were dropped because the output failed or was too slow.",
            )?,
            registry,
        };
        metrics.record_configuration();
        register_process(&metrics.registry)?;
        // A rate needs both series from the start.
        for result in [ReloadResult::Success, ReloadResult::Failure] {
            metrics.config_reloads.with_label_values(&[result.label()]);
        }
        Ok(metrics)
    }

    /// Counts the reason of a request that was refused or failed. `source` is empty if no source
    /// has the request.
    pub(crate) fn count_reason(&self, source: &str, reason: Reason) {
        self.deliveries.reason(source, reason).inc();
    }

    /// Counts a refused request that belongs to no source.
    pub(crate) fn refused_unrouted(&self, reason: Reason) {
        self.deliveries
            .deliveries
            .with_label_values(&["", "refused"])
            .inc();
        self.count_reason("", reason);
    }

    /// Returns the histogram for the duration of the store operation `op`.
    pub(crate) fn store_seconds(&self, op: &str) -> Histogram {
        self.replay.operation_seconds.with_label_values(&[op])
    }

    /// Records the time for the verification of one delivery.
    pub(crate) fn observe_verification(&self, took: Duration) {
        self.deliveries.verify_seconds.observe(took.as_secs_f64());
    }

    /// Counts a reload of the configuration.
    pub(crate) fn count_reload(&self, result: ReloadResult) {
        match result {
            ReloadResult::Success => self.record_configuration(),
            ReloadResult::Failure => self.last_reload_success.set(0),
        }
        self.config_reloads
            .with_label_values(&[result.label()])
            .inc();
    }

    /// Records that the configuration in the file runs from now on.
    fn record_configuration(&self) {
        self.last_reload_success.set(1);
        self.last_reload_time.set(SystemClock.now().secs());
    }

    /// Counts connections that were closed before a request was read.
    pub(crate) fn connections_refused(&self, reason: &str, count: u64) {
        self.connections
            .refused
            .with_label_values(&[reason])
            .inc_by(count);
    }

    /// Counts idle or incomplete connections that were closed in favour of new ones.
    pub(crate) fn connections_evicted(&self, reason: &str, count: u64) {
        self.connections
            .evicted
            .with_label_values(&[reason])
            .inc_by(count);
    }

    /// Returns the gauge of open connections.
    pub(crate) fn connections(&self) -> &IntGauge {
        &self.connections.open
    }

    /// Raises the count of dropped access log lines to `total`.
    pub(crate) fn set_log_lines_dropped(&self, total: usize) {
        raise_to(&self.log_lines_dropped, total as u64);
    }

    /// Sets the gauges that are computed for each scrape.
    pub(crate) fn set_gauges<'u>(
        &self,
        unverified_bytes: usize,
        connections_limit: usize,
        upstreams: impl Iterator<Item = UpstreamState<'u>>,
    ) {
        self.connections
            .unverified_bytes
            .set(gauge_value(unverified_bytes));
        self.connections.limit.set(gauge_value(connections_limit));
        self.upstreams.set_gauges(upstreams);
    }

    /// Returns the histogram for the duration of the operation `op` of the queue.
    pub(crate) fn queue_seconds(&self, op: &str) -> Histogram {
        self.queue.seconds(op)
    }

    /// Returns the counter of operations of the queue that failed.
    pub(crate) fn queue_errors(&self) -> IntCounter {
        self.queue.errors()
    }

    /// Counts an attempt to send a stored delivery.
    pub(crate) fn count_attempt(&self, source: &str, result: AttemptResult) {
        self.queue.count_attempt(source, result);
    }

    /// Counts dead letters that were deleted because they were too old.
    pub(crate) fn count_dead_deleted(&self, count: u64) {
        self.queue.count_dead_deleted(count);
    }

    /// Sets the numbers of the stored deliveries; see [`QueueMetrics::set`].
    pub(crate) fn set_queue(&self, stats: &QueueStats, configured: &[&str]) {
        self.queue.set(stats, configured);
    }

    /// Sets the states of the breakers, by upstream.
    pub(crate) fn set_breakers<'u>(&self, breakers: impl Iterator<Item = (&'u str, BreakerState)>) {
        self.queue.set_breakers(breakers);
    }

    /// Counts an act of an operator.
    pub(crate) fn count_act(&self, act: Act, result: ActResult) {
        self.inspector.count_act(act, result);
    }

    /// Sets the metrics that the inspector counts itself.
    pub(crate) fn set_inspector(&self, inspector: &Inspector) {
        self.inspector.set(inspector);
    }

    /// Sets the end of the validity of each listener's certificate.
    pub(crate) fn set_certificates(&self, listeners: &[TlsListener]) {
        for listener in listeners {
            if let Some(certificate) = listener.tls.certificate() {
                let listen = listener.listen.to_string();
                let expiry = self.certificate_expiry.with_label_values(&[&listen]);
                expiry.set(certificate.not_after.secs());
            }
        }
    }

    /// Sets the metrics of the keys that the sources have fetched.
    pub(crate) fn set_keys<'s>(&self, sources: impl Iterator<Item = (&'s str, KeyStats)>) {
        self.keys.set(sources);
    }

    /// Returns every metric with its series.
    ///
    /// `stats` are the counters of the gate, and `entries` is the number of events in the store
    /// if the store knows it.
    pub(crate) fn gather(&self, stats: Stats, entries: Option<u64>) -> Vec<MetricFamily> {
        raise_to(&self.replay.errors, stats.store_errors);
        raise_to(&self.replay.stale_settlements, stats.stale_settlements);
        raise_to(&self.replay.conflicts, stats.conflicts);
        if let Some(entries) = entries {
            self.replay.entries.set(gauge_value(entries));
        }
        self.registry.gather()
    }
}

/// Renders metrics in the text format of Prometheus.
pub(crate) fn render(metrics: &[MetricFamily]) -> Vec<u8> {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(metrics, &mut text) {
        tracing::error!(%error, "cannot render the metrics");
    }
    text
}

/// Registers the metrics `process_…`: CPU time, memory, open files, threads and the time of the start.
#[cfg(target_os = "linux")]
fn register_process(registry: &Registry) -> Result<()> {
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process))
}

#[cfg(not(target_os = "linux"))]
fn register_process(_: &Registry) -> Result<()> {
    Ok(())
}

impl ReloadResult {
    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl DeliveryVectors {
    fn new(registrar: &Registrar<'_>) -> Result<Self> {
        Ok(Self {
            deliveries: registrar.counters(
                "hookgate_deliveries_total",
                "Requests by outcome: forwarded, queued, duplicate, busy, refused, failed or handshake.",
                &["source", "outcome"],
            )?,
            refused: registrar.counters(
                "hookgate_refused_total",
                "Refused requests by reason.",
                &["source", "reason"],
            )?,
            failed: registrar.counters(
                "hookgate_failed_total",
                "Verified deliveries that the upstream, the replay store or the queue failed, by reason.",
                &["source", "reason"],
            )?,
            key_matches: registrar.counters(
                "hookgate_key_matches_total",
                "Verified deliveries by the id of the key that matched.",
                &["source", "key"],
            )?,
            verify_seconds: registrar.histogram(
                "hookgate_verify_seconds",
                "Time to verify a delivery, without the time spent waiting for its bytes.",
                &VERIFY_SECONDS,
            )?,
            body_bytes: registrar.histogram(
                "hookgate_body_bytes",
                "Size of verified bodies in bytes.",
                &BODY_BYTES,
            )?,
            signature_age: registrar.float_gauges(
                "hookgate_signature_age_seconds",
                "Time from the signing of the last verified delivery to its arrival; negative if \
                 the sender's clock is ahead.",
                "source",
            )?,
        })
    }

    /// Returns the counter of requests of `source` that were refused, or failed, for `reason`.
    fn reason(&self, source: &str, reason: Reason) -> IntCounter {
        let vector = match reason.is_failure() {
            true => &self.failed,
            false => &self.refused,
        };
        vector.with_label_values(&[source, reason.label()])
    }
}

impl UpstreamVectors {
    fn new(registrar: &Registrar<'_>) -> Result<Self> {
        Ok(Self {
            responses: registrar.counters(
                "hookgate_upstream_responses_total",
                "Responses of the upstream by status class; the class error counts requests \
                 without a response.",
                &["upstream", "class"],
            )?,
            response_seconds: registrar.histograms(
                "hookgate_upstream_response_seconds",
                "Time from the start of forwarding to the head of the upstream's response.",
                &RESPONSE_SECONDS,
                "upstream",
            )?,
            unhealthy_servers: registrar.gauges(
                "hookgate_upstream_unhealthy_servers",
                "Servers that fail their health checks.",
                "upstream",
            )?,
            requests_in_flight: registrar.gauges(
                "hookgate_upstream_requests_in_flight",
                "Deliveries that are being forwarded to the upstream.",
                "upstream",
            )?,
        })
    }

    fn set_gauges<'u>(&self, upstreams: impl Iterator<Item = UpstreamState<'u>>) {
        // A reload may have removed an upstream; its series must disappear.
        self.unhealthy_servers.reset();
        self.requests_in_flight.reset();
        for upstream in upstreams {
            self.unhealthy_servers
                .with_label_values(&[upstream.name])
                .set(gauge_value(upstream.unhealthy_servers));
            self.requests_in_flight
                .with_label_values(&[upstream.name])
                .set(gauge_value(upstream.requests_in_flight));
        }
    }
}

impl ConnectionMetrics {
    fn new(registrar: &Registrar<'_>) -> Result<Self> {
        Ok(Self {
            open: registrar.gauge("hookgate_connections", "Open connections from senders.")?,
            limit: registrar.gauge(
                "hookgate_connections_limit",
                "Maximum number of open connections from senders.",
            )?,
            refused: registrar.counters(
                "hookgate_connections_refused_total",
                "Connections that were closed before a request was read, by reason.",
                &["reason"],
            )?,
            evicted: registrar.counters(
                "hookgate_connections_evicted_total",
                "Idle or incomplete connections that were closed in favour of new ones, by reason.",
                &["reason"],
            )?,
            unverified_bytes: registrar.gauge(
                "hookgate_unverified_body_bytes",
                "Bytes of unverified bodies in memory, plus 16 KiB for each request that has \
                 waited for more of its body.",
            )?,
        })
    }
}

impl ReplayMetrics {
    fn new(registrar: &Registrar<'_>) -> Result<Self> {
        Ok(Self {
            entries: registrar.gauge(
                "hookgate_replay_entries",
                "Events that the replay store remembers.",
            )?,
            operation_seconds: registrar.histograms(
                "hookgate_replay_store_seconds",
                "Duration of a claim, commit or release in a replay store on disk or in Redis.",
                &STORE_SECONDS,
                "op",
            )?,
            errors: registrar.counter(
                "hookgate_replay_store_errors_total",
                "Operations that failed because the replay store did not respond.",
            )?,
            conflicts: registrar.counter(
                "hookgate_replay_conflicts_total",
                "Deliveries of an event that was delivered before with a different body.",
            )?,
            stale_settlements: registrar.counter(
                "hookgate_stale_settlements_total",
                "Deliveries that were settled after their lease had ended.",
            )?,
        })
    }
}

/// Raises `counter` to a total that is counted elsewhere.
fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn gauge_value(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
