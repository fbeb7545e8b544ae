//! The metrics of one source.

use hookgate_core::{UnixTime, Verified, VerifyError};
use hookgate_gate::{QueueMode, Reason, Source};
use prometheus::{Gauge, Histogram, IntCounter};

use super::Metrics;
use crate::telemetry::outcome::RequestOutcome;

const NO_ACTIVE_KEY: Reason = Reason::Verify(VerifyError::NoActiveKey);

/// The metrics that the deliveries of one source update.
#[derive(Debug)]
pub(crate) struct SourceMetrics {
    forwarded: IntCounter,
    queued: IntCounter,
    duplicate: IntCounter,
    busy: IntCounter,
    refused: IntCounter,
    failed: IntCounter,
    handshake: IntCounter,
    signature_age: Gauge,
    body_bytes: Histogram,
    /// One counter for each key, by the id of the key. A source has few keys, so a linear search
    /// is enough.
    key_matches: Vec<(String, IntCounter)>,
}

impl SourceMetrics {
    /// Looks up the metrics of `source`, whose keys have the ids `key_ids`.
    pub(crate) fn new(metrics: &Metrics, source: &Source, key_ids: Vec<String>) -> Self {
        if source.queue().mode != QueueMode::Off {
            metrics.queue.prepare(source.name());
            for reason in [Reason::QueueFull, Reason::QueueDown] {
                metrics.deliveries.reason(source.name(), reason);
            }
        }
        let metrics = &metrics.deliveries;
        let name = source.name();
        // These reasons have alerts on an increase, so each series must exist before its first
        // refusal.
        for reason in [Reason::StoreFull, Reason::StoreForgot, NO_ACTIVE_KEY] {
            metrics.reason(name, reason);
        }
        let outcome = |outcome| metrics.deliveries.with_label_values(&[name, outcome]);
        let key_matches = key_ids.into_iter().map(|id| {
            let matches = metrics.key_matches.with_label_values(&[name, id.as_str()]);
            (id, matches)
        });
        Self {
            forwarded: outcome("forwarded"),
            queued: outcome("queued"),
            duplicate: outcome("duplicate"),
            busy: outcome("busy"),
            refused: outcome("refused"),
            failed: outcome("failed"),
            handshake: outcome("handshake"),
            signature_age: metrics.signature_age.with_label_values(&[name]),
            body_bytes: metrics.body_bytes.clone(),
            key_matches: key_matches.collect(),
        }
    }

    /// Records the key, the body size and the signature age of a verified delivery.
    pub(crate) fn verified(&self, verified: &Verified, now: UnixTime) {
        let id = verified.key_id();
        if let Some((_, matches)) = self.key_matches.iter().find(|(key_id, _)| key_id == id) {
            matches.inc();
        }
        self.body_bytes.observe(verified.body().len() as f64);
        if let Some(signed_at) = verified.timestamp() {
            let milliseconds = now.millis().saturating_sub(signed_at.millis());
            self.signature_age.set(milliseconds as f64 / 1000.0);
        }
    }

    /// Counts a request by its outcome. A request in observe mode counts by its verdict.
    pub(crate) fn count(&self, outcome: RequestOutcome) {
        let counter = match outcome.enforced() {
            RequestOutcome::Forwarded => &self.forwarded,
            RequestOutcome::Duplicate => &self.duplicate,
            RequestOutcome::Handshake => &self.handshake,
            RequestOutcome::Queued => &self.queued,
            RequestOutcome::Busy => &self.busy,
            RequestOutcome::Failed => &self.failed,
            _ => &self.refused,
        };
        counter.inc();
    }
}
