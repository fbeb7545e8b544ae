//! What a reload replaces, all at once: sources with their keys, upstreams, limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::route::Routes;
use crate::config::{self, Config, Limits};
use crate::upstream::Upstream;

#[derive(Debug)]
pub(super) struct Running {
    pub(super) routes: Routes,
    pub(super) limits: Limits,
    upstreams: BTreeMap<String, (config::Upstream, Arc<Upstream>)>,
    /// One more with each reload.
    pub(super) version: u64,
}

impl Running {
    /// What runs as `config` says, in place of `before`, of which upstreams that have
    /// not changed go on with their connections.
    pub(super) fn new(config: Config, before: Option<&Self>) -> Self {
        let keep = |name: &str, config: &config::Upstream| {
            let (was, upstream) = before?.upstreams.get(name)?;
            (was == config).then(|| Arc::clone(upstream))
        };
        let upstreams: BTreeMap<_, _> = config
            .upstreams
            .into_iter()
            .map(|(name, config)| {
                let upstream =
                    keep(&name, &config).unwrap_or_else(|| Arc::new(Upstream::new(&name, &config)));
                (name, (config, upstream))
            })
            .collect();
        Self {
            routes: Routes::new(config.routes, |name| {
                upstreams
                    .get(name)
                    .map(|(_, upstream)| Arc::clone(upstream))
            }),
            limits: config.limits,
            upstreams,
            version: before.map_or(0, |before| before.version + 1),
        }
    }
}
