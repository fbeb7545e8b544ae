//! A tenant in use: its keys, and when they were read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Instant;

use hookgate_core::Key;
use hookgate_gate::Source;
use hookgate_gate::internal::for_tenant_of;

use super::Tenants;
use super::secrets::TenantFiles;

/// The moment that the times of all tenants count from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A tenant with its keys. It does not depend on the rest of a configuration, so it outlives a reload.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// The tenants have this one in their cache, so it does not keep them alive.
    tenants: Weak<Tenants>,
    /// The source with the keys of the tenant, and with the settings of any configuration.
    source: Source,
    /// The keys, which its captures share for their explanations.
    keys: Arc<[Key]>,
    pub(super) files: TenantFiles,
    /// When the versions were checked, or the resolver was asked, in milliseconds.
    checked: AtomicU64,
    /// When a delivery last used the tenant, in milliseconds.
    used: AtomicU64,
    revoked: AtomicBool,
}

impl Tenant {
    /// Creates a tenant whose keys were up to date at `checked`.
    pub(super) fn new(
        tenants: Weak<Tenants>,
        source: Source,
        keys: Arc<[Key]>,
        files: TenantFiles,
        checked: Instant,
    ) -> Self {
        Self {
            tenants,
            source,
            keys,
            files,
            checked: AtomicU64::new(millis(checked)),
            used: AtomicU64::new(millis(checked)),
            revoked: AtomicBool::new(false),
        }
    }

    /// Returns `source` with the name and the keys of this tenant.
    pub(crate) fn source_with(&self, source: &Source) -> Source {
        for_tenant_of(source, &self.source)
    }

    pub(crate) fn keys(&self) -> &Arc<[Key]> {
        &self.keys
    }

    /// Returns whether the keys are still those of the tenant.
    pub(crate) fn is_current(&self) -> bool {
        // The configuration of the tenants was replaced if they are gone.
        let tenants = self.tenants.upgrade();
        tenants.is_some_and(|tenants| tenants.is_current(self, Instant::now()))
    }

    /// Ends the use of the keys.
    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Records that the keys were still the same at `now`.
    pub(super) fn confirm(&self, now: Instant) {
        self.checked.fetch_max(millis(now), Ordering::Relaxed);
    }

    /// Returns when the keys were checked, in [`millis`].
    pub(super) fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    /// Records a use at `now`, in [`millis`].
    pub(super) fn record_use(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    /// Returns when the tenant was last used, in [`millis`].
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Returns the milliseconds from the first call to `time`.
pub(super) fn millis(time: Instant) -> u64 {
    u64::try_from(time.duration_since(*START).as_millis()).unwrap_or(u64::MAX)
}
