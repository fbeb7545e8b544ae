//! Looks up a tenant whose secrets are not cached. Requests for one tenant share a lookup.

use std::sync::Arc;
use std::time::Instant;

use hookgate_core::internal::{ErrorChain, key_digests};
use tokio::sync::watch;

use super::secrets::{TenantError, TenantKeys};
use super::state::TenantState;
use super::{Lookup, MissKind, Tenants};
use crate::pipeline::route::Route;

impl Tenants {
    /// Looks up the tenant `name`. `template` is the route of its source.
    ///
    /// The lookup goes on if this future is dropped, because other requests may wait for it.
    pub(crate) async fn look_up(self: &Arc<Self>, template: &Arc<Route>, name: &str) -> Lookup {
        let mut result = self.start(template, name);
        let result = result.wait_for(Option::is_some).await;
        // The task is gone without a result only if it panicked, or if the process ends.
        let found = result.ok().and_then(|found| found.clone());
        found.unwrap_or(Lookup::Unavailable)
    }

    /// Starts a lookup, unless one is in progress.
    fn start(
        self: &Arc<Self>,
        template: &Arc<Route>,
        name: &str,
    ) -> watch::Receiver<Option<Lookup>> {
        let mut loading = self.loading.lock();
        if let Some(result) = loading.get(name) {
            return result.clone();
        }
        // A lookup may have ended since the caller looked into the cache.
        if let Some(found) = self.cached(name) {
            return watch::channel(Some(found)).1;
        }
        let (sender, result) = watch::channel(None);
        loading.insert(name.into(), result.clone());
        let entry = Loading {
            tenants: Arc::clone(self),
            name: name.into(),
        };
        let template = Arc::clone(template);
        tokio::spawn(async move {
            let found = entry.tenants.load(&template, &entry.name).await;
            drop(entry);
            // Every request may have gone.
            sender.send_replace(Some(found));
        });
        result
    }

    async fn load(&self, template: &Arc<Route>, name: &str) -> Lookup {
        let started = Instant::now();
        let loaded = match self.secrets.read(name).await {
            Ok(None) => {
                self.remember_missing(name, MissKind::Unknown);
                return Lookup::Unknown;
            }
            Ok(Some(keys)) => self.route(template, name, keys, started).await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok(route) => {
                self.missing.invalidate(name);
                self.known.insert(name.into(), Arc::clone(&route));
                Lookup::Found(route)
            }
            Err(error) => {
                self.log_failure(template, name, &error);
                self.remember_missing(name, MissKind::Unavailable);
                Lookup::Unavailable
            }
        }
    }

    /// Builds the route of a tenant with these keys.
    async fn route(
        &self,
        template: &Arc<Route>,
        name: &str,
        keys: TenantKeys,
        started: Instant,
    ) -> Result<Arc<Route>, TenantError> {
        let TenantKeys { keys, versions } = keys;
        let builder = self.config.verifier_of(name);
        let builder = keys
            .into_iter()
            .fold(builder, |builder, key| builder.key(key));
        let digests = key_digests(&builder, &self.owners.salt);
        let verifier = builder.build().map_err(TenantError::Build)?;
        let owner: Arc<str> = name.into();
        if let Err(other) = self.owners.claim(&owner, &digests) {
            // The other tenant may have other keys by now.
            let in_use = self.digests_of(&other).await?;
            self.owners.release(&other, &digests, &in_use);
            self.known.invalidate(&*other);
            let claimed = self.owners.claim(&owner, &digests);
            claimed.map_err(TenantError::SharedKey)?;
        }
        let source = template.source.for_tenant(owner, verifier);
        let state = TenantState::new(versions, started);
        Ok(Arc::new(template.for_tenant(source, Some(state))))
    }

    /// Returns the digests of the keys that the tenant `name` has now.
    async fn digests_of(&self, name: &str) -> Result<Vec<[u8; 16]>, TenantError> {
        let keys = self.secrets.read(name).await?;
        let keys = keys.into_iter().flat_map(|found| found.keys);
        let builder = keys.fold(self.config.verifier_of(name), |builder, key| {
            builder.key(key)
        });
        Ok(key_digests(&builder, &self.owners.salt))
    }

    fn log_failure(&self, template: &Route, tenant: &str, error: &TenantError) {
        let source = template.source.name();
        if let Some(suppressed) = self.failures.line() {
            tracing::error!(
                source,
                tenant,
                error = %ErrorChain(error),
                suppressed,
                "the secrets of a tenant cannot be used; its deliveries get 503"
            );
        }
    }
}

/// A lookup in progress. Its drop ends it, also if the lookup panics.
struct Loading {
    tenants: Arc<Tenants>,
    name: Box<str>,
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.tenants.loading.lock().remove(&self.name);
    }
}
