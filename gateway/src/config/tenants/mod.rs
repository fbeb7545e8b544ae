//! The tenants of a source: its path, and where their secrets are.

mod path_pattern;

use std::path::PathBuf;
use std::time::Duration;

use hookgate_core::internal::{Value, have_equal_settings};
use hookgate_core::{MAX_KEYS, Secret, VerifierBuilder};

pub(super) use self::path_pattern::ExactPath;
pub(crate) use self::path_pattern::{PathPattern, is_tenant_name};
use super::secrets::{ConfiguredKey, TENANT};

/// The tenants of one source.
#[derive(Clone, Debug)]
pub(crate) struct TenantsConfig {
    pub(crate) secrets: TenantSecrets,
    /// The provider in the catalogue, or the table `scheme`.
    pub(crate) scheme: Option<Value>,
    /// Everything that verifies the deliveries of a tenant but its URL and its keys.
    pub(crate) verifier: VerifierBuilder,
    /// The URL of the endpoint, in which [`TENANT`] stands for the tenant.
    pub(crate) url: Option<String>,
}

/// Where the secrets of each tenant are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TenantSecrets {
    /// One file for each item of `secrets`.
    Files(Vec<TenantFile>),
    /// An HTTP service knows them.
    Resolver(ResolverConfig),
}

/// The files of one item of `secrets`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TenantFile {
    /// The directory of all files. A file outside of it is refused.
    pub(crate) directory: PathBuf,
    /// The path of a file below the directory, in which [`TENANT`] stands for the tenant.
    pub(crate) name: String,
    /// The id and the period of validity of each key.
    pub(crate) key: ConfiguredKey,
}

/// The HTTP service that knows the secrets of each tenant.
#[derive(Clone, Debug)]
pub(crate) struct ResolverConfig {
    /// The address, in which [`TENANT`] stands for the tenant.
    pub(crate) url: String,
    /// How long an answer is used.
    pub(crate) ttl: Duration,
    /// How long the answer is used that a tenant is unknown.
    pub(crate) negative_ttl: Duration,
    /// The longest time for an answer.
    pub(crate) timeout: Duration,
    /// The bearer token of each request.
    pub(crate) token: Option<Secret>,
}

/// The settings that a reload compares.
impl PartialEq for TenantsConfig {
    fn eq(&self, other: &Self) -> bool {
        self.secrets == other.secrets
            && self.scheme == other.scheme
            && self.url == other.url
            && have_equal_settings(&self.verifier, &other.verifier)
    }
}

impl PartialEq for ResolverConfig {
    fn eq(&self, other: &Self) -> bool {
        let token = |config: &Self| {
            config
                .token
                .as_ref()
                .and_then(Secret::text)
                .map(String::from)
        };
        self.url == other.url
            && [self.ttl, self.negative_ttl, self.timeout]
                == [other.ttl, other.negative_ttl, other.timeout]
            && token(self) == token(other)
    }
}

impl TenantsConfig {
    /// Returns the verifier of `tenant`, without its keys.
    pub(crate) fn verifier_of(&self, tenant: &str) -> VerifierBuilder {
        let builder = self.verifier.clone();
        match &self.url {
            Some(url) => builder.url(with_tenant(url, tenant)),
            None => builder,
        }
    }

    /// Returns the ids that the keys of a tenant can have.
    pub(crate) fn key_ids(&self) -> Vec<String> {
        match &self.secrets {
            TenantSecrets::Files(files) => (1..)
                .zip(files)
                .map(|(position, file)| file.key.id_at(position))
                .collect(),
            TenantSecrets::Resolver(_) => (1..=MAX_KEYS).map(|id| id.to_string()).collect(),
        }
    }

    /// Returns the longest time that the secrets of a tenant take.
    pub(crate) fn timeout(&self) -> Duration {
        match &self.secrets {
            TenantSecrets::Files(_) => Duration::ZERO,
            TenantSecrets::Resolver(resolver) => resolver.timeout,
        }
    }

    /// Describes where the secrets are, for `check`.
    pub(crate) fn describe(&self) -> String {
        match &self.secrets {
            TenantSecrets::Files(files) => {
                let files = files.iter();
                let files: Vec<String> = files
                    .map(|file| file.directory.join(&file.name).display().to_string())
                    .collect();
                format!("of each tenant, from {}", files.join(" and "))
            }
            TenantSecrets::Resolver(resolver) => format!("of each tenant, from {}", resolver.url),
        }
    }
}

/// Returns `text` with the name of a tenant in place of the variable.
pub(crate) fn with_tenant(text: &str, tenant: &str) -> String {
    text.replacen(TENANT, tenant, 1)
}
