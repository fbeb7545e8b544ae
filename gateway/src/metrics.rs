//! The metrics of the gateway, in the names of its documentation.

use std::time::Duration;

use hookgate_gate::{Reason, Stats};
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// From 1 ms to 10 s.
const SECONDS: [f64; 10] = [1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 1.0, 5.0, 10.0];
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
    upstream_seconds: Histogram,
    body_bytes: Histogram,
    connections: IntGauge,
    replay_entries: IntGauge,
    store_errors: IntCounter,
    stale_settlements: IntCounter,
    conflicts: IntCounter,
    reloads: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            deliveries: counters(
                "hookgate_deliveries_total",
                "Requests by what became of them: forwarded, duplicate, busy, refused or handshake.",
                &["source", "outcome"],
            )?,
            refused: counters(
                "hookgate_refused_total",
                "Refused deliveries by reason.",
                &["source", "reason"],
            )?,
            upstream_responses: counters(
                "hookgate_upstream_responses_total",
                "Answers of the upstream by class of status, or error.",
                &["upstream", "class"],
            )?,
            key_matches: counters(
                "hookgate_key_matches_total",
                "Verified deliveries by the key that matched.",
                &["source", "key"],
            )?,
            upstream_seconds: histogram(
                "hookgate_upstream_seconds",
                "Time from forwarding to the head of the upstream's answer.",
                &SECONDS,
            )?,
            body_bytes: histogram("hookgate_body_bytes", "Size of verified bodies.", &BYTES)?,
            connections: IntGauge::new("hookgate_connections", "Open connections of senders.")?,
            replay_entries: IntGauge::new("hookgate_replay_entries", "Remembered events.")?,
            store_errors: IntCounter::new(
                "hookgate_replay_store_errors_total",
                "Times the replay store did not answer.",
            )?,
            conflicts: IntCounter::new(
                "hookgate_replay_conflicts_total",
                "Events that were done and came again with another body.",
            )?,
            reloads: counters(
                "hookgate_config_reloads_total",
                "Times the configuration was read anew: success or failure.",
                &["result"],
            )?,
            stale_settlements: IntCounter::new(
                "hookgate_stale_settlements_total",
                "Deliveries that were settled after their lease had passed on.",
            )?,
            registry,
        };
        for result in ["success", "failure"] {
            metrics.reloads.with_label_values(&[result]);
        }
        let build_info = IntGauge::with_opts(
            Opts::new("hookgate_build_info", "The running version; always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build_info.set(1);
        let all: [Box<dyn prometheus::core::Collector>; 13] = [
            Box::new(metrics.deliveries.clone()),
            Box::new(metrics.refused.clone()),
            Box::new(metrics.upstream_responses.clone()),
            Box::new(metrics.key_matches.clone()),
            Box::new(metrics.upstream_seconds.clone()),
            Box::new(metrics.body_bytes.clone()),
            Box::new(metrics.connections.clone()),
            Box::new(metrics.replay_entries.clone()),
            Box::new(metrics.store_errors.clone()),
            Box::new(metrics.stale_settlements.clone()),
            Box::new(metrics.conflicts.clone()),
            Box::new(metrics.reloads.clone()),
            Box::new(build_info),
        ];
        for collector in all {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
    }

    pub(crate) fn forwarded(&self, source: &str) {
        self.delivery(source, "forwarded");
    }

    pub(crate) fn handshake(&self, source: &str) {
        self.delivery(source, "handshake");
    }

    pub(crate) fn duplicate(&self, source: &str) {
        self.delivery(source, "duplicate");
    }

    /// Counts a refusal. One that came after forwarding counts by its reason
    /// only: the delivery has been counted. Nothing was sent to an upstream that
    /// could not be reached.
    pub(crate) fn refused(&self, source: &str, reason: Reason) {
        match reason {
            Reason::InFlight => self.delivery(source, "busy"),
            Reason::Duplicate => self.duplicate(source),
            Reason::UpstreamTimeout | Reason::UpstreamFailed => {}
            _ => self.delivery(source, "refused"),
        }
        self.refused
            .with_label_values(&[source, reason.label()])
            .inc();
    }

    fn delivery(&self, source: &str, outcome: &str) {
        self.deliveries.with_label_values(&[source, outcome]).inc();
    }

    pub(crate) fn verified(&self, source: &str, key: &str, body: usize) {
        self.key_matches.with_label_values(&[source, key]).inc();
        self.body_bytes.observe(body as f64);
    }

    pub(crate) fn upstream(&self, upstream: &str, class: &str, took: Duration) {
        self.upstream_responses
            .with_label_values(&[upstream, class])
            .inc();
        self.upstream_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn reloaded(&self, result: Result<(), ()>) {
        let result = match result {
            Ok(()) => "success",
            Err(()) => "failure",
        };
        self.reloads.with_label_values(&[result]).inc();
    }

    pub(crate) fn connections(&self) -> &IntGauge {
        &self.connections
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

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}
