//! The tenants of a source: customers with separate secrets and separate events.
//!
//! The path of a request names the tenant. Its secrets come from files or from an HTTP service, and
//! the tenants in use are cached. An idle tenant takes no memory besides the digest of its key. An
//! error is never taken for a tenant without a secret: the delivery gets 503.
//!
//! Tenants with equal keys are refused. All files are therefore read once before the first tenant is
//! served, and again after one of them has changed. A reload keeps the tenants of a source whose
//! configuration is the same.

mod directory;
mod directory_watch;
mod load;
mod lookup_limit;
mod owners;
mod resolver;
mod scan;
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

use self::directory_watch::Watch;
use self::owners::{KeyDigest, KeyOwners};
use self::scan::Scan;
pub(crate) use self::scan::report_equal_keys;
use self::secrets::Secrets;
pub(crate) use self::state::TenantState;
use self::state::millis;
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
/// of both, unless its directory is watched.
const CHECK_INTERVAL: Duration = Duration::from_millis(750);
/// How old the version of a file in a watched directory may be.
const WATCHED_CHECK_INTERVAL: Duration = Duration::from_secs(300);
/// The number of tenants whose keys are compared.
const MAX_OWNERS: usize = 1 << 20;
/// How long a failure is remembered. Deliveries for the tenant are refused meanwhile, so that they
/// do not repeat a lookup that has just failed.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// The tenants of one source.
pub(crate) struct Tenants {
    /// The name of the source.
    source: Box<str>,
    config: TenantsConfig,
    secrets: Secrets,
    known: Cache<Box<str>, Arc<Route>>,
    missing: Cache<Box<str>, Miss>,
    /// The salt of the digests of keys.
    salt: [u8; 32],
    owners: Mutex<KeyOwners>,
    scan: Scan,
    watch: Watch,
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
    /// Creates the tenants of a source, and starts to read the files of all of them.
    ///
    /// # Errors
    ///
    /// Returns the error of the client of the resolver, of the system's random numbers, or of the
    /// thread that reads the files.
    pub(crate) fn start(
        source: &str,
        config: TenantsConfig,
    ) -> Result<Arc<Self>, Box<dyn Error + Send + Sync>> {
        let tenants = Arc::new(Self::new(source, config)?);
        if let Secrets::Files(_) = &tenants.secrets {
            scan::spawn(&tenants)?;
        }
        Ok(tenants)
    }

    fn new(source: &str, config: TenantsConfig) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        // The default policy may refuse a new tenant, which would be loaded for each delivery.
        let known = Cache::builder().max_capacity(MAX_KNOWN).time_to_idle(IDLE);
        let missing = Cache::builder().max_capacity(MAX_MISSING);
        Ok(Self {
            source: source.into(),
            secrets: Secrets::new(&config.secrets)?,
            known: known.eviction_policy(EvictionPolicy::lru()).build(),
            missing: missing
                .time_to_live(IDLE)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            salt,
            owners: Mutex::default(),
            scan: Scan::default(),
            watch: Watch::default(),
            loading: Mutex::default(),
            failures: LogThrottle::default(),
            config,
        })
    }

    /// Returns the ids that the keys of a tenant can have.
    pub(crate) fn key_ids(&self) -> Vec<String> {
        self.config.key_ids()
    }

    /// Returns whether these are the tenants of `config`. Keys that cannot be compared differ.
    pub(crate) fn have_config(&self, config: &TenantsConfig) -> bool {
        self.config == *config
    }

    /// Returns the result for a tenant whose secrets need no lookup now. It does not wait.
    /// `template` is the route of its source.
    pub(crate) fn cached(&self, template: &Route, name: &str) -> Option<Lookup> {
        if let Some(route) = self.known.get(name)
            && let Some(state) = &route.tenant
            && self.is_current(name, state)
        {
            return Some(Lookup::Found(match route.is_made_of(template) {
                true => route,
                false => self.renew(template, name, &route),
            }));
        }
        let miss = self.missing.get(name)?;
        (Instant::now() < miss.until).then_some(match miss.kind {
            MissKind::Unknown => Lookup::Unknown,
            MissKind::Unavailable => Lookup::Unavailable,
        })
    }

    /// Replaces the cached routes of a configuration before a reload. They would keep its upstreams
    /// alive.
    pub(crate) fn adopt(&self, template: &Route) {
        for (name, route) in &self.known {
            if !route.is_made_of(template) {
                self.renew(template, &name, &route);
            }
        }
    }

    /// Replaces the cached `route` of a tenant by one of `template`, with the same keys.
    fn renew(&self, template: &Route, name: &str, route: &Route) -> Arc<Route> {
        let verifier = route.source.verifier().clone();
        let source = template.source.for_tenant(name, verifier);
        let renewed = Arc::new(template.for_tenant(source, route.tenant.clone()));
        // Both routes share their state, so keys that are revoked meanwhile stay revoked.
        self.known.insert(name.into(), Arc::clone(&renewed));
        renewed
    }

    /// Returns whether the secrets of `state` are still those of the tenant `name`. It does not
    /// wait: if only a disk or the resolver knows, the result is false.
    pub(crate) fn is_current(&self, name: &str, state: &TenantState) -> bool {
        if state.is_revoked() {
            return false;
        }
        let time = Instant::now();
        let (now, checked) = (millis(time), state.checked());
        let age = Duration::from_millis(now.saturating_sub(checked));
        let files = match &self.secrets {
            Secrets::Resolver(resolver) => return age < resolver.ttl,
            Secrets::Files(files) => files,
        };
        if age < CHECK_INTERVAL {
            return true;
        }
        if state.files.are_recent {
            return false;
        }
        if state.files.are_direct
            && age < WATCHED_CHECK_INTERVAL
            && self.watch.is_unchanged(checked, now)
        {
            return true;
        }
        let is_unchanged = files.are_unchanged(name, &state.files.versions);
        if is_unchanged {
            state.confirm(time);
        }
        is_unchanged
    }

    /// Records the keys that a tenant has now. The tenants with an equal key are not served any
    /// more.
    fn record_keys(&self, name: &str, digests: &[KeyDigest], version: Option<u64>) {
        self.record_owner(&mut self.owners.lock(), name, digests, version);
    }

    /// Records the keys that a resolver has returned for a tenant. If another tenant has one of
    /// them, it keeps it: its name is returned, and the tenant `name` has no keys.
    fn claim_keys(&self, name: &str, digests: &[KeyDigest]) -> Option<Arc<str>> {
        let mut owners = self.owners.lock();
        if let Some(other) = owners.other_owner(name, digests) {
            owners.remove(name);
            self.revoke(name);
            return Some(other);
        }
        self.record_owner(&mut owners, name, digests, None);
        None
    }

    fn record_owner(
        &self,
        owners: &mut KeyOwners,
        name: &str,
        digests: &[KeyDigest],
        version: Option<u64>,
    ) {
        let is_new = !owners.contains(name);
        if is_new && owners.len() >= MAX_OWNERS {
            // A resolver may answer for each name that a sender invents.
            if let Some(removed) = owners.any() {
                owners.remove(&removed);
                self.revoke(&removed);
            }
        }
        let others = owners.set(name, digests, version);
        for other in &others {
            self.revoke(other);
        }
        if !others.is_empty() {
            self.revoke(name);
        }
    }

    /// Ends the use of a cached tenant, for deliveries in progress too.
    fn revoke(&self, name: &str) {
        if let Some(route) = self.known.get(name)
            && let Some(state) = &route.tenant
        {
            state.revoke();
        }
        self.known.invalidate(name);
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
