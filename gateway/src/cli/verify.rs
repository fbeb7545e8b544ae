//! `hookgate verify`: verifies a captured delivery.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::{Head, RequestOutcome, UnixTime, Verifier, VerifyError};
use hookgate_gate::{Clock, Reason};
use serde_json::json;

use super::capture::CaptureOptions;
use super::explain::FailedVerification;
use super::{Error, SigningOptions, build_error, fetched_keys, parse_time};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    signing: SigningOptions,

    #[command(flatten)]
    captured: CaptureOptions,

    /// Time of arrival in seconds since the Unix epoch; the default is now
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true)]
    at: Option<UnixTime>,

    /// Document with the keys that the provider publishes: a file, or a URL that is fetched.
    /// Without it, nothing is sent over the network
    #[arg(long, value_name = "FILE|URL", conflicts_with_all = ["secret", "explain"])]
    keys: Option<String>,

    /// If verification fails, print the likely cause
    #[arg(long)]
    explain: bool,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    if let Some(keys) = &options.keys {
        return run_with_keys(options, keys, clock);
    }
    let signing = &options.signing;
    let secret = signing.secret()?;
    let verifier = signing.verifier(signing.provider.scheme(), secret.clone());
    let verifier = verifier.build().map_err(build_error)?;
    let (headers, body) = (options.captured.headers()?, options.captured.body()?);
    let uri = signing.target()?;
    let now = options.at.unwrap_or_else(|| clock.now());
    let head = Head::new(&signing.method, &uri, &headers);
    let can_be = verifier.is_delivery_method(&signing.method)
        || verifier.is_handshake_method(&signing.method);
    if !can_be {
        return refuse_method(options);
    }
    let outcome = verifier.verify(head, body.clone(), now);
    let causes = match &outcome {
        Err(_) if options.explain => {
            let failed = FailedVerification {
                signing,
                secret: &secret,
                captured: &options.captured,
                uri: &uri,
                headers: &headers,
                body: &body,
                now,
            };
            failed.explain()?
        }
        _ => Vec::new(),
    };

    print(options, &outcome, &causes)
}

/// Verifies with a key of the document `keys`.
fn run_with_keys(options: &Options, keys: &str, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let signing = &options.signing;
    let builder = Verifier::builder(signing.provider.scheme()).fetched_keys();
    let verifier = signing.with_settings(builder).build();
    let verifier = verifier.map_err(build_error)?;
    let (headers, body) = (options.captured.headers()?, options.captured.body()?);
    let uri = signing.target()?;
    let head = Head::new(&signing.method, &uri, &headers);
    let now = options.at.unwrap_or_else(|| clock.now());
    let outcome = fetched_keys::verify(&verifier, head, body, keys, now)?;
    print(options, &outcome, &[])
}

/// Prints the result of the verification, and returns the exit code.
fn print(
    options: &Options,
    outcome: &Result<RequestOutcome, VerifyError>,
    causes: &[String],
) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    if options.json {
        writeln!(out, "{}", as_json(outcome, causes))?;
    } else {
        writeln!(out, "{}", as_text(outcome))?;
        for cause in causes {
            writeln!(out, "  {cause}")?;
        }
    }
    Ok(if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Reports that the gateway refuses the method before it reads anything else.
fn refuse_method(options: &Options) -> Result<ExitCode, Error> {
    let method = &options.signing.method;
    let name = options.signing.provider.title();
    let detail = format!("{name} sends no {method} deliveries");
    let label = Reason::MethodNotAllowed.label();
    let mut out = io::stdout().lock();
    if options.json {
        let object = json!({ "verified": false, "reason": label, "detail": detail });
        writeln!(out, "{object}")?;
    } else {
        writeln!(out, "refused: {detail} ({label})")?;
    }
    Ok(ExitCode::FAILURE)
}

fn as_text(outcome: &Result<RequestOutcome, VerifyError>) -> String {
    match outcome {
        Ok(RequestOutcome::Handshake(answer)) => format!(
            "verified handshake; the gateway responds with status {} and this body:\n{}",
            answer.status(),
            String::from_utf8_lossy(answer.body())
        ),
        Ok(RequestOutcome::Delivery(verified)) => {
            let mut text = format!("verified with key {}", verified.key_id());
            for (name, value) in [
                ("event id", verified.id().map(str::to_owned)),
                ("event type", verified.event_type().map(str::to_owned)),
                (
                    "signed at",
                    verified.timestamp().map(|time| time.secs().to_string()),
                ),
            ] {
                let value = value.unwrap_or_else(|| "none".to_owned());
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

fn as_json(outcome: &Result<RequestOutcome, VerifyError>, causes: &[String]) -> String {
    let mut object = match outcome {
        Ok(RequestOutcome::Handshake(answer)) => json!({
            "verified": true,
            "handshake": {
                "status": answer.status().as_u16(),
                "body": String::from_utf8_lossy(answer.body()),
            },
        }),
        Ok(RequestOutcome::Delivery(verified)) => json!({
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
    if !causes.is_empty() {
        object["explanation"] = json!(causes);
    }
    object.to_string()
}
