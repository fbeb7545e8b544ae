//! The metrics of fetched keys, by source.

use hookgate_keys::KeyStats;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Result};

use super::registry::Registrar;
use super::{gauge_value, raise_to};

/// The metrics of the keys that sources have fetched.
#[derive(Debug)]
pub(super) struct KeyMetrics {
    fetches: IntCounterVec,
    keys: IntGaugeVec,
    age: GaugeVec,
}

impl KeyMetrics {
    pub(super) fn new(registrar: &Registrar<'_>) -> Result<Self> {
        Ok(Self {
            fetches: registrar.counters(
                "hookgate_key_fetches_total",
                "Requests for the keys of a provider by result.",
                &["source", "result"],
            )?,
            keys: registrar.gauges(
                "hookgate_keys",
                "Keys of the provider that are in memory.",
                "source",
            )?,
            age: registrar.float_gauges(
                "hookgate_key_age_seconds",
                "Age of the oldest document of keys that was used in the last hour.",
                "source",
            )?,
        })
    }

    /// Sets the metrics of all sources that fetch keys.
    pub(super) fn set<'s>(&self, sources: impl Iterator<Item = (&'s str, KeyStats)>) {
        // A reload may have removed a source; its series must disappear.
        self.keys.reset();
        self.age.reset();
        for (source, stats) in sources {
            for (result, count) in stats.fetches {
                raise_to(&self.fetches.with_label_values(&[source, result]), count);
            }
            self.keys
                .with_label_values(&[source])
                .set(gauge_value(stats.keys));
            let age = stats.oldest.unwrap_or_default();
            self.age.with_label_values(&[source]).set(age.as_secs_f64());
        }
    }
}
