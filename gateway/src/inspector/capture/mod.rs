//! The captured heads and bodies of deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::{UnixTime, Verified};
use http::{HeaderMap, Method, Uri};

use super::fair_queue::{Class, FairQueue};
use super::record::DeliveryRecord;
use crate::config::CaptureConfig;

/// A request as it arrived. It still contains what a capture must not contain.
#[derive(Debug)]
pub(crate) struct RawCapture {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<Bytes>,
    /// Whether `body` is the whole body.
    pub(crate) is_complete: bool,
    /// The verified values, if the delivery verified.
    pub(crate) verified: Option<Verified>,
}

/// A captured request, without the parts that were redacted.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) capture: hookgate_diagnose::Capture,
    pub(crate) is_complete: bool,
    pub(crate) verified: Option<Verified>,
    pub(crate) expires: UnixTime,
}

/// The captures in memory.
#[derive(Debug)]
pub(crate) struct Captures {
    captured: BTreeMap<u64, Arc<Captured>>,
    order: FairQueue<u64>,
}

impl RawCapture {
    /// Returns the number of bytes that the request takes in memory.
    pub(crate) fn len(&self) -> usize {
        let headers = self.headers.iter();
        let head: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        head + self.body.iter().map(Bytes::len).sum::<usize>()
    }
}

impl Captured {
    /// Creates the capture of the request that `record` describes.
    pub(crate) fn new(raw: RawCapture, record: &DeliveryRecord, config: &CaptureConfig) -> Self {
        let arrived = record.time.0;
        let expires = arrived
            .millis()
            .saturating_add(i64::try_from(config.keep_for.as_millis()).unwrap_or(i64::MAX));
        Self {
            capture: hookgate_diagnose::Capture {
                method: raw.method,
                target: Some(raw.target),
                headers: raw.headers,
                body: raw.body.concat().into(),
                arrived: Some(arrived),
            },
            is_complete: raw.is_complete,
            verified: raw.verified,
            expires: UnixTime::from_millis(expires),
        }
    }
}

impl Captures {
    /// Creates an empty store of captures.
    pub(crate) fn new() -> Self {
        Self {
            captured: BTreeMap::new(),
            order: FairQueue::new(0),
        }
    }

    /// Adds the capture of the record `seq`, and evicts others if all together are too large.
    pub(crate) fn insert(
        &mut self,
        seq: u64,
        class: Class,
        captured: Captured,
        config: &CaptureConfig,
    ) {
        let weight = captured.capture.body.len();
        self.order.set_limit(config.max_bytes);
        self.captured.insert(seq, captured.into());
        self.order.push(class, seq, weight, |seq| {
            self.captured.remove(&seq);
        });
    }

    /// Removes the captures that expired.
    pub(crate) fn expire(&mut self, now: UnixTime) {
        let Self { captured, order } = self;
        let mut expired = Vec::new();
        order.expire(
            |seq| {
                captured
                    .get(seq)
                    .is_none_or(|captured| captured.expires <= now)
            },
            |seq| expired.push(seq),
        );
        for seq in expired {
            captured.remove(&seq);
        }
    }

    /// Returns the capture of the record `seq`.
    pub(crate) fn get(&self, seq: u64) -> Option<Arc<Captured>> {
        self.captured.get(&seq).cloned()
    }
}
