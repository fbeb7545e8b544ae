//! The part of the running configuration that a reload replaces at once: sources with their keys,
//! upstreams and limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::Problems;
use hookgate_gate::Source;
use hookgate_queue::Target;

use crate::config::{Config, Limits, ShownConfig, UpstreamConfig};
use crate::pipeline::route::{Route, Routes};
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// The routes, limits and upstreams of one version of the configuration.
#[derive(Debug)]
pub(crate) struct RuntimeState {
    pub(crate) routes: Routes,
    /// How the workers of the queue send the deliveries of each source.
    pub(crate) targets: Arc<[Target]>,
    pub(crate) limits: Limits,
    upstreams: BTreeMap<String, (UpstreamConfig, Arc<Upstream>)>,
    pub(crate) longest_delivery: Duration,
    /// The configuration, without secrets.
    pub(crate) shown: ShownConfig,
    /// Counts the reloads. A delivery compares it to notice that a reload overtook it.
    pub(crate) version: u64,
}

impl RuntimeState {
    /// Creates the state for `config`. Upstreams whose configuration is the same as in `previous`
    /// are kept, together with their connections.
    ///
    /// # Errors
    ///
    /// Returns the problems of an upstream that cannot be started.
    pub(crate) fn new(
        config: Config,
        metrics: &Metrics,
        previous: Option<&Self>,
    ) -> Result<Self, Problems> {
        let longest_delivery = config.longest_delivery();
        if let Some(previous) = previous {
            for route in &config.routes {
                inherit_keys(&route.source, &previous.routes);
            }
        }
        let unchanged = |name: &str, config: &UpstreamConfig| {
            let (previous_config, upstream) = previous?.upstreams.get(name)?;
            (previous_config == config).then(|| Arc::clone(upstream))
        };
        let mut upstreams = BTreeMap::new();
        for (name, config) in config.upstreams {
            let upstream = match unchanged(&name, &config) {
                Some(upstream) => upstream,
                None => Upstream::start(&name, &config)?,
            };
            upstreams.insert(name, (config, upstream));
        }
        let previous_routes = previous.map(|previous| &previous.routes);
        let routes = Routes::new(config.routes, metrics, previous_routes, |name| {
            let (_, upstream) = upstreams.get(name)?;
            Some(Arc::clone(upstream))
        })?;
        Ok(Self {
            targets: routes.iter().map(|route| target(route)).collect(),
            routes,
            limits: config.limits,
            upstreams,
            longest_delivery,
            shown: config.shown,
            version: previous.map_or(0, |previous| previous.version + 1),
        })
    }

    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values().map(|(_, upstream)| upstream)
    }
}

/// Returns how the workers send the deliveries of a source. Deliveries can wait although the source
/// does not use the queue any more.
fn target(route: &Route) -> Target {
    let policy = route.source.queue();
    Target {
        source: route.source.name().into(),
        upstream: Arc::clone(route.shared.upstream.gate()),
        order: policy.order,
        schedule: policy.schedule,
        lease: route.source.lease(),
        // The lease is longer than the timeouts of the upstream.
        max_run: Duration::ZERO,
    }
}

/// Lets `source` use the keys that the source of the same name has fetched before a reload.
fn inherit_keys(source: &Source, previous: &Routes) {
    let same_name = previous
        .iter()
        .find(|route| route.source.name() == source.name());
    if let (Some(keys), Some(previous)) = (
        source.keys(),
        same_name.and_then(|route| route.source.keys()),
    ) {
        keys.inherit(previous);
    }
}
