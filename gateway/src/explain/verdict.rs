//! The result of a verification, and its JSON.

use hookgate_core::{RequestOutcome, UnixTime, VerifyError};
use hookgate_diagnose::{Cause, Diagnosis};
use hookgate_gate::Reason;
use serde_json::{Value, json};

/// The result of a verification.
pub(crate) enum Verdict {
    Judged(Result<RequestOutcome, VerifyError>),
    /// The gateway refuses the method before it reads anything else. The text says why.
    MethodRefused(String),
    /// No delivery was judged. The text is the fault of the secret.
    SecretUnusable(String),
}

/// A verdict, with an explanation if the operator asked for one.
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) explanation: Option<Explanation>,
}

/// The causes why a delivery does not verify. A delivery that verifies has none.
#[derive(Default)]
pub(crate) struct Explanation {
    pub(crate) causes: Vec<Cause>,
    /// The number of changed deliveries that were verified.
    pub(crate) tried: u64,
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
    /// Whether the delivery, or the handshake, verified.
    pub(crate) fn is_verified(&self) -> bool {
        matches!(self, Self::Judged(Ok(_)))
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
    /// Returns the JSON object of `hookgate verify --json`.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = self.verdict.to_json();
        if let Some(explanation) = &self.explanation {
            object["causes"] = explanation.causes.iter().map(cause_as_json).collect();
        }
        object
    }
}

fn cause_as_json(cause: &Cause) -> Value {
    json!({
        "code": cause.code.as_str(),
        "proved": cause.proved,
        "summary": cause.summary,
        "fix": cause.fix,
    })
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
