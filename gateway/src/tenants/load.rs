//! Looks up a tenant whose secrets are not cached. Requests for one tenant share a lookup.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookgate_core::internal::{ErrorChain, key_digests};
use hookgate_core::{Key, VerifierBuilder};
use hookgate_gate::Source;
use tokio::time::timeout;

use super::lookup_limit::LookupFor;
use super::owners::{KeyDigest, RecordedFiles};
use super::secrets::{Files, Secrets, TenantError, TenantKeys};
use super::{Lookup, MissKind, Tenant, Tenants};

/// How often the files of a tenant are read, if they change meanwhile.
const MAX_ATTEMPTS: usize = 3;
/// How long a delivery waits for files, before it is refused.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(5);

impl Tenants {
    /// Looks up the tenant `name` of `source` for `client`.
    ///
    /// The lookup goes on if this future is dropped, because other requests may wait for it.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        source: &Source,
        name: &str,
        client: Option<IpAddr>,
    ) -> Lookup {
        let start = |_in_progress| {
            // A lookup may have ended since the caller looked into the cache.
            if let Some(found) = self.cached(name) {
                return ControlFlow::Break(found);
            }
            let (tenants, source) = (Arc::clone(self), source.clone());
            let name = Box::<str>::from(name);
            ControlFlow::Continue(async move { tenants.load(&source, &name, client).await })
        };
        // Without a result, the lookup has panicked, or the process ends.
        let found = self.loading.get(name, start).await;
        found.unwrap_or(Lookup::Unavailable)
    }

    async fn load(self: &Arc<Self>, source: &Source, name: &str, client: Option<IpAddr>) -> Lookup {
        let lookup = match self.owners.lock().contains(name) {
            true => LookupFor::Known,
            false => LookupFor::Client(client),
        };
        let finding = self.find(source, name, lookup);
        let found = match &self.secrets {
            // A file system may hang, and a scan of many files takes long.
            Secrets::Files(_) => {
                let found = timeout(MAX_WAIT, finding).await;
                found.unwrap_or(Err(TenantError::NotScanned))
            }
            // The resolver has a timeout.
            Secrets::Resolver(_) => finding.await,
        };
        match found {
            Ok(Some(tenant)) => Lookup::Found(tenant),
            Ok(None) => {
                if let Secrets::Resolver(_) = self.secrets {
                    self.record_keys(name, &[], RecordedFiles::default());
                }
                self.remember_missing(name, MissKind::Unknown);
                Lookup::Unknown
            }
            Err(error) => {
                self.log_failure(name, &error);
                self.remember_missing(name, MissKind::Unavailable);
                Lookup::Unavailable
            }
        }
    }

    /// Reads the secrets of a tenant, and adds it to the cache.
    async fn find(
        self: &Arc<Self>,
        source: &Source,
        name: &str,
        lookup: LookupFor,
    ) -> Result<Option<Arc<Tenant>>, TenantError> {
        if let Some(confirmed) = self.confirm(name).await? {
            return Ok(Some(confirmed));
        }
        for _attempt in 0..MAX_ATTEMPTS {
            let started = Instant::now();
            let Some(read) = self.secrets.read(name, lookup).await? else {
                return Ok(None);
            };
            let (digests, tenant) = self.tenant_with(read, source, name, started)?;
            match &self.secrets {
                Secrets::Files(_) => self.scan.follow().await,
                Secrets::Resolver(_) => self.claim_unshared(name, &digests).await?,
            }
            if self.admit_unshared(name, &digests, &tenant).await? {
                return Ok(Some(tenant));
            }
            // The change may be unreported, for example that of a mounted file.
            self.scan.read_again(name).await;
            self.scan.scan_again().await;
        }
        Err(TenantError::Changing)
    }

    /// Returns the tenant `name` of `source` with the keys that were read, and their digests.
    pub(super) fn tenant_with(
        self: &Arc<Self>,
        TenantKeys { keys, files }: TenantKeys,
        source: &Source,
        name: &str,
        started: Instant,
    ) -> Result<(Vec<KeyDigest>, Arc<Tenant>), TenantError> {
        let keys: Arc<[Key]> = keys.into();
        let builder = self.with_keys(name, &keys);
        let digests = key_digests(&builder, &self.salt);
        let verifier = builder.build().map_err(TenantError::Build)?;
        let source = source.for_tenant(name, verifier);
        let tenant = Tenant::new(Arc::downgrade(self), source, keys, files, started);
        Ok((digests, Arc::new(tenant)))
    }

    /// Returns the tenant in the cache, if its files have not changed.
    async fn confirm(&self, name: &str) -> Result<Option<Arc<Tenant>>, TenantError> {
        let (Secrets::Files(files), Some(tenant)) =
            (&self.secrets, self.known.get(name, Instant::now()))
        else {
            return Ok(None);
        };
        if tenant.files.are_recent || tenant.is_revoked() {
            return Ok(None);
        }
        let started = Instant::now();
        let versions = files.in_thread(name, Files::versions).await?;
        let is_unchanged = versions.is_ok_and(|versions| versions == tenant.files.versions);
        Ok(is_unchanged.then(|| {
            tenant.confirm(started);
            tenant
        }))
    }

    /// Adds a tenant to the cache, unless another one has one of its keys. Returns false if the keys or
    /// the files of the tenant are others by now.
    ///
    /// # Errors
    ///
    /// Returns [`TenantError::SharedKey`], or the error of reading the keys of the other tenant.
    async fn admit_unshared(
        self: &Arc<Self>,
        name: &str,
        digests: &[KeyDigest],
        tenant: &Arc<Tenant>,
    ) -> Result<bool, TenantError> {
        let mut read_again: Option<Arc<str>> = None;
        loop {
            let other = match self.admit(name, digests, tenant) {
                Admission::Admitted => return Ok(true),
                Admission::OtherKeys => return Ok(false),
                Admission::SharedWith(other) => other,
            };
            if read_again.as_ref() == Some(&other) {
                return Err(TenantError::SharedKey(other));
            }
            // The other tenant may have other keys by now.
            self.scan.read_again(&other).await;
            read_again = Some(other);
        }
    }

    /// Records the keys of a tenant of a resolver, unless another tenant has one of them.
    ///
    /// # Errors
    ///
    /// Returns [`TenantError::SharedKey`], or the error of asking for the keys of the other tenant.
    async fn claim_unshared(&self, name: &str, digests: &[KeyDigest]) -> Result<(), TenantError> {
        while let Some(other) = self.claim_keys(name, digests) {
            // The other tenant may have other keys by now.
            let found = self.digests_of(&other).await?;
            if self.owners.lock().has(&other, &found) {
                return Err(TenantError::SharedKey(other));
            }
            self.revoke(&other);
            self.claim_keys(&other, &found);
        }
        Ok(())
    }

    pub(super) fn admit(
        &self,
        name: &str,
        digests: &[KeyDigest],
        tenant: &Arc<Tenant>,
    ) -> Admission {
        // Held until the tenant can be revoked.
        let owners = self.owners.lock();
        // Since the file was read, it may have become a link, whose changes are not reported.
        let was_direct = tenant.files.are_direct && !owners.files(name).are_direct;
        if !owners.has(name, digests) || was_direct {
            return Admission::OtherKeys;
        }
        if let Some(other) = owners.shares_with(name) {
            return Admission::SharedWith(other);
        }
        self.missing.invalidate(name);
        self.known.insert(name, Arc::clone(tenant), Instant::now());
        Admission::Admitted
    }

    /// Returns the digests of the keys that the tenant `name` has now.
    async fn digests_of(&self, name: &str) -> Result<Vec<KeyDigest>, TenantError> {
        let found = self.secrets.read(name, LookupFor::Known).await?;
        let keys = found.map_or_else(Vec::new, |found| found.keys);
        Ok(key_digests(&self.with_keys(name, &keys), &self.salt))
    }

    /// Returns the verifier of a tenant with these keys.
    pub(super) fn with_keys(&self, name: &str, keys: &[Key]) -> VerifierBuilder {
        let builder = self.config.verifier_of(name);
        keys.iter()
            .fold(builder, |builder, key| builder.key(key.clone()))
    }

    pub(super) fn log_failure(&self, tenant: &str, error: &TenantError) {
        if let Some(suppressed) = self.failures.line() {
            tracing::error!(
                source = &*self.source,
                tenant,
                error = %ErrorChain(error),
                suppressed,
                "the secrets of a tenant cannot be used; its deliveries get 503"
            );
        }
    }
}

/// The result of adding a tenant to the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    /// The keys that were read are not those of the tenant, or its files are others by now.
    OtherKeys,
    SharedWith(Arc<str>),
}
