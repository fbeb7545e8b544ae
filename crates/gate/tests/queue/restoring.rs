//! Tests of restoring a delivery from its entry.

use bytes::Bytes;
use hookgate_core::{ReplayScope, Verified};
use hookgate_gate::{RestoreError, restore};
use hookgate_queue::{AttemptOutcome, Entry, FailureKind, QueueStore};
use http::HeaderValue;

use crate::support::{Fixture, StoreFault};

fn facts(verified: &Verified) -> impl PartialEq + std::fmt::Debug {
    let scope = ReplayScope::new(&["a"]);
    (
        verified.body().clone(),
        verified.id().map(str::to_owned),
        verified.event_type().map(str::to_owned),
        verified.timestamp(),
        verified.key_id().to_owned(),
        verified.identity(),
        (
            verified.replay_keys(&scope),
            verified.replay_keys_with_delivery_id(&scope, "1"),
            verified.is_identified_by_content(),
        ),
    )
}

async fn entry_of(fixture: &Fixture, body: &str) -> (Verified, Entry) {
    let mut request = fixture.sign(body);
    let headers = request.headers_mut();
    for value in [&b"a"[..], b"", b"\xff\xfe"] {
        headers.append("x-several", HeaderValue::from_bytes(value).unwrap());
    }
    let claimed = fixture.claim_request(request).await;
    let verified = claimed.delivery.verified().clone();
    let first = hookgate_gate::FirstAttempt::Now;
    let queued = fixture.enqueue(claimed, first).await.unwrap();
    let entry = fixture.queue.entry(queued.id()).await.unwrap().unwrap();
    (verified, entry)
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_restored_exactly() {
    let item =
        r#"{"NotificationRequestItem":{"pspReference":"p","eventCode":"A","success":"true"}}"#;
    for (provider, body) in [
        (
            "beatapi",
            r#"{"id":"evt_1","event":"task.succeeded"}"#.to_owned(),
        ),
        // No event id: the signed message identifies the event.
        ("beatapi", r#"{"event":"task.succeeded"}"#.to_owned()),
        ("github", r#"{"action":"opened"}"#.to_owned()),
        ("adyen", format!(r#"{{"notificationItems":[{item}]}}"#)),
    ] {
        let fixture = Fixture::with(provider, |source| source);
        let (verified, entry) = entry_of(&fixture, &body).await;
        let restored = restore(&fixture.source, &entry).unwrap();
        assert_eq!(facts(&restored.verified), facts(&verified), "{provider}");
        assert_eq!(restored.method, "POST");
        assert_eq!(restored.uri, "/hooks?a=1");
        assert_eq!(restored.client, Some([203, 0, 113, 7].into()));
        assert_eq!((&*restored.scheme, &*restored.request_id), ("https", "r1"));
        let several: Vec<_> = restored.headers.get_all("x-several").iter().collect();
        assert_eq!(several, [&b"a"[..], b"", b"\xff\xfe"]);
        let mut signed = fixture.sign(&body).into_parts().0.headers;
        signed.extend(
            [&b"a"[..], b"", b"\xff\xfe"]
                .map(|value| HeaderValue::from_bytes(value).unwrap())
                .map(|value| (http::HeaderName::from_static("x-several"), value)),
        );
        assert_eq!(restored.headers.len(), signed.len(), "{provider}");
    }
}

/// The operator has rotated the secret, and the scheme of the source is another one by now.
#[tokio::test(start_paused = true)]
async fn a_revoked_key_and_another_scheme_change_nothing() {
    let fixture = Fixture::new();
    let body = r#"{"id":"evt_1","event":"task.succeeded"}"#;
    let (verified, entry) = entry_of(&fixture, body).await;
    let other = Fixture::with("github", |source| source);
    let restored = restore(&other.source, &entry).unwrap();
    assert_eq!(facts(&restored.verified), facts(&verified));
}

#[tokio::test(start_paused = true)]
async fn stored_bytes_that_are_no_delivery_are_an_error() {
    let fixture = Fixture::new();
    let body = r#"{"id":"evt_1","event":"task.succeeded"}"#;
    let (_, mut entry) = entry_of(&fixture, body).await;
    let whole = entry.envelope.clone();
    for len in 0..whole.len() {
        entry.envelope = whole.slice(..len);
        let restored = restore(&fixture.source, &entry);
        assert_eq!(restored.unwrap_err(), RestoreError::Damaged, "{len}");
    }
    let mut newer = whole.to_vec();
    newer[0] += 1;
    entry.envelope = Bytes::from(newer);
    let restored = restore(&fixture.source, &entry);
    assert_eq!(restored.unwrap_err(), RestoreError::NewerFormat(2));
}

/// A damaged entry would be tried for ever, and hold up the others of an ordered source.
#[tokio::test(start_paused = true)]
async fn a_worker_gives_up_a_damaged_entry_and_keeps_one_of_a_newer_version() {
    let fixture = Fixture::new();
    let body = r#"{"id":"evt_1","event":"task.succeeded"}"#;
    let (_, mut entry) = entry_of(&fixture, body).await;
    let whole = entry.envelope.clone();
    let prepare = async |entry: &Entry| {
        let prepared = fixture.gate.prepare_queued(&fixture.source, entry).await;
        prepared.map(drop).map_err(|error| error.outcome())
    };
    assert_eq!(prepare(&entry).await, Ok(()));
    *fixture.gate.store().fault.lock().unwrap() = Some(StoreFault::Fails);
    assert_eq!(prepare(&entry).await, Err(AttemptOutcome::NotTried));
    entry.envelope = whole.slice(..10);
    let damaged = AttemptOutcome::Failed(FailureKind::Damaged);
    assert_eq!(prepare(&entry).await, Err(damaged));
    let mut newer = whole.to_vec();
    newer[0] += 1;
    entry.envelope = Bytes::from(newer);
    assert_eq!(prepare(&entry).await, Err(AttemptOutcome::Unreadable));
}

/// The format of entries that earlier versions have stored. Another format needs another number.
#[tokio::test(start_paused = true)]
async fn an_entry_of_the_first_format_is_restored() {
    let fixture = Fixture::new();
    let body = r#"{"id":"evt_1","event":"task.succeeded"}"#;
    let (_, mut entry) = entry_of(&fixture, body).await;
    let mut stored = vec![1];
    for text in ["POST", "/a"] {
        stored.push(u8::try_from(text.len()).unwrap());
        stored.extend(text.as_bytes());
    }
    // One header, no client.
    stored.extend(b"\x01\x03x-a\x01b\x00");
    stored.extend(b"\x04http\x02r2");
    // The type, the timestamp, the key, and the id.
    stored.extend(b"\x01\x01t\x01\x02\x01k\x01\x00\x01e");
    entry.envelope = stored.into();
    let restored = restore(&fixture.source, &entry).unwrap();
    assert_eq!(restored.headers["x-a"], "b");
    assert_eq!((restored.client, &*restored.scheme), (None, "http"));
    let verified = restored.verified;
    assert_eq!(verified.event_type(), Some("t"));
    assert_eq!(verified.timestamp().map(|time| time.millis()), Some(1));
    assert_eq!((verified.key_id(), verified.id()), ("k", Some("e")));
}
