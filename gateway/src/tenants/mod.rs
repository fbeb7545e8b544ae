//! The tenants of a source: customers with separate secrets and separate events.
//!
//! The path of a request names the tenant. Its secrets come from files or from an HTTP service, and
//! the tenants in use are cached. An idle tenant takes no memory besides the digest of its key. An
//! error is never taken for a tenant without a secret: the delivery gets 503.

mod directory;
mod load;
mod owners;
mod resolver;
mod secrets;
mod state;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::owners::KeyOwners;
use self::secrets::Secrets;
pub(crate) use self::state::TenantState;
use crate::config::TenantsConfig;
use crate::pipeline::route::Route;
use crate::telemetry::log_throttle::LogThrottle;

/// The number of tenants of a source that are cached. One takes about 2 KB.
const MAX_KNOWN: u64 = 1 << 17;
/// The number of names that are remembered as unknown, or as failed.
const MAX_MISSING: u64 = 10_000;
/// A tenant without deliveries for this time leaves the cache.
const IDLE: Duration = Duration::from_secs(600);
/// How old the version of a file, or of its directory, may be. A changed file counts within the sum
/// of both.
const CHECK_INTERVAL: Duration = Duration::from_millis(750);
/// How long a failure is remembered. Deliveries for the tenant are refused meanwhile, so that they
/// do not repeat a lookup that has just failed.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// The tenants of one source.
pub(crate) struct Tenants {
    config: TenantsConfig,
    secrets: Secrets,
    known: Cache<Box<str>, Arc<Route>>,
    missing: Cache<Box<str>, Miss>,
    owners: KeyOwners,
    /// The lookups in progress. Requests for one tenant share a lookup.
    loading: Mutex<HashMap<Box<str>, watch::Receiver<Option<Lookup>>>>,
    failures: LogThrottle,
}

/// The result of looking up a tenant.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    Found(Arc<Route>),
    /// There is no such tenant.
    Unknown,
    /// The secrets of the tenant cannot be read now.
    Unavailable,
}

/// A tenant that is not served, until this moment.
#[derive(Clone, Copy, Debug)]
struct Miss {
    kind: MissKind,
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
enum MissKind {
    Unknown,
    Unavailable,
}

impl Tenants {
    /// Creates the tenants of a source. None is looked up yet.
    ///
    /// # Errors
    ///
    /// Returns the error of the client of the resolver, or of the system's random numbers.
    pub(crate) fn new(config: TenantsConfig) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        // The default policy may refuse a new tenant, which would be loaded for each delivery.
        let known = Cache::builder().max_capacity(MAX_KNOWN).time_to_idle(IDLE);
        let missing = Cache::builder().max_capacity(MAX_MISSING);
        Ok(Self {
            secrets: Secrets::new(&config.secrets)?,
            known: known.eviction_policy(EvictionPolicy::lru()).build(),
            missing: missing
                .time_to_live(IDLE)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            owners: KeyOwners::new(salt),
            loading: Mutex::default(),
            failures: LogThrottle::default(),
            config,
        })
    }

    /// Returns the ids that the keys of a tenant can have.
    pub(crate) fn key_ids(&self) -> Vec<String> {
        self.config.key_ids()
    }

    /// Returns the result for a tenant whose secrets need no lookup now. It does not wait.
    pub(crate) fn cached(&self, name: &str) -> Option<Lookup> {
        if let Some(route) = self.known.get(name)
            && self.is_current(name, &route)
        {
            return Some(Lookup::Found(route));
        }
        let miss = self.missing.get(name)?;
        (Instant::now() < miss.until).then_some(match miss.kind {
            MissKind::Unknown => Lookup::Unknown,
            MissKind::Unavailable => Lookup::Unavailable,
        })
    }

    /// Returns whether the secrets of `route` are still those of the tenant `name`. It does not
    /// wait: if only a disk or the resolver knows, the result is false.
    pub(crate) fn is_current(&self, name: &str, route: &Route) -> bool {
        let Some(state) = &route.tenant else {
            return false;
        };
        let now = Instant::now();
        let age = state.age(now);
        match &self.secrets {
            Secrets::Files(_) if age < CHECK_INTERVAL => true,
            Secrets::Files(files) => {
                let is_unchanged = files.are_unchanged(name, &state.versions);
                if is_unchanged {
                    state.confirm(now);
                }
                is_unchanged
            }
            Secrets::Resolver(resolver) => age < resolver.ttl,
        }
    }

    fn remember_missing(&self, name: &str, kind: MissKind) {
        let ttl = match (kind, &self.secrets) {
            (MissKind::Unavailable, _) => FAILURE_TTL,
            (MissKind::Unknown, Secrets::Files(_)) => CHECK_INTERVAL,
            (MissKind::Unknown, Secrets::Resolver(resolver)) => resolver.negative_ttl,
        };
        self.known.invalidate(name);
        if !ttl.is_zero() {
            let until = Instant::now() + ttl;
            self.missing.insert(name.into(), Miss { kind, until });
        }
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants")
            .field("secrets", &self.secrets)
            .field("known", &self.known.entry_count())
            .finish_non_exhaustive()
    }
}
