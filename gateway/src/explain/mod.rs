//! Verifies a captured delivery and explains its refusal, for the command `verify` and for the
//! inspector.

mod read_secret;
mod signing;
mod verdict;

use hookgate_core::{Head, UnixTime};
use hookgate_diagnose::{Capture, Setup, diagnose};
use http::Uri;

pub(crate) use self::read_secret::ReadSecret;
pub(crate) use self::signing::{NotReady, Signing};
pub(crate) use self::verdict::{Explanation, Report, Verdict};

/// Verifies `capture`, and explains its refusal. `now` is the time of arrival, unless the capture
/// has one.
///
/// # Errors
///
/// Returns [`NotReady::Option`] if the verifier cannot be built for another reason than a
/// secret, which is explained.
pub(crate) fn explain(
    signing: &Signing,
    capture: &Capture,
    now: UnixTime,
) -> Result<Report, NotReady> {
    let verdict = match verify(signing, capture, now) {
        Err(NotReady::Secret(fault)) => Verdict::SecretUnusable(fault),
        verdict => verdict?,
    };
    let explanation = match verdict.is_verified() {
        true => Explanation::default(),
        false => diagnose(&setup(signing, capture, now), capture, now).into(),
    };
    Ok(Report {
        verdict,
        explanation: Some(explanation),
    })
}

/// Verifies `capture` with the secrets that are in use. `now` is the time of arrival, unless the
/// capture has one.
///
/// # Errors
///
/// Returns [`NotReady`] if the verifier cannot be built.
pub(crate) fn verify(
    signing: &Signing,
    capture: &Capture,
    now: UnixTime,
) -> Result<Verdict, NotReady> {
    let verifier = signing.verifier()?;
    let method = &capture.method;
    if !verifier.is_delivery_method(method) && !verifier.is_handshake_method(method) {
        let detail = format!("{} sends no {method} deliveries", signing.title());
        return Ok(Verdict::MethodRefused(detail));
    }
    let uri = target(signing, capture).map_err(NotReady::Option)?;
    let head = Head::new(method, &uri, &capture.headers);
    let now = capture.arrived.unwrap_or(now);
    Ok(Verdict::Judged(verifier.verify(
        head,
        capture.body.clone(),
        now,
    )))
}

/// Returns the target of the request line, or else that of the URL.
///
/// # Errors
///
/// Returns the message if the URL is malformed.
pub(crate) fn target(signing: &Signing, capture: &Capture) -> Result<Uri, String> {
    match &capture.target {
        Some(target) => Ok(target.clone()),
        None => signing.target(),
    }
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
