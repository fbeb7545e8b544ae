//! The captured heads and bodies of deliveries.
//!
//! A [`CaptureDraft`] copies the body while the gateway receives it. At the end of the request
//! it becomes a [`RawCapture`], from which the thread of the inspector makes a [`Captured`].

mod budget;
mod draft;
mod mark;
mod store;

use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::internal::copy_body;
use hookgate_core::{UnixTime, Verified};
use hookgate_gate::Reason;
use http::{HeaderMap, Method, Uri};

pub(crate) use self::budget::CaptureBudget;
pub(crate) use self::draft::CaptureDraft;
use self::draft::headers_len;
pub(crate) use self::mark::{CaptureKind, CaptureMark};
pub(crate) use self::store::Captures;
use super::record::DeliveryRecord;
use crate::config::{CaptureConfig, CaptureScope};
use crate::pipeline::route::Route;

/// A request as it arrived. It still contains what a capture must not contain.
#[derive(Debug)]
pub(crate) struct RawCapture {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    /// The body, unless the delivery verified.
    body: Vec<u8>,
    /// Whether `body` is the whole body.
    is_complete: bool,
    /// The verified values with the body, if the delivery verified.
    verified: Option<Verified>,
    route: Arc<Route>,
    _reservation: budget::Reservation,
}

/// A captured request, without the parts that were redacted.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) capture: hookgate_diagnose::Capture,
    pub(crate) is_complete: bool,
    pub(crate) verified: Option<Verified>,
    pub(crate) expires: UnixTime,
    /// What the record says about this capture.
    pub(crate) mark: CaptureMark,
    route: Arc<Route>,
}

impl CaptureScope {
    /// Whether a request that was refused for `reason`, or was not refused, is captured.
    ///
    /// A request beyond the rate limit is never captured. A delivery that only has to be sent
    /// again, because the gateway was busy or its store was down, shows nothing about its fault.
    pub(crate) fn includes(self, reason: Option<Reason>) -> bool {
        match (self, reason) {
            (Self::None, _) | (_, Some(Reason::RateLimited)) | (Self::Refused, None) => false,
            (Self::All, _) => true,
            (Self::Refused, Some(reason)) => !matches!(
                reason,
                Reason::InFlight
                    | Reason::Duplicate
                    | Reason::Overloaded
                    | Reason::SourceUnavailable
                    | Reason::StoreFull
                    | Reason::StoreDown
                    | Reason::StoreForgot
                    | Reason::BootFence
            ),
        }
    }
}

impl Captured {
    /// Creates the capture of the request that `record` describes, and marks the record.
    pub(crate) fn new(
        raw: RawCapture,
        record: &mut DeliveryRecord,
        config: &CaptureConfig,
    ) -> Self {
        let RawCapture {
            method,
            target,
            headers,
            mut body,
            is_complete,
            mut verified,
            route,
            _reservation,
        } = raw;
        let body = match &mut verified {
            Some(verified) => {
                copy_body(verified);
                verified.body().clone()
            }
            None => {
                body.shrink_to_fit();
                Bytes::from(body)
            }
        };
        let kind = match is_complete {
            true => CaptureKind::Complete,
            false => CaptureKind::Partial,
        };
        let arrived = record.time.0;
        let keep_for = i64::try_from(config.keep_for.as_millis()).unwrap_or(i64::MAX);
        record.capture = CaptureMark::new(kind);
        Self {
            capture: hookgate_diagnose::Capture {
                method,
                target: Some(target),
                headers,
                body,
                arrived: Some(arrived),
            },
            is_complete,
            verified,
            expires: UnixTime::from_millis(arrived.millis().saturating_add(keep_for)),
            mark: record.capture.clone(),
            route,
        }
    }

    /// Returns about how many bytes the capture takes in memory.
    fn weight(&self) -> usize {
        /// The capture without its head and body, and its entries in the store.
        const OVERHEAD: usize = 1024;
        let target = self.capture.target.as_ref().map(Uri::path);
        OVERHEAD
            + target.map_or(0, str::len)
            + headers_len(&self.capture.headers)
            + self.capture.body.len()
    }
}
