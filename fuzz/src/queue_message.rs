//! Fuzz target: any message of a stream as an entry of a queue in NATS.

use std::time::Duration;

use bytes::Bytes;
use hookgate_queue::nats::StoredMessage;
use hookgate_queue::{Entry, EntryInfo, EntryState};

use super::queue_entry::{FAILURE, entry};

/// The time of the server, in nanoseconds.
const TIME: u64 = 1_784_187_600_000_000_000;
const SEQUENCE: u64 = 7;
const ATTEMPTS: u32 = 9;

/// Writes a delivery as a message if the first byte of `data` is even, and takes `data` as a message
/// if it is odd.
///
/// A delivery that was written reads the same. An entry that was read keeps its facts and its bytes
/// as a dead letter, and as an entry that the operator retries.
pub fn queue_message(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    match choice & 1 {
        0 => check_written(data),
        _ => check_read(data),
    }
}

fn check_written(data: &[u8]) {
    let new = entry(&mut data.splitn(8, |byte| *byte == 0));
    let message = StoredMessage::of(&new, SEQUENCE, TIME);
    let read = message.read(TIME).unwrap();
    assert_eq!((&read.envelope, &read.body), (&new.envelope, &new.body));
    assert_eq!(
        (read.info.keys.as_slice(), &read.info.source),
        (&new.keys[..], &new.source)
    );
    assert_eq!(
        (&read.info.tenant, &read.info.event_id),
        (&new.tenant, &new.event_id)
    );
    assert_eq!(
        (&read.info.key_id, &read.info.request_id),
        (&new.key_id, &new.request_id)
    );
    assert_eq!(
        (read.info.attempts, read.info.last_failure),
        (new.attempts, new.last_failure)
    );
    assert_eq!(read.info.due_in, Some(new.first_due));
    check_moves(&message, &read);
}

/// Takes fields of `data` as the subject, the three headers, and the payload. An empty field is no
/// header.
fn check_read(data: &[u8]) {
    let mut fields = data.splitn(5, |byte| *byte == 0);
    let mut text = || String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
    let subject = text();
    let headers = ["Hookgate-Body", "Hookgate-Facts", "Hookgate-Dead"];
    let headers = headers.map(|name| (name.to_owned(), text()));
    let message = StoredMessage {
        subject,
        sequence: SEQUENCE,
        time: TIME,
        headers: headers
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        payload: Bytes::copy_from_slice(fields.next().unwrap_or_default()),
    };
    if let Some(entry) = message.read(TIME) {
        assert!(message.payload.starts_with(&entry.body));
        assert!(message.payload.ends_with(&entry.envelope));
        assert!(entry.body.len() + entry.envelope.len() < message.payload.len());
        check_moves(&message, &entry);
    }
}

/// Buries the entry of a message, and retries it.
fn check_moves(message: &StoredMessage, entry: &Entry) {
    let buried = message.buried(ATTEMPTS, FAILURE).unwrap();
    let dead = buried.read(TIME).unwrap();
    check_same(&dead, entry);
    assert_eq!(
        (dead.info.id, dead.info.stored_at),
        (entry.info.id, entry.info.stored_at)
    );
    assert_eq!(
        (dead.info.state, dead.info.due_in),
        (EntryState::Dead, None)
    );
    assert_eq!(
        (dead.info.attempts, dead.info.last_failure),
        (ATTEMPTS, Some(FAILURE))
    );

    let revived = buried.revived().unwrap().read(TIME).unwrap();
    check_same(&revived, entry);
    let EntryInfo {
        state,
        due_in,
        attempts,
        earlier_attempts,
        last_failure,
        ..
    } = revived.info;
    assert_eq!((state, due_in), (EntryState::Waiting, Some(Duration::ZERO)));
    assert_eq!(
        (attempts, earlier_attempts, last_failure),
        (ATTEMPTS, ATTEMPTS, None)
    );
}

/// Compares the parts that no move changes.
fn check_same(one: &Entry, other: &Entry) {
    assert_eq!((&one.envelope, &one.body), (&other.envelope, &other.body));
    let (one, other) = (&one.info, &other.info);
    assert_eq!(
        (&one.keys, &one.source, &one.tenant),
        (&other.keys, &other.source, &other.tenant)
    );
    assert_eq!(
        (&one.event_id, &one.key_id, &one.request_id),
        (&other.event_id, &other.key_id, &other.request_id)
    );
}
