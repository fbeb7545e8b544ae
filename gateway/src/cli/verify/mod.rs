//! `hookgate verify`: verifies a captured delivery.

mod verdict;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::{Head, UnixTime};
use hookgate_diagnose::{Capture, Setup, diagnose};
use hookgate_gate::Clock;
use http::Uri;

pub(super) use self::verdict::CauseText;
use self::verdict::{Explanation, Report, Verdict};
use super::capture::CaptureOptions;
use super::signing::{NotReady, Signing, SigningOptions};
use super::terminal::printable_json;
use super::{Error, fetched_keys, parse_time};

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
    let verdict = match &options.keys {
        Some(keys) => verdict_of_fetched_keys(&signing, &capture, keys, now)?,
        None => verdict(options, &signing, &capture, now)?,
    };
    let explanation = options.explain.then(|| match verdict.is_verified() {
        true => Explanation::default(),
        false => diagnose(&setup(&signing, &capture, now), &capture, now).into(),
    });
    let exit = match verdict.is_verified() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    let report = Report {
        verdict,
        explanation,
    };
    match options.json {
        true => writeln!(io::stdout(), "{}", printable_json(&report.to_json()))?,
        false => writeln!(io::stdout(), "{}", report.to_text())?,
    }
    Ok(exit)
}

/// Verifies with the secrets of the options, or of the source.
fn verdict(
    options: &Options,
    signing: &Signing,
    capture: &Capture,
    now: UnixTime,
) -> Result<Verdict, Error> {
    let verifier = match signing.verifier() {
        Ok(verifier) => verifier,
        Err(NotReady::Secret(error)) if options.explain => {
            return Ok(Verdict::SecretUnusable(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let method = &capture.method;
    if !verifier.is_delivery_method(method) && !verifier.is_handshake_method(method) {
        let detail = format!("{} sends no {method} deliveries", signing.title());
        return Ok(Verdict::MethodRefused(detail));
    }
    let uri = target(signing, capture)?;
    let head = Head::new(method, &uri, &capture.headers);
    let now = capture.arrived.unwrap_or(now);
    Ok(Verdict::Judged(verifier.verify(
        head,
        capture.body.clone(),
        now,
    )))
}

/// Verifies with a key of the document `keys`.
fn verdict_of_fetched_keys(
    signing: &Signing,
    capture: &Capture,
    keys: &str,
    now: UnixTime,
) -> Result<Verdict, Error> {
    let verifier = signing.verifier_of_fetched_keys()?;
    let uri = target(signing, capture)?;
    let head = Head::new(&capture.method, &uri, &capture.headers);
    let now = capture.arrived.unwrap_or(now);
    let outcome = fetched_keys::verify(&verifier, head, capture.body.clone(), keys, now)?;
    Ok(Verdict::Judged(outcome))
}

/// Returns the setup for a diagnosis, which takes the first secret as the one in use. So the
/// secret of a source that signed the delivery becomes the first one.
fn setup(signing: &Signing, capture: &Capture, now: UnixTime) -> Setup {
    let mut setup = signing.setup();
    let now = capture.arrived.unwrap_or(now);
    let signed = (0..setup.secrets.len()).find(|index| {
        let verifier = signing.verifier_of_any_age(*index);
        let uri = target(signing, capture);
        let (Some(verifier), Ok(uri)) = (verifier, uri) else {
            return false;
        };
        let head = Head::new(&capture.method, &uri, &capture.headers);
        verifier.verify(head, capture.body.clone(), now).is_ok()
    });
    if let Some(index) = signed {
        setup.secrets[..=index].rotate_right(1);
    }
    setup
}

/// Returns the target of the request line, or else that of the URL.
fn target(signing: &Signing, capture: &Capture) -> Result<Uri, Error> {
    match &capture.target {
        Some(target) => Ok(target.clone()),
        None => signing.target(),
    }
}
