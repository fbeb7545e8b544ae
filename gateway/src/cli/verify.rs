use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use hookgate_core::{Head, UnixTime, Verified, Verifier, VerifyError};
use hookgate_gate::Clock;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::json;

use super::{Error, Signing, parse_time};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    signing: Signing,

    /// The delivery's headers, as `Name: value` lines
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,

    /// The delivery's body, byte for byte
    #[arg(long, value_name = "FILE")]
    body: PathBuf,

    /// When it arrived, in seconds since the Unix epoch; now if not given
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true)]
    at: Option<UnixTime>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let provider = &options.signing.provider;
    let verifier = Verifier::builder(provider.scheme())
        // A captured delivery of a test is checked like any other.
        .with_insecure_published_secrets()
        .key(options.signing.secret()?)
        .build()
        .map_err(Error::new)?;
    let headers = read_headers(&options.headers)?;
    let body = Bytes::from(read(&options.body)?);
    let (method, uri) = (Method::POST, Uri::from_static("/"));
    let now = options.at.unwrap_or_else(|| clock.now());
    let outcome = verifier.verify(Head::new(&method, &uri, &headers), body, now);

    let mut out = io::stdout().lock();
    let text = if options.json {
        as_json(&outcome)
    } else {
        as_text(&outcome)
    };
    writeln!(out, "{text}")?;
    Ok(if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn as_text(outcome: &Result<Verified, VerifyError>) -> String {
    match outcome {
        Ok(verified) => {
            let mut text = format!("verified with key {}", verified.key_id());
            for (name, value) in [
                ("event id", verified.id().map(str::to_owned)),
                ("event type", verified.event_type().map(str::to_owned)),
                (
                    "signed at",
                    verified.timestamp().map(|time| time.secs().to_string()),
                ),
            ] {
                let value = value.unwrap_or_else(|| "none that can be read".to_owned());
                text.push_str(&format!("\n{name:<12}{value}"));
            }
            text.push_str(&format!(
                "\n{:<12}{}",
                "dedupe by",
                verified.identity().label()
            ));
            text
        }
        Err(error) => format!("refused: {error} ({})", error.label()),
    }
}

fn as_json(outcome: &Result<Verified, VerifyError>) -> String {
    let object = match outcome {
        Ok(verified) => json!({
            "verified": true,
            "key": verified.key_id(),
            "id": verified.id(),
            "type": verified.event_type(),
            "timestamp": verified.timestamp().map(UnixTime::secs),
            "identity": verified.identity().label(),
        }),
        Err(error) => json!({
            "verified": false,
            "reason": error.label(),
            "detail": error.to_string(),
        }),
    };
    object.to_string()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))
}

/// Reads `Name: value` lines; blank lines are skipped.
fn read_headers(path: &Path) -> Result<HeaderMap, Error> {
    let text = read(path)?;
    let mut headers = HeaderMap::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let field = line
            .iter()
            .position(|byte| *byte == b':')
            .and_then(|colon| {
                let name = HeaderName::from_bytes(&line[..colon]).ok()?;
                let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
                Some((name, value))
            });
        let Some((name, value)) = field else {
            let place = format!("{}:{}", path.display(), index + 1);
            return Err(Error::new(format!(
                "{place}: expected a header as `Name: value`"
            )));
        };
        headers.append(name, value);
    }
    Ok(headers)
}
