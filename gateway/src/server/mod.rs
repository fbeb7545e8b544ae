//! The data plane: connections in, verified deliveries out.

mod connection;
mod delivery;
mod framing;
mod listen;
mod route;
mod sender;

use std::collections::BTreeMap;
use std::sync::Arc;

use hookgate_gate::{Clock, Gate};

pub(crate) use self::connection::Front;
pub(crate) use self::listen::bind;
use self::route::Routes;
use crate::config::{Config, Limits};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::upstream::Upstream;

/// Everything that a delivery needs on its way, shared by all connections.
#[derive(Debug)]
pub(crate) struct Gateway {
    gate: Gate<Store>,
    routes: Routes,
    limits: Limits,
    metrics: Metrics,
    request_ids: delivery::RequestIds,
}

impl Gateway {
    pub(crate) fn new(
        config: Config,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, prometheus::Error> {
        let gate = Gate::builder(store)
            .clock(clock)
            .boot_fence(config.replay.boot_fence)
            .build();
        let upstreams: BTreeMap<String, Arc<Upstream>> = config
            .upstreams
            .iter()
            .map(|(name, upstream)| (name.clone(), Arc::new(Upstream::new(name, upstream))))
            .collect();
        Ok(Self {
            gate,
            routes: Routes::new(config.routes, &upstreams),
            limits: config.limits,
            metrics: Metrics::new()?,
            request_ids: delivery::RequestIds::new(),
        })
    }

    pub(crate) fn gate(&self) -> &Gate<Store> {
        &self.gate
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
