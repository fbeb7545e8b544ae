//! The facts about a refused request in the access log.

use serde::Serialize;

/// Facts about a request that was refused. Its sender may have invented each of them.
#[derive(Debug, Serialize)]
pub(crate) struct RefusedRequest {
    /// The headers that the scheme reads, each with its length and its shape.
    pub(crate) signed_headers: String,
    /// How many seconds the request arrived after its timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
    /// The id that the provider gives each delivery, in a header that is not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery_id: Option<String>,
}
