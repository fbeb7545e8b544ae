//! The source of a capture, as the inspector needs it.

use hookgate_core::Key;
use hookgate_core::internal::{SecretLocation, secret_locations};
use hookgate_gate::Source;

use crate::config::SourceSetup;
use crate::explain::Signing;

/// The source of captures, as it was configured when they arrived.
#[derive(Debug)]
pub(crate) struct CapturedSource {
    pub(crate) name: String,
    /// The name of the provider in the catalogue.
    pub(crate) provider: Option<String>,
    /// How deliveries are signed. `None` without a configuration file.
    pub(super) signing: Option<Signing>,
    /// Whether each tenant of the source has its own secrets.
    pub(super) has_tenants: bool,
    /// The locations from which the scheme reads secrets.
    pub(super) secret_locations: Vec<SecretLocation>,
}

impl CapturedSource {
    /// Creates the description of `source`, and reads the secrets of its `setup`.
    pub(crate) fn new(source: &Source, setup: Option<SourceSetup>) -> Self {
        let scheme = source.verifier().scheme();
        let tenants = setup.as_ref().and_then(|setup| setup.tenants.as_ref());
        Self {
            has_tenants: tenants.is_some(),
            name: source.name().to_owned(),
            provider: source.provider().map(str::to_owned),
            signing: setup.map(|setup| Signing::of_source(source.name().to_owned(), setup)),
            secret_locations: secret_locations(scheme),
        }
    }

    /// Returns the source of the captures of a tenant, which has `keys`.
    pub(crate) fn for_tenant(&self, tenant: &str, keys: &[Key]) -> Self {
        let signing = self.signing.as_ref();
        Self {
            name: self.name.clone(),
            provider: self.provider.clone(),
            has_tenants: self.has_tenants,
            signing: signing.map(|signing| signing.for_tenant(tenant, keys.iter().cloned())),
            secret_locations: self.secret_locations.clone(),
        }
    }
}
