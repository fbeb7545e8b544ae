//! What a reload replaces, all at once: sources with their keys, upstreams, limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::route::Routes;
use crate::config::{self, Config, Limits};
use crate::metrics::Metrics;
use crate::upstream::Upstream;

#[derive(Debug)]
pub(super) struct Running {
    pub(super) routes: Routes,
    pub(super) limits: Limits,
    upstreams: BTreeMap<String, (config::Upstream, Arc<Upstream>)>,
    pub(super) longest_delivery: Duration,
    /// One more with each reload.
    pub(super) version: u64,
}

impl Running {
    /// What runs as `config` says, in place of `before`, of which upstreams that have
    /// not changed go on with their connections.
    pub(super) fn new(config: Config, metrics: &Metrics, before: Option<&Self>) -> Self {
        let longest_delivery = config.longest_delivery();
        let keep = |name: &str, config: &config::Upstream| {
            let (was, upstream) = before?.upstreams.get(name)?;
            (was == config).then(|| Arc::clone(upstream))
        };
        let upstreams: BTreeMap<_, _> = config
            .upstreams
            .into_iter()
            .map(|(name, config)| {
                let upstream =
                    keep(&name, &config).unwrap_or_else(|| Upstream::start(&name, &config));
                (name, (config, upstream))
            })
            .collect();
        Self {
            routes: Routes::new(config.routes, metrics, |name| {
                upstreams
                    .get(name)
                    .map(|(_, upstream)| Arc::clone(upstream))
            }),
            limits: config.limits,
            upstreams,
            longest_delivery,
            version: before.map_or(0, |before| before.version + 1),
        }
    }

    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values().map(|(_, upstream)| upstream)
    }
}
