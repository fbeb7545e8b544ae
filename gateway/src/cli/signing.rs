//! The options that describe how a delivery is signed: a provider with secrets, or a source of
//! the configuration.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use hookgate_core::internal::ErrorChain;
use hookgate_core::{BuildError, Provider, Secret, Signer, UnixTime, UnknownProvider, Verifier};
use http::Method;

use super::{Error, read_text};
use crate::config::{Config, SecretRef};
use crate::explain::{NotReady, ReadSecret, Signing};
use crate::tenants::read_keys;

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

    /// The tenant whose secrets are used, if the source has tenants
    #[arg(long, value_name = "NAME", requires = "source")]
    tenant: Option<String>,
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

impl From<NotReady> for Error {
    fn from(not_ready: NotReady) -> Self {
        match not_ready {
            NotReady::Secret(message) | NotReady::Option(message) => Self::new(message),
        }
    }
}

impl SigningOptions {
    /// Reads the secrets and the configuration.
    pub(super) fn resolve(&self) -> Result<Signing, Error> {
        let mut signing = match (self.source.read()?, &self.provider) {
            (Some(signing), _) => signing,
            (None, Some(provider)) => Signing {
                source: None,
                scheme: provider.scheme().clone(),
                provider: Some(provider.clone()),
                secrets: read_secrets(&self.secrets)?,
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
    /// Reads the source and its secrets, if the options name one.
    pub(super) fn read(&self) -> Result<Option<Signing>, Error> {
        let (Some(path), Some(name)) = (&self.config, &self.source) else {
            return Ok(None);
        };
        let setup = Config::read_source(&read_text(path)?, path, name);
        let mut setup = setup.map_err(|problems| Error::config(path, &problems, ""))?;
        let secrets = setup.tenants.take();
        let source = Signing::of_source(name.clone(), setup);
        let wrong = |message: &str| Err(Error::new(format!("source {name}: {message}")));
        match (&self.tenant, secrets) {
            (None, None) => Ok(Some(source)),
            (None, Some(_)) => wrong("the source has tenants; name one with --tenant"),
            (Some(_), None) => wrong("the source has no tenants; leave --tenant out"),
            (Some(tenant), Some(secrets)) => match read_keys(&secrets, tenant) {
                Ok(Some(keys)) => Ok(Some(source.for_tenant(tenant, keys))),
                Ok(None) => wrong(&format!("there is no tenant {tenant:?}")),
                Err(error) => wrong(&format!("tenant {tenant}: {}", ErrorChain(&*error))),
            },
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
    /// Builds a verifier without keys, for keys that the provider publishes.
    pub(super) fn verifier_of_fetched_keys(&self) -> Result<Verifier, Error> {
        let builder = self.builder().fetched_keys();
        builder
            .build()
            .map_err(|error| Error::new(self.build_error(error)))
    }

    /// Builds the signer, with the first secret that is active at `now`.
    pub(super) fn signer(&self, now: UnixTime) -> Result<Signer, Error> {
        let active = match &self.source {
            Some(_) => self.verifier()?.active_keys(now).next(),
            None => None,
        };
        let secret = self.secrets.get(active.unwrap_or_default());
        let secret = secret.ok_or_else(|| Error::new(self.missing_secret()))?;
        let secret = secret.secret();
        let secret = secret.map_err(|fault| Error::new(self.error("--secret", &fault)))?;
        let signer = self.signer_with(&secret);
        signer.map_err(|error| Error::new(self.build_error(error)))
    }

    /// Builds a signer with any secret.
    pub(super) fn signer_with(&self, secret: &Secret) -> Result<Signer, BuildError> {
        let mut builder = Signer::builder(&self.scheme, secret);
        if let Some(url) = &self.url {
            builder = builder.url(url);
        }
        for (name, value) in &self.params {
            builder = builder.param(name.as_str(), value.as_str());
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        builder.build()
    }
}

/// Reads the secrets of the options `--secret`.
///
/// clap does not parse these options, because its message would repeat the text of the option,
/// which may be the secret itself.
pub(super) fn read_secrets(options: &[String]) -> Result<Vec<ReadSecret>, Error> {
    let read = |text: &String| match SecretRef::parse(text) {
        Some(reference) => Ok(ReadSecret::new(&reference, None)),
        None => {
            let expected = SecretRef::EXPECTED;
            Err(Error::new(format!("--secret: expected {expected}")))
        }
    };
    options.iter().map(read).collect()
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

pub(super) fn parse_provider(name: &str) -> Result<Provider, UnknownProvider> {
    Provider::named(name)
}
