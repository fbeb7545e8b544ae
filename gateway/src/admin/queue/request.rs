//! The request of an entry, without its secrets.

use hookgate_core::internal::ErrorChain;
use hookgate_diagnose::Capture;
use hookgate_gate::{Source, restore};
use hookgate_queue::Entry;

use crate::config::Redaction;
use crate::inspector::capture::StoredRequest;

/// Returns the request of `entry` without its secrets. This call can take a moment.
///
/// # Errors
///
/// Returns the reason for the user if the entry cannot be read.
pub(super) fn stored_request(
    source: &Source,
    entry: &Entry,
    configured: &[Redaction],
) -> Result<StoredRequest, String> {
    let restored = restore(source, entry).map_err(|error| {
        let id = entry.info.id;
        tracing::error!(queue_id = id.0, error = %ErrorChain(&error), "the entry cannot be read");
        format!("the entry cannot be read: {error}")
    })?;
    let capture = Capture {
        method: restored.method,
        target: Some(restored.uri),
        headers: restored.headers,
        body: entry.body.clone(),
        arrived: None,
    };
    let event_id = entry.info.event_id.as_deref().map(str::to_owned);
    Ok(StoredRequest::new(capture, event_id, source, configured))
}
