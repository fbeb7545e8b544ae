//! The first responses to events whose provider acts on the content of a response.
//!
//! A provider that asks for instructions, such as Twilio during a call, sends a delivery again
//! if it did not get the response. An empty acknowledgement would end the call, so the gate sends
//! the first response once more. Each process keeps its own responses.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hookgate_core::ReplayKey;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use moka::Entry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// The time for which a first response is kept.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// The largest body of a first response that is kept.
const MAX_BODY: usize = 16 * 1024;
/// The most bytes of all first responses. The oldest ones are evicted: a response that is
/// forgotten is replaced with the acknowledgement of the provider, so no event is lost.
const CAPACITY: u64 = 16 * 1024 * 1024;
/// The assumed size of an entry without its body and its content type.
const ENTRY: usize = 512;

/// A response of the upstream, as a duplicate of the event gets it again.
#[derive(Clone, Debug)]
pub(crate) struct FirstResponse {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

/// A response that is complete, or that is still arriving.
type Progress = Option<Arc<FirstResponse>>;

#[derive(Clone)]
struct Slot {
    progress: watch::Receiver<Progress>,
    began: Instant,
    size: usize,
}

impl Slot {
    /// Whether both are the record of one delivery.
    fn is_of(&self, other: &Self) -> bool {
        self.progress.same_channel(&other.progress)
    }
}

/// The first responses of a process. Nothing is allocated before the first one.
#[derive(Default)]
pub(crate) struct FirstResponses(OnceLock<Cache<ReplayKey, Slot>>);

impl FirstResponses {
    fn cache(&self) -> &Cache<ReplayKey, Slot> {
        self.0.get_or_init(|| {
            Cache::builder()
                .max_capacity(CAPACITY)
                .weigher(|_, slot: &Slot| u32::try_from(slot.size).unwrap_or(u32::MAX))
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(KEPT_FOR)
                .build()
        })
    }

    /// Returns the first response to the event `key`. Waits at most `limit` for a response that is
    /// still arriving.
    pub(crate) async fn get(&self, key: &ReplayKey, limit: Duration) -> Recorded {
        let slot = self.0.get().and_then(|cache| cache.get(key));
        let Some(mut slot) = slot.filter(|slot| slot.began.elapsed() <= KEPT_FOR) else {
            return Recorded::Nothing;
        };
        let complete = slot.progress.wait_for(Option::is_some);
        match timeout(limit, complete).await {
            Ok(Ok(progress)) => progress.clone().map_or(Recorded::Nothing, Recorded::Kept),
            // The recorder was dropped unfinished.
            Ok(Err(_)) => Recorded::Nothing,
            Err(_) => Recorded::Arriving,
        }
    }

    /// Removes the response to the event `key`, if its record began at `latest` or before.
    pub(crate) fn remove(&self, key: ReplayKey, latest: Instant) {
        let Some(cache) = self.0.get() else { return };
        cache
            .entry(key)
            .and_compute_with(|current| match current.map(Entry::into_value) {
                Some(slot) if slot.began <= latest => Op::Remove,
                _ => Op::Nop,
            });
    }

    /// Starts to record the response to the event `key`. Returns `None` if it cannot be kept.
    pub(crate) fn record(
        self: &Arc<Self>,
        key: ReplayKey,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<ResponseRecorder> {
        // A coded body needs more headers than the content type.
        if !status.is_success() || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let content_type = headers.get(CONTENT_TYPE).map(copy);
        let (sender, progress) = watch::channel(None);
        let slot = Slot {
            progress,
            began: Instant::now(),
            size: ENTRY + content_type.as_ref().map_or(0, HeaderValue::len),
        };
        self.cache().entry(key).and_upsert_with(|_| slot.clone());
        Some(ResponseRecorder {
            responses: Arc::clone(self),
            key,
            slot,
            sender,
            status,
            content_type,
            body: BytesMut::new(),
        })
    }
}

/// The record of a first response.
#[derive(Debug)]
pub(crate) enum Recorded {
    Kept(Arc<FirstResponse>),
    /// The response is still arriving.
    Arriving,
    /// The response is not kept.
    Nothing,
}

/// Records the response to an event while it is sent to the provider.
///
/// A recorder that is dropped unfinished keeps nothing.
pub struct ResponseRecorder {
    responses: Arc<FirstResponses>,
    key: ReplayKey,
    slot: Slot,
    sender: watch::Sender<Progress>,
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: BytesMut,
}

impl ResponseRecorder {
    /// Appends a chunk of the body. Returns `None` if the response is too large to be kept.
    #[must_use]
    pub fn push(mut self: Box<Self>, chunk: &[u8]) -> Option<Box<Self>> {
        if chunk.len() > MAX_BODY - self.body.len() {
            return None;
        }
        self.body.extend_from_slice(chunk);
        Some(self)
    }

    /// Keeps the response, whose body is complete.
    pub fn finish(mut self) {
        let response = FirstResponse {
            status: self.status,
            content_type: self.content_type.take(),
            // A copy, because the buffer can be twice as large as the body.
            body: Bytes::copy_from_slice(&self.body),
        };
        let slot = Slot {
            size: self.slot.size + response.body.len(),
            ..self.slot.clone()
        };
        self.sender.send_replace(Some(Arc::new(response)));
        self.replace_own(Op::Put(slot));
    }

    /// Applies `change` to the record of the event, unless the record was removed or is that of a
    /// later delivery.
    fn replace_own(&self, change: Op<Slot>) {
        let entry = self.responses.cache().entry(self.key);
        entry.and_compute_with(|current| match current {
            Some(current) if current.value().is_of(&self.slot) => change,
            _ => Op::Nop,
        });
    }
}

/// Copies `value`, which can share the buffer of the whole head that it arrived in.
fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

impl Drop for ResponseRecorder {
    fn drop(&mut self) {
        if self.sender.borrow().is_none() {
            self.replace_own(Op::Remove);
        }
    }
}

impl std::fmt::Debug for ResponseRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseRecorder")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn start(responses: &Arc<FirstResponses>, number: u8) -> Box<ResponseRecorder> {
        let key = ReplayKey::from_bytes([number; 16]);
        let headers = HeaderMap::new();
        let recorder = responses.record(key, StatusCode::OK, &headers);
        Box::new(recorder.unwrap())
    }

    async fn body(responses: &FirstResponses, number: u8) -> Option<Bytes> {
        let key = ReplayKey::from_bytes([number; 16]);
        match responses.get(&key, LIMIT).await {
            Recorded::Kept(response) => Some(response.body.clone()),
            Recorded::Arriving | Recorded::Nothing => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_is_kept_for_ten_minutes_and_no_longer() {
        let responses = Arc::default();
        start(&responses, 1)
            .push(b"ab")
            .unwrap()
            .push(b"c")
            .unwrap()
            .finish();
        tokio::time::advance(KEPT_FOR).await;
        assert_eq!(body(&responses, 1).await.unwrap(), "abc");
        assert_eq!(body(&responses, 2).await, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(body(&responses, 1).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_duplicate_waits_for_a_response_that_is_arriving() {
        let responses: Arc<FirstResponses> = Arc::default();
        let recorder = start(&responses, 1);
        let waiting = tokio::spawn({
            let responses = Arc::clone(&responses);
            async move { body(&responses, 1).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        recorder.push(b"abc").unwrap().finish();
        assert_eq!(waiting.await.unwrap().unwrap(), "abc");
        // A response that does not end in time is not waited for any longer.
        let _unfinished = start(&responses, 2);
        let began = Instant::now();
        let key = ReplayKey::from_bytes([2; 16]);
        let found = responses.get(&key, LIMIT).await;
        assert!(matches!(found, Recorded::Arriving), "{found:?}");
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test]
    async fn the_record_of_a_later_delivery_stays() {
        let responses: Arc<FirstResponses> = Arc::default();
        let first = start(&responses, 1);
        let later = start(&responses, 1);
        drop(first);
        let first = start(&responses, 2);
        start(&responses, 2).push(b"later").unwrap().finish();
        first.push(b"first").unwrap().finish();
        assert_eq!(body(&responses, 2).await.unwrap(), "later");
        later.push(b"later").unwrap().finish();
        assert_eq!(body(&responses, 1).await.unwrap(), "later");
        // The control: a recorder removes its own record.
        drop(start(&responses, 1));
        assert_eq!(body(&responses, 1).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_is_removed_with_its_event_unless_it_began_later() {
        let responses: Arc<FirstResponses> = Arc::default();
        let key = ReplayKey::from_bytes([1; 16]);
        responses.remove(key, Instant::now());
        let forgotten = Instant::now();
        start(&responses, 1).push(b"first").unwrap().finish();
        // A response that has not ended is removed too, and its end keeps nothing.
        let arriving = start(&responses, 2);
        for number in [1, 2] {
            responses.remove(ReplayKey::from_bytes([number; 16]), forgotten);
        }
        assert_eq!(body(&responses, 1).await, None);
        arriving.push(b"late").unwrap().finish();
        assert_eq!(body(&responses, 2).await, None);
        // The response to the next delivery of the event stays.
        tokio::time::advance(Duration::from_millis(1)).await;
        start(&responses, 1).push(b"second").unwrap().finish();
        responses.remove(key, forgotten);
        assert_eq!(body(&responses, 1).await.unwrap(), "second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_unfinished_large_or_coded_is_not_kept() {
        let responses: Arc<FirstResponses> = Arc::default();
        drop(start(&responses, 1).push(b"abc"));
        assert!(start(&responses, 2).push(&[0; MAX_BODY + 1]).is_none());
        let largest = start(&responses, 3).push(&[0; MAX_BODY]).unwrap();
        largest.finish();
        let began = Instant::now();
        assert_eq!(body(&responses, 1).await, None);
        assert_eq!(body(&responses, 2).await, None);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(
            body(&responses, 3).await.map(|body| body.len()),
            Some(MAX_BODY)
        );

        let key = ReplayKey::from_bytes([4; 16]);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(responses.record(key, StatusCode::OK, &headers).is_none());
        let none = HeaderMap::new();
        assert!(
            responses
                .record(key, StatusCode::NOT_FOUND, &none)
                .is_none()
        );
    }

    #[test]
    fn the_responses_of_all_events_stay_within_their_budget() {
        let responses: Arc<FirstResponses> = Arc::default();
        for number in 0..4000_u32 {
            let mut key = [0; 16];
            key[..4].copy_from_slice(&number.to_be_bytes());
            let key = ReplayKey::from_bytes(key);
            let recorder = responses.record(key, StatusCode::OK, &HeaderMap::new());
            let recorder = Box::new(recorder.unwrap());
            recorder.push(&[0; MAX_BODY]).unwrap().finish();
        }
        let cache = responses.cache();
        cache.run_pending_tasks();
        assert!(cache.weighted_size() <= CAPACITY);
        assert!(cache.entry_count() > 900, "{}", cache.entry_count());
    }

    #[tokio::test]
    async fn a_kept_response_shares_no_buffer_and_counts_its_content_type() {
        let responses: Arc<FirstResponses> = Arc::default();
        let buffer = Bytes::from(vec![b'a'; 64 * 1024]);
        let value = HeaderValue::from_maybe_shared(buffer.slice(..8000)).unwrap();
        let headers: HeaderMap = [(CONTENT_TYPE, value)].into_iter().collect();
        let recorder = |number: u32| {
            let mut key = [0; 16];
            key[..4].copy_from_slice(&number.to_be_bytes());
            let recorder = responses.record(ReplayKey::from_bytes(key), StatusCode::OK, &headers);
            Box::new(recorder.unwrap())
        };
        recorder(0).finish();
        let kept = responses.get(&ReplayKey::from_bytes([0; 16]), LIMIT).await;
        let Recorded::Kept(kept) = kept else {
            panic!("the response is kept");
        };
        assert_eq!(kept.content_type.as_ref().map(HeaderValue::len), Some(8000));
        for number in 1..4000 {
            recorder(number).finish();
        }
        responses.cache().run_pending_tasks();
        let count = responses.cache().entry_count();
        assert!(count <= CAPACITY / 8000, "{count}");
        drop(headers);
        // Only a buffer without other owners becomes unique.
        assert!(buffer.is_unique());
    }
}
