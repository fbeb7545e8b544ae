//! `GET /api/stream`: new records, as server-sent events.
//!
//! A stream waits for the number of the newest record, and then reads the records after its last
//! one. Nothing is buffered for it, beyond one batch.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use pingora_core::server::ShutdownWatch;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::ApiRequest;
use super::access::User;
use super::connections::StreamMark;
use super::problem::Problem;
use super::query::{Accepts, ListQuery};
use super::response::{self, Body};
use super::server::Peer;
use crate::inspector::Inspector;
use crate::inspector::filter::Filter;
use crate::inspector::history::Batch;
use crate::inspector::record::DeliveryRecord;

/// Maximum number of records in one event.
const MAX_BATCH: usize = 100;
/// The least time between two events.
const EVENT_INTERVAL: Duration = Duration::from_millis(250);
/// How often a stream checks that its token still exists.
const ACCESS_INTERVAL: Duration = Duration::from_secs(1);
/// Time without an event after which a comment shows that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One open stream.
struct Events {
    inspector: Arc<Inspector>,
    user: User,
    filter: Arc<Filter>,
    /// The first records, if the client has named the last record that it has.
    first: Option<Batch>,
    /// The number after which the next event begins.
    after: u64,
    newest: watch::Receiver<u64>,
    shutdown: ShutdownWatch,
    next_event: Instant,
    heartbeat: Instant,
    _mark: StreamMark,
    _permit: OwnedSemaphorePermit,
}

#[derive(Serialize)]
struct Event<'e> {
    deliveries: Vec<&'e DeliveryRecord>,
    skipped: usize,
}

impl ApiRequest<'_> {
    /// Opens a stream.
    pub(super) async fn stream(
        &self,
        query: Option<&str>,
        peer: &Peer<'_>,
    ) -> Result<Response<Body>, Problem> {
        let query = ListQuery::parse(query, Accepts::Stream)?;
        let permit = self.inspector.open_stream().ok_or_else(|| {
            let detail = "too many event streams are open; close one and try again";
            Problem::busy(detail, Duration::from_secs(10))
        })?;
        let newest = self.inspector.subscribe();
        let last = *newest.borrow();
        let after = query.after.map_or(last, |after| after.min(last));
        let filter = Arc::new(query.filter);
        // This read can pass all records in memory. A later one passes only the new ones.
        let first = match query.after {
            Some(_) => {
                let filter = Arc::clone(&filter);
                let read =
                    move |inspector: &Inspector| Ok(inspector.after(&filter, after, MAX_BATCH));
                Some(self.search(read).await?)
            }
            None => None,
        };
        let now = Instant::now();
        let events = Events {
            inspector: Arc::clone(self.inspector),
            user: self.user.clone(),
            filter,
            first,
            after,
            newest,
            shutdown: peer.shutdown.clone(),
            next_event: now,
            heartbeat: now + HEARTBEAT,
            _mark: peer.connection.start_stream(),
            _permit: permit,
        };
        let frames = unfold(events, |mut events| async {
            let bytes = events.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), events))
        });
        Ok(response::events(StreamBody::new(frames).boxed_unsync()))
    }
}

impl Events {
    /// Returns the next event, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            sleep_until(self.next_event).await;
            if *self.shutdown.borrow() || !self.user.is_known(&self.inspector.access()) {
                return None;
            }
            self.newest.borrow_and_update();
            let batch = self.first.take().unwrap_or_else(|| {
                let inspector = &self.inspector;
                inspector.after(&self.filter, self.after, MAX_BATCH)
            });
            self.after = batch.newest;
            let now = Instant::now();
            self.next_event = now + EVENT_INTERVAL;
            if !batch.records.is_empty() {
                self.heartbeat = now + HEARTBEAT;
                return Some(event(&batch));
            }
            if now >= self.heartbeat {
                self.heartbeat = now + HEARTBEAT;
                return Some(Bytes::from_static(b": no new delivery\n\n"));
            }
            let waiting = async {
                tokio::select! {
                    changed = self.newest.changed() => drop(changed),
                    changed = self.shutdown.changed() => drop(changed),
                }
            };
            // After this time the loop checks the token again.
            let _: Result<(), _> = timeout(ACCESS_INTERVAL, waiting).await;
        }
    }
}

/// Returns the bytes of one event. The lines of JSON never break within a text.
fn event(batch: &Batch) -> Bytes {
    let event = Event {
        deliveries: batch.records.iter().map(AsRef::as_ref).collect(),
        skipped: batch.skipped,
    };
    // This cannot fail: every field is a text or a number.
    let data = serde_json::to_string(&event).unwrap_or_default();
    let id = batch.newest;
    format!("event: deliveries\nid: {id}\ndata: {data}\n\n").into()
}
