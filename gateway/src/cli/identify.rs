//! `hookgate identify`: finds the providers whose scheme fits a captured delivery.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_diagnose::{Match, SecretText, identify};
use serde_json::{Value, json};

use super::Error;
use super::capture::CaptureOptions;
use super::signing::{SchemeInputs, SourceOptions, read_secrets};
use crate::explain::ReadSecret;

/// Verifies the delivery with every scheme of the catalogue, and with other readings of the secret.
/// Prints the schemes that fit, as configuration. Nothing is sent over the network
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The secret, as `env:NAME` or `file:PATH`; may be repeated. Without it, only the headers
    /// are compared
    #[arg(long = "secret", value_name = "SECRET", conflicts_with = "source")]
    secrets: Vec<String>,

    #[command(flatten)]
    source: SourceOptions,

    #[command(flatten)]
    inputs: SchemeInputs,

    #[command(flatten)]
    captured: CaptureOptions,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let (origin, secrets, mut url, mut params) = match options.source.read()? {
        Some(source) => {
            let origin = format!("source {}", source.source.as_deref().unwrap_or_default());
            (origin, source.secrets, source.url, source.params)
        }
        None => {
            let secrets = read_secrets(&options.secrets)?;
            ("--secret".to_owned(), secrets, None, Vec::new())
        }
    };
    options.inputs.apply(&mut url, &mut params);
    for secret in &secrets {
        let usable = secret.secret();
        usable.map_err(|fault| Error::new(format!("{origin}: {fault}")))?;
    }
    let secrets: Vec<SecretText> = secrets.iter().map(ReadSecret::text).collect();
    let file = options.captured.read()?;
    let url = url.or(file.url);
    let matches = identify(&file.capture, &secrets, url.as_deref(), &params);
    let mut out = io::stdout().lock();
    match options.json {
        true => {
            let matches: Vec<Value> = matches.iter().map(as_json).collect();
            writeln!(out, "{}", json!({ "matches": matches }))?;
        }
        false if matches.is_empty() => {
            return Err(Error::new(
                "no scheme of the catalogue fits; check that the secret is the right one, and \
                 that the body has the exact bytes that were sent",
            ));
        }
        false => write_text(&mut out, &matches)?,
    }
    Ok(match matches.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// The scheme that most providers have adopted.
const MOST_COMMON_SCHEME: &str = "standard-webhooks";

/// Writes each match as configuration, the proved ones first.
fn write_text(out: &mut impl Write, matches: &[Match]) -> io::Result<()> {
    let (proved, others): (Vec<&Match>, Vec<&Match>) =
        matches.iter().partition(|found| found.proved);
    for found in proved.iter().chain(&others) {
        writeln!(out, "{}\n", as_text(found))?;
    }
    // The sender may be a provider outside the catalogue that uses the scheme of another one.
    let unchanged = proved
        .iter()
        .filter(|found| found.variant.is_none() && found.key.is_none());
    let base = unchanged.min_by_key(|found| found.provider.name() != MOST_COMMON_SCHEME);
    if let Some(found) = base {
        let name = found.provider.name();
        writeln!(
            out,
            "# another provider with this scheme\n[sources.scheme]\nextends = {name:?}"
        )?;
    }
    Ok(())
}

fn as_text(found: &Match) -> String {
    let (title, name) = (found.provider.title(), found.provider.name());
    if let Some(key) = found.key {
        return format!(
            "# the scheme of {title} with another reading of the secret\n\
             [sources.scheme]\nextends = {name:?}\nkey = {key}"
        );
    }
    let mut text = format!("# {title}");
    if let Some(variant) = &found.variant {
        text.push_str(&format!(", variant {variant}"));
    }
    if !found.proved {
        text.push_str(" (the headers fit; no signature was verified)");
    }
    text.push_str(&format!("\nprovider = {name:?}"));
    if let Some(variant) = &found.variant {
        text.push_str(&format!("\nvariant = {variant:?}"));
    }
    text
}

fn as_json(found: &Match) -> Value {
    let mut object = json!({
        "provider": found.provider.name(),
        "variant": found.variant,
        "proved": found.proved,
    });
    if let Some(key) = found.key {
        object["key"] = key.into();
    }
    object
}
