//! The result of a verification, as text and as JSON.

use std::fmt::Write;

use hookgate_core::{RequestOutcome, UnixTime, VerifyError};
use hookgate_diagnose::{Cause, Diagnosis};
use hookgate_gate::Reason;
use serde_json::{Value, json};
use textwrap::Options;

use crate::cli::terminal::{printable, printable_lines};

/// The width of a terminal, in columns.
const WIDTH: usize = 80;

/// The result of a verification.
pub(super) enum Verdict {
    Judged(Result<RequestOutcome, VerifyError>),
    /// The gateway refuses the method before it reads anything else. The text says why.
    MethodRefused(String),
    /// No delivery was judged. The text is the fault of the secret.
    SecretUnusable(String),
}

/// A verdict, with an explanation if the operator asked for one.
pub(super) struct Report {
    pub(super) verdict: Verdict,
    pub(super) explanation: Option<Explanation>,
}

/// The causes why a delivery does not verify. A delivery that verifies has none.
#[derive(Default)]
pub(super) struct Explanation {
    causes: Vec<Cause>,
    /// The number of changed deliveries that were verified.
    tried: u64,
}

impl From<Diagnosis> for Explanation {
    /// Creates the explanation of a delivery that does not verify.
    fn from(diagnosis: Diagnosis) -> Self {
        // A diagnosis knows no periods of secrets.
        let inactive = diagnosis.verified.then(Cause::inactive_secret);
        Self {
            causes: diagnosis.causes.into_iter().chain(inactive).collect(),
            tried: diagnosis.tried,
        }
    }
}

impl Verdict {
    pub(super) fn is_verified(&self) -> bool {
        matches!(self, Self::Judged(Ok(_)))
    }

    fn to_text(&self) -> String {
        match self {
            Self::Judged(Ok(outcome)) => outcome_as_text(outcome),
            Self::Judged(Err(error)) => format!("refused: {error} ({})", error.label()),
            Self::MethodRefused(detail) => {
                format!("refused: {detail} ({})", Reason::MethodNotAllowed.label())
            }
            Self::SecretUnusable(fault) => format!("not verified: {fault}"),
        }
    }

    fn to_json(&self) -> Value {
        let (reason, detail) = match self {
            Self::Judged(Ok(outcome)) => return outcome_as_json(outcome),
            Self::Judged(Err(error)) => (Some(error.label()), error.to_string()),
            Self::MethodRefused(detail) => (Some(Reason::MethodNotAllowed.label()), detail.clone()),
            Self::SecretUnusable(fault) => (None, fault.clone()),
        };
        json!({ "verified": false, "reason": reason, "detail": detail })
    }
}

impl Report {
    pub(super) fn to_text(&self) -> String {
        let mut text = self.verdict.to_text();
        let Some(Explanation { causes, tried }) = &self.explanation else {
            return text;
        };
        for cause in causes {
            text.push('\n');
            text.push_str(&cause_as_text(cause));
        }
        if !self.verdict.is_verified() && causes.iter().all(|cause| !cause.proved) {
            let line = format!("\nnone of {tried} tried changes makes the delivery verify");
            text.push_str(&line);
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let mut object = self.verdict.to_json();
        if let Some(explanation) = &self.explanation {
            object["causes"] = explanation.causes.iter().map(cause_as_json).collect();
        }
        object
    }
}

/// A cause in words.
pub(in crate::cli) struct CauseText<'c> {
    pub(in crate::cli) proved: bool,
    pub(in crate::cli) summary: &'c str,
    pub(in crate::cli) code: &'c str,
    pub(in crate::cli) fix: &'c str,
}

impl CauseText<'_> {
    /// Returns the cause and what to do, in lines of at most `width` columns.
    pub(in crate::cli) fn wrapped(&self, width: usize) -> String {
        let certainty = match self.proved {
            true => "cause (proved)",
            false => "likely cause",
        };
        let options = || {
            Options::new(width)
                .subsequent_indent("  ")
                .break_words(false)
        };
        let cause = format!("{certainty}: {} ({})", self.summary, self.code);
        let cause = textwrap::fill(&cause, options());
        let fix = textwrap::fill(
            &format!("what to do: {}", self.fix),
            options().initial_indent("  "),
        );
        format!("{cause}\n{fix}")
    }
}

fn cause_as_text(cause: &Cause) -> String {
    let text = CauseText {
        proved: cause.proved,
        summary: &printable(&cause.summary),
        code: cause.code.as_str(),
        fix: &printable(&cause.fix),
    };
    text.wrapped(WIDTH)
}

fn cause_as_json(cause: &Cause) -> Value {
    json!({
        "code": cause.code.as_str(),
        "proved": cause.proved,
        "summary": cause.summary,
        "fix": cause.fix,
    })
}

fn outcome_as_text(outcome: &RequestOutcome) -> String {
    let verified = match outcome {
        RequestOutcome::Delivery(verified) => verified,
        RequestOutcome::Handshake(answer) => {
            return format!(
                "verified handshake; the gateway responds with status {} and this body:\n{}",
                answer.status(),
                printable_lines(&String::from_utf8_lossy(answer.body()))
            );
        }
    };
    let mut text = format!("verified with key {}", printable(verified.key_id()));
    let signed_at = verified.timestamp().map(|time| time.secs().to_string());
    for (name, value) in [
        ("event id", verified.id()),
        ("event type", verified.event_type()),
        ("signed at", signed_at.as_deref()),
        ("dedupe by", Some(verified.identity().label())),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name:<12}{}", printable(value.unwrap_or("none")));
    }
    text
}

fn outcome_as_json(outcome: &RequestOutcome) -> Value {
    match outcome {
        RequestOutcome::Handshake(answer) => json!({
            "verified": true,
            "handshake": {
                "status": answer.status().as_u16(),
                "body": String::from_utf8_lossy(answer.body()),
            },
        }),
        RequestOutcome::Delivery(verified) => json!({
            "verified": true,
            "key": verified.key_id(),
            "id": verified.id(),
            "type": verified.event_type(),
            "timestamp": verified.timestamp().map(UnixTime::secs),
            "identity": verified.identity().label(),
        }),
    }
}
