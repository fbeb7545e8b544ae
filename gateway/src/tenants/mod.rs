//! The tenants of a source: customers with separate secrets and separate events.
//!
//! The path of a request names the tenant. Its secrets come from files or from an HTTP service, and
//! the tenants in use are cached. An idle tenant takes no memory besides the digest of its key. An
//! error is never taken for a tenant without a secret: the delivery gets 503.
//!
//! Tenants with equal keys are refused. All files are therefore read once before the first tenant is
//! served, and each file again after it has changed. A reload keeps the tenants of a source whose
//! configuration is the same.

mod cache;
mod directory;
mod directory_watch;
mod file_reader;
mod follower;
mod load;
mod lookup_limit;
mod open_reads;
mod owners;
mod resolver;
mod scan;
mod secrets;
mod tenant;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookgate_gate::internal::SharedLookups;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;

use self::cache::TenantCache;
use self::directory_watch::Watch;
use self::owners::{KeyDigest, KeyOwners, RecordedFiles};
use self::scan::Scan;
pub(crate) use self::scan::report_equal_keys;
use self::secrets::Secrets;
pub(crate) use self::secrets::read_keys;
pub(crate) use self::tenant::Tenant;
use self::tenant::millis;
use crate::config::TenantsConfig;
use crate::telemetry::log_throttle::LogThrottle;

/// The number of tenants of a source that are cached. One takes about 2 KB.
const MAX_KNOWN: usize = 1 << 17;
/// The number of names that are remembered as unknown, or as failed.
const MAX_MISSING: u64 = 10_000;
/// How long a name is remembered as unknown, or as failed, at most.
const MISSING_TTL: Duration = Duration::from_secs(600);
/// How old the version of a file may be, unless changes of its directory are reported.
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
    known: TenantCache,
    missing: Cache<Box<str>, Miss>,
    /// The salt of the digests of keys.
    salt: [u8; 32],
    owners: Mutex<KeyOwners>,
    scan: Scan,
    watch: Watch,
    /// The lookups in progress. Requests for one tenant share a lookup.
    loading: Arc<SharedLookups<Lookup>>,
    failures: LogThrottle,
}

/// The result of looking up a tenant.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    Found(Arc<Tenant>),
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
    /// Returns the error of the client of the resolver, of the system's random numbers, of its
    /// descriptors, or of the thread that reads the files.
    pub(crate) fn start(
        source: &str,
        config: TenantsConfig,
    ) -> Result<Arc<Self>, Box<dyn Error + Send + Sync>> {
        let tenants = Arc::new(Self::new(source, config)?);
        if let Secrets::Files(_) = &tenants.secrets {
            follower::spawn(&tenants)?;
        }
        Ok(tenants)
    }

    fn new(source: &str, config: TenantsConfig) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        let missing = Cache::builder().max_capacity(MAX_MISSING);
        Ok(Self {
            source: source.into(),
            secrets: Secrets::new(&config.secrets)?,
            known: TenantCache::new(MAX_KNOWN),
            // The default policy may refuse a new name, which would be looked up for each delivery.
            missing: missing
                .time_to_live(MISSING_TTL)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            salt,
            owners: Mutex::default(),
            scan: Scan::new()?,
            watch: Watch::default(),
            loading: Arc::default(),
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
    pub(crate) fn cached(&self, name: &str) -> Option<Lookup> {
        let now = Instant::now();
        if let Some(tenant) = self.known.get(name, now)
            && self.is_current(&tenant, now)
        {
            return Some(Lookup::Found(tenant));
        }
        let miss = self.missing.get(name)?;
        (now < miss.until).then_some(match miss.kind {
            MissKind::Unknown => Lookup::Unknown,
            MissKind::Unavailable => Lookup::Unavailable,
        })
    }

    /// Returns whether the secrets of `tenant` are still the same. It does not wait: if only a disk or
    /// the resolver knows, the result is false.
    fn is_current(&self, tenant: &Tenant, now: Instant) -> bool {
        if tenant.is_revoked() {
            return false;
        }
        let (now, checked) = (millis(now), tenant.checked());
        let age = Duration::from_millis(now.saturating_sub(checked));
        match &self.secrets {
            Secrets::Resolver(resolver) => age < resolver.ttl,
            Secrets::Files(_) if age < CHECK_INTERVAL => true,
            Secrets::Files(_) => {
                tenant.files.are_direct
                    && age < WATCHED_CHECK_INTERVAL
                    && self.watch.is_complete(checked, now)
            }
        }
    }

    /// Records the keys that a tenant has now. It is not served by the keys in the cache any more,
    /// and neither are the tenants with an equal key.
    ///
    /// Equal keys leave the cache too. Their file may have become a link, whose changes the kernel
    /// does not report.
    fn record_keys(&self, name: &str, digests: &[KeyDigest], files: RecordedFiles) {
        let mut owners = self.owners.lock();
        self.revoke(name);
        self.record_owner(&mut owners, name, digests, files);
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
        self.record_owner(&mut owners, name, digests, RecordedFiles::default());
        None
    }

    fn record_owner(
        &self,
        owners: &mut KeyOwners,
        name: &str,
        digests: &[KeyDigest],
        files: RecordedFiles,
    ) {
        if !owners.has(name, digests) {
            self.revoke(name);
        }
        let is_new = !digests.is_empty() && !owners.contains(name);
        if is_new && owners.len() >= MAX_OWNERS {
            // A resolver may answer for each name that a sender invents.
            if let Some(removed) = owners.any() {
                owners.remove(&removed);
                self.revoke(&removed);
            }
        }
        let others = owners.set(name, digests, files);
        for other in &others {
            self.revoke(other);
        }
        if !others.is_empty() {
            self.revoke(name);
        }
    }

    /// Ends the use of a cached tenant, for deliveries in progress too.
    fn revoke(&self, name: &str) {
        self.known.remove(name);
    }

    fn remember_missing(&self, name: &str, kind: MissKind) {
        let ttl = match (kind, &self.secrets) {
            (MissKind::Unavailable, _) => FAILURE_TTL,
            (MissKind::Unknown, Secrets::Files(_)) => CHECK_INTERVAL,
            (MissKind::Unknown, Secrets::Resolver(resolver)) => resolver.negative_ttl,
        };
        self.known.remove(name);
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
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}
