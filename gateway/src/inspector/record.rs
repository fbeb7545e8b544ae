//! The record of one request, for the list, the detail view and the stream.

use std::borrow::Cow;

use hookgate_core::ReplayKey;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::capture::CaptureMark;
use super::compact::Texts;
use crate::client_address::ClientAddress;
use crate::telemetry::access_log::Timestamp;

/// The keys of the events of one delivery. Only a batch has several events.
pub(crate) type ReplayKeys = SmallVec<[ReplayKey; 1]>;

/// The facts about one request. The sender may have invented all texts of a request that did not
/// verify.
///
/// The fields have the names of the access log. `None` means that the fact is unknown, or that it
/// does not apply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeliveryRecord {
    /// The number of the record. A later record has a larger number.
    pub(crate) seq: u64,
    pub(crate) request_id: String,
    /// When the request arrived.
    pub(crate) time: Timestamp,
    pub(crate) outcome: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Cow<'static, str>>,
    /// The status that the sender got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<String>,
    /// The address of the server that got the delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// The path without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<String>,
    /// The id that the provider gives each delivery, in a header that is not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<ClientAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_bytes: Option<usize>,
    /// The headers that the scheme reads, each with its length and its shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signed_headers: Option<String>,
    /// How many seconds the request arrived after its timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verify_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claim_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_us: Option<u64>,
    pub(crate) total_us: u64,
    /// The name of the token that sent the delivery again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resent_by: Option<String>,
    /// The request id of the delivery that was sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resent_from: Option<String>,
    /// The request id of the delivery that a worker of the queue sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_from: Option<String>,
    /// Whether the request is captured, and how completely.
    #[serde(skip_deserializing, skip_serializing_if = "CaptureMark::is_none")]
    pub(crate) capture: CaptureMark,
    #[serde(skip)]
    pub(crate) replay_keys: ReplayKeys,
}

impl DeliveryRecord {
    /// Returns the texts of the record.
    pub(super) fn texts(&self) -> Texts<'_> {
        Texts {
            request_id: &self.request_id,
            tenant: self.tenant.as_deref(),
            method: self.method.as_deref(),
            path: self.path.as_deref(),
            event_id: self.event_id.as_deref(),
            event_type: self.event_type.as_deref(),
            delivery_id: self.delivery_id.as_deref().map(Cow::from),
            key_id: self.key_id.as_deref(),
            user_agent: self.user_agent.as_deref().map(Cow::from),
            content_type: self.content_type.as_deref().map(Cow::from),
            signed_headers: self.signed_headers.as_deref(),
            resent_by: self.resent_by.as_deref(),
            resent_from: self.resent_from.as_deref(),
            queued_from: self.queued_from.as_deref(),
        }
    }
}
