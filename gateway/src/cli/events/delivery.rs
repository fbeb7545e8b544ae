//! The responses of the inspector API, as far as the commands print them.
//!
//! A sender controls most texts, so they have the type [`Text`], which displays escaped.

use serde::Deserialize;

use crate::cli::captured_request::CapturedRequest;
use crate::cli::terminal::Text;

/// One delivery that the gateway has finished.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delivery {
    pub(super) seq: u64,
    pub(super) request_id: Text,
    pub(super) time: Text,
    pub(super) outcome: Text,
    pub(super) reason: Option<Text>,
    pub(super) status: Option<u16>,
    pub(super) source: Option<Text>,
    pub(super) tenant: Option<Text>,
    pub(super) provider: Option<Text>,
    pub(super) upstream: Option<Text>,
    pub(super) server: Option<Text>,
    pub(super) method: Option<Text>,
    pub(super) path: Option<Text>,
    pub(super) event_id: Option<Text>,
    pub(super) event_type: Option<Text>,
    pub(super) delivery_id: Option<Text>,
    pub(super) key_id: Option<Text>,
    pub(super) attempt: Option<u32>,
    pub(super) client: Option<Text>,
    pub(super) user_agent: Option<Text>,
    pub(super) content_type: Option<Text>,
    pub(super) content_length: Option<u64>,
    pub(super) body_bytes: Option<u64>,
    pub(super) signed_headers: Option<Text>,
    pub(super) age_s: Option<i64>,
    pub(super) verify_us: Option<u64>,
    pub(super) claim_us: Option<u64>,
    pub(super) upstream_us: Option<u64>,
    pub(super) total_us: Option<u64>,
    pub(super) resent_by: Option<Text>,
    pub(super) resent_from: Option<Text>,
    pub(super) capture: Option<Text>,
}

impl Delivery {
    /// Whether the sender got a refusal, or would have got one without observe mode.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.outcome.raw(), "refused" | "observed_refused")
    }
}

/// A page of the list.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) next_before: Option<u64>,
    pub(super) since: Option<Text>,
}

/// One delivery in full.
#[derive(Debug, Deserialize)]
pub(super) struct Detail {
    pub(super) delivery: Delivery,
    pub(super) capture: Option<CapturedRequest>,
    pub(super) verify_command: Option<Text>,
    #[serde(default)]
    pub(super) can_resend: bool,
    pub(super) cannot_resend_because: Option<Text>,
    #[serde(default)]
    pub(super) can_forget: bool,
    pub(super) cannot_forget_because: Option<Text>,
}

/// The response to a resend.
#[derive(Debug, Deserialize)]
pub(super) struct Resent {
    pub(super) request_id: Text,
    pub(super) outcome: Text,
    pub(super) status: Option<u16>,
    /// The entry of the queue that is due now, if the delivery is queued.
    pub(super) entry: Option<Text>,
}

/// The response to a request to forget.
#[derive(Debug, Deserialize)]
pub(super) struct Forgotten {
    pub(super) forgotten: u64,
}

/// A message of the event stream.
#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    pub(super) deliveries: Vec<Delivery>,
    #[serde(default)]
    pub(super) skipped: u64,
}

/// The answer to why a delivery does not verify: the JSON of `hookgate verify --explain --json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Explanation {
    pub(super) detail: Option<Text>,
    pub(super) reason: Option<Text>,
    pub(super) causes: Vec<ExplainedCause>,
    /// The reason why the gateway has no explanation.
    pub(super) unavailable: Option<Text>,
}

/// A cause of an [`Explanation`].
#[derive(Debug, Deserialize)]
pub(super) struct ExplainedCause {
    pub(super) code: Text,
    #[serde(default)]
    pub(super) proved: bool,
    pub(super) summary: Text,
    pub(super) fix: Text,
}
