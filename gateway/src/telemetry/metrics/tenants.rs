//! The metrics of tenants. A source has series for a limited number of tenants. The others share one.

use std::collections::{HashMap, HashSet};

use parking_lot::RwLock;
use prometheus::{IntCounterVec, Result};

use super::Metrics;
use super::registry::Registrar;
use crate::telemetry::outcome::RequestOutcome;

/// The label of the tenants without a series of their own. No tenant can have this name.
const OTHER: &str = "_other";

/// The deliveries by tenant, for all sources.
#[derive(Debug)]
pub(super) struct TenantVectors {
    deliveries: IntCounterVec,
    /// The tenants of each source that have their own series. A series stays until the process ends.
    named: RwLock<HashMap<String, HashSet<Box<str>>>>,
}

/// The series that a request can count in, besides that of the other tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    /// That of its tenant, if there is one. Strangers must not choose the tenants with a series.
    Existing,
    /// That of its tenant, which is created if the limit allows it. The delivery has verified.
    Allot,
}

/// The limit of one source.
#[derive(Debug)]
pub(crate) struct TenantMetrics {
    source: String,
    max: usize,
}

impl TenantVectors {
    pub(super) fn new(registrar: &Registrar<'_>) -> Result<Self> {
        Ok(Self {
            deliveries: registrar.counters(
                "hookgate_tenant_deliveries_total",
                "Requests by tenant and outcome, for sources with tenant_metrics.",
                &["source", "tenant", "outcome"],
            )?,
            named: RwLock::default(),
        })
    }

    /// Returns whether `tenant` has its own series. With [`Series::Allot`], it gets one if fewer than
    /// `max` have one.
    fn is_named(&self, source: &str, tenant: &str, series: Series, max: usize) -> bool {
        if let Some(tenants) = self.named.read().get(source) {
            let is_named = tenants.contains(tenant);
            if is_named || tenants.len() >= max {
                return is_named;
            }
        }
        if series == Series::Existing {
            return false;
        }
        let mut named = self.named.write();
        let tenants = named.entry(source.to_owned()).or_default();
        let is_named = tenants.len() < max || tenants.contains(tenant);
        if is_named {
            tenants.insert(tenant.into());
        }
        is_named
    }
}

impl TenantMetrics {
    /// Creates the metrics of `source`. `None` if no tenant has a series.
    pub(crate) fn new(source: &str, max: usize) -> Option<Self> {
        (max > 0).then(|| Self {
            source: source.to_owned(),
            max,
        })
    }

    /// Counts a request whose path names `tenant`, which may be unknown.
    pub(crate) fn count(
        &self,
        metrics: &Metrics,
        tenant: Option<&str>,
        series: Series,
        outcome: RequestOutcome,
    ) {
        let vectors = &metrics.tenants;
        let label = tenant
            .filter(|tenant| vectors.is_named(&self.source, tenant, series, self.max))
            .unwrap_or(OTHER);
        let labels = [&*self.source, label, outcome.enforced().label()];
        vectors.deliveries.with_label_values(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_series_for_its_first_tenants_only() {
        let metrics = Metrics::new().unwrap();
        let partners = TenantMetrics::new("partners", 2).unwrap();
        for (tenant, series, outcome) in [
            ("globex", Series::Existing, RequestOutcome::Refused),
            ("acme", Series::Allot, RequestOutcome::Forwarded),
            ("umbrella", Series::Allot, RequestOutcome::ObservedForwarded),
            ("initech", Series::Allot, RequestOutcome::Forwarded),
            ("globex", Series::Allot, RequestOutcome::Forwarded),
            ("acme", Series::Allot, RequestOutcome::Forwarded),
            ("acme", Series::Existing, RequestOutcome::Refused),
        ] {
            partners.count(&metrics, Some(tenant), series, outcome);
        }
        // A reload creates the metrics of the source again, and keeps the series.
        let partners = TenantMetrics::new("partners", 2).unwrap();
        partners.count(
            &metrics,
            Some("globex"),
            Series::Allot,
            RequestOutcome::Forwarded,
        );
        let others = TenantMetrics::new("others", 1).unwrap();
        others.count(
            &metrics,
            Some("globex"),
            Series::Allot,
            RequestOutcome::Forwarded,
        );
        let count = |labels: [&str; 3]| metrics.tenants.deliveries.with_label_values(&labels).get();
        assert_eq!(count(["partners", "acme", "forwarded"]), 2);
        assert_eq!(count(["partners", "acme", "refused"]), 1);
        assert_eq!(count(["partners", "umbrella", "forwarded"]), 1);
        assert_eq!(count(["partners", OTHER, "forwarded"]), 3);
        assert_eq!(count(["partners", OTHER, "refused"]), 1);
        assert_eq!(count(["others", "globex", "forwarded"]), 1);
        assert!(TenantMetrics::new("partners", 0).is_none());
    }
}
