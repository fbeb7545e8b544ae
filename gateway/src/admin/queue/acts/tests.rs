//! Acts on several entries, with a queue in memory.

use std::sync::Mutex;

use bytes::Bytes;
use hookgate_queue::{EntryFilter, MemoryQueue, NewEntry};
use smallvec::SmallVec;

use super::*;

fn new_entry(token: u64, source: &str) -> NewEntry {
    NewEntry {
        keys: SmallVec::new(),
        token,
        source: source.into(),
        tenant: None,
        event_id: None,
        key_id: "k".into(),
        request_id: "r".into(),
        attempts: 0,
        last_failure: None,
        envelope: Bytes::new(),
        body: Bytes::new(),
        first_due: Duration::from_secs(3600),
        lease_if_first: None,
    }
}

async fn queue(count: u64) -> MemoryQueue {
    let queue = MemoryQueue::default();
    for token in 0..count {
        let source = if token % 2 == 0 { "even" } else { "odd" };
        let stored = queue.enqueue(new_entry(token, source)).await;
        stored.expect("the queue has space");
    }
    queue
}

fn selection(source: Option<&str>) -> Selection {
    Selection {
        filter: EntryFilter {
            source: source.map(Box::from),
            ..EntryFilter::default()
        },
        after: None,
        most: None,
    }
}

#[tokio::test]
async fn an_act_reaches_each_selected_entry_once() {
    let queue = queue(1203).await;
    for (source, expected) in [(Some("odd"), 601), (None, 602), (None, 0)] {
        let delete = |info: EntryInfo| answered(queue.delete(info.id));
        let progress = act_on_selection(&queue, &selection(source), delete).await;
        let progress = progress.expect("the queue answers");
        let expected = Progress {
            changed: expected,
            ..Progress::default()
        };
        assert_eq!(progress, expected);
    }
}

#[tokio::test]
async fn an_act_ends_although_each_entry_gets_a_new_number() {
    let queue = queue(10).await;
    let moved = Mutex::new(100);
    let (store, moved) = (&queue, &moved);
    let renumber = |info: EntryInfo| async move {
        let token = {
            let mut token = moved.lock().expect("no test panics with the lock");
            *token += 1;
            *token
        };
        let stored = store.enqueue(new_entry(token, &info.source)).await;
        stored.expect("the queue has space");
        answered(store.delete(info.id)).await
    };
    let progress = act_on_selection(&queue, &selection(None), renumber).await;
    let progress = progress.expect("the queue answers");
    assert_eq!((progress.changed, progress.next), (10, None));
    let stats = queue.stats().await.expect("the queue answers");
    assert_eq!(total(&stats), 10);
}

#[tokio::test(start_paused = true)]
async fn a_long_act_says_how_to_continue() {
    let queue = queue(1100).await;
    let slow = |info: EntryInfo| {
        let queue = &queue;
        async move {
            tokio::time::sleep(MAX_TIME).await;
            answered(queue.delete(info.id)).await
        }
    };
    let first = act_on_selection(&queue, &selection(None), slow).await;
    let first = first.expect("the queue answers");
    assert_eq!(first.changed, PAGE as u64);
    let next = first.next.expect("entries are left");
    assert_eq!(next.most, 600);
    let rest = Selection {
        after: Some(next.after.parse().expect("a number")),
        most: Some(next.most),
        ..selection(None)
    };
    let delete = |info: EntryInfo| answered(queue.delete(info.id));
    let rest = act_on_selection(&queue, &rest, delete).await;
    assert_eq!(rest.expect("the queue answers").changed, 600);
    assert_eq!(total(&queue.stats().await.expect("the queue answers")), 0);
}
