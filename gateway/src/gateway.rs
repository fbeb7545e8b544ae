//! The state that every connection shares: the running configuration, the gate, the
//! limits, and telemetry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hookgate_core::Problems;
use hookgate_gate::{Clock, Gate};
use hookgate_replay::ReplayStore;

use crate::config::{Config, Limits, StartupSettings};
use crate::limits::refusal_rate::RefusalRateLimiter;
use crate::limits::unverified_bodies::UnverifiedBodies;
use crate::listener::connection_limits::ConnectionsByAddress;
use crate::listener::rejected_connection::RejectionLog;
use crate::pipeline::request_id::RequestIds;
use crate::run::runtime_state::RuntimeState;
use crate::run::store::Store;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::{Metrics, UpstreamState};
use crate::telemetry::trace::Traces;
use crate::upstream::Upstream;

/// Everything that a delivery needs on its way, shared by all connections.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) gate: Gate<Store>,
    pub(crate) running: ArcSwap<RuntimeState>,
    pub(crate) startup: StartupSettings,
    pub(crate) metrics: Metrics,
    pub(crate) access: AccessLog,
    pub(crate) traces: Traces,
    pub(crate) request_ids: RequestIds,
    pub(crate) bodies: UnverifiedBodies,
    pub(crate) refusals: RefusalRateLimiter,
    pub(crate) open: ConnectionsByAddress,
    pub(crate) turned_away: RejectionLog,
    /// Deliveries under way; one may outlive its connection.
    pub(crate) deliveries: AtomicUsize,
    pub(crate) draining: AtomicBool,
}

impl Gateway {
    /// What runs as `config` says.
    ///
    /// # Errors
    ///
    /// What an upstream cannot be connected to with.
    pub(crate) fn new(
        config: Config,
        store: Store,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        access: AccessLog,
        traces: Traces,
    ) -> Result<Self, Problems> {
        let gate = Gate::builder(store)
            .clock(clock)
            .boot_fence(config.replay.boot_fence)
            .build();
        let gateway = Self {
            gate,
            startup: StartupSettings::from_config(&config),
            running: ArcSwap::from_pointee(RuntimeState::new(config, &metrics, None)?),
            metrics,
            access,
            traces,
            request_ids: RequestIds::new(),
            bodies: UnverifiedBodies::default(),
            refusals: RefusalRateLimiter::new(),
            open: ConnectionsByAddress::default(),
            turned_away: RejectionLog::default(),
            deliveries: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        };
        gateway.announce_turned_away();
        Ok(gateway)
    }

    /// Runs `config` from the next request on. What the gate remembers stays, and so
    /// do the connections to upstreams that have not changed. Deliveries under way
    /// that are not claimed yet are checked once more, by their source as it is then.
    ///
    /// # Errors
    ///
    /// What cannot change at run time, and what an upstream cannot be connected to with.
    /// Nothing has changed then.
    pub(crate) fn reload(&self, config: Config) -> Result<(), Problems> {
        self.startup.check_unchanged(&config)?;
        let certificates = config.tls.clone();
        let running = RuntimeState::new(config, &self.metrics, Some(&self.running.load()))?;
        self.startup.adopt_certificates(&certificates);
        self.running.store(Arc::new(running));
        Ok(())
    }

    /// How long a delivery may be under way.
    pub(crate) fn longest_delivery(&self) -> Duration {
        self.running.load().longest_delivery
    }

    pub(crate) fn limits(&self) -> Limits {
        self.running.load().limits
    }

    /// Connections that are open and deliveries under way.
    pub(crate) fn under_way(&self) -> usize {
        let connections = usize::try_from(self.metrics.connections().get()).unwrap_or(0);
        connections.max(self.deliveries.load(Ordering::SeqCst))
    }

    /// Says from here on that it is about to end.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Where deliveries go.
    pub(crate) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.running.load().upstreams().cloned().collect()
    }

    pub(crate) fn gate(&self) -> &Gate<Store> {
        &self.gate
    }

    /// Sends what is left of traces.
    pub(crate) fn flush_traces(&self) {
        self.traces.flush();
    }

    /// Every metric, as text.
    pub(crate) fn render_metrics(&self) -> Vec<u8> {
        self.metrics.set_log_lines_dropped(self.access.dropped());
        let state = self.running.load();
        let upstreams = state.upstreams().map(|upstream| UpstreamState {
            name: upstream.name(),
            unhealthy_servers: upstream.servers_out(),
            requests_in_flight: upstream.requests(),
        });
        self.metrics
            .set_gauges(self.bodies.held(), state.limits.connections, upstreams);
        self.metrics
            .render(self.gate.stats(), self.gate.store().entries())
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
