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

/// Tries every scheme of the catalogue, with every way to read the secret, and
/// prints those that fit as configuration. Nothing is sent anywhere.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where the secret is: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "SECRET")]
    secret: String,

    #[command(flatten)]
    inputs: SchemeInputs,

    #[command(flatten)]
    captured: CaptureOptions,
}

/// What a scheme may need to know.
#[derive(Clone, Debug, Args)]
pub(super) struct SchemeInputs {
    /// The address at which the provider called, with its query
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,

    /// What a scheme may need besides; may be given more than once
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    pub(super) params: Vec<(String, String)>,
}

/// A scheme that fits.
pub(super) struct Candidate {
    provider: Provider,
    how: Match,
}

enum Match {
    Unchanged,
    /// As it does where this variant is chosen.
    Variant(String),
    /// With a secret that is read in this way.
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
            "no scheme of the catalogue fits; is it the right secret, and the body byte for byte?",
        ));
    }
    let mut out = io::stdout().lock();
    for fit in &found {
        writeln!(out, "{fit}\n")?;
    }
    // Many providers have taken over what others do.
    let common = found
        .iter()
        .filter(|fit| matches!(fit.how, Match::Unchanged));
    let common = common.min_by_key(|fit| fit.provider.name() != COMMON);
    if let Some(fit) = common {
        let name = fit.provider.name();
        writeln!(
            out,
            "# anybody else who signs so\n[sources.scheme]\nextends = {name:?}"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The scheme that most have taken over.
const COMMON: &str = "standard-webhooks";

/// Every scheme of the catalogue that fits what was captured.
pub(super) fn candidates(
    secret: &Secret,
    inputs: &SchemeInputs,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Vec<Candidate>, Error> {
    let uri: Uri = match &inputs.url {
        None => Uri::from_static("/"),
        Some(url) => url
            .parse()
            .map_err(|_| Error::new("--url: expected an http:// or https:// address"))?,
    };
    let head = Head::new(&Method::POST, &uri, headers);
    let fits = |scheme: &Scheme, variant: Option<&str>| {
        verifier(scheme, variant, secret, inputs)
            .is_some_and(|verifier| is_signed(&verifier, head, body.clone()))
    };
    let how = |provider: &Provider| {
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
            let how = how(&provider)?;
            Some(Candidate { provider, how })
        })
        .collect())
}

impl Candidate {
    /// The provider, for people.
    pub(super) fn title(&self) -> &str {
        self.provider.title()
    }
}

/// As configuration.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, name) = (self.provider.title(), self.provider.name());
        match &self.how {
            Match::Unchanged => write!(f, "# {title}\nprovider = {name:?}"),
            Match::Variant(variant) => write!(
                f,
                "# {title}, as it signed before\nprovider = {name:?}\nvariant = {variant:?}"
            ),
            Match::Key(key) => write!(
                f,
                "# as {title} signs, with another key\n[sources.scheme]\nextends = {name:?}\n\
                 key = {key}"
            ),
        }
    }
}

/// What was captured may be of any age.
pub(super) const FOREVER: Window = Window::new(Duration::MAX, Duration::MAX);

/// Ways to read a secret besides the provider's own.
pub(super) const KEYS: [&str; 5] = [
    "{ enc = \"utf8\" }",
    "{ strip = \"whsec_\", enc = \"utf8\" }",
    "{ strip = \"whsec_\", enc = \"base64\" }",
    "{ strip = \"whsec_\", enc = \"base64url\" }",
    "{ strip = \"whsec_\", enc = \"hex\" }",
];

fn is_signed(verifier: &Verifier, head: Head<'_>, body: Bytes) -> bool {
    // However old it is by now.
    match verifier.verify(head, body, UnixTime::from_secs(0)) {
        Ok(RequestOutcome::Delivery(_)) => true,
        // Some are answered to anybody.
        Ok(RequestOutcome::Handshake(_)) => {
            let handshakes = verifier.scheme().handshakes();
            handshakes
                .iter()
                .all(|handshake| handshake.ends_with("signed"))
        }
        Err(_) => false,
    }
}

/// A verifier, if all is there that the scheme needs.
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
