//! `hookgate identify`: finds the providers whose scheme fits a captured delivery.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use hookgate_core::{Head, Provider, RequestOutcome, Scheme, Secret, UnixTime, Verifier, Window};
use http::{HeaderMap, Method, Uri};

use super::capture::CaptureOptions;
use super::{Error, parse_param};
use crate::config::SecretRef;

/// Verifies the delivery with every scheme of the catalogue, and with other readings of the secret.
/// Prints the schemes that fit, as configuration. Nothing is sent over the network
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The secret, as `env:NAME` or `file:PATH`
    #[arg(long, value_name = "SECRET")]
    secret: String,

    #[command(flatten)]
    inputs: SchemeInputs,

    #[command(flatten)]
    captured: CaptureOptions,
}

/// The inputs that some schemes need besides the secret.
#[derive(Clone, Debug, Args)]
pub(super) struct SchemeInputs {
    /// The public URL that the provider called, with its query
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,

    /// A parameter that a scheme may need; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    pub(super) params: Vec<(String, String)>,
}

/// A provider whose scheme fits the delivery.
pub(super) struct Candidate {
    provider: Provider,
    matched_by: Match,
}

/// How the scheme of a candidate fits.
enum Match {
    /// The scheme of the catalogue.
    Unchanged,
    /// A variant that the configuration must select.
    Variant(String),
    /// The scheme with another reading of the secret.
    Key(&'static str),
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let secret = SecretRef::parse(&options.secret)
        .ok_or_else(|| format!("expected {}", SecretRef::EXPECTED))
        .and_then(|reference| reference.read())
        .map_err(|message| Error::new(format!("--secret: {message}")))?;
    let (headers, body) = (options.captured.headers()?, options.captured.body()?);
    let found = candidates(&secret, &options.inputs, &headers, &body)?;
    if found.is_empty() {
        return Err(Error::new(
            "no scheme of the catalogue fits; check that the secret is the right one, and that the \
             body has the exact bytes that were sent",
        ));
    }
    let mut out = io::stdout().lock();
    for candidate in &found {
        writeln!(out, "{candidate}\n")?;
    }
    // The sender may be a provider outside the catalogue that uses the scheme of another one.
    let unchanged = found
        .iter()
        .filter(|candidate| matches!(candidate.matched_by, Match::Unchanged));
    let base = unchanged.min_by_key(|candidate| candidate.provider.name() != MOST_COMMON_SCHEME);
    if let Some(candidate) = base {
        let name = candidate.provider.name();
        writeln!(
            out,
            "# another provider with this scheme\n[sources.scheme]\nextends = {name:?}"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The scheme that most providers have adopted.
const MOST_COMMON_SCHEME: &str = "standard-webhooks";

/// Returns every provider whose scheme fits the delivery. Its age does not matter.
pub(super) fn candidates(
    secret: &Secret,
    inputs: &SchemeInputs,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Vec<Candidate>, Error> {
    let uri: Uri = match &inputs.url {
        None => Uri::from_static("/"),
        Some(url) => url.parse().map_err(|error| {
            Error::new(format!(
                "--url: {error}; expected a URL that starts with http:// or https://"
            ))
        })?,
    };
    let head = Head::new(&Method::POST, &uri, headers);
    let fits = |scheme: &Scheme, variant: Option<&str>| {
        verifier(scheme, variant, secret, inputs)
            .is_some_and(|verifier| is_signed(&verifier, head, body.clone()))
    };
    let match_of = |provider: &Provider| {
        let scheme = provider.scheme();
        if fits(scheme, None) {
            return Some(Match::Unchanged);
        }
        let mut chosen = scheme.variants().filter(|variant| variant.is_opt_in());
        if let Some(variant) = chosen.find(|variant| fits(scheme, variant.name())) {
            return Some(Match::Variant(variant.name()?.to_owned()));
        }
        let key = KEYS.into_iter().find(|key| {
            let text = format!("extends = {:?}\nkey = {key}", provider.name());
            Scheme::from_toml(&text).is_ok_and(|scheme| fits(&scheme, None))
        });
        key.map(Match::Key)
    };
    let providers = Provider::names().filter_map(Provider::named);
    let providers = providers.filter(|provider| !provider.scheme().is_token());
    Ok(providers
        .filter_map(|provider| {
            let matched_by = match_of(&provider)?;
            Some(Candidate {
                provider,
                matched_by,
            })
        })
        .collect())
}

impl Candidate {
    /// Returns the display name of the provider.
    pub(super) fn title(&self) -> &str {
        self.provider.title()
    }
}

/// Writes the candidate as configuration.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, name) = (self.provider.title(), self.provider.name());
        match &self.matched_by {
            Match::Unchanged => write!(f, "# {title}\nprovider = {name:?}"),
            Match::Variant(variant) => write!(
                f,
                "# {title}, variant {variant}\nprovider = {name:?}\nvariant = {variant:?}"
            ),
            Match::Key(key) => write!(
                f,
                "# the scheme of {title} with another reading of the secret\n\
                 [sources.scheme]\nextends = {name:?}\nkey = {key}"
            ),
        }
    }
}

/// A window that accepts every timestamp, because a capture can have any age.
pub(super) const FOREVER: Window = Window::new(Duration::MAX, Duration::MAX);

/// Other readings of a secret, as values of `key` in a scheme.
pub(super) const KEYS: [&str; 5] = [
    "{ enc = \"utf8\" }",
    "{ strip = \"whsec_\", enc = \"utf8\" }",
    "{ strip = \"whsec_\", enc = \"base64\" }",
    "{ strip = \"whsec_\", enc = \"base64url\" }",
    "{ strip = \"whsec_\", enc = \"hex\" }",
];

/// Whether the delivery verifies.
fn is_signed(verifier: &Verifier, head: Head<'_>, body: Bytes) -> bool {
    match verifier.verify(head, body, UnixTime::from_secs(0)) {
        Ok(RequestOutcome::Delivery(_)) => true,
        // Some schemes respond to unsigned handshakes, which prove nothing.
        Ok(RequestOutcome::Handshake(_)) => {
            let scheme = verifier.scheme();
            scheme.verifies_handshakes() && scheme.has_signature(head)
        }
        Err(_) => false,
    }
}

/// Builds a verifier. Returns `None` if the scheme needs an input that was not given, or if the
/// secret does not decode.
fn verifier(
    scheme: &Scheme,
    variant: Option<&str>,
    secret: &Secret,
    inputs: &SchemeInputs,
) -> Option<Verifier> {
    let mut builder = Verifier::builder(scheme)
        .with_insecure_published_secrets()
        .window(FOREVER)
        .key(secret.clone());
    if let Some(url) = &inputs.url {
        builder = builder.url(url);
    }
    if let Some(variant) = variant {
        builder = builder.variant(variant);
    }
    for (name, value) in &inputs.params {
        if scheme.params().any(|param| param == name) {
            builder = builder.param(name.as_str(), value.as_str());
        }
    }
    builder.build().ok()
}
