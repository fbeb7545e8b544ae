//! Builds a verifier, and checks all that the operator has set for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build_error::BuildError;
use super::endpoint::UrlText;
use super::key::{DecodedSecret, Key, PreparedKey, decoded_keys};
use super::settings::SchemeSettings;
use super::{Ages, KeySource, Verifier};
use crate::catalogue::published_secrets;
use crate::limits::MAX_KEYS;
use crate::mac::HmacSha256;
use crate::scheme::{Scheme, field};
use crate::time::Window;

/// Builds a [`Verifier`].
#[derive(Clone, Debug)]
pub struct VerifierBuilder {
    scheme: Scheme,
    keys: Vec<Key>,
    window: Option<Window>,
    url: Option<UrlText>,
    params: BTreeMap<Box<str>, Box<str>>,
    variant: Option<String>,
    published: Published,
    key_source: KeySource,
}

/// Whether a verifier accepts the secrets that public documentation prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    Refused,
    Allowed,
}

impl VerifierBuilder {
    pub(super) fn new(scheme: &Scheme) -> Self {
        Self {
            scheme: scheme.clone(),
            keys: Vec::new(),
            window: None,
            url: None,
            params: BTreeMap::new(),
            variant: None,
            published: Published::Refused,
            key_source: KeySource::Configured,
        }
    }

    /// Adds a key. A delivery verifies if any active key has signed it.
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Sets the window for timestamps, instead of the scheme's window.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// Sets the URL of the endpoint, for schemes that sign it.
    ///
    /// Expected is the URL exactly as it was entered at the provider. It may contain a user and
    /// a password.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(UrlText(url.into()));
        self
    }

    /// Sets a parameter of the scheme, such as the token of a handshake.
    #[must_use]
    pub fn param(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Enables one variant of the scheme and disables all others.
    ///
    /// Variants with `opt_in` are disabled unless they are chosen here.
    ///
    /// # Security
    ///
    /// Without a chosen variant, the fields of a delivery select one. A sender can then leave out
    /// the signature of a strong variant, and the delivery is checked by a weaker one.
    #[must_use]
    pub fn variant(mut self, name: impl Into<String>) -> Self {
        self.variant = Some(name.into());
        self
    }

    /// Accepts secrets that the documentation of a provider prints.
    ///
    /// # Security
    ///
    /// Anyone can sign with such a secret. Use this in tests alone.
    #[must_use]
    pub fn with_insecure_published_secrets(mut self) -> Self {
        self.published = Published::Allowed;
        self
    }

    /// Verifies with keys that are fetched from the provider, instead of keys of the operator.
    ///
    /// The scheme must say where the provider publishes its keys. The verifier does not fetch by
    /// itself: [`Pending::key_reference`](crate::Pending::key_reference) says which key a
    /// delivery needs.
    #[must_use]
    pub fn fetched_keys(mut self) -> Self {
        self.key_source = KeySource::Fetched;
        self
    }

    /// Builds a verifier without keys, which describes its scheme and refuses every delivery.
    pub(crate) fn build_without_keys(mut self) -> Result<Verifier, BuildError> {
        self.keys.clear();
        self.key_source = KeySource::Configured;
        self.build_checked()
    }

    /// Returns a digest of each key that the secrets become, under the keyed hash of `salt`.
    ///
    /// Two builders of one scheme have a digest in common if they have a key in common, however
    /// their secrets are written. A secret that does not fit the scheme has no digest.
    pub(crate) fn key_digests(&self, salt: &[u8]) -> Vec<[u8; 16]> {
        let pinned = self.variant.as_deref();
        let pinned = pinned.and_then(|name| find_variant(&self.scheme, name).ok());
        let secrets = self.keys.iter().map(|key| &key.secret);
        let keys = secrets.flat_map(|secret| decoded_keys(&self.scheme, pinned, secret));
        let mut digests: Vec<[u8; 16]> = keys
            .map(|key| {
                let mut mac = HmacSha256::new(salt);
                mac.update(&key);
                let mut first = [0; 16];
                first.copy_from_slice(&mac.finish()[..16]);
                first
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        digests
    }

    /// Whether `other` has the same settings. The schemes and the keys are not compared.
    pub(crate) fn has_settings_of(&self, other: &Self) -> bool {
        self.window == other.window
            && self.url.as_ref().map(|url| &url.0) == other.url.as_ref().map(|url| &url.0)
            && self.params == other.params
            && self.variant == other.variant
            && self.published == other.published
            && self.key_source == other.key_source
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// Returns a [`BuildError`] in these cases:
    ///
    /// * There is no key, or there are more than [`MAX_KEYS`].
    /// * Keys are to be fetched, and there are keys of the operator, or the scheme does not say
    ///   where the provider publishes its keys.
    /// * Two keys have the same id, or an id is not 1 to 256 visible ASCII characters.
    /// * A secret does not fit the scheme, or a provider's documentation prints it.
    /// * The URL or a parameter is missing or wrong, or the variant is unknown.
    /// * A feature of this crate contains the algorithm of the scheme, and it is not enabled.
    pub fn build(self) -> Result<Verifier, BuildError> {
        match (self.keys.len(), self.key_source) {
            (0, KeySource::Fetched) if self.scheme.publishes_keys() => {}
            (_, KeySource::Fetched) => return Err(BuildError::KeysNotPublished),
            (0, KeySource::Configured) => return Err(BuildError::NoKey),
            (1..=MAX_KEYS, KeySource::Configured) => {}
            (_, KeySource::Configured) => return Err(BuildError::TooManyKeys),
        }
        self.build_checked()
    }

    fn build_checked(self) -> Result<Verifier, BuildError> {
        let url = self.url.as_ref().map(|url| &*url.0);
        let settings = SchemeSettings::new(&self.scheme, url, self.params)?;
        let pinned = match self.variant {
            None => None,
            Some(name) => Some(find_variant(&self.scheme, &name)?),
        };
        check_features(&self.scheme, pinned, &self.keys, self.key_source)?;
        let published = match self.published {
            Published::Refused => published_secrets(),
            Published::Allowed => &[],
        };
        let secrets = self.keys.len();
        let mut keys: Vec<PreparedKey> = Vec::with_capacity(secrets);
        let mut second_readings = Vec::new();
        for (index, key) in self.keys.into_iter().enumerate() {
            let id = key.id.unwrap_or_else(|| (index + 1).to_string());
            if !field::is_valid_id(id.as_bytes()) || keys.iter().any(|other| *other.id == *id) {
                return Err(BuildError::KeyId { index });
            }
            let readings = DecodedSecret::readings(&self.scheme, pinned, &key.secret, published)
                .map_err(|error| BuildError::Secret { index, error })?;
            let id: Arc<str> = id.into();
            let weak = readings.iter().any(|reading| reading.weak);
            for (reading, decoded) in readings.into_iter().enumerate() {
                let prepared = PreparedKey {
                    id: Arc::clone(&id),
                    not_before: key.not_before,
                    not_after: key.not_after,
                    weak,
                    plans: decoded.plans,
                };
                match reading {
                    0 => keys.push(prepared),
                    _ => second_readings.push(prepared),
                }
            }
        }
        keys.extend(second_readings);
        Ok(Verifier {
            scheme: self.scheme,
            window: self.window,
            ages: Ages::Checked,
            settings: Arc::new(settings),
            pinned,
            secrets,
            keys,
            key_source: self.key_source,
        })
    }
}

/// Checks that the algorithms for all keys are built in.
fn check_features(
    scheme: &Scheme,
    pinned: Option<usize>,
    keys: &[Key],
    source: KeySource,
) -> Result<(), BuildError> {
    for (index, plan) in scheme.plans().iter().enumerate() {
        let mut keys = keys.iter().map(|key| &key.secret);
        let is_used = source == KeySource::Fetched || keys.any(|secret| plan.key.is_for(secret));
        if let Some(feature) = plan.missing_feature()
            && is_used
            && scheme.is_enabled(index, pinned)
        {
            return Err(BuildError::FeatureMissing { feature });
        }
    }
    Ok(())
}

/// Returns the index of the variant `name`.
pub(crate) fn find_variant(scheme: &Scheme, name: &str) -> Result<usize, BuildError> {
    scheme
        .variants()
        .position(|variant| variant.name() == Some(name))
        .ok_or_else(|| BuildError::VariantUnknown {
            known: scheme
                .variants()
                .filter_map(|v| v.name())
                .map(Into::into)
                .collect(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Provider, Secret};

    #[test]
    fn equal_keys_have_a_digest_in_common_however_they_are_written() {
        let provider = Provider::named("standard-webhooks").expect("a provider");
        let digests = |salt: &[u8], texts: &[&str]| {
            let secrets = texts
                .iter()
                .map(|text| Secret::new(*text).expect("a secret"));
            let builder = VerifierBuilder::new(provider.scheme());
            let builder = secrets.fold(builder, |builder, secret| builder.key(secret));
            builder.key_digests(salt)
        };
        const KEY: &str = "YmVuY2htYXJrcy1vZi1ob29rZ2F0ZQ==";
        let with_prefix = format!("whsec_{KEY}");
        let one = digests(b"salt", &[KEY]);
        assert_eq!(one.len(), 1);
        for text in [&with_prefix, KEY.trim_end_matches('=')] {
            assert_eq!(digests(b"salt", &[text]), one, "{text}");
        }
        let other = "whsec_ZGlmZmVyZW50LWtleS1vZi1ob29rZ2F0ZQ==";
        assert_ne!(digests(b"salt", &[other]), one);
        assert_ne!(digests(b"pepper", &[KEY]), one);
        let both = digests(b"salt", &[other, KEY]);
        assert!(both.len() == 2 && both.contains(&one[0]));
    }
}
