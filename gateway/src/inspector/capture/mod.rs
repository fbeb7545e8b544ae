//! The captured heads and bodies of deliveries.
//!
//! A [`CaptureDraft`] copies the body while the gateway receives it. At the end of the request
//! it becomes a [`RawCapture`], from which the thread of the inspector makes a [`Captured`].

mod budget;
mod captured;
mod draft;
mod explanation;
mod files;
mod folder;
mod mark;
pub(super) mod redaction;
mod source;
mod store;
mod stored_request;

use std::fmt;

use hookgate_core::Verified;
use hookgate_gate::Reason;
use http::{HeaderMap, Method, Uri};

pub(crate) use self::budget::CaptureBudget;
pub(crate) use self::captured::{Captured, Tools};
pub(crate) use self::draft::CaptureDraft;
pub(crate) use self::explanation::Explainer;
pub(crate) use self::files::{CaptureFiles, CaptureWriter, OpenCaptureDirError};
pub(crate) use self::mark::{CaptureKind, CaptureMark};
pub(crate) use self::source::CapturedSource;
pub(crate) use self::store::Captures;
pub(crate) use self::stored_request::{StoredRequest, shown_event_id};
use crate::config::CaptureScope;

/// A request as it arrived, with the secrets that a capture leaves out.
pub(crate) struct RawCapture {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    /// The scheme of the URL that the sender requested: `http` or `https`.
    scheme: &'static str,
    /// The body, unless the delivery verified.
    body: Vec<u8>,
    /// Whether `body` is the whole body.
    is_complete: bool,
    is_verified: bool,
    /// The verified values with the body, if the delivery verified and its body is not too long.
    verified: Option<Verified>,
    source: CapturedSource,
    _reservation: budget::Reservation,
}

/// Leaves the request out, because it may hold secrets.
impl fmt::Debug for RawCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawCapture")
            .field("source", &self.source.name())
            .finish_non_exhaustive()
    }
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock};
    use std::time::Duration;

    use bytes::Bytes;
    use hookgate_core::{Provider, Secret, UnixTime, Verifier};
    use hookgate_gate::Source;
    use http::Request;

    use super::*;
    use crate::config::CaptureConfig;
    use crate::inspector::record::DeliveryRecord;

    const SECRET: &str = "5f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a13";

    /// Returns a source of `provider`.
    pub(super) fn source(provider: &str) -> CapturedSource {
        let provider = Provider::named(provider).unwrap();
        let secret = Secret::new(SECRET).unwrap();
        let scheme = provider.scheme();
        let mut verifier = Verifier::builder(scheme).url("https://hooks.example/in");
        for param in scheme.params() {
            verifier = verifier.param(param, "hookgate");
        }
        verifier = match scheme.publishes_keys() {
            true => verifier.fetched_keys(),
            false => verifier.key(secret),
        };
        let source = Source::builder("in", verifier.build().unwrap()).provider(&provider);
        CapturedSource::new(&source.build(), None)
    }

    /// Returns the capture of an unverified request that arrived at `arrived` seconds.
    pub(super) fn captured(body: &[u8], arrived: i64) -> Captured {
        let request = Request::post("/in").body(Bytes::copy_from_slice(body));
        let config = CaptureConfig {
            keep_for: Duration::from_secs(3600),
            max_bytes: 1 << 20,
            redact: Vec::new(),
        };
        let mut record = DeliveryRecord::default();
        record.time.0 = UnixTime::from_secs(arrived);
        Captured::new(
            raw(github(), request.unwrap()),
            &mut record,
            &config,
            Tools::default(),
        )
    }

    /// Returns the capture of `request`, and its record.
    pub(super) fn captured_request(
        source: CapturedSource,
        request: Request<Bytes>,
        config: &CaptureConfig,
    ) -> (Captured, DeliveryRecord) {
        let text = |name: &str| {
            let value = request.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut record = DeliveryRecord {
            path: Some(request.uri().path().to_owned()),
            user_agent: text("user-agent"),
            content_type: text("content-type"),
            reason: Some("signature_mismatch".into()),
            ..DeliveryRecord::default()
        };
        let captured = Captured::new(raw(source, request), &mut record, config, Tools::default());
        (captured, record)
    }

    /// Returns an unverified request of `source`.
    pub(super) fn raw(source: CapturedSource, request: Request<Bytes>) -> RawCapture {
        let budget = Arc::new(CaptureBudget::default());
        let (head, body) = request.into_parts();
        RawCapture {
            method: head.method,
            target: head.uri,
            headers: head.headers,
            scheme: "http",
            body: body.to_vec(),
            is_complete: true,
            is_verified: false,
            verified: None,
            source,
            _reservation: budget.reservation(budget::Half::Unverified),
        }
    }

    fn github() -> CapturedSource {
        static GITHUB: LazyLock<CapturedSource> = LazyLock::new(|| source("github"));
        GITHUB.clone()
    }

    #[test]
    fn the_scope_decides_which_reasons_are_captured() {
        let captured = |scope: CaptureScope| {
            let all = Reason::all().filter(move |reason| scope.includes(Some(*reason)));
            all.map(Reason::label).collect::<Vec<_>>()
        };
        assert!(captured(CaptureScope::None).is_empty());
        let refused = captured(CaptureScope::Refused);
        for label in [
            "signature_mismatch",
            "timestamp_too_old",
            "method_not_allowed",
            "body_too_large",
            "body_incomplete",
            "conflict",
            "upstream_unreachable",
        ] {
            assert!(refused.contains(&label), "{label}");
        }
        for label in ["rate_limited", "in_flight", "store_down", "overloaded"] {
            assert!(!refused.contains(&label), "{label}");
        }
        let all = captured(CaptureScope::All);
        assert_eq!(all.len(), Reason::all().count() - 1);
        assert!(!all.contains(&"rate_limited"));
        let of_forwarded = [CaptureScope::None, CaptureScope::Refused, CaptureScope::All]
            .map(|scope| scope.includes(None));
        assert_eq!(of_forwarded, [false, false, true]);
    }
}
