//! Readiness: whether a delivery that arrives now could be forwarded.
//!
//! The check claims a key in the replay store, as a delivery does, and connects to each upstream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_gate::QueueMode;
use hookgate_queue::QueueStore;
use hookgate_replay::{Claim, ClaimOptions, ReplayStore};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::gateway::Gateway;
use crate::run::store::Store;

/// How long a report is cached, so that frequent checks cost nothing.
const CACHE_TTL: Duration = Duration::from_secs(1);
/// How long the check of the store, and of each upstream, may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks the readiness and caches the last report.
#[derive(Debug)]
pub(crate) struct Readiness {
    gateway: Arc<Gateway>,
    last: Mutex<Option<(Instant, Report)>>,
}

/// The result of one check.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    draining: bool,
    store: &'static str,
    /// `None` if no source uses a queue. A queue is full if the largest allowed body does not fit.
    queue: Option<&'static str>,
    upstreams: BTreeMap<String, bool>,
}

impl Readiness {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            gateway,
            last: Mutex::new(None),
        }
    }

    /// Returns the last report if its check ended less than [`CACHE_TTL`] ago. Otherwise checks
    /// the store and the upstreams again. Concurrent calls share one check.
    ///
    /// Whether the process drains is always current.
    pub(crate) async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < CACHE_TTL
        {
            let draining = self.gateway.is_draining();
            return Report {
                draining,
                ..report.clone()
            };
        }
        let (store, queue, upstreams) = tokio::join!(
            check_store(self.gateway.gate().store()),
            self.check_queue(),
            self.check_upstreams()
        );
        let report = Report {
            draining: self.gateway.is_draining(),
            store,
            queue,
            upstreams,
        };
        *last = Some((Instant::now(), report.clone()));
        report
    }

    async fn check_queue(&self) -> Option<&'static str> {
        let queue = self.gateway.queue()?;
        let largest_body = {
            let running = self.gateway.running();
            let sources = running.routes.iter().map(|route| &route.source);
            let queued = sources.filter(|source| source.queue().mode != QueueMode::Off);
            queued
                .map(|source| source.body_limit().get() as u64)
                .max()?
        };
        let stats = timeout(CHECK_TIMEOUT, queue.stats());
        Some(match stats.await {
            Ok(Ok(stats)) if stats.max_bytes.saturating_sub(stats.bytes) < largest_body => "full",
            Ok(Ok(_)) => OK,
            Ok(Err(_)) | Err(_) => "down",
        })
    }

    async fn check_upstreams(&self) -> BTreeMap<String, bool> {
        let mut checks = JoinSet::new();
        for upstream in self.gateway.upstreams() {
            checks.spawn(async move {
                let usable = timeout(CHECK_TIMEOUT, upstream.is_usable()).await;
                (upstream.name().to_owned(), usable.unwrap_or(false))
            });
        }
        checks.join_all().await.into_iter().collect()
    }
}

impl Report {
    /// Whether a load balancer should send deliveries to this process.
    ///
    /// One reachable upstream is enough. Deliveries for an unreachable upstream would fail on
    /// every replica, so taking this process out of service would not help them. A queue that can
    /// store deliveries is enough, too.
    pub(crate) fn is_ready(&self) -> bool {
        let has_upstream = self.upstreams.values().any(|usable| *usable);
        let can_store = self.queue == Some(OK);
        !self.draining && self.store == OK && (has_upstream || can_store)
    }

    /// Returns the body of `/readyz`.
    pub(crate) fn json(&self) -> Value {
        let upstreams: BTreeMap<&str, &str> = self
            .upstreams
            .iter()
            .map(|(name, usable)| (name.as_str(), if *usable { OK } else { "unreachable" }))
            .collect();
        let mut json = json!({
            "ready": self.is_ready(),
            "draining": self.draining,
            "store": self.store,
            "upstreams": upstreams,
        });
        if let Some(queue) = self.queue {
            json["queue"] = queue.into();
        }
        json
    }
}

const OK: &str = "ok";

/// Claims a key that no event can have, and releases it. Only a write shows that the store is not
/// read-only or full.
async fn check_store(store: &Store) -> &'static str {
    const PROBE_KEY: ReplayKey = ReplayKey::from_bytes(*b"hookgate/readyz\0");
    const PROBE: ClaimOptions = ClaimOptions::new(CHECK_TIMEOUT, Duration::ZERO);
    match timeout(CHECK_TIMEOUT, store.claim(PROBE_KEY, PROBE)).await {
        Ok(Ok(Claim::Granted(lease))) => {
            // If the release fails, the lease ends by itself.
            let _: Result<_, _> = timeout(CHECK_TIMEOUT, store.release(&lease)).await;
            OK
        }
        // Another gateway checks the same store at the same time.
        Ok(Ok(Claim::InFlight { .. } | Claim::Done | Claim::Conflict)) => OK,
        Ok(Ok(Claim::Full)) => "full",
        // The probe has no signing time, so that no store answers it with `Forgotten`.
        Ok(Ok(_) | Err(_)) | Err(_) => "down",
    }
}
