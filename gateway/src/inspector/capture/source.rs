//! The source of a capture, as the inspector needs it.

use std::mem::size_of;
use std::sync::Arc;

use hookgate_core::internal::{SecretLocation, secret_locations};
use hookgate_core::{Key, Secret};
use hookgate_gate::Source;

use crate::config::SourceSetup;
use crate::explain::Signing;

/// The source of captures, as it was configured when they arrived. The captures of a source share
/// its facts, and those of a tenant share its keys.
#[derive(Clone, Debug)]
pub(crate) struct CapturedSource {
    pub(super) facts: Arc<SourceFacts>,
    /// The tenant whose keys verify the captures, if the source has tenants and knows the keys.
    tenant: Option<CapturedTenant>,
}

/// The facts about a source.
#[derive(Debug)]
pub(super) struct SourceFacts {
    pub(super) name: String,
    /// The name of the provider in the catalogue.
    pub(super) provider: Option<String>,
    /// How deliveries are signed. `None` without a configuration file.
    pub(super) signing: Option<Signing>,
    /// Whether each tenant of the source has its own secrets.
    has_tenants: bool,
    /// The locations from which the scheme reads secrets.
    pub(super) secret_locations: Vec<SecretLocation>,
}

/// A tenant, which may leave the cache of tenants before its captures expire.
#[derive(Clone, Debug)]
struct CapturedTenant {
    name: Box<str>,
    keys: Arc<[Key]>,
}

impl CapturedSource {
    /// Creates the description of `source`, and reads the secrets of its `setup`.
    pub(crate) fn new(source: &Source, setup: Option<SourceSetup>) -> Self {
        let scheme = source.verifier().scheme();
        let tenants = setup.as_ref().and_then(|setup| setup.tenants.as_ref());
        let facts = SourceFacts {
            has_tenants: tenants.is_some(),
            name: source.name().to_owned(),
            provider: source.provider().map(str::to_owned),
            signing: setup.map(|setup| Signing::of_source(source.name().to_owned(), setup)),
            secret_locations: secret_locations(scheme),
        };
        Self {
            facts: Arc::new(facts),
            tenant: None,
        }
    }

    /// Returns the source of the captures of a tenant, which has `keys`.
    pub(crate) fn for_tenant(&self, tenant: &str, keys: &Arc<[Key]>) -> Self {
        Self {
            facts: Arc::clone(&self.facts),
            tenant: Some(CapturedTenant {
                name: tenant.into(),
                keys: Arc::clone(keys),
            }),
        }
    }

    /// Returns the name of the source.
    pub(crate) fn name(&self) -> &str {
        &self.facts.name
    }

    /// Calls `explain` with the way in which the deliveries are signed.
    ///
    /// # Errors
    ///
    /// Returns the reason why the way is not known.
    pub(super) fn with_signing<T>(
        &self,
        explain: impl FnOnce(&Signing) -> Result<T, String>,
    ) -> Result<T, String> {
        let signing = self.facts.signing.as_ref();
        let signing = signing.ok_or("not explained: the setup of the source is not known")?;
        if let Some(CapturedTenant { name, keys }) = &self.tenant {
            return explain(&signing.for_tenant(name, keys.iter().cloned()));
        }
        if !signing.secrets.is_empty() {
            return explain(signing);
        }
        Err(match self.facts.has_tenants {
            true => "not explained: the tenant had no usable secret".to_owned(),
            false => "not explained: the gateway fetches the keys of this source; download the \
                      capture, and run `hookgate verify --keys` with it"
                .to_owned(),
        })
    }

    /// Returns about how many bytes of memory the tenant takes. A capture may be the last owner of its
    /// keys.
    pub(super) fn tenant_weight(&self) -> usize {
        let Some(CapturedTenant { name, keys }) = &self.tenant else {
            return 0;
        };
        let secrets = keys.iter().map(|key| key.secret().text());
        let secrets = secrets.map(|text| text.map_or(Secret::MAX_LEN, str::len));
        name.len() + keys.len() * size_of::<Key>() + secrets.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Request;
    use pingora_http::RequestHeader;

    use super::*;
    use crate::config::CaptureConfig;
    use crate::inspector::capture::tests::{captured_request, source};
    use crate::inspector::capture::{CaptureBudget, CaptureDraft};

    const SECRETS: usize = 8;

    /// Returns the source of the captures of a tenant with the longest secrets, and their keys.
    fn of_tenant() -> (CapturedSource, Arc<[Key]>) {
        let secret = Secret::new("9d2c47aa01e85f63".repeat(Secret::MAX_LEN / 16)).unwrap();
        let keys: Arc<[Key]> = vec![Key::new(secret); SECRETS].into();
        (source("github").for_tenant("acme", &keys), keys)
    }

    #[test]
    fn the_captures_of_a_tenant_share_its_keys_and_each_counts_them() {
        let (tenant, keys) = of_tenant();
        let config = CaptureConfig {
            keep_for: Duration::from_secs(3600),
            max_bytes: 1 << 20,
            redact: Vec::new(),
        };
        let captured = |source: &CapturedSource| {
            let request = Request::post("/in").body(Bytes::from_static(b"body"));
            captured_request(source.clone(), request.unwrap(), &config).0
        };
        let owners = Arc::strong_count(&keys);
        let captures = [captured(&tenant), captured(&tenant)];
        assert_eq!(Arc::strong_count(&keys), owners + captures.len());
        let more = captures[0].weight() - captured(&source("github")).weight();
        let secrets = SECRETS * Secret::MAX_LEN;
        assert!((secrets..secrets + 4096).contains(&more), "{more}");
    }

    #[test]
    fn a_capture_in_the_making_counts_the_keys_of_its_tenant() {
        let (tenant, _keys) = of_tenant();
        let finish = |source: &CapturedSource, bytes: usize| {
            let budget = Arc::new(CaptureBudget::default());
            budget.set_limit(bytes);
            let request = RequestHeader::build("POST", b"/in", None).unwrap();
            CaptureDraft::new(&budget, 100).finish(&request, "http", true, source)
        };
        // A capture may take a quarter of the memory.
        let secrets = SECRETS * Secret::MAX_LEN;
        assert!(finish(&tenant, 4 * secrets).is_none());
        // The controls.
        assert!(finish(&tenant, 5 * secrets).is_some());
        assert!(finish(&source("github"), 4 * secrets).is_some());
    }
}
