//! A captured request, as the inspector stores it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hookgate_core::internal::copy_body;
use hookgate_core::{UnixTime, Verified};
use http::Uri;

use super::draft::headers_len;
use super::{CaptureKind, CaptureMark, CapturedSource, RawCapture};
use crate::config::CaptureConfig;
use crate::inspector::record::DeliveryRecord;

/// A captured request, without the parts that were redacted.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) capture: hookgate_diagnose::Capture,
    /// Whether the body is the whole body.
    pub(crate) is_complete: bool,
    /// The parts that were redacted, such as `header authorization` and `body /card/number`.
    pub(crate) redactions: Vec<String>,
    pub(crate) verified: Option<Verified>,
    pub(crate) expires: UnixTime,
    /// The mark of the record.
    pub(crate) mark: CaptureMark,
    pub(crate) source: Arc<CapturedSource>,
    /// The label of the reason for which the request was refused.
    reason: Option<Cow<'static, str>>,
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
            source,
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
            redactions: Vec::new(),
            verified,
            expires: UnixTime::from_millis(arrived.millis().saturating_add(keep_for)),
            mark: record.capture.clone(),
            source,
            reason: record.reason.clone(),
        }
    }

    /// Whether parts of the request were removed.
    pub(crate) fn is_redacted(&self) -> bool {
        !self.redactions.is_empty()
    }

    /// Returns why the request cannot be sent again.
    pub(crate) fn can_resend(&self) -> Result<(), &'static str> {
        match (self.is_redacted(), self.is_complete) {
            (true, _) => Err("the capture is redacted"),
            (false, false) => Err("the body was not read to its end"),
            (false, true) => Ok(()),
        }
    }

    /// Returns the JSON object of `hookgate verify --explain --json`, or the reason why there is
    /// none. This call can take a second.
    pub(crate) fn explain(&self) -> Result<serde_json::Value, &'static str> {
        match self.verified {
            Some(_) => Err("the delivery verified"),
            None => Err("not explained"),
        }
    }

    /// Returns the capture in the format of one file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        self.capture.to_bytes(&self.file_record())
    }

    fn file_record(&self) -> hookgate_diagnose::Record {
        let mut record = hookgate_diagnose::Record::new(&self.source.name);
        record.provider.clone_from(&self.source.provider);
        record.reason = self.reason.as_deref().map(str::to_owned);
        record.redacted = self.is_redacted();
        record
    }

    /// Returns about how many bytes the capture takes in memory.
    pub(super) fn weight(&self) -> usize {
        /// The capture without its head and body, and its entries in the store.
        const OVERHEAD: usize = 1024;
        let target = self.capture.target.as_ref().map(Uri::path);
        OVERHEAD
            + target.map_or(0, str::len)
            + headers_len(&self.capture.headers)
            + self.capture.body.len()
    }
}
