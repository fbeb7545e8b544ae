use hookgate_core::{UnixTime, Verified, VerifyError};
use hookgate_gate::{Reason, Source};
use prometheus::{Gauge, Histogram, IntCounter};

use super::Metrics;

const NO_ACTIVE_KEY: Reason = Reason::Verify(VerifyError::NoActiveKey);

/// What deliveries of one source count.
#[derive(Debug)]
pub(crate) struct SourceMetrics {
    forwarded: IntCounter,
    duplicate: IntCounter,
    busy: IntCounter,
    refused: IntCounter,
    handshake: IntCounter,
    signature_age: Gauge,
    body_bytes: Histogram,
    /// By the id of the key; a handful.
    keys: Vec<(String, IntCounter)>,
}

impl SourceMetrics {
    pub(crate) fn new(metrics: &Metrics, source: &Source) -> Self {
        let name = source.name();
        // Each of these has an alert, which must see the first one.
        for reason in [Reason::StoreFull, Reason::StoreForgot, NO_ACTIVE_KEY] {
            metrics.refused.with_label_values(&[name, reason.label()]);
        }
        let outcome = |outcome| metrics.deliveries.with_label_values(&[name, outcome]);
        let keys = source.verifier().key_ids().map(|id| {
            let matches = metrics.key_matches.with_label_values(&[name, id]);
            (id.to_owned(), matches)
        });
        Self {
            forwarded: outcome("forwarded"),
            duplicate: outcome("duplicate"),
            busy: outcome("busy"),
            refused: outcome("refused"),
            handshake: outcome("handshake"),
            signature_age: metrics.signature_age.with_label_values(&[name]),
            body_bytes: metrics.body_bytes.clone(),
            keys: keys.collect(),
        }
    }

    pub(crate) fn verified(&self, verified: &Verified, now: UnixTime) {
        let id = verified.key_id();
        if let Some((_, matches)) = self.keys.iter().find(|(known, _)| known == id) {
            matches.inc();
        }
        self.body_bytes.observe(verified.body().len() as f64);
        if let Some(signed) = verified.timestamp() {
            let milliseconds = now.millis().saturating_sub(signed.millis());
            self.signature_age.set(milliseconds as f64 / 1000.0);
        }
    }

    pub(crate) fn forwarded(&self) {
        self.forwarded.inc();
    }

    pub(crate) fn duplicate(&self) {
        self.duplicate.inc();
    }

    pub(crate) fn handshake(&self) {
        self.handshake.inc();
    }

    /// Counts a refusal. One that came after forwarding counts by its reason
    /// only: the delivery has been counted. Nothing was sent to an upstream that
    /// could not be reached.
    pub(crate) fn refused(&self, reason: Reason) {
        match reason {
            Reason::InFlight => self.busy.inc(),
            Reason::Duplicate => self.duplicate.inc(),
            Reason::UpstreamTimeout | Reason::UpstreamFailed => {}
            _ => self.refused.inc(),
        }
    }
}
