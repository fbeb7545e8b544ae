//! When the secrets of a tenant were read, and their version.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Weak};
use std::time::Instant;

use super::Tenants;
use super::secrets::TenantFiles;

/// The moment that the times of all tenants count from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The version of the secrets of a tenant in use.
#[derive(Debug)]
pub(crate) struct TenantState {
    /// The tenants have this state in their cache, so it does not keep them alive.
    tenants: Weak<Tenants>,
    pub(super) files: TenantFiles,
    /// When the versions were checked, or the resolver was asked, in milliseconds.
    checked: AtomicU64,
    /// Whether another tenant has the same key.
    revoked: AtomicBool,
}

impl TenantState {
    /// Creates the state of secrets that were up to date at `checked`.
    pub(super) fn new(tenants: Weak<Tenants>, files: TenantFiles, checked: Instant) -> Self {
        Self {
            tenants,
            files,
            checked: AtomicU64::new(millis(checked)),
            revoked: AtomicBool::new(false),
        }
    }

    /// Returns whether the secrets are still those of the tenant `name`.
    pub(crate) fn is_current(&self, name: &str) -> bool {
        // The configuration of the tenants was replaced if they are gone.
        let tenants = self.tenants.upgrade();
        tenants.is_some_and(|tenants| tenants.is_current(name, self))
    }

    /// Ends the use of the secrets.
    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Records that the secrets were still the same at `now`.
    pub(super) fn confirm(&self, now: Instant) {
        self.checked.fetch_max(millis(now), Ordering::Relaxed);
    }

    /// Returns when the secrets were checked, in [`millis`].
    pub(super) fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }
}

/// Returns the milliseconds from the first call to `time`.
pub(super) fn millis(time: Instant) -> u64 {
    u64::try_from(time.duration_since(*START).as_millis()).unwrap_or(u64::MAX)
}
