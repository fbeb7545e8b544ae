//! Builds a signer.

use std::collections::BTreeMap;

use super::{Signer, SigningKey, Way};
use crate::error::SecretError;
use crate::mac::{Algorithm, PrivateKey};
use crate::scheme::{Plan, Scheme};
use crate::secret::Secret;
use crate::verifier::{BuildError, SchemeSettings, UrlText, find_variant};

/// Builds a [`Signer`].
#[derive(Debug)]
pub struct SignerBuilder {
    scheme: Scheme,
    secret: Secret,
    url: Option<UrlText>,
    params: BTreeMap<Box<str>, Box<str>>,
    variant: Option<String>,
}

impl SignerBuilder {
    pub(super) fn new(scheme: &Scheme, secret: &Secret) -> Self {
        Self {
            scheme: scheme.clone(),
            secret: secret.clone(),
            url: None,
            params: BTreeMap::new(),
            variant: None,
        }
    }

    /// Sets the URL of the endpoint, for schemes that sign it.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(UrlText(url.into()));
        self
    }

    /// Sets a parameter of the scheme.
    #[must_use]
    pub fn param(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Sets the variant of the scheme.
    ///
    /// Without it, the signer uses the first variant that the secret belongs to and that fits the
    /// method and the body of the request.
    #[must_use]
    pub fn variant(mut self, name: impl Into<String>) -> Self {
        self.variant = Some(name.into());
        self
    }

    /// Builds the signer.
    ///
    /// # Errors
    ///
    /// Returns a [`BuildError`] if the secret does not fit the scheme, if the URL or a parameter
    /// is missing or wrong, if the scheme has no variant of the chosen name, or if the feature of
    /// its algorithm is not enabled.
    pub fn build(self) -> Result<Signer, BuildError> {
        let secret_error = |error| BuildError::Secret { index: 0, error };
        let url = self.url.as_ref().map(|url| &*url.0);
        let settings = SchemeSettings::new(&self.scheme, url, self.params)?;
        let plans = self.scheme.plans();
        let chosen = match self.variant {
            Some(name) => Some(find_variant(&self.scheme, &name)?),
            None => None,
        };
        let mut ways = Vec::new();
        for (plan, variant) in plans.iter().enumerate() {
            let is_usable = match chosen {
                Some(chosen) => plan == chosen,
                None => variant.key.is_for(&self.secret) && (!variant.opt_in || plan == 0),
            };
            if !is_usable {
                continue;
            }
            if let Some(feature) = variant.missing_feature() {
                match ways.is_empty() {
                    true => return Err(BuildError::FeatureMissing { feature }),
                    false => continue,
                }
            }
            match signing_key(variant, self.secret.clone()) {
                Ok(key) => ways.push(Way { plan, key }),
                // The secret may fit another variant.
                Err(_) if !ways.is_empty() => {}
                Err(error) => return Err(secret_error(error)),
            }
        }
        if ways.is_empty() {
            return Err(secret_error(SecretError::Prefix));
        }
        Ok(Signer {
            scheme: self.scheme,
            settings,
            ways,
        })
    }
}

/// Returns the key that `plan` signs with: the first reading of `secret`.
fn signing_key(plan: &Plan, secret: Secret) -> Result<SigningKey, SecretError> {
    if plan.algorithm == Algorithm::Token {
        return Ok(SigningKey::Token(secret));
    }
    let readings = plan.key.decode(&secret)?;
    let bytes = readings.first().ok_or(SecretError::Prefix)?;
    match plan.algorithm {
        Algorithm::Public(algorithm) => PrivateKey::new(algorithm, bytes).map(SigningKey::Private),
        _ => plan.mac_key(bytes).map(SigningKey::Mac),
    }
}
