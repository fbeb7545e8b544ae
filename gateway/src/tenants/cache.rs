//! The tenants in use, with a bound on their number and on the time without a delivery.
//!
//! A lookup writes to the tenant that it returns, and to nothing else. A cache that keeps the exact
//! order of use also writes to the neighbours in that order. With 100 000 tenants these are not in the
//! caches of the processor, which `make bench-tenants` shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use parking_lot::RwLock;

use super::tenant::{Tenant, millis};

/// A tenant without deliveries for this time leaves the cache.
const IDLE: Duration = Duration::from_secs(600);
/// The time between two searches for idle tenants.
const SEARCH_INTERVAL: Duration = Duration::from_millis(500);
/// A search looks at one in this many tenants, so no lookup waits for long.
const SEARCHES: usize = 100;
/// A full cache evicts the longest unused one of this many tenants.
const SAMPLE: usize = 8;

/// A map from names to tenants.
///
/// A tenant that leaves it is revoked, because a change of its keys revokes cached tenants only.
#[derive(Debug)]
pub(super) struct TenantCache {
    max: usize,
    tenants: RwLock<IndexMap<Box<str>, Arc<Tenant>>>,
    /// The position at which the next search or sample begins.
    position: AtomicUsize,
    /// When the next search may start, in [`millis`].
    next_search: AtomicU64,
}

impl TenantCache {
    /// Creates a cache for at most `max` tenants.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            tenants: RwLock::default(),
            position: AtomicUsize::new(0),
            next_search: AtomicU64::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tenants.read().len()
    }

    /// Returns a tenant, and records its use at `now`.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Arc<Tenant>> {
        let now = millis(now);
        let tenant = self.tenants.read().get(name).cloned();
        if let Some(tenant) = &tenant {
            tenant.record_use(now);
        }
        self.evict_idle(now);
        tenant
    }

    /// Adds a tenant that is used at `now`. It takes the place of one with the same name.
    pub(super) fn insert(&self, name: &str, tenant: Arc<Tenant>, now: Instant) {
        tenant.record_use(millis(now));
        let mut tenants = self.tenants.write();
        if tenants.len() >= self.max && !tenants.contains_key(name) {
            let evicted = self.sample(&tenants, SAMPLE).min_by_key(|found| found.1);
            if let Some((position, _)) = evicted {
                revoke(tenants.swap_remove_index(position));
            }
        }
        let replaced = tenants.insert(name.into(), tenant);
        drop(tenants);
        if let Some(replaced) = replaced {
            replaced.revoke();
        }
    }

    /// Removes a tenant.
    pub(super) fn remove(&self, name: &str) {
        revoke(self.tenants.write().swap_remove_entry(name));
    }

    /// Removes idle tenants, unless the last search was a moment ago.
    fn evict_idle(&self, now: u64) {
        let next = self.next_search.load(Ordering::Relaxed);
        let later = now + SEARCH_INTERVAL.as_millis() as u64;
        let starts = now >= next
            && (self.next_search)
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !starts {
            return;
        }
        let is_idle = |used: u64| now.saturating_sub(used) > IDLE.as_millis() as u64;
        let tenants = self.tenants.read();
        let found = self.sample(&tenants, tenants.len().div_ceil(SEARCHES));
        let idle = found.filter(|(_, used)| is_idle(*used));
        let idle = idle.filter_map(|(position, _)| tenants.get_index(position));
        let idle: Vec<Box<str>> = idle.map(|(name, _)| name.clone()).collect();
        drop(tenants);
        for name in idle {
            let mut tenants = self.tenants.write();
            // It may have been used since.
            if tenants
                .get(&name)
                .is_some_and(|tenant| is_idle(tenant.used()))
            {
                revoke(tenants.swap_remove_entry(&name));
            }
        }
    }

    /// Returns the positions of the next `count` tenants, and their last use in [`millis`].
    fn sample<'t>(
        &self,
        tenants: &'t IndexMap<Box<str>, Arc<Tenant>>,
        count: usize,
    ) -> impl Iterator<Item = (usize, u64)> + use<'t> {
        let first = self.position.fetch_add(count, Ordering::Relaxed);
        let positions =
            (0..count.min(tenants.len())).map(move |index| (first + index) % tenants.len());
        positions.filter_map(|position| {
            let (_, tenant) = tenants.get_index(position)?;
            Some((position, tenant.used()))
        })
    }
}

/// Ends the use of a tenant that was removed.
fn revoke(removed: Option<(Box<str>, Arc<Tenant>)>) {
    if let Some((_, tenant)) = removed {
        tenant.revoke();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::super::secrets::TenantFiles;
    use super::super::tests::Fixture;
    use super::*;

    fn tenant(source: &hookgate_gate::Source, start: Instant) -> Arc<Tenant> {
        let files = TenantFiles::default();
        Arc::new(Tenant::new(
            Weak::new(),
            source.clone(),
            Arc::default(),
            files,
            start,
        ))
    }

    #[test]
    fn a_full_cache_evicts_the_tenant_that_was_not_used_for_longest() {
        let (fixture, start) = (Fixture::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let cache = TenantCache::new(SAMPLE);
        let names: Vec<String> = (0..SAMPLE).map(|number| number.to_string()).collect();
        let tenants: Vec<_> = names
            .iter()
            .map(|_| tenant(&fixture.source, start))
            .collect();
        for ((name, tenant), second) in names.iter().zip(&tenants).zip(0..) {
            cache.insert(name, Arc::clone(tenant), at(second));
        }
        assert!(cache.get("0", at(20)).is_some());
        // The control: a tenant with a known name takes no further place.
        cache.insert("7", tenant(&fixture.source, start), at(21));
        assert_eq!(cache.len(), SAMPLE);
        cache.insert("new", tenant(&fixture.source, start), at(22));
        assert_eq!(cache.len(), SAMPLE);
        assert!(cache.get("1", at(23)).is_none() && tenants[1].is_revoked());
        for name in ["0", "2", "7", "new"] {
            assert!(cache.get(name, at(24)).is_some(), "{name}");
        }
        assert!(!tenants[0].is_revoked() && !tenants[2].is_revoked());
    }

    #[test]
    fn a_tenant_without_deliveries_leaves_the_cache() {
        let (fixture, start) = (Fixture::new(), Instant::now());
        let cache = TenantCache::new(1000);
        let (used, idle) = (
            tenant(&fixture.source, start),
            tenant(&fixture.source, start),
        );
        cache.insert("used", Arc::clone(&used), start);
        cache.insert("idle", Arc::clone(&idle), start);
        let step = SEARCH_INTERVAL + Duration::from_millis(1);
        for number in 0..IDLE.div_duration_f64(step) as u32 {
            assert!(cache.get("used", start + step * number).is_some());
        }
        assert_eq!(cache.len(), 2);
        for number in 1..4 {
            assert!(cache.get("used", start + IDLE + step * number).is_some());
        }
        assert_eq!(cache.len(), 1);
        assert!(idle.is_revoked() && !used.is_revoked());
    }

    #[test]
    fn a_replaced_tenant_and_a_removed_one_are_revoked() {
        let (fixture, start) = (Fixture::new(), Instant::now());
        let cache = TenantCache::new(1000);
        let (old, new) = (
            tenant(&fixture.source, start),
            tenant(&fixture.source, start),
        );
        cache.insert("acme", Arc::clone(&old), start);
        cache.insert("acme", Arc::clone(&new), start);
        assert!(old.is_revoked() && !new.is_revoked());
        cache.remove("acme");
        assert!(new.is_revoked() && cache.get("acme", start).is_none());
    }
}
