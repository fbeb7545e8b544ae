//! The options that describe how a delivery is signed: a provider with secrets, or a source of
//! the configuration.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use hookgate_core::internal::ErrorChain;
use hookgate_core::{
    BuildError, Provider, Scheme, Signer, UndocumentedProvider, UnixTime, Verifier,
    VerifierBuilder, Window,
};
use hookgate_diagnose::Setup;
use http::{Method, Uri};

use super::Error;
use super::secret::ReadSecret;
use crate::config::{Config, SecretRef, SourceSetup};

/// The options that describe how a delivery is signed.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("signer").required(true).args(["provider", "source"]))]
pub(super) struct SigningOptions {
    /// The provider; `hookgate providers` lists the names
    #[arg(long, value_name = "NAME", value_parser = parse_provider)]
    provider: Option<Provider>,

    /// The secret, as `env:NAME` or `file:PATH`. To sign for a provider with public keys: the
    /// private key. Of several secrets, the first one is in use
    #[arg(long = "secret", value_name = "SECRET", conflicts_with = "source")]
    secrets: Vec<String>,

    #[command(flatten)]
    source: SourceOptions,

    #[command(flatten)]
    inputs: SchemeInputs,

    /// The variant of the scheme; by default, the delivery selects it
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// The HTTP method; the default is that of the capture, or POST
    #[arg(long)]
    method: Option<Method>,
}

/// The options that select a source of the configuration.
#[derive(Debug, Args)]
pub(super) struct SourceOptions {
    /// The configuration file with the source; `-` is standard input
    #[arg(short, long = "config", value_name = "FILE", requires = "source")]
    config: Option<PathBuf>,

    /// The source whose scheme, secrets, URL, parameters, variant and window are used
    #[arg(long, value_name = "NAME", requires = "config")]
    source: Option<String>,
}

/// The inputs that some schemes need besides the secret.
#[derive(Debug, Args)]
pub(super) struct SchemeInputs {
    /// The public URL that the provider calls, with its query
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// A parameter that the scheme needs; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    params: Vec<(String, String)>,
}

/// How deliveries are signed, as the options or the configuration say.
pub(super) struct Signing {
    /// The name of the source, if the configuration has one.
    source: Option<String>,
    provider: Option<Provider>,
    pub(super) scheme: Scheme,
    secrets: Vec<ReadSecret>,
    window: Option<Window>,
    pub(super) url: Option<String>,
    variant: Option<String>,
    params: Vec<(String, String)>,
    pub(super) method: Option<Method>,
}

/// Why a verifier cannot be built.
#[derive(Debug)]
pub(super) enum NotReady {
    /// A secret cannot be read or used.
    Secret(Error),
    /// Another option is missing or wrong.
    Option(Error),
}

impl From<NotReady> for Error {
    fn from(not_ready: NotReady) -> Self {
        match not_ready {
            NotReady::Secret(error) | NotReady::Option(error) => error,
        }
    }
}

impl SigningOptions {
    /// Reads the secrets and the configuration.
    pub(super) fn resolve(&self) -> Result<Signing, Error> {
        let mut signing = match (self.source.read()?, &self.provider) {
            (Some((name, setup)), _) => Signing::of_source(name, setup),
            (None, Some(provider)) => Signing {
                source: None,
                scheme: provider.scheme().clone(),
                provider: Some(provider.clone()),
                secrets: ReadSecret::of_options(&self.secrets)?,
                window: None,
                url: None,
                variant: None,
                params: Vec::new(),
                method: None,
            },
            (None, None) => {
                return Err(Error::new("expected --provider, or -c with --source"));
            }
        };
        self.inputs.apply(&mut signing.url, &mut signing.params);
        signing.variant = self.variant.clone().or(signing.variant);
        signing.method = self.method.clone();
        Ok(signing)
    }
}

impl SourceOptions {
    /// Reads the source and returns it with its name, if the options name one.
    pub(super) fn read(&self) -> Result<Option<(String, SourceSetup)>, Error> {
        let (Some(path), Some(name)) = (&self.config, &self.source) else {
            return Ok(None);
        };
        let text = match path.as_os_str() == "-" {
            true => io::read_to_string(io::stdin()),
            false => fs::read_to_string(path),
        };
        let text =
            text.map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
        match Config::read_source(&text, name) {
            Ok(setup) => Ok(Some((name.clone(), setup))),
            Err(problems) => Err(Error::config(path, &problems, "")),
        }
    }
}

impl SchemeInputs {
    /// Replaces the URL and the parameters of a source by those of the options.
    pub(super) fn apply(&self, url: &mut Option<String>, params: &mut Vec<(String, String)>) {
        if let Some(given) = &self.url {
            *url = Some(given.clone());
        }
        params.retain(|(name, _)| self.params.iter().all(|(given, _)| given != name));
        params.extend(self.params.iter().cloned());
    }
}

impl Signing {
    fn of_source(name: String, setup: SourceSetup) -> Self {
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

    /// Returns the name of the provider or of the source, for messages.
    pub(super) fn title(&self) -> &str {
        match (&self.provider, &self.source) {
            (Some(provider), _) => provider.title(),
            (None, Some(source)) => source,
            (None, None) => "the provider",
        }
    }

    /// Returns the request target of the URL, or `/` without a URL.
    pub(super) fn target(&self) -> Result<Uri, Error> {
        let Some(url) = &self.url else {
            return Ok(Uri::from_static("/"));
        };
        let target = url
            .parse::<Uri>()
            .ok()
            .map(|url| url.into_parts().path_and_query);
        match target {
            Some(target) => Ok(target.map_or_else(|| Uri::from_static("/"), Uri::from)),
            None => Err(Error::new(
                "--url: expected a URL that starts with http:// or https://",
            )),
        }
    }

    /// Builds the verifier with the secrets that are in use.
    pub(super) fn verifier(&self) -> Result<Verifier, NotReady> {
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

    /// Builds a verifier without keys, for keys that the provider publishes.
    pub(super) fn verifier_of_fetched_keys(&self) -> Result<Verifier, Error> {
        let builder = self.builder().fetched_keys();
        builder.build().map_err(|error| self.build_error(error))
    }

    /// Builds the verifier with one of the secrets that are in use. It accepts each timestamp.
    pub(super) fn verifier_of_any_age(&self, index: usize) -> Option<Verifier> {
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

    fn builder(&self) -> VerifierBuilder {
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

    /// Builds the signer, with the first secret that is active at `now`.
    pub(super) fn signer(&self, now: UnixTime) -> Result<Signer, Error> {
        let active = match &self.source {
            Some(_) => self.verifier()?.active_keys(now).next(),
            None => None,
        };
        let secret = self.secrets.get(active.unwrap_or_default());
        let secret = secret.ok_or_else(|| self.missing_secret())?;
        let secret = secret.secret();
        let secret = secret.map_err(|fault| self.error("--secret", &fault))?;
        let mut builder = Signer::builder(&self.scheme, &secret);
        if let Some(url) = &self.url {
            builder = builder.url(url);
        }
        for (name, value) in &self.params {
            builder = builder.param(name.as_str(), value.as_str());
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        builder.build().map_err(|error| self.build_error(error))
    }

    /// Returns the setup for a diagnosis.
    pub(super) fn setup(&self) -> Setup {
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

    fn missing_secret(&self) -> Error {
        match &self.source {
            Some(name) => Error::new(format!(
                "source {name} has no secrets, because the gateway fetches its keys; `verify` \
                 reads a document of keys with --keys"
            )),
            None => Error::new(format!(
                "--secret: missing; expected {}",
                SecretRef::EXPECTED
            )),
        }
    }

    /// Names the option, or the source, that caused `error`.
    fn build_error(&self, error: BuildError) -> Error {
        let option = match error {
            BuildError::UrlMissing | BuildError::UrlMalformed | BuildError::UrlWithoutPath => {
                "--url"
            }
            BuildError::ParamMissing { .. } | BuildError::ParamUnknown { .. } => "--param",
            BuildError::VariantUnknown { .. } => "--variant",
            _ => "--secret",
        };
        self.error(option, &ErrorChain(&error).to_string())
    }

    fn error(&self, option: &str, message: &str) -> Error {
        match &self.source {
            Some(name) => Error::new(format!("source {name}: {message}")),
            None => Error::new(format!("{option}: {message}")),
        }
    }
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

pub(super) fn parse_provider(name: &str) -> Result<Provider, String> {
    Provider::named(name).ok_or_else(|| match UndocumentedProvider::named(name) {
        Some(provider) => {
            format!(
                "{} does not publish how it signs. {}",
                provider.title(),
                provider.notes()
            )
        }
        None => "not in the catalogue; `hookgate providers` lists the names".to_owned(),
    })
}
