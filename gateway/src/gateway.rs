//! The state that every connection shares: the running configuration, the gate, the limits
//! and telemetry.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use hookgate_core::internal::{ErrorChain, Report};
use hookgate_core::{Problems, UnixTime};
use hookgate_gate::{Clock, Gate, QueueMode};
use hookgate_queue::QueueStore;
use hookgate_replay::ReplayStore;
use prometheus::proto::MetricFamily;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::client_address::ClientAddress;
use crate::config::{Config, Limits, StartupSettings};
use crate::inspector::Inspector;
use crate::limits::refusal_rate::RefusalRateLimiter;
use crate::limits::unverified_bodies::UnverifiedBodies;
use crate::listener::connection_limits::ConnectionsByAddress;
use crate::listener::connection_table::{ConnectionTable, OpenConnection};
use crate::listener::refused_connection::{ConnectionRefusal, ConnectionRefusalLog};
use crate::pipeline::open_resends::OpenResends;
use crate::pipeline::request_id::RequestIds;
use crate::queue::Queue;
use crate::run::runtime_state::RuntimeState;
use crate::run::store::Store;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::{self, Metrics, UpstreamState};
use crate::telemetry::trace::Traces;
use crate::upstream::Upstream;

/// How long a scrape of the metrics, or a reload, waits for the queue.
const QUEUE_STATS_TIMEOUT: Duration = Duration::from_secs(2);

/// The shared state of one gateway process.
#[derive(Debug)]
pub(crate) struct Gateway {
    gate: Gate<Store>,
    /// The part of the configuration that a reload replaces.
    running: ArcSwap<RuntimeState>,
    /// The part of the configuration that a reload cannot change.
    startup: StartupSettings,
    metrics: Metrics,
    /// Held while the metrics are gathered.
    gathering: Mutex<()>,
    access_log: AccessLog,
    traces: Traces,
    /// `None` without a table `[queue]`.
    queue: Option<Arc<Queue>>,
    /// `None` without a table `[inspector]`.
    inspector: Option<Arc<Inspector>>,
    /// Whether the access log, traces or the inspector need the facts about each request.
    describes_requests: bool,
    request_ids: RequestIds,
    resends: OpenResends,
    unverified_bodies: UnverifiedBodies,
    refusal_rate: RefusalRateLimiter,
    connections: ConnectionTable,
    connections_by_address: ConnectionsByAddress,
    connection_refusals: ConnectionRefusalLog,
    /// Number of deliveries in progress. A delivery may outlive its connection.
    deliveries: AtomicUsize,
    draining: AtomicBool,
}

/// The parts of a gateway that are opened before it starts.
pub(crate) struct GatewayParts {
    pub(crate) store: Store,
    pub(crate) queue: Option<Arc<Queue>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) access_log: AccessLog,
    pub(crate) traces: Traces,
    pub(crate) inspector: Option<Arc<Inspector>>,
}

impl Gateway {
    /// Creates the state for `config`.
    ///
    /// # Errors
    ///
    /// Returns the problems if the certificates of an upstream cannot be read.
    pub(crate) fn new(config: Config, parts: GatewayParts) -> Result<Self, Problems> {
        let GatewayParts {
            store,
            queue,
            clock,
            metrics,
            access_log,
            traces,
            inspector,
        } = parts;
        let gate = Gate::builder(store)
            .clock(clock)
            .boot_fence(config.replay.boot_fence)
            .build();
        Ok(Self {
            gate,
            startup: StartupSettings::from_config(&config),
            running: ArcSwap::from_pointee(RuntimeState::new(config, &metrics, None)?),
            connection_refusals: ConnectionRefusalLog::new(&metrics),
            metrics,
            gathering: Mutex::new(()),
            describes_requests: access_log.is_on() || traces.is_on() || inspector.is_some(),
            access_log,
            traces,
            queue,
            inspector,
            request_ids: RequestIds::new(),
            resends: OpenResends::default(),
            unverified_bodies: UnverifiedBodies::default(),
            refusal_rate: RefusalRateLimiter::new(),
            connections: ConnectionTable::default(),
            connections_by_address: ConnectionsByAddress::default(),
            deliveries: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        })
    }

    /// Replaces the configuration, for later requests. The replay store stays, and so do the
    /// connections to upstreams that have not changed. Deliveries in progress that have not
    /// claimed their event are checked again, with the new configuration of their source.
    ///
    /// # Errors
    ///
    /// Returns the problems if `config` changes a setting that needs a restart, if it removes a
    /// source that has waiting deliveries in the queue, or if the certificates of an upstream cannot
    /// be read. The old configuration then stays.
    pub(crate) async fn reload(&self, config: Config) -> Result<(), Problems> {
        self.startup.check_unchanged(&config)?;
        self.check_removed_sources(&config).await?;
        self.check_largest_body(&config).await?;
        let certificates = config.tls.clone();
        let inspector_config = config.inspector.clone();
        let running = RuntimeState::new(config, &self.metrics, Some(&self.running.load()))?;
        self.startup.adopt_certificates(&certificates);
        if let (Some(inspector), Some(config)) = (&self.inspector, inspector_config) {
            inspector.adopt(config);
        }
        self.running.store(Arc::new(running));
        Ok(())
    }

    /// Checks that the queue can store the largest body that `config` allows.
    async fn check_largest_body(&self, config: &Config) -> Result<(), Problems> {
        let (Some(queue), Some(queue_config)) = (&self.queue, &config.queue) else {
            return Ok(());
        };
        let new = queue_config.largest_body;
        let running = self.running.load_full();
        let sources = running.routes.iter().map(|route| &route.source);
        let queued = sources.filter(|source| source.queue().mode != QueueMode::Off);
        let current = queued.map(|source| source.body_limit().get() as u64).max();
        if Some(new) <= current {
            return Ok(());
        }
        match timeout(QUEUE_STATS_TIMEOUT, queue.check_largest_body(new)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Problems::one("queue", ErrorChain(&error).to_string())),
            Err(_elapsed) => {
                let message = "a body limit was raised, and the queue does not answer, so its \
                               limit cannot be checked; run `hookgate reload` again when the queue \
                               answers";
                Err(Problems::one("queue", message))
            }
        }
    }

    /// Checks that no source which `config` removes has deliveries in the queue that wait.
    async fn check_removed_sources(&self, config: &Config) -> Result<(), Problems> {
        let Some(queue) = &self.queue else {
            return Ok(());
        };
        let running = self.running.load_full();
        let stays = |name: &str| {
            config
                .routes
                .iter()
                .any(|route| route.source.name() == name)
        };
        let mut names = running.routes.iter().map(|route| route.source.name());
        if names.all(stays) {
            return Ok(());
        }
        let Ok(Ok(stats)) = timeout(QUEUE_STATS_TIMEOUT, queue.stats()).await else {
            let message = "a source was removed, and the queue does not answer, so its waiting \
                           deliveries cannot be counted; run `hookgate reload` again when the queue \
                           answers";
            return Err(Problems::one("sources", message));
        };
        let report = Report::default();
        for (source, waiting) in stats.orphans(stays) {
            if running.routes.of_source(source).is_some() {
                report.add(
                    "sources",
                    format!(
                        "{waiting} deliveries of source {source} wait in the queue, and this \
                         configuration removes the source; wait until they are delivered, or drop \
                         them with `hookgate queue drop --source {source} --yes`"
                    ),
                );
            }
        }
        report.finish(Some(()))
    }

    /// Returns the part of the configuration that a reload replaces.
    pub(crate) fn running(&self) -> Guard<Arc<RuntimeState>> {
        self.running.load()
    }

    /// Returns the configuration file, unless the configuration came from standard input.
    pub(crate) fn config_file(&self) -> Option<PathBuf> {
        self.running.load().shown.file.clone()
    }

    /// Returns the settings that a reload cannot change.
    pub(crate) fn startup(&self) -> &StartupSettings {
        &self.startup
    }

    /// Returns whether `peer` may say who sent a request.
    pub(crate) fn is_trusted_proxy(&self, peer: Option<ClientAddress>) -> bool {
        let trusted = self.startup.trusted_proxies();
        trusted.is_some_and(|trusted| trusted.contains_peer(peer))
    }

    /// Returns the maximum duration of a delivery.
    pub(crate) fn longest_delivery(&self) -> Duration {
        self.running.load().longest_delivery
    }

    pub(crate) fn limits(&self) -> Limits {
        self.running.load().limits
    }

    /// Counts a new connection towards the limit, at which other connections may close in its
    /// favour. Returns `None` if none of them may.
    pub(crate) fn open_connection(
        &self,
        client: Option<ClientAddress>,
    ) -> Option<OpenConnection<'_>> {
        let gauge = self.metrics.connections();
        let limit = self.limits().connections;
        self.connections.open(gauge, limit, client, |waited_for| {
            self.connection_refusals
                .record_eviction(&self.metrics, waited_for);
        })
    }

    /// Counts and logs a connection that is closed without a response.
    pub(crate) fn refuse_connection(
        &self,
        refusal: ConnectionRefusal,
        client: Option<ClientAddress>,
        cause: Option<&(dyn Error + 'static)>,
    ) {
        self.connection_refusals
            .record(&self.metrics, refusal, client, cause);
    }

    /// Returns the resends in progress.
    pub(crate) fn resends(&self) -> &OpenResends {
        &self.resends
    }

    /// Counts a delivery as in progress, until [`end_delivery`](Self::end_delivery).
    pub(crate) fn start_delivery(&self) {
        self.deliveries.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends the counting of a delivery.
    pub(crate) fn end_delivery(&self) {
        self.deliveries.fetch_sub(1, Ordering::SeqCst);
    }

    /// Returns the larger of two numbers: open connections, and deliveries in progress.
    pub(crate) fn in_progress(&self) -> usize {
        let connections = usize::try_from(self.metrics.connections().get()).unwrap_or(0);
        connections.max(self.deliveries.load(Ordering::SeqCst))
    }

    /// Makes readiness checks fail from now on, because the process is about to end.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Returns the upstreams of the running configuration.
    pub(crate) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.running.load().upstreams().cloned().collect()
    }

    /// Returns the time of day.
    pub(crate) fn now(&self) -> UnixTime {
        self.gate.clock().now()
    }

    pub(crate) fn gate(&self) -> &Gate<Store> {
        &self.gate
    }

    /// Returns whether the access log, traces or the inspector need the facts about each request.
    pub(crate) fn describes_requests(&self) -> bool {
        self.describes_requests
    }

    pub(crate) fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    pub(crate) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Returns the queue, if the configuration has one.
    pub(crate) fn queue(&self) -> Option<&Arc<Queue>> {
        self.queue.as_ref()
    }

    /// Returns the inspector, if the configuration has one.
    pub(crate) fn inspector(&self) -> Option<&Arc<Inspector>> {
        self.inspector.as_ref()
    }

    pub(crate) fn request_ids(&self) -> &RequestIds {
        &self.request_ids
    }

    pub(crate) fn unverified_bodies(&self) -> &UnverifiedBodies {
        &self.unverified_bodies
    }

    pub(crate) fn refusal_rate(&self) -> &RefusalRateLimiter {
        &self.refusal_rate
    }

    pub(crate) fn connections_by_address(&self) -> &ConnectionsByAddress {
        &self.connections_by_address
    }

    /// Renders all metrics in the text format of Prometheus.
    pub(crate) async fn render_metrics(&self) -> Vec<u8> {
        metrics::render(&self.gather_metrics().await)
    }

    /// Returns all metrics with their current values.
    pub(crate) async fn gather_metrics(&self) -> Vec<MetricFamily> {
        // Another gathering at the same time would count twice, and would miss series that this one
        // sets anew.
        let _gathering = self.gathering.lock().await;
        self.set_queue_metrics().await;
        self.metrics
            .set_log_lines_dropped(self.access_log.dropped());
        let state = self.running.load();
        let upstreams = state.upstreams().map(|upstream| UpstreamState {
            name: upstream.name(),
            unhealthy_servers: upstream.unhealthy_backends(),
            requests_in_flight: upstream.requests_in_flight(),
        });
        self.metrics.set_gauges(
            self.unverified_bodies.total(),
            state.limits.connections,
            upstreams,
        );
        let now = self.gate.clock().now();
        let keys = state.routes.iter().filter_map(|route| {
            let keys = route.source.keys()?;
            Some((route.source.name(), keys.stats(now)))
        });
        self.metrics.set_keys(keys);
        self.metrics.set_certificates(self.startup.tls_listeners());
        if let Some(inspector) = &self.inspector {
            self.metrics.set_inspector(inspector);
        }
        self.metrics
            .gather(self.gate.stats(), self.gate.store().entries())
    }

    /// Sets the metrics of the queue. They keep their values if the queue does not answer.
    async fn set_queue_metrics(&self) {
        let Some(queue) = &self.queue else {
            return;
        };
        let stats = timeout(QUEUE_STATS_TIMEOUT, queue.stats()).await;
        let running = self.running.load();
        if let Ok(Ok(stats)) = stats {
            let sources = running.routes.iter().map(|route| route.source.name());
            self.metrics.set_queue(&stats, &sources.collect::<Vec<_>>());
        }
        let upstreams = running.upstreams();
        let breakers =
            upstreams.map(|upstream| (upstream.name(), upstream.gate().breaker().state()));
        self.metrics.set_breakers(breakers);
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
