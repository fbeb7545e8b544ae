//! The captured heads and bodies of deliveries.
//!
//! A [`CaptureDraft`] copies the body while the gateway receives it. At the end of the request
//! it becomes a [`RawCapture`], from which the thread of the inspector makes a [`Captured`].

mod budget;
mod captured;
mod draft;
mod mark;
mod source;
mod store;

use std::sync::Arc;

use hookgate_core::Verified;
use hookgate_gate::Reason;
use http::{HeaderMap, Method, Uri};

pub(crate) use self::budget::CaptureBudget;
pub(crate) use self::captured::Captured;
pub(crate) use self::draft::CaptureDraft;
pub(crate) use self::mark::{CaptureKind, CaptureMark};
pub(crate) use self::source::CapturedSource;
pub(crate) use self::store::Captures;
use crate::config::CaptureScope;

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
    source: Arc<CapturedSource>,
    _reservation: budget::Reservation,
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
    use std::time::Duration;

    use hookgate_core::{Provider, Secret, UnixTime, Verifier};
    use hookgate_gate::Source;

    use super::*;
    use crate::config::CaptureConfig;
    use crate::inspector::record::DeliveryRecord;

    /// Returns a source of `provider`.
    pub(super) fn source(provider: &str) -> Arc<CapturedSource> {
        let provider = Provider::named(provider).unwrap();
        let secret = Secret::new("a secret of a test").unwrap();
        let verifier = Verifier::builder(provider.scheme()).key(secret);
        let source = Source::builder("in", verifier.build().unwrap()).provider(&provider);
        Arc::new(CapturedSource::new(&source.build()))
    }

    /// Returns the capture of an unverified request that arrived at `arrived` seconds.
    pub(super) fn captured(body: &[u8], arrived: i64) -> Captured {
        let budget = Arc::new(CaptureBudget::default());
        let raw = RawCapture {
            method: Method::POST,
            target: Uri::from_static("/in"),
            headers: HeaderMap::new(),
            body: body.to_vec(),
            is_complete: true,
            verified: None,
            source: source("github"),
            _reservation: budget.reservation(budget::Half::Unverified),
        };
        let config = CaptureConfig {
            keep_for: Duration::from_secs(3600),
            max_bytes: 1 << 20,
            redact: Vec::new(),
        };
        let mut record = DeliveryRecord::default();
        record.time.0 = UnixTime::from_secs(arrived);
        Captured::new(raw, &mut record, &config)
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
