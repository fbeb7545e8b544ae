//! The targets of the queue share these deliveries and this file.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hookgate_core::ReplayKey;
use hookgate_queue::{Failure, FailureKind, NewEntry};

/// The time of a failure, in whole milliseconds.
pub(crate) const FAILURE: Failure = Failure {
    kind: FailureKind::Response,
    status: Some(503),
    at: SystemTime::UNIX_EPOCH,
};

/// Returns a delivery from fields of an input: the source, the tenant, the event id, the key id, the
/// request id, the replay keys, the envelope, and the body. Absent texts are empty fields.
pub(crate) fn entry<'d>(fields: &mut impl Iterator<Item = &'d [u8]>) -> NewEntry {
    let mut field = || fields.next().unwrap_or_default();
    let mut text = || Box::<str>::from(String::from_utf8_lossy(field()));
    let present = |text: Box<str>| Some(text).filter(|text| !text.is_empty());
    let [source, tenant, event_id, key_id, request_id] = [text(), text(), text(), text(), text()];
    let (keys, _) = field().as_chunks();
    NewEntry {
        keys: keys.iter().copied().map(ReplayKey::from_bytes).collect(),
        token: 7,
        source,
        tenant: present(tenant),
        event_id: present(event_id),
        key_id,
        request_id,
        attempts: 1,
        last_failure: Some(FAILURE),
        envelope: Bytes::copy_from_slice(field()),
        body: Bytes::copy_from_slice(field()),
        first_due: Duration::from_millis(250),
        lease_if_first: None,
    }
}
