//! Tests of batches: each event of a batch is stored once.

use hookgate_gate::{Admission, FirstAttempt, Reason};
use tokio::time::advance;

use crate::support::{Fixture, StoreFault};

fn batch(ids: &[&str]) -> String {
    let items: Vec<_> = ids
        .iter()
        .map(|id| {
            serde_json::json!({ "NotificationRequestItem": {
                "pspReference": id, "eventCode": "AUTHORISATION", "success": "true",
            }})
        })
        .collect();
    serde_json::json!({ "notificationItems": items }).to_string()
}

#[tokio::test(start_paused = true)]
async fn all_events_of_a_batch_are_recorded_with_its_entry() {
    let fixture = Fixture::with("adyen", |source| source);
    fixture.store(&batch(&["a", "b", "c"])).await;
    let entries = fixture.entries().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].keys.len(), 3);
    for ids in [&["a"][..], &["c", "b"]] {
        let again = fixture.admit(&fixture.sign(&batch(ids))).await.unwrap();
        assert!(matches!(again, Admission::Duplicate(_)), "{ids:?}");
    }
}

/// A crash came between storing a batch and recording its events, and the sender groups the
/// events in another way.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_stored_in_part_is_refused_until_its_stored_events_are_done() {
    let fixture = Fixture::with("adyen", |source| source);
    *fixture.gate.store().fault.lock().unwrap() = Some(StoreFault::Panics);
    fixture.store(&batch(&["a", "b"])).await;
    advance(fixture.source.lease()).await;
    let claimed = fixture.claim(&batch(&["b", "c"])).await;
    let refusal = fixture.enqueue(claimed, FirstAttempt::Now).await;
    assert_eq!(refusal.unwrap_err().reason(), Reason::QueueDown);
    // The stored event is done. The other one is free, and is not lost.
    let stored = fixture.admit(&fixture.sign(&batch(&["b"]))).await.unwrap();
    assert!(matches!(stored, Admission::Duplicate(_)));
    fixture.store(&batch(&["c"])).await;
    assert_eq!(fixture.entries().await.len(), 2);
}
