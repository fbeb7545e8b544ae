//! What a sender is told. One table for both front doors and both protocols.

use bytes::Bytes;
use hookgate_core::{Verifier, VerifyError};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

/// Why a delivery was not forwarded, or why it was and still failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It did not verify.
    Verify(VerifyError),
    /// No source has this path (and host).
    SourceUnknown,
    /// Which source it is, or what it needs, could not be found out.
    SourceUnavailable,
    /// Another method than POST.
    MethodNotAllowed,
    /// The framing of the request can be read in two ways.
    FramingAmbiguous,
    /// The request is not HTTP as it should be.
    RequestMalformed,
    /// The head of the request has too many bytes or fields.
    HeadTooLarge,
    /// The head of the request took too long.
    HeadTimeout,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The body took too long.
    BodyTimeout,
    /// The body ended early.
    BodyIncomplete,
    /// There is no room for more bodies that nobody has verified.
    Overloaded,
    /// Another delivery of the event is in flight, and did not end in time.
    InFlight,
    /// The event is done (told only with `on_duplicate = 409`).
    Duplicate,
    /// The event is done, with another body (told only with `on_conflict = "reject"`).
    Conflict,
    /// Some events of a batch are done and some are not: forwarding it would
    /// replay the ones, dropping it lose the others.
    BatchPartlyDone,
    /// The replay store has no room.
    StoreFull,
    /// The replay store does not answer.
    StoreDown,
    /// Signed before the replay store began to remember, or lost what it remembered:
    /// nobody knows whether the event was done before.
    StoreForgot,
    /// Signed before this process started: it cannot know whether the event was
    /// done before.
    BootFence,
    /// The upstream could not be reached; nothing was sent to it.
    UpstreamUnreachable,
    /// The upstream has as many deliveries as it may; nothing was sent to it.
    UpstreamBusy,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream broke off, or answered what must not be passed on.
    UpstreamFailed,
    /// Too many requests.
    RateLimited,
}

/// How a reason is told.
struct Row {
    label: &'static str,
    status: StatusCode,
    /// <https://grpc.io/docs/guides/status-codes/>
    grpc: u8,
    /// Seconds after which to try again.
    retry_after: Option<u8>,
}

impl Reason {
    /// Every reason, for tables and metrics.
    pub fn all() -> impl Iterator<Item = Self> {
        const REST: [Reason; 24] = [
            Reason::SourceUnknown,
            Reason::SourceUnavailable,
            Reason::MethodNotAllowed,
            Reason::FramingAmbiguous,
            Reason::RequestMalformed,
            Reason::HeadTooLarge,
            Reason::HeadTimeout,
            Reason::BodyTooLarge,
            Reason::BodyTimeout,
            Reason::BodyIncomplete,
            Reason::Overloaded,
            Reason::InFlight,
            Reason::Duplicate,
            Reason::Conflict,
            Reason::BatchPartlyDone,
            Reason::StoreFull,
            Reason::StoreDown,
            Reason::StoreForgot,
            Reason::BootFence,
            Reason::UpstreamUnreachable,
            Reason::UpstreamBusy,
            Reason::UpstreamTimeout,
            Reason::UpstreamFailed,
            Reason::RateLimited,
        ];
        VerifyError::ALL
            .iter()
            .copied()
            .map(Reason::Verify)
            .chain(REST)
    }

    /// Stable label for logs and metrics.
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// The table: label, HTTP status, gRPC status, when to try again.
    ///
    /// Never 410, which makes senders disable the endpoint, never a redirect,
    /// and never a success for what was not verified and delivered. What a retry
    /// can mend is 5xx, because many senders never retry a 4xx.
    const fn row(self) -> Row {
        const fn row(
            label: &'static str,
            status: StatusCode,
            grpc: u8,
            retry_after: Option<u8>,
        ) -> Row {
            Row {
                label,
                status,
                grpc,
                retry_after,
            }
        }
        use StatusCode as S;
        match self {
            // The same answer for all: which check failed is nobody's business.
            // But for one, which is the receiver's own fault and will pass.
            Self::Verify(error @ VerifyError::NoActiveKey) => {
                row(error.label(), S::SERVICE_UNAVAILABLE, 14, Some(30))
            }
            // Meta and others want to see that a handshake is forbidden.
            Self::Verify(error @ VerifyError::HandshakeRefused) => {
                row(error.label(), S::FORBIDDEN, 7, None)
            }
            Self::Verify(error) => row(error.label(), S::UNAUTHORIZED, 16, None),
            Self::SourceUnknown => row("source_unknown", S::NOT_FOUND, 12, None),
            Self::SourceUnavailable => {
                row("source_unavailable", S::SERVICE_UNAVAILABLE, 14, Some(5))
            }
            Self::MethodNotAllowed => row("method_not_allowed", S::METHOD_NOT_ALLOWED, 12, None),
            Self::FramingAmbiguous => row("framing_ambiguous", S::BAD_REQUEST, 13, None),
            Self::RequestMalformed => row("request_malformed", S::BAD_REQUEST, 13, None),
            Self::HeadTooLarge => row(
                "head_too_large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                8,
                None,
            ),
            Self::HeadTimeout => row("head_timeout", S::REQUEST_TIMEOUT, 4, None),
            Self::BodyTooLarge => row("body_too_large", S::PAYLOAD_TOO_LARGE, 8, None),
            Self::BodyTimeout => row("body_timeout", S::REQUEST_TIMEOUT, 4, None),
            Self::BodyIncomplete => row("body_incomplete", S::BAD_REQUEST, 13, None),
            Self::Overloaded => row("overloaded", S::SERVICE_UNAVAILABLE, 14, Some(5)),
            Self::InFlight => row("in_flight", S::SERVICE_UNAVAILABLE, 14, Some(5)),
            Self::Duplicate => row("duplicate", S::CONFLICT, 6, None),
            Self::Conflict => row("conflict", S::CONFLICT, 6, None),
            Self::BatchPartlyDone => row("batch_partly_done", S::CONFLICT, 6, None),
            Self::StoreFull => row("store_full", S::SERVICE_UNAVAILABLE, 14, Some(30)),
            Self::StoreDown => row("store_down", S::SERVICE_UNAVAILABLE, 14, Some(5)),
            Self::StoreForgot => row("store_forgot", S::SERVICE_UNAVAILABLE, 14, Some(5)),
            Self::BootFence => row("boot_fence", S::SERVICE_UNAVAILABLE, 14, Some(5)),
            Self::UpstreamUnreachable => row("upstream_unreachable", S::BAD_GATEWAY, 14, None),
            Self::UpstreamBusy => row("upstream_busy", S::SERVICE_UNAVAILABLE, 14, Some(5)),
            Self::UpstreamTimeout => row("upstream_timeout", S::GATEWAY_TIMEOUT, 4, None),
            Self::UpstreamFailed => row("upstream_failed", S::BAD_GATEWAY, 14, None),
            Self::RateLimited => row("rate_limited", S::TOO_MANY_REQUESTS, 8, Some(5)),
        }
    }
}

/// A refused delivery: the reason, and how it is told.
///
/// The typed reason travels in the extensions of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    status: StatusCode,
    /// The methods that a 405 names.
    allow: &'static str,
}

/// Whom the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// An ordinary HTTP sender.
    Http,
    /// A gRPC client: it reads the status from `grpc-status`.
    Grpc,
}

impl Audience {
    /// The audience by the request's version and content type. gRPC needs
    /// HTTP/2: over HTTP/1 nobody reads `grpc-status`, but everybody the status.
    pub fn for_request(version: Version, request: &HeaderMap) -> Self {
        let grpc = request.get(CONTENT_TYPE).is_some_and(|value| {
            let value = value.as_bytes();
            value
                .strip_prefix(b"application/grpc")
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
        });
        if grpc && version == Version::HTTP_2 {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

impl Refusal {
    /// A refusal for `reason`, told as the table says.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            status: reason.row().status,
            allow: "POST",
        }
    }

    /// A refusal of a method that neither deliveries nor a handshake of this source have.
    pub(crate) fn of_method(verifier: &Verifier) -> Self {
        let answers = |method| verifier.is_handshake_method(&method);
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

    /// The same, told so that the sender tries again.
    #[must_use]
    pub(crate) const fn asking_to_retry(self) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { status, ..self }
    }

    /// The same, of a delivery whose source was replaced while it was under way: what did
    /// not verify may be signed for what the source is by now, or was, so that the sender
    /// is asked to try again.
    pub const fn overtaken(self) -> Self {
        match self.reason {
            Reason::Verify(_) => self.asking_to_retry(),
            _ => self,
        }
    }

    /// The same, told with `status`.
    pub(crate) const fn told(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Why.
    pub const fn reason(self) -> Reason {
        self.reason
    }

    /// The status that an HTTP sender is told.
    pub const fn status(self) -> StatusCode {
        self.status
    }

    /// The gRPC status code.
    pub fn grpc_status(self) -> u8 {
        // UNAVAILABLE: the one that says to try again.
        const UNAVAILABLE: u8 = 14;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            UNAVAILABLE
        } else {
            self.reason.row().grpc
        }
    }

    /// The headers that every answer to this refusal has, whatever its body.
    pub fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            OUTCOME,
            HeaderValue::from_static(match self.reason {
                Reason::Duplicate => "duplicate",
                Reason::InFlight => "busy",
                Reason::UpstreamUnreachable
                | Reason::UpstreamBusy
                | Reason::UpstreamTimeout
                | Reason::UpstreamFailed => "upstream",
                _ => "refused",
            }),
        );
        let retry_after = match self.reason.row().retry_after {
            // A sender that is asked to come back is told when.
            None if self.status == StatusCode::SERVICE_UNAVAILABLE => Some(5),
            seconds => seconds,
        };
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, u16::from(seconds).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 names what is missing.
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

    /// The whole answer for `audience`. `detail` goes into the body; it must
    /// not say which check failed unless the operator asked for that.
    pub fn response(
        self,
        audience: Audience,
        request_id: Option<&str>,
        detail: Option<&str>,
    ) -> Response<Bytes> {
        let mut headers = self.headers();
        let (status, body) = match audience {
            Audience::Http => {
                headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/problem+json"),
                );
                (self.status, self.problem(request_id, detail))
            }
            // Trailers-only: the status of the call is in the one header block.
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

    /// RFC 9457.
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

/// The answer to a duplicate of a done event: success, and nothing in it. With it,
/// the trailers that come after its body.
pub fn acknowledge_duplicate(audience: Audience) -> (Response<Bytes>, Option<HeaderMap>) {
    /// A message of no bytes: one of any type, with nothing set. A client takes success
    /// without a message for a failure.
    const EMPTY_MESSAGE: &[u8] = &[0; 5];
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(OUTCOME, HeaderValue::from_static("duplicate"));
    if audience == Audience::Http {
        return (response, None);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    *response.body_mut() = Bytes::from_static(EMPTY_MESSAGE);
    let trailers = [(GRPC_STATUS, HeaderValue::from_static("0"))];
    (response, Some(trailers.into_iter().collect()))
}

/// Says who answered, if it was not the upstream.
const OUTCOME: HeaderName = HeaderName::from_static("hookgate-outcome");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

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
    use super::*;

    #[test]
    fn the_table_is_as_promised() {
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
            ("upstream_unreachable", 502, 14),
            ("upstream_busy", 503, 14),
            ("upstream_timeout", 504, 4),
            ("upstream_failed", 502, 14),
            ("rate_limited", 429, 8),
        ];
        let verify = VerifyError::ALL.iter().map(|error| match error {
            VerifyError::NoActiveKey => ("no_active_key", 503, 14),
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
    fn no_answer_disables_an_endpoint_or_acknowledges_what_was_not_delivered() {
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
    fn every_503_says_when_to_come_back_and_every_401_what_is_missing() {
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
    fn all_failures_of_verification_look_alike() {
        let senders = VerifyError::ALL
            .iter()
            .filter(|e| !matches!(e, VerifyError::NoActiveKey | VerifyError::HandshakeRefused));
        let answers = senders.map(|error| {
            let response = Refusal::from(*error).response(Audience::Http, Some("r1"), None);
            (
                response.status(),
                format!("{:?}", response.headers()),
                response.into_body(),
            )
        });
        let answers: std::collections::BTreeSet<_> = answers
            .map(|(status, headers, body)| (status.as_u16(), headers, body))
            .collect();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }

    #[test]
    fn grpc_callers_get_their_status_in_the_one_header_block() {
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
}
