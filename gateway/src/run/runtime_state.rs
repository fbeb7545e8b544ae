//! What a reload replaces, all at once: sources with their keys, upstreams, limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::Problems;

use crate::config::{self, Config, Limits};
use crate::pipeline::route::Routes;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) routes: Routes,
    pub(crate) limits: Limits,
    upstreams: BTreeMap<String, (config::UpstreamConfig, Arc<Upstream>)>,
    pub(crate) longest_delivery: Duration,
    /// One more with each reload.
    pub(crate) version: u64,
}

impl Running {
    /// What runs as `config` says, in place of `before`, of which upstreams that have
    /// not changed go on with their connections.
    ///
    /// # Errors
    ///
    /// What an upstream cannot be connected to with.
    pub(crate) fn new(
        config: Config,
        metrics: &Metrics,
        before: Option<&Self>,
    ) -> Result<Self, Problems> {
        let longest_delivery = config.longest_delivery();
        let keep = |name: &str, config: &config::UpstreamConfig| {
            let (was, upstream) = before?.upstreams.get(name)?;
            (was == config).then(|| Arc::clone(upstream))
        };
        let mut upstreams = BTreeMap::new();
        for (name, config) in config.upstreams {
            let upstream = match keep(&name, &config) {
                Some(upstream) => upstream,
                None => Upstream::start(&name, &config)?,
            };
            upstreams.insert(name, (config, upstream));
        }
        Ok(Self {
            routes: Routes::new(config.routes, metrics, |name| {
                upstreams
                    .get(name)
                    .map(|(_, upstream)| Arc::clone(upstream))
            }),
            limits: config.limits,
            upstreams,
            longest_delivery,
            version: before.map_or(0, |before| before.version + 1),
        })
    }

    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values().map(|(_, upstream)| upstream)
    }
}
