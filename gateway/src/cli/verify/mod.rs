//! `hookgate verify`: verifies a captured delivery.

mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::{Head, UnixTime};
use hookgate_diagnose::Capture;
use hookgate_gate::Clock;

pub(super) use self::text::CauseText;
use self::text::report_as_text;
use super::capture::CaptureOptions;
use super::signing::SigningOptions;
use super::terminal::printable_json;
use super::{Error, fetched_keys, parse_time};
use crate::explain::{Report, Signing, Verdict, explain, target, verify};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    signing: SigningOptions,

    #[command(flatten)]
    captured: CaptureOptions,

    /// Time of arrival: seconds (up to 11 digits) or milliseconds (12 to 14 digits) since the
    /// Unix epoch, or RFC 3339. The default is that of the capture, or now
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true)]
    at: Option<UnixTime>,

    /// Document with the keys that the provider publishes: a file, or a URL that is fetched.
    /// Without it, nothing is sent over the network
    #[arg(long, value_name = "FILE|URL", conflicts_with_all = ["secrets", "explain"])]
    keys: Option<String>,

    /// If verification fails, print the likely causes, and what to do
    #[arg(long)]
    explain: bool,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let mut signing = options.signing.resolve()?;
    let file = options.captured.read()?;
    let mut capture = file.capture;
    if let Some(method) = &signing.method {
        capture.method = method.clone();
    }
    if options.at.is_some() {
        capture.arrived = options.at;
    }
    if signing.url.is_none() && signing.scheme.needs_url() {
        signing.url = file.url;
    }
    let now = clock.now();
    let without_explanation = |verdict| Report {
        verdict,
        explanation: None,
    };
    let report = match &options.keys {
        Some(keys) => {
            let verdict = verdict_of_fetched_keys(&signing, &capture, keys, now)?;
            without_explanation(verdict)
        }
        None if options.explain => explain(&signing, &capture, now)?,
        None => without_explanation(verify(&signing, &capture, now)?),
    };
    let exit = match report.verdict.is_verified() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    match options.json {
        true => writeln!(io::stdout(), "{}", printable_json(&report.to_json()))?,
        false => writeln!(io::stdout(), "{}", report_as_text(&report))?,
    }
    Ok(exit)
}

/// Verifies with a key of the document `keys`.
fn verdict_of_fetched_keys(
    signing: &Signing,
    capture: &Capture,
    keys: &str,
    now: UnixTime,
) -> Result<Verdict, Error> {
    let verifier = signing.verifier_of_fetched_keys()?;
    let uri = target(signing, capture).map_err(Error::new)?;
    let head = Head::new(&capture.method, &uri, &capture.headers);
    let now = capture.arrived.unwrap_or(now);
    let outcome = fetched_keys::verify(&verifier, head, capture.body.clone(), keys, now)?;
    Ok(Verdict::Judged(outcome))
}
