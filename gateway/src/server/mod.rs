//! The data plane: connections in, verified deliveries out.

mod admit;
mod connection;
mod delivery;
mod framing;
mod listen;
mod route;
mod running;
mod sender;

use std::sync::Arc;

use arc_swap::ArcSwap;
use hookgate_core::document::Problems;
use hookgate_gate::{Clock, Gate};

pub(crate) use self::connection::Front;
pub(crate) use self::listen::bind;
use self::running::Running;
use crate::config::{Config, Fixed};
use crate::metrics::Metrics;
use crate::store::Store;

/// Everything that a delivery needs on its way, shared by all connections.
#[derive(Debug)]
pub(crate) struct Gateway {
    gate: Gate<Store>,
    running: ArcSwap<Running>,
    fixed: Fixed,
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
        Ok(Self {
            gate,
            fixed: Fixed::of(&config),
            running: ArcSwap::from_pointee(Running::new(config, None)),
            metrics: Metrics::new()?,
            request_ids: delivery::RequestIds::new(),
        })
    }

    /// Runs `config` from the next request on. What the gate remembers stays, and so
    /// do the connections to upstreams that have not changed. Deliveries under way
    /// that are not claimed yet are checked once more, by their source as it is then.
    ///
    /// # Errors
    ///
    /// What cannot change at run time. Nothing has changed then.
    pub(crate) fn reload(&self, config: Config) -> Result<(), Problems> {
        self.fixed.allows(&config)?;
        let running = Running::new(config, Some(&self.running.load()));
        self.running.store(Arc::new(running));
        Ok(())
    }

    pub(crate) fn gate(&self) -> &Gate<Store> {
        &self.gate
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
