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
mod tests;
