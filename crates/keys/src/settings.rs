//! The operator's settings for the keys of a source.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use hookgate_core::internal::{FetchRule, KeyFormat, NamePattern, PathPattern};
use rustls_pki_types::CertificateDer;

use crate::address::Address;
use crate::certificate;

/// How the certificate of a key is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateChain {
    /// A chain of certificates must lead to a root.
    #[default]
    Roots,
    /// The certificate is trusted because the pinned host served it over TLS. Its name and its
    /// period are checked.
    Host,
}

/// The operator's settings for the keys of a source. Each one replaces that of the scheme.
#[derive(Clone)]
pub struct KeySettings {
    pub(crate) url: Option<String>,
    pub(crate) hosts: Option<Vec<NamePattern>>,
    pub(crate) path: Option<PathPattern>,
    pub(crate) names: Option<Vec<NamePattern>>,
    pub(crate) chain: CertificateChain,
    pub(crate) roots: Option<Vec<CertificateDer<'static>>>,
    pub(crate) timeout: Duration,
    pub(crate) max_age: Duration,
    pub(crate) keep: Duration,
    pub(crate) credentials: BTreeMap<String, String>,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            url: None,
            hosts: None,
            path: None,
            names: None,
            chain: CertificateChain::default(),
            roots: None,
            timeout: Self::DEFAULT_TIMEOUT,
            max_age: Self::DEFAULT_MAX_AGE,
            keep: Self::DEFAULT_KEEP,
            credentials: BTreeMap::new(),
        }
    }
}

impl KeySettings {
    /// The default time limit of a fetch: 3 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
    /// The default age at which a document is fetched again: one hour.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(3600);
    /// The default time for which the last good keys count in an outage: 7 days.
    pub const DEFAULT_KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
    /// Bounds of the age that a document states for itself.
    pub(crate) const STATED_AGE: [Duration; 2] =
        [Duration::from_secs(60), Duration::from_secs(24 * 3600)];

    /// Sets the address. `{key}` stands for the id of the key.
    ///
    /// If deliveries name the address of their key, the document comes from here instead, and
    /// `{key}` stands for the last segment of the named path. The named
    /// address must still lie inside of the pinned hosts and path.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Sets the hosts that a delivery may name.
    #[must_use]
    pub fn hosts(mut self, hosts: impl IntoIterator<Item = NamePattern>) -> Self {
        self.hosts = Some(hosts.into_iter().collect());
        self
    }

    /// Sets the paths that a delivery may name.
    #[must_use]
    pub fn path(mut self, path: PathPattern) -> Self {
        self.path = Some(path);
        self
    }

    /// Sets the names that a certificate may have.
    #[must_use]
    pub fn names(mut self, names: impl IntoIterator<Item = NamePattern>) -> Self {
        self.names = Some(names.into_iter().collect());
        self
    }

    /// Sets how the certificate of a key is trusted.
    #[must_use]
    pub fn chain(mut self, chain: CertificateChain) -> Self {
        self.chain = chain;
        self
    }

    /// Sets the roots of the certificate's chain, instead of those of the web.
    #[must_use]
    pub fn roots(mut self, roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        self.roots = Some(roots.into_iter().collect());
        self
    }

    /// Sets the time limit of a fetch.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the age at which a document is fetched again, if it states none.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets for how long the last good keys count in an outage.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Sets a credential that requests need, such as `client_id`.
    #[must_use]
    pub fn credential(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.credentials.insert(name.into(), value.into());
        self
    }

    /// Whether the operator has written the address.
    pub fn has_url(&self) -> bool {
        self.url.is_some()
    }

    /// Merges the settings with the rule of the scheme, and checks that nothing is missing.
    pub(crate) fn resolve(self, rule: &FetchRule) -> Result<Pins, SettingsError> {
        let wrong = |key, message: &str| Err(SettingsError::new(key, message));
        let url = self.url.as_ref().or(rule.url.as_ref());
        let address = match url {
            None if rule.is_named_by_deliveries() => None,
            None => return wrong("url", "missing; expected the address of the keys"),
            Some(url) => match Address::parse(url) {
                Some(address) => Some(address),
                None => {
                    return wrong(
                        "url",
                        "expected an address such as https://keys.example.com/jwks.json",
                    );
                }
            },
        };
        let token = match &rule.token {
            None => None,
            Some(token) => match Address::parse(&token.url) {
                Some(address) => Some((address, token.scope.clone())),
                None => return wrong("token", "expected an address"),
            },
        };
        self.check_credentials(rule)?;
        if certificate::roots(self.roots.as_deref()).is_err() {
            return wrong("ca", "has a certificate that cannot be trusted");
        }
        self.check_effects(rule)?;
        Ok(Pins {
            address,
            token,
            hosts: self.hosts.unwrap_or_else(|| rule.hosts.clone()),
            path: self.path.or_else(|| rule.path.clone()),
            names: self.names.unwrap_or_else(|| rule.names.clone()),
            chain: self.chain,
            roots: self.roots,
            timeout: self.timeout,
            max_age: self.max_age,
            keep: self.keep,
            credentials: self.credentials,
        })
    }

    /// Checks that exactly the credentials are set that the provider asks for.
    fn check_credentials(&self, rule: &FetchRule) -> Result<(), SettingsError> {
        let needed = rule.credentials();
        for name in &needed {
            let value = self.credentials.get(*name);
            if value.is_none_or(|value| value.is_empty()) {
                let message = format!("the credential {name} is missing; the provider asks for it");
                return Err(SettingsError::new("credentials", message));
            }
        }
        if let Some(name) = self
            .credentials
            .keys()
            .find(|name| !needed.contains(&name.as_str()))
        {
            let message = format!("the provider does not ask for the credential {name}; remove it");
            return Err(SettingsError::new("credentials", message));
        }
        Ok(())
    }

    /// Checks that every setting has an effect.
    fn check_effects(&self, rule: &FetchRule) -> Result<(), SettingsError> {
        let wrong = |key, message: &str| Err(SettingsError::new(key, message));
        if !rule.is_named_by_deliveries() && (self.hosts.is_some() || self.path.is_some()) {
            return wrong(
                "hosts",
                "has no effect: deliveries name no address; remove it",
            );
        }
        if rule.format != KeyFormat::Certificate
            && (self.names.is_some() || self.chain != CertificateChain::Roots)
        {
            return wrong(
                "names",
                "has no effect: the keys are no certificates; remove it",
            );
        }
        if [self.timeout, self.max_age, self.keep]
            .iter()
            .any(Duration::is_zero)
        {
            return wrong(
                "timeout",
                "`timeout`, `max_age` and `keep` must be greater than zero",
            );
        }
        Ok(())
    }
}

/// Leaves the credentials out.
impl fmt::Debug for KeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySettings")
            .field("url", &self.url)
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

/// The resolved settings of a source.
#[derive(Clone, PartialEq)]
pub(crate) struct Pins {
    /// The address of documents. `None` if each delivery names it.
    pub(crate) address: Option<Address>,
    /// The address of the token endpoint, and the scope to ask for.
    pub(crate) token: Option<(Address, Option<String>)>,
    pub(crate) hosts: Vec<NamePattern>,
    pub(crate) path: Option<PathPattern>,
    pub(crate) names: Vec<NamePattern>,
    pub(crate) chain: CertificateChain,
    pub(crate) roots: Option<Vec<CertificateDer<'static>>>,
    pub(crate) timeout: Duration,
    pub(crate) max_age: Duration,
    pub(crate) keep: Duration,
    pub(crate) credentials: BTreeMap<String, String>,
}

/// Leaves the credentials out.
impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins")
            .field("address", &self.address)
            .field("hosts", &self.hosts)
            .field("path", &self.path)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// A mistake in the settings of a source: the key of the setting, and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    key: &'static str,
    message: String,
}

impl SettingsError {
    pub(crate) fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self {
            key,
            message: message.into(),
        }
    }

    /// Returns the key of the setting.
    pub fn key(&self) -> &'static str {
        self.key
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SettingsError {}
