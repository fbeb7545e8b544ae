//! How the deliveries of a source, or of the options of a command, are signed.

use std::fmt;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_core::{BuildError, Key, Provider, Scheme, Verifier, VerifierBuilder, Window};
use hookgate_diagnose::Setup;
use http::{Method, Uri};

use super::read_secret::ReadSecret;
use crate::config::{SecretRef, SourceSetup, with_tenant};

/// How deliveries are signed, as the options or the configuration say.
pub(crate) struct Signing {
    /// The name of the source, if the configuration has one.
    pub(crate) source: Option<String>,
    pub(crate) provider: Option<Provider>,
    pub(crate) scheme: Scheme,
    pub(crate) secrets: Vec<ReadSecret>,
    pub(crate) window: Option<Window>,
    pub(crate) url: Option<String>,
    pub(crate) variant: Option<String>,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) method: Option<Method>,
}

/// Why a verifier cannot be built.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// A secret cannot be read or used.
    Secret(String),
    /// Another option is missing or wrong.
    Option(String),
}

impl Signing {
    /// Reads the secrets of the source `name`.
    pub(crate) fn of_source(name: String, setup: SourceSetup) -> Self {
        Self {
            source: Some(name),
            provider: setup.provider,
            scheme: setup.scheme,
            secrets: setup.keys.into_iter().map(ReadSecret::of_source).collect(),
            window: setup.window,
            url: setup.url,
            variant: setup.variant,
            params: setup.params,
            method: None,
        }
    }

    /// Returns how the deliveries of a tenant are signed. `self` is the source, without secrets.
    pub(crate) fn for_tenant(&self, tenant: &str, keys: impl IntoIterator<Item = Key>) -> Self {
        Self {
            source: self.source.clone(),
            provider: self.provider.clone(),
            scheme: self.scheme.clone(),
            secrets: keys.into_iter().map(ReadSecret::of_tenant).collect(),
            window: self.window,
            url: self.url.as_deref().map(|url| with_tenant(url, tenant)),
            variant: self.variant.clone(),
            params: self.params.clone(),
            method: self.method.clone(),
        }
    }

    /// Returns the name of the provider or of the source, for messages.
    pub(crate) fn title(&self) -> &str {
        match (&self.provider, &self.source) {
            (Some(provider), _) => provider.title(),
            (None, Some(source)) => source,
            (None, None) => "the provider",
        }
    }

    /// Returns the request target of the URL, or `/` without a URL.
    pub(crate) fn target(&self) -> Result<Uri, String> {
        let Some(url) = &self.url else {
            return Ok(Uri::from_static("/"));
        };
        let target = url
            .parse::<Uri>()
            .ok()
            .map(|url| url.into_parts().path_and_query);
        match target {
            Some(target) => Ok(target.map_or_else(|| Uri::from_static("/"), Uri::from)),
            None => Err(String::from(
                "--url: expected a URL that starts with http:// or https://",
            )),
        }
    }

    /// Builds the verifier with the secrets that are in use.
    pub(crate) fn verifier(&self) -> Result<Verifier, NotReady> {
        if self.secrets.is_empty() {
            return Err(NotReady::Option(self.missing_secret()));
        }
        let mut builder = self.builder();
        for secret in self.secrets_in_use() {
            let key = secret.key();
            let key = key.map_err(|fault| NotReady::Secret(self.error("--secret", &fault)))?;
            builder = builder.key(key);
        }
        builder.build().map_err(|error| match error {
            BuildError::Secret { .. } => NotReady::Secret(self.build_error(error)),
            _ => NotReady::Option(self.build_error(error)),
        })
    }

    /// Builds the verifier with one of the secrets that are in use. It accepts each timestamp.
    pub(crate) fn verifier_of_any_age(&self, index: usize) -> Option<Verifier> {
        let secret = self.secrets_in_use().get(index)?;
        let builder = self
            .builder()
            .window(Window::new(Duration::MAX, Duration::MAX));
        builder.key(secret.key().ok()?).build().ok()
    }

    /// Returns all secrets of a source, or the first one of the options.
    fn secrets_in_use(&self) -> &[ReadSecret] {
        match self.source {
            Some(_) => &self.secrets,
            None => self.secrets.get(..1).unwrap_or_default(),
        }
    }

    /// Starts a verifier with everything but the secrets.
    pub(crate) fn builder(&self) -> VerifierBuilder {
        // A captured delivery may come from a test with a published secret.
        let mut builder = Verifier::builder(&self.scheme).with_insecure_published_secrets();
        if let Some(window) = self.window {
            builder = builder.window(window);
        }
        if let Some(url) = &self.url {
            builder = builder.url(url);
        }
        for (name, value) in &self.params {
            builder = builder.param(name.as_str(), value.as_str());
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        builder
    }

    /// Returns the setup for a diagnosis.
    pub(crate) fn setup(&self) -> Setup {
        Setup {
            scheme: self.scheme.clone(),
            provider: self.provider.clone(),
            variant: self.variant.clone(),
            secrets: self.secrets.iter().map(ReadSecret::text).collect(),
            url: self.url.clone(),
            params: self.params.clone(),
            window: self.window,
        }
    }

    /// Returns the message for an absent secret.
    pub(crate) fn missing_secret(&self) -> String {
        match &self.source {
            Some(name) => format!(
                "source {name} has no secrets, because the gateway fetches its keys; `verify` \
                 reads a document of keys with --keys"
            ),
            None => format!("--secret: missing; expected {}", SecretRef::EXPECTED),
        }
    }

    /// Names the option, or the source, that caused `error`.
    pub(crate) fn build_error(&self, error: BuildError) -> String {
        let option = match error {
            BuildError::UrlMissing | BuildError::UrlMalformed | BuildError::UrlWithoutPath => {
                "--url"
            }
            BuildError::ParamMissing { .. } | BuildError::ParamUnknown { .. } => "--param",
            BuildError::VariantUnknown { .. } => "--variant",
            _ => "--secret",
        };
        let message = match &error {
            // The number of the key says nothing if there is one.
            BuildError::Secret { error, .. } if self.secrets.len() == 1 => ErrorChain(error),
            error => ErrorChain(error),
        };
        self.error(option, &message.to_string())
    }

    /// Names the option, or the source, that caused the error with this `message`.
    pub(crate) fn error(&self, option: &str, message: &str) -> String {
        match &self.source {
            Some(name) => format!("source {name}: {message}"),
            None => format!("{option}: {message}"),
        }
    }
}

/// Leaves the parameters out, because some of them are secret.
impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("source", &self.source)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}
