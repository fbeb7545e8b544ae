use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use hookgate_core::{Checked, Head, Provider, Scheme, Secret, UnixTime, Verifier, Window};
use http::{Method, Uri};

use super::verify::Captured;
use super::{Error, parse_param};
use crate::config::SecretRef;

/// Tries every scheme of the catalogue, with every way to read the secret, and
/// prints those that fit as configuration. Nothing is sent anywhere.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where the secret is: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "SECRET")]
    secret: String,

    /// The address at which the provider called, with its query
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// What a scheme may need besides; may be given more than once
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    params: Vec<(String, String)>,

    #[command(flatten)]
    captured: Captured,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let secret = SecretRef::parse(&options.secret)
        .ok_or_else(|| format!("expected {}", SecretRef::EXPECTED))
        .and_then(|reference| reference.read())
        .map_err(|message| Error::new(format!("--secret: {message}")))?;
    let (headers, body) = (options.captured.headers()?, options.captured.body()?);
    let uri: Uri = match &options.url {
        None => Uri::from_static("/"),
        Some(url) => url
            .parse()
            .map_err(|_| Error::new("--url: expected an http:// or https:// address"))?,
    };
    let head = Head::new(&Method::POST, &uri, &headers);
    let mut out = io::stdout().lock();
    let mut found = 0;
    let providers = Provider::names().filter_map(Provider::named);
    for provider in providers.filter(|provider| !provider.scheme().is_token()) {
        let fits = |scheme: &Scheme, variant: Option<&str>| {
            verifier(scheme, variant, &secret, options)
                .is_some_and(|verifier| is_signed(&verifier, head, body.clone()))
        };
        let name = provider.name();
        if fits(provider.scheme(), None) {
            writeln!(out, "# {}\nprovider = {name:?}\n", provider.title())?;
            found += 1;
            continue;
        }
        let mut chosen = provider.scheme().variants().filter(|v| v.is_opt_in());
        if let Some(variant) = chosen.find(|variant| fits(provider.scheme(), variant.name())) {
            let variant = variant.name().unwrap_or_default();
            writeln!(
                out,
                "# {}, as it signed before\nprovider = {name:?}\nvariant = {variant:?}\n",
                provider.title()
            )?;
            found += 1;
            continue;
        }
        for key in KEYS {
            let text = format!("extends = {name:?}\nkey = {key}");
            if Scheme::from_toml(&text).is_ok_and(|scheme| fits(&scheme, None)) {
                writeln!(
                    out,
                    "# as {} signs, with another key\n[sources.scheme]\n{text}\n",
                    provider.title()
                )?;
                found += 1;
                break;
            }
        }
    }
    if found == 0 {
        return Err(Error::new(
            "no scheme of the catalogue fits; is it the right secret, and the body byte for byte?",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Ways to read a secret besides the provider's own.
const KEYS: [&str; 5] = [
    "{ enc = \"utf8\" }",
    "{ strip = \"whsec_\", enc = \"utf8\" }",
    "{ strip = \"whsec_\", enc = \"base64\" }",
    "{ strip = \"whsec_\", enc = \"base64url\" }",
    "{ strip = \"whsec_\", enc = \"hex\" }",
];

fn is_signed(verifier: &Verifier, head: Head<'_>, body: Bytes) -> bool {
    // However old it is by now.
    match verifier.verify(head, body, UnixTime::from_secs(0)) {
        Ok(Checked::Delivery(_)) => true,
        // Some are answered to anybody.
        Ok(Checked::Handshake(_)) => {
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
    options: &Options,
) -> Option<Verifier> {
    let mut builder = Verifier::builder(scheme)
        .with_insecure_published_secrets()
        .window(Window::new(Duration::MAX, Duration::MAX))
        .key(secret.clone());
    if let Some(url) = &options.url {
        builder = builder.url(url);
    }
    if let Some(variant) = variant {
        builder = builder.variant(variant);
    }
    for (name, value) in &options.params {
        if scheme.params().any(|known| known == name) {
            builder = builder.param(name.as_str(), value.as_str());
        }
    }
    builder.build().ok()
}
