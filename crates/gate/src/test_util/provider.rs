//! [`TestProvider`]: a provider of the catalogue that signs deliveries for a test.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::{Provider, Scheme, Secret, Signer, Variant, Verifier, VerifierBuilder};
use http::HeaderName;

use super::delivery::TestDelivery;
use super::keys::Keys;
use crate::clock::{Clock, SystemClock};
use crate::source::{Source, SourceBuilder};

/// The URL of the endpoint, for the schemes that sign it.
const URL: &str = "https://hooks.example.com/hooks";
/// The value of every parameter of a scheme.
const PARAM: &str = "test";

/// A provider of the catalogue that signs deliveries for a test.
///
/// It has a secret or a pair of keys of its own, which fit its scheme. Configure the receiver with
/// [`secret`](Self::secret), or take the whole [`source`](Self::source).
#[derive(Clone, Debug)]
pub struct TestProvider {
    provider: Provider,
    settings: Settings,
    keys: Keys,
    clock: Arc<dyn Clock>,
}

/// The settings that the provider and its receiver share.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    variant: Option<String>,
    url: Option<String>,
    params: BTreeMap<String, String>,
}

impl TestProvider {
    /// Returns the provider `name` of the catalogue, which signs by the first variant that a
    /// receiver accepts without a choice.
    ///
    /// # Panics
    ///
    /// Panics if the catalogue has no such provider. The message suggests a name.
    #[track_caller]
    pub fn named(name: &str) -> Self {
        let provider = Provider::named(name).unwrap_or_else(|error| panic!("{error}"));
        let scheme = provider.scheme();
        let settings = Settings {
            variant: None,
            url: scheme.needs_url().then(|| URL.to_owned()),
            params: scheme
                .params()
                .map(|name| (name.to_owned(), PARAM.to_owned()))
                .collect(),
        };
        Self::with_settings(provider, settings, Arc::new(SystemClock))
    }

    /// Signs by another variant of the scheme. The [secret](Self::secret) changes with it.
    ///
    /// # Panics
    ///
    /// Panics if the scheme has no such variant.
    #[must_use]
    #[track_caller]
    pub fn variant(self, name: &str) -> Self {
        let mut settings = self.settings;
        settings.variant = Some(name.to_owned());
        Self::with_settings(self.provider, settings, self.clock)
    }

    /// Signs with `secret` in place of a secret of its own.
    ///
    /// # Panics
    ///
    /// Panics if the provider signs with a private key: configure the receiver with the
    /// [public key](Self::secret) of this provider then.
    #[must_use]
    #[track_caller]
    pub fn with_secret(mut self, secret: Secret) -> Self {
        assert!(
            !self.this_variant().has_public_key(),
            "{} signs with a private key; configure the receiver with `TestProvider::secret`",
            self.provider.name()
        );
        self.keys.signing = secret.clone();
        self.keys.verifying = secret;
        self
    }

    /// Sets the URL of the endpoint, if the scheme signs it. The receiver needs the same one.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.settings.url = Some(url.into());
        self
    }

    /// Sets a parameter of the scheme. The receiver needs the same one.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.params.insert(name.into(), value.into());
        self
    }

    /// Signs at the time of `clock`. The default is the clock of the machine.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the secret that the receiver is configured with: the secret that signs, or the
    /// public key.
    pub fn secret(&self) -> Secret {
        self.keys.verifying.clone()
    }

    /// Starts to build a source that verifies the deliveries of this provider.
    pub fn source(&self) -> SourceBuilder {
        let scheme = self.provider.scheme();
        let verifier = self.settings.verifier(scheme, &self.keys.verifying).build();
        let verifier = verifier.unwrap_or_else(|error| self.unusable(error));
        Source::builder(self.provider.name(), verifier).provider(&self.provider)
    }

    /// Starts to build a delivery of `body`, which is signed now.
    ///
    /// The body must fit the provider: a form for Twilio, and an id where it is expected.
    pub fn delivery(&self, body: impl Into<Bytes>) -> TestDelivery {
        TestDelivery::new(self.clone(), body.into(), self.clock.now())
    }

    /// Returns the variant that signs.
    pub(super) fn this_variant(&self) -> Variant<'_> {
        self.settings.variant_of(self.provider.scheme())
    }

    pub(super) fn name(&self) -> &str {
        self.provider.name()
    }

    /// Returns the header with the event type, if the provider does not sign the type.
    pub(super) fn type_header(&self) -> Option<HeaderName> {
        Some(HeaderName::from_static(match self.name() {
            "bitbucket" => "x-event-key",
            "forgejo" => "x-forgejo-event",
            "gitea" => "x-gitea-event",
            "github" | "github-sha1" => "x-github-event",
            "gitlab" => "x-gitlab-event",
            "gogs" => "x-gogs-event",
            "shopify" => "x-shopify-topic",
            "woocommerce" => "x-wc-webhook-topic",
            _ => return None,
        }))
    }

    /// Returns the signer of genuine deliveries.
    pub(super) fn signer(&self) -> Signer {
        self.signer_with(&self.keys.signing)
    }

    /// Returns a signer whose deliveries the receiver refuses.
    pub(super) fn forger(&self) -> Signer {
        self.signer_with(&self.keys.forging)
    }

    fn signer_with(&self, secret: &Secret) -> Signer {
        let settings = &self.settings;
        let mut signer = Signer::builder(self.provider.scheme(), secret);
        if let Some(url) = &settings.url {
            signer = signer.url(url);
        }
        for (name, value) in &settings.params {
            signer = signer.param(&**name, &**value);
        }
        if let Some(variant) = self.this_variant().name() {
            signer = signer.variant(variant);
        }
        signer.build().unwrap_or_else(|error| self.unusable(error))
    }

    fn with_settings(provider: Provider, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let scheme = provider.scheme();
        let keys = Keys::of(scheme, settings.variant_of(scheme), &settings);
        Self {
            provider,
            settings,
            keys,
            clock,
        }
    }

    fn unusable(&self, error: impl std::error::Error) -> ! {
        panic!(
            "the settings of {} are wrong: {error}",
            self.provider.name()
        )
    }
}

impl Settings {
    /// Starts to build a verifier of `scheme` with these settings.
    pub(super) fn verifier(&self, scheme: &Scheme, secret: &Secret) -> VerifierBuilder {
        let mut builder = Verifier::builder(scheme).key(secret.clone());
        if let Some(url) = &self.url {
            builder = builder.url(url);
        }
        for (name, value) in &self.params {
            builder = builder.param(&**name, &**value);
        }
        match &self.variant {
            Some(variant) => builder.variant(variant),
            None => builder,
        }
    }

    /// Returns the chosen variant of `scheme`, or the first variant that needs no choice.
    fn variant_of<'s>(&self, scheme: &'s Scheme) -> Variant<'s> {
        let mut variants = scheme.variants();
        let chosen = self.variant.as_deref();
        let found = variants.find(|variant| match chosen {
            None => !variant.is_opt_in(),
            chosen => variant.name() == chosen,
        });
        found.unwrap_or_else(|| {
            let known: Vec<_> = scheme.variants().filter_map(Variant::name).collect();
            panic!(
                "the scheme has no variant {:?}; it has {}",
                chosen.unwrap_or_default(),
                known.join(", ")
            )
        })
    }
}
