//! The response to a refused delivery, for both entry points and both protocols. [`Reason`] says
//! why; a [`Refusal`] adds the status that the sender gets.

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use hookgate_core::{Verifier, VerifyError};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::audience::Audience;
use crate::reason::{GrpcStatus, Reason};

/// Says whether hookgate or the upstream responded, and with what outcome.
pub const OUTCOME: HeaderName = HeaderName::from_static("hookgate-outcome");
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A refused delivery: the reason, and the status of the response.
///
/// Every response to a refused delivery carries it in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    status: StatusCode,
    /// The methods that a 405 lists in `Allow`.
    allow: &'static str,
    body: RefusalBody,
}

/// The body of the response to a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalBody {
    /// Problem details (RFC 9457).
    Problem,
    /// Nothing: the provider takes a body for a mistake.
    Empty,
}

impl Refusal {
    /// Creates a refusal for `reason`, with the status of the table of reasons.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            status: reason.row().status,
            allow: "POST",
            body: RefusalBody::Problem,
        }
    }

    /// Creates the refusal of a method that neither deliveries nor handshakes of this
    /// source use.
    pub(crate) fn of_method(verifier: &Verifier) -> Self {
        let answers =
            |method| verifier.is_handshake_method(&method) || verifier.is_delivery_method(&method);
        let others = (
            answers(Method::GET),
            answers(Method::HEAD),
            answers(Method::OPTIONS),
        );
        let allow = match others {
            (false, false, false) => "POST",
            (false, false, true) => "OPTIONS, POST",
            (false, true, false) => "HEAD, POST",
            (false, true, true) => "HEAD, OPTIONS, POST",
            (true, false, false) => "GET, POST",
            (true, false, true) => "GET, OPTIONS, POST",
            (true, true, false) => "GET, HEAD, POST",
            (true, true, true) => "GET, HEAD, OPTIONS, POST",
        };
        Self {
            allow,
            ..Self::new(Reason::MethodNotAllowed)
        }
    }

    /// Returns the same refusal with status 503, so that the sender retries.
    #[must_use]
    pub(crate) const fn asking_to_retry(self) -> Self {
        self.with_status(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// Returns the refusal in place of this one for a sender that was refused too often.
    ///
    /// A refusal that asks for a retry still does.
    #[must_use]
    pub fn rate_limited(self) -> Self {
        let limited = Self::new(Reason::RateLimited);
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => limited.asking_to_retry(),
            _ => limited,
        }
    }

    /// Returns the refusal of a delivery whose source was replaced while the delivery was
    /// under way.
    ///
    /// A delivery that did not verify may carry a signature for the old or for the new
    /// source, so the sender is asked to retry.
    pub(crate) const fn source_replaced(self) -> Self {
        match self.reason {
            Reason::Verify(_) => self.asking_to_retry(),
            _ => self,
        }
    }

    /// Returns the same refusal with `status`.
    pub(crate) const fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Returns the same refusal with a response that has `body`.
    pub(crate) const fn with_body(self, body: RefusalBody) -> Self {
        Self { body, ..self }
    }

    /// Returns the reason.
    pub const fn reason(self) -> Reason {
        self.reason
    }

    /// Returns the status code of the response to an HTTP sender.
    pub const fn status(self) -> StatusCode {
        self.status
    }

    /// Returns the gRPC status code of the response to a gRPC client.
    pub fn grpc_status(self) -> u8 {
        let status = if self.status == StatusCode::SERVICE_UNAVAILABLE {
            GrpcStatus::Unavailable
        } else {
            self.reason.row().grpc
        };
        status as u8
    }

    /// Returns the headers that every response to this refusal has, whatever its body is.
    pub fn headers(self) -> HeaderMap {
        /// Seconds after which to retry a 503 whose reason has no time of its own.
        const DEFAULT_RETRY_AFTER: u8 = 5;
        let row = self.reason.row();
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(OUTCOME, HeaderValue::from_static(row.outcome));
        let retry_after = match row.retry_after {
            None if self.status == StatusCode::SERVICE_UNAVAILABLE => Some(DEFAULT_RETRY_AFTER),
            seconds => seconds,
        };
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, u16::from(seconds).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 names the scheme of the missing credentials.
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Webhook-Signature"),
            );
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(self.allow));
        }
        headers
    }

    /// Returns the whole response for `audience`.
    ///
    /// # Security
    ///
    /// `detail` goes into the body. It must not say which check failed, unless the operator
    /// asked for that: it would help an attacker.
    pub fn response(
        self,
        audience: Audience,
        request_id: Option<&str>,
        detail: Option<&str>,
    ) -> Response<Bytes> {
        let mut headers = self.headers();
        let (status, body) = match audience {
            Audience::Http if self.body == RefusalBody::Empty => (self.status, Bytes::new()),
            Audience::Http => {
                headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/problem+json"),
                );
                (self.status, self.problem(request_id, detail))
            }
            // A trailers-only response: one header block holds the status of the call.
            Audience::Grpc => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(GRPC_STATUS, u16::from(self.grpc_status()).into());
                (StatusCode::OK, Bytes::new())
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.extensions_mut().insert(self);
        response
    }

    /// Returns the problem details of RFC 9457.
    fn problem(self, request_id: Option<&str>, detail: Option<&str>) -> Bytes {
        let mut problem = serde_json::Map::new();
        problem.insert("status".to_owned(), self.status.as_u16().into());
        let title = self.status.canonical_reason().unwrap_or("Refused");
        problem.insert("title".to_owned(), title.into());
        if let Some(id) = request_id {
            problem.insert("request_id".to_owned(), id.into());
        }
        if let Some(detail) = detail {
            problem.insert("detail".to_owned(), detail.into());
        }
        serde_json::Value::Object(problem).to_string().into()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "delivery refused with {}: {}",
            self.status.as_u16(),
            self.reason
        )
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Verify(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        Self::new(Reason::Verify(error))
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    #[test]
    fn each_reason_has_its_documented_label_and_statuses() {
        let expected = [
            ("source_unknown", 404, 12),
            ("source_unavailable", 503, 14),
            ("method_not_allowed", 405, 12),
            ("framing_ambiguous", 400, 13),
            ("request_malformed", 400, 13),
            ("head_too_large", 431, 8),
            ("head_timeout", 408, 4),
            ("body_too_large", 413, 8),
            ("body_timeout", 408, 4),
            ("body_incomplete", 400, 13),
            ("overloaded", 503, 14),
            ("in_flight", 503, 14),
            ("duplicate", 409, 6),
            ("conflict", 409, 6),
            ("batch_partly_done", 409, 6),
            ("store_full", 503, 14),
            ("store_down", 503, 14),
            ("store_forgot", 503, 14),
            ("boot_fence", 503, 14),
            ("queue_full", 503, 14),
            ("queue_down", 503, 14),
            ("upstream_unreachable", 502, 14),
            ("upstream_busy", 503, 14),
            ("upstream_timeout", 504, 4),
            ("upstream_failed", 502, 14),
            ("rate_limited", 429, 8),
        ];
        let verify = VerifyError::ALL.iter().map(|error| match error {
            VerifyError::NoActiveKey => ("no_active_key", 503, 14),
            VerifyError::KeyUnknown => ("key_unknown", 503, 14),
            VerifyError::KeyUnavailable => ("key_unavailable", 503, 14),
            VerifyError::HandshakeRefused => ("handshake_refused", 403, 7),
            error => (error.label(), 401, 16),
        });
        let table: Vec<_> = Reason::all()
            .map(|reason| {
                let refusal = Refusal::new(reason);
                (
                    reason.label(),
                    refusal.status().as_u16(),
                    refusal.grpc_status(),
                )
            })
            .collect();
        assert_eq!(table, verify.chain(expected).collect::<Vec<_>>());
    }

    #[test]
    fn no_refusal_disables_an_endpoint_or_acknowledges_an_undelivered_event() {
        for reason in Reason::all() {
            let status = Refusal::new(reason).status();
            assert!(
                !status.is_success() && !status.is_redirection(),
                "{reason:?}"
            );
            assert_ne!(status, StatusCode::GONE, "{reason:?}");
        }
    }

    #[test]
    fn every_503_has_a_retry_after_and_every_401_an_authentication_scheme() {
        for reason in Reason::all() {
            let refusal = Refusal::new(reason);
            let headers = refusal.headers();
            if refusal.status() == StatusCode::SERVICE_UNAVAILABLE {
                assert!(headers.contains_key(RETRY_AFTER), "{reason:?}");
            }
            if refusal.status() == StatusCode::UNAUTHORIZED {
                assert!(headers.contains_key(WWW_AUTHENTICATE), "{reason:?}");
            }
        }
    }

    #[test]
    fn every_failed_verification_gets_the_same_response() {
        let others = [
            VerifyError::NoActiveKey,
            VerifyError::KeyUnknown,
            VerifyError::KeyUnavailable,
            VerifyError::HandshakeRefused,
        ];
        let senders = VerifyError::ALL.iter().filter(|e| !others.contains(e));
        let responses: std::collections::BTreeSet<_> = senders
            .map(|error| {
                let response = Refusal::from(*error).response(Audience::Http, Some("r1"), None);
                (
                    response.status().as_u16(),
                    format!("{:?}", response.headers()),
                    response.into_body(),
                )
            })
            .collect();
        assert_eq!(responses.len(), 1, "{responses:?}");
    }

    #[test]
    fn a_grpc_client_gets_its_status_in_a_single_header_block() {
        let mut request = HeaderMap::new();
        for (content_type, expected) in [
            ("application/grpc", Audience::Grpc),
            ("application/grpc+proto", Audience::Grpc),
            ("application/grpc;v=1", Audience::Grpc),
            ("application/grpc-web", Audience::Http),
            ("application/json", Audience::Http),
        ] {
            request.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(
                Audience::for_request(Version::HTTP_2, &request),
                expected,
                "{content_type}"
            );
            assert_eq!(
                Audience::for_request(Version::HTTP_11, &request),
                Audience::Http
            );
        }
        let response = Refusal::new(Reason::StoreDown).response(Audience::Grpc, None, None);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert!(response.body().is_empty());
    }

    #[test]
    fn a_bare_refusal_has_the_status_and_no_body() {
        let refusal = Refusal::from(VerifyError::SignatureMismatch);
        let bare = refusal.with_body(RefusalBody::Empty);
        let response = bare.response(Audience::Http, Some("r1"), Some("detail"));
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.body().is_empty());
        assert!(!response.headers().contains_key(CONTENT_TYPE));
        // The control: other refusals have a body.
        assert!(
            !refusal
                .response(Audience::Http, None, None)
                .body()
                .is_empty()
        );
    }

    #[test]
    fn a_refusal_beyond_the_rate_limit_asks_for_a_retry_if_it_did_before() {
        for (error, status, grpc) in [
            (VerifyError::SignatureMismatch, 429, 8),
            (VerifyError::KeyUnknown, 503, 14),
        ] {
            let limited = Refusal::from(error).rate_limited();
            assert_eq!(limited.reason(), Reason::RateLimited);
            assert_eq!(limited.status().as_u16(), status, "{error:?}");
            assert_eq!(limited.grpc_status(), grpc, "{error:?}");
            assert_eq!(limited.headers()[RETRY_AFTER], "5", "{error:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_check_that_failed_as_its_source() {
        let refusal = Refusal::from(VerifyError::SignatureMismatch);
        assert_eq!(
            refusal.to_string(),
            "delivery refused with 401: signature_mismatch"
        );
        let source = refusal.source().map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("no signature matches"));
        assert!(Refusal::from(Reason::StoreFull).source().is_none());
    }
}
