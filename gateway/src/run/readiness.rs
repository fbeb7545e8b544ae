//! Whether a delivery that came now could be forwarded: asked of the store as a
//! delivery would ask it, and of the upstreams by connecting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::{Claim, ClaimOptions, ReplayStore};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::gateway::Gateway;
use crate::run::store::Store;

/// For how long an answer holds, so that asking often costs nothing.
const FRESH: Duration = Duration::from_secs(1);
/// How long each part may take.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Readiness {
    gateway: Arc<Gateway>,
    last: Mutex<Option<(Instant, Report)>>,
}

/// What is usable.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    draining: bool,
    store: &'static str,
    upstreams: BTreeMap<String, bool>,
}

impl Readiness {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            gateway,
            last: Mutex::new(None),
        }
    }

    pub(crate) async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < FRESH
        {
            let draining = self.gateway.is_draining();
            return Report {
                draining,
                ..report.clone()
            };
        }
        let (store, upstreams) =
            tokio::join!(ask_store(self.gateway.gate().store()), self.ask_upstreams());
        let report = Report {
            draining: self.gateway.is_draining(),
            store,
            upstreams,
        };
        *last = Some((Instant::now(), report.clone()));
        report
    }

    async fn ask_upstreams(&self) -> BTreeMap<String, bool> {
        let mut asking = JoinSet::new();
        for upstream in self.gateway.upstreams() {
            asking.spawn(async move {
                let usable = timeout(PATIENCE, upstream.is_usable()).await;
                (upstream.name().to_owned(), usable.unwrap_or(false))
            });
        }
        asking.join_all().await.into_iter().collect()
    }
}

impl Report {
    /// Whether deliveries should come here. An upstream that is gone is no reason, as
    /// long as there is another one: the deliveries for that one go nowhere else.
    pub(crate) fn is_ready(&self) -> bool {
        let any = self.upstreams.values().any(|usable| *usable);
        !self.draining && self.store == OK && any
    }

    pub(crate) fn json(&self) -> Value {
        let upstreams: BTreeMap<&str, &str> = self
            .upstreams
            .iter()
            .map(|(name, usable)| (name.as_str(), if *usable { OK } else { "unreachable" }))
            .collect();
        json!({
            "ready": self.is_ready(),
            "draining": self.draining,
            "store": self.store,
            "upstreams": upstreams,
        })
    }
}

const OK: &str = "ok";

/// Claims a key that no event has, and gives it back: a store that can be read and not
/// written, or has no room, is of no use.
async fn ask_store(store: &Store) -> &'static str {
    const NOBODYS: ReplayKey = ReplayKey::from_bytes(*b"hookgate/readyz\0");
    const PROBE: ClaimOptions = ClaimOptions::new(PATIENCE, Duration::ZERO);
    match timeout(PATIENCE, store.claim(NOBODYS, PROBE)).await {
        Ok(Ok(Claim::Granted(lease))) => {
            // Runs out by itself otherwise.
            let _: Result<_, _> = timeout(PATIENCE, store.release(&lease)).await;
            OK
        }
        // Another gateway asks the same store.
        Ok(Ok(Claim::InFlight { .. } | Claim::Done | Claim::Conflict)) => OK,
        Ok(Ok(Claim::Full)) => "full",
        // The probe has no signing time, so that no store answers it with `Forgotten`.
        Ok(Ok(_) | Err(_)) | Err(_) => "down",
    }
}
