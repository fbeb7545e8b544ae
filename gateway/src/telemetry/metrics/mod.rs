//! The metrics of the gateway, in the names of its documentation.
//!
//! What a delivery counts is looked up once for each source, key and upstream, when the
//! configuration is read; on its way there are only additions.

mod source;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use hookgate_gate::{Reason, Stats};
use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub(crate) use self::source::SourceMetrics;
pub(crate) use self::upstream::UpstreamMetrics;
use crate::upstream::Upstream;

/// From 1 ms to 30 s, with what providers wait for: 3, 5, 8, 10 s.
const SECONDS: [f64; 14] = [
    1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0, 8.0, 10.0, 30.0,
];
/// From 2 µs to 100 ms: a hash of what may be a few bytes or a megabyte.
const VERIFY_SECONDS: [f64; 9] = [2e-6, 5e-6, 1e-5, 2.5e-5, 1e-4, 5e-4, 2.5e-3, 1e-2, 1e-1];
/// From 2 µs to 1 s: memory, a disk, or a server somewhere.
const STORE_SECONDS: [f64; 11] = [
    2e-6, 1e-5, 5e-5, 2e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 5e-2, 0.25, 1.0,
];
/// From 256 B to 16 MiB.
const BYTES: [f64; 9] = [
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

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    deliveries: IntCounterVec,
    refused: IntCounterVec,
    upstream_responses: IntCounterVec,
    key_matches: IntCounterVec,
    verify_seconds: Histogram,
    upstream_response_seconds: HistogramVec,
    body_bytes: Histogram,
    signature_age: GaugeVec,
    connections: IntGauge,
    connections_limit: IntGauge,
    connections_refused: IntCounterVec,
    unverified_bytes: IntGauge,
    unhealthy_servers: IntGaugeVec,
    upstream_requests_in_flight: IntGaugeVec,
    replay_entries: IntGauge,
    store_seconds: HistogramVec,
    store_errors: IntCounter,
    stale_settlements: IntCounter,
    conflicts: IntCounter,
    reloads: IntCounterVec,
    log_lines_dropped: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let registered = Registered(&registry);
        let build_info = IntGauge::with_opts(
            Opts::new("hookgate_build_info", "The running version; always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        registered.add(build_info)?.set(1);
        let metrics = Self {
            deliveries: registered.counters(
                "hookgate_deliveries_total",
                "Requests by what became of them: forwarded, duplicate, busy, refused or handshake.",
                &["source", "outcome"],
            )?,
            refused: registered.counters(
                "hookgate_refused_total",
                "Refused deliveries by reason.",
                &["source", "reason"],
            )?,
            upstream_responses: registered.counters(
                "hookgate_upstream_responses_total",
                "Answers of the upstream by class of status, or error.",
                &["upstream", "class"],
            )?,
            key_matches: registered.counters(
                "hookgate_key_matches_total",
                "Verified deliveries by the key that matched.",
                &["source", "key"],
            )?,
            verify_seconds: registered.histogram(
                "hookgate_verify_seconds",
                "Time to check a delivery, without waiting for its bytes.",
                &VERIFY_SECONDS,
            )?,
            upstream_response_seconds: registered.histograms(
                "hookgate_upstream_response_seconds",
                "Time from forwarding to the head of the upstream's answer.",
                &SECONDS,
                "upstream",
            )?,
            body_bytes: registered.histogram(
                "hookgate_body_bytes",
                "Size of verified bodies.",
                &BYTES,
            )?,
            signature_age: registered.add(GaugeVec::new(
                Opts::new(
                    "hookgate_signature_age_seconds",
                    "How long before its arrival the last verified delivery was signed; less \
                     than 0 if the sender's clock is ahead.",
                ),
                &["source"],
            )?)?,
            connections: registered
                .add(IntGauge::new("hookgate_connections", "Open connections of senders.")?)?,
            connections_limit: registered.add(IntGauge::new(
                "hookgate_connections_limit",
                "How many there may be.",
            )?)?,
            connections_refused: registered.counters(
                "hookgate_connections_refused_total",
                "Connections that were closed before a request was read, by reason.",
                &["reason"],
            )?,
            unverified_bytes: registered.add(IntGauge::new(
                "hookgate_unverified_body_bytes",
                "Bytes of bodies that are held and not verified yet, and 16 KiB of each request that \
                 has had to wait for more of its body.",
            )?)?,
            unhealthy_servers: registered.add(IntGaugeVec::new(
                Opts::new(
                    "hookgate_upstream_unhealthy_servers",
                    "Servers that fail their health checks.",
                ),
                &["upstream"],
            )?)?,
            upstream_requests_in_flight: registered.add(IntGaugeVec::new(
                Opts::new(
                    "hookgate_upstream_requests_in_flight",
                    "Deliveries that are under way to the upstream.",
                ),
                &["upstream"],
            )?)?,
            replay_entries: registered
                .add(IntGauge::new("hookgate_replay_entries", "Remembered events.")?)?,
            store_seconds: registered.histograms(
                "hookgate_replay_store_seconds",
                "Time of the replay store for a claim, a commit or a release.",
                &STORE_SECONDS,
                "op",
            )?,
            store_errors: registered.counter(
                "hookgate_replay_store_errors_total",
                "Times the replay store did not answer.",
            )?,
            conflicts: registered.counter(
                "hookgate_replay_conflicts_total",
                "Events that were done and came again with another body.",
            )?,
            reloads: registered.counters(
                "hookgate_config_reloads_total",
                "Times the configuration was read anew: success or failure.",
                &["result"],
            )?,
            stale_settlements: registered.counter(
                "hookgate_stale_settlements_total",
                "Deliveries that were settled after their lease had passed on.",
            )?,
            log_lines_dropped: registered.counter(
                "hookgate_log_lines_dropped_total",
                "Lines of the log that nobody read in time.",
            )?,
            registry,
        };
        for result in ["success", "failure"] {
            metrics.reloads.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// A request that is refused. `source` is empty if it has none.
    pub(crate) fn refused(&self, source: &str, reason: Reason) {
        self.refused
            .with_label_values(&[source, reason.label()])
            .inc();
    }

    /// A request that has no source.
    pub(crate) fn refused_unrouted(&self, reason: Reason) {
        self.deliveries.with_label_values(&["", "refused"]).inc();
        self.refused("", reason);
    }

    /// The time that the replay store takes for `op`.
    pub(crate) fn store_seconds(&self, op: &str) -> Histogram {
        self.store_seconds.with_label_values(&[op])
    }

    pub(crate) fn verify(&self, took: Duration) {
        self.verify_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn reloaded(&self, result: Result<(), ()>) {
        let result = match result {
            Ok(()) => "success",
            Err(()) => "failure",
        };
        self.reloads.with_label_values(&[result]).inc();
    }

    /// Counts connections that were closed before a request was read on them.
    pub(crate) fn turned_away(&self, reason: &str, count: u64) {
        self.connections_refused
            .with_label_values(&[reason])
            .inc_by(count);
    }

    pub(crate) fn connections(&self) -> &IntGauge {
        &self.connections
    }

    /// Brings the count of lines that were dropped up to date.
    pub(crate) fn log_lines_dropped(&self, total: usize) {
        catch_up(&self.log_lines_dropped, total as u64);
    }

    /// Takes down how things are, for the next [`render`](Self::render).
    pub(crate) fn take_down(
        &self,
        unverified_bytes: usize,
        most_connections: usize,
        upstreams: &[Arc<Upstream>],
    ) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.unverified_bytes.set(number(unverified_bytes));
        self.connections_limit.set(number(most_connections));
        // What a reload has taken away is no more.
        self.unhealthy_servers.reset();
        self.upstream_requests_in_flight.reset();
        for upstream in upstreams {
            let out = self.unhealthy_servers.with_label_values(&[upstream.name()]);
            out.set(number(upstream.servers_out()));
            let requests = self
                .upstream_requests_in_flight
                .with_label_values(&[upstream.name()]);
            requests.set(number(upstream.requests()));
        }
    }

    /// All metrics in the text format, with what the gate has counted.
    pub(crate) fn render(&self, stats: Stats, entries: Option<u64>) -> Vec<u8> {
        catch_up(&self.store_errors, stats.store_errors);
        catch_up(&self.stale_settlements, stats.stale_settlements);
        catch_up(&self.conflicts, stats.conflicts);
        if let Some(entries) = entries {
            self.replay_entries
                .set(i64::try_from(entries).unwrap_or(i64::MAX));
        }
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

/// Brings a counter up to a total that is counted elsewhere.
fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Makes metrics that are registered.
struct Registered<'r>(&'r Registry);

impl Registered<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        label: &str,
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, &[label])?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(options)?)
    }
}
