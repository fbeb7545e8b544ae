//! A captured request, as the inspector stores it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hookgate_core::internal::copy_body;
use hookgate_core::{UnixTime, Verified};

use super::draft::headers_len;
use super::explanation::{Explained, Explainer, ExplanationJson};
use super::files::CaptureFiles;
use super::{CaptureKind, CaptureMark, CapturedSource, RawCapture, redaction};
use crate::config::CaptureConfig;
use crate::inspector::record::DeliveryRecord;

const NOT_EXPLAINED: &str = "not explained";
const NO_END: &str = "the capture lacks the end of the body: it was not received, or it exceeds a \
                      quarter of `capture_bytes`";

/// A captured request, without the parts that were redacted.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) capture: hookgate_diagnose::Capture,
    /// The scheme of the URL that the sender requested: `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Whether the body is the whole body.
    pub(crate) is_complete: bool,
    /// The parts that were redacted, such as `header authorization` and `body /card/number`.
    pub(crate) redactions: Vec<String>,
    /// Whether the delivery verified when it arrived.
    pub(crate) is_verified: bool,
    /// The verified values, unless a part of the request was redacted.
    pub(crate) verified: Option<Verified>,
    pub(crate) expires: UnixTime,
    /// The mark of the record.
    pub(crate) mark: CaptureMark,
    pub(crate) source: CapturedSource,
    /// The label of the reason for which the request was refused.
    reason: Option<Cow<'static, str>>,
    explained: Explained,
    /// The folder to which the capture is written, if captures are written.
    pub(super) folder: Option<PathBuf>,
}

/// The tools of the thread of the inspector.
#[derive(Debug, Default)]
pub(crate) struct Tools<'t> {
    pub(crate) explainer: Option<&'t mut Explainer>,
    pub(crate) files: Option<&'t CaptureFiles>,
}

impl Captured {
    /// Creates the capture of the request that `record` describes, and marks the record.
    pub(crate) fn new(
        raw: RawCapture,
        record: &mut DeliveryRecord,
        config: &CaptureConfig,
        tools: Tools<'_>,
    ) -> Self {
        let RawCapture {
            method,
            target,
            headers,
            scheme,
            body,
            is_complete,
            is_verified,
            mut verified,
            source,
            _reservation,
        } = raw;
        let arrived = record.time.0;
        let keep_for = i64::try_from(config.keep_for.as_millis()).unwrap_or(i64::MAX);
        let mut capture = hookgate_diagnose::Capture {
            method,
            target: Some(target),
            headers,
            body: body_of(body, verified.as_mut()),
            arrived: Some(arrived),
        };
        let is_explained = !is_verified && is_complete && record.reason.is_some();
        let unredacted = is_explained.then(|| capture.clone());
        let locations = &source.facts.secret_locations;
        let removed = redaction::redact(&mut capture, record, locations, &config.redact);
        let redactions = removed.parts;
        let reason = record.reason.as_deref();
        let explained = match (unredacted, reason, tools.explainer) {
            (Some(_), Some(_), _) if redactions.is_empty() => Explained::OnDemand,
            (Some(whole), Some(reason), Some(explainer)) => {
                explainer.submit(&source, reason, whole, removed.search)
            }
            _ => Explained::Never(NOT_EXPLAINED),
        };
        record.capture = CaptureMark::new(kind(&redactions, is_complete));
        Self {
            capture,
            scheme,
            is_complete,
            is_verified,
            // The verified body still has the secrets.
            verified: verified.filter(|_| redactions.is_empty()),
            redactions,
            expires: UnixTime::from_millis(arrived.millis().saturating_add(keep_for)),
            mark: record.capture.clone(),
            source,
            reason: record.reason.clone(),
            explained,
            folder: tools
                .files
                .map(|files| files.folder(arrived, &record.request_id)),
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
            (false, false) => Err(NO_END),
            (false, true) => Ok(()),
        }
    }

    /// Returns the JSON object of `hookgate verify --explain --json`, or the reason why there is
    /// none. This call can take a second.
    pub(crate) fn explain(&self) -> ExplanationJson {
        match (self.is_verified, &self.reason, self.is_complete) {
            (true, ..) => Err("the delivery verified".to_owned()),
            (false, None, _) => Err("the request was not refused".to_owned()),
            (false, _, false) => Err(NO_END.to_owned()),
            (false, Some(_), true) => self.explained.get(&self.source, &self.capture),
        }
    }

    /// Returns the folder of the capture, if the capture is on disk.
    pub(crate) fn folder_on_disk(&self) -> Option<&Path> {
        self.folder.as_deref().filter(|folder| folder.is_dir())
    }

    /// Returns the capture in the format of one file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        self.capture.to_bytes(&self.file_record())
    }

    /// Returns the content of `meta.json`.
    pub(super) fn file_record(&self) -> hookgate_diagnose::Record {
        let mut record = hookgate_diagnose::Record::new(self.source.name());
        record.provider.clone_from(&self.source.facts.provider);
        record.reason = self.reason.as_deref().map(str::to_owned);
        record.redacted = self.is_redacted();
        record.partial = !self.is_complete;
        record
    }

    /// Returns about how many bytes the capture takes in memory.
    pub(super) fn weight(&self) -> usize {
        /// The capture without its head and body, and its entries in the store.
        const OVERHEAD: usize = 1024;
        /// An explanation that is kept.
        const EXPLANATION: usize = 4096;
        let explanation = match self.explained {
            Explained::AtArrival(_) => EXPLANATION,
            Explained::OnDemand | Explained::Never(_) => 0,
        };
        let target = self.capture.target.as_ref();
        OVERHEAD
            + explanation
            + target.map_or(0, |target| {
                target.path().len() + target.query().map_or(0, str::len)
            })
            + headers_len(&self.capture.headers)
            + self.capture.body.len()
            + self.source.tenant_weight()
    }
}

/// Returns the body: that of the verified values, or the bytes that were received.
fn body_of(mut received: Vec<u8>, verified: Option<&mut Verified>) -> Bytes {
    match verified {
        Some(verified) => {
            copy_body(verified);
            verified.body().clone()
        }
        None => {
            received.shrink_to_fit();
            Bytes::from(received)
        }
    }
}

fn kind(redactions: &[String], is_complete: bool) -> CaptureKind {
    match (redactions.is_empty(), is_complete) {
        (true, true) => CaptureKind::Complete,
        (true, false) => CaptureKind::Partial,
        (false, _) => CaptureKind::Redacted,
    }
}
