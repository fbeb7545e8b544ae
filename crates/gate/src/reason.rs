//! The reasons for which a delivery is refused: one table of variant, label, HTTP status,
//! gRPC status, `hookgate-outcome` and `Retry-After`. A new reason is a new row.

use std::fmt;

use hookgate_core::VerifyError;
use http::StatusCode;

/// A gRPC status code, see <https://grpc.io/docs/guides/status-codes/>.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcStatus {
    DeadlineExceeded = 4,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    /// The status that asks for a retry.
    Unavailable = 14,
    Unauthenticated = 16,
}

/// How a reason shows in logs and metrics, and in the response to the sender.
#[derive(Clone, Copy)]
pub(crate) struct ReasonRow {
    pub(crate) label: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) grpc: GrpcStatus,
    /// The value of `hookgate-outcome`.
    pub(crate) outcome: &'static str,
    /// The seconds after which the sender should retry.
    pub(crate) retry_after: Option<u8>,
}

macro_rules! reasons {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident: $label:literal, $status:ident, $grpc:ident, $outcome:literal, $retry_after:expr;
    )+) => {
        /// Why a delivery was refused, or why it was forwarded and failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            /// The delivery did not verify.
            Verify(VerifyError),
            $($(#[doc = $doc])+ $variant,)+
        }

        /// Every reason but [`Reason::Verify`].
        const UNRELATED_TO_VERIFICATION: &[Reason] = &[$(Reason::$variant),+];

        impl Reason {
            /// Returns the row of this reason.
            pub(crate) const fn row(self) -> ReasonRow {
                match self {
                    Self::Verify(error) => verify_row(error),
                    $(Self::$variant => ReasonRow {
                        label: $label,
                        status: StatusCode::$status,
                        grpc: GrpcStatus::$grpc,
                        outcome: $outcome,
                        retry_after: $retry_after,
                    },)+
                }
            }
        }
    };
}

// No status is 410, which makes senders disable the endpoint, and none is a redirect. None
// is a success, because nothing was delivered. Many senders never retry a 4xx, so every
// failure that a retry can mend is a 5xx.
reasons! {
    /// No source has this path (and host).
    SourceUnknown: "source_unknown", NOT_FOUND, Unimplemented, "refused", None;
    /// The lookup of the source failed, or the source needs something that is missing. Also
    /// the reason if the source of a handshake was replaced before the response.
    SourceUnavailable: "source_unavailable", SERVICE_UNAVAILABLE, Unavailable, "refused", Some(5);
    /// The method is not POST, and neither deliveries nor handshakes of the source use it.
    MethodNotAllowed: "method_not_allowed", METHOD_NOT_ALLOWED, Unimplemented, "refused", None;
    /// The framing of the request can be read in two ways.
    FramingAmbiguous: "framing_ambiguous", BAD_REQUEST, Internal, "refused", None;
    /// The request is not well-formed HTTP.
    RequestMalformed: "request_malformed", BAD_REQUEST, Internal, "refused", None;
    /// The head of the request has too many bytes or fields.
    HeadTooLarge: "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, ResourceExhausted, "refused", None;
    /// The head of the request took too long.
    HeadTimeout: "head_timeout", REQUEST_TIMEOUT, DeadlineExceeded, "refused", None;
    /// The body is larger than the limit.
    BodyTooLarge: "body_too_large", PAYLOAD_TOO_LARGE, ResourceExhausted, "refused", None;
    /// The body took too long.
    BodyTimeout: "body_timeout", REQUEST_TIMEOUT, DeadlineExceeded, "refused", None;
    /// The body ended early.
    BodyIncomplete: "body_incomplete", BAD_REQUEST, Internal, "refused", None;
    /// The budget for unverified bodies is exhausted.
    Overloaded: "overloaded", SERVICE_UNAVAILABLE, Unavailable, "refused", Some(5);
    /// Another delivery of the event is in flight and did not end in time.
    InFlight: "in_flight", SERVICE_UNAVAILABLE, Unavailable, "busy", Some(5);
    /// The event is done (only with `on_duplicate = 409`).
    Duplicate: "duplicate", CONFLICT, AlreadyExists, "duplicate", None;
    /// The event is done, with another body (only with `on_conflict = "reject"`).
    Conflict: "conflict", CONFLICT, AlreadyExists, "refused", None;
    /// Some events of a batch are done and some are not. To forward the batch would replay
    /// the done ones; to acknowledge it would lose the others.
    BatchPartlyDone: "batch_partly_done", CONFLICT, AlreadyExists, "refused", None;
    /// The replay store is full.
    StoreFull: "store_full", SERVICE_UNAVAILABLE, Unavailable, "refused", Some(30);
    /// The replay store does not respond.
    StoreDown: "store_down", SERVICE_UNAVAILABLE, Unavailable, "refused", Some(5);
    /// The delivery was signed before the oldest record of the replay store, or the store
    /// lost its data: the store cannot tell whether the event is done.
    StoreForgot: "store_forgot", SERVICE_UNAVAILABLE, Unavailable, "refused", Some(5);
    /// The delivery was signed before this process started: the process cannot tell whether
    /// the event is done.
    BootFence: "boot_fence", SERVICE_UNAVAILABLE, Unavailable, "refused", Some(5);
    /// The queue has no space for the delivery, or the source has used its share.
    QueueFull: "queue_full", SERVICE_UNAVAILABLE, Unavailable, "refused", Some(30);
    /// The queue does not respond, or did not store the delivery.
    QueueDown: "queue_down", SERVICE_UNAVAILABLE, Unavailable, "refused", Some(5);
    /// The upstream could not be reached; nothing was sent to it.
    UpstreamUnreachable: "upstream_unreachable", BAD_GATEWAY, Unavailable, "upstream", None;
    /// The upstream has reached its limit of concurrent deliveries; nothing was sent to it.
    UpstreamBusy: "upstream_busy", SERVICE_UNAVAILABLE, Unavailable, "upstream", Some(5);
    /// The upstream did not respond in time.
    UpstreamTimeout: "upstream_timeout", GATEWAY_TIMEOUT, DeadlineExceeded, "upstream", None;
    /// The upstream broke off, or its response must not reach the sender.
    UpstreamFailed: "upstream_failed", BAD_GATEWAY, Unavailable, "upstream", None;
    /// The sender exceeded the rate limit.
    RateLimited: "rate_limited", TOO_MANY_REQUESTS, ResourceExhausted, "refused", Some(5);
}

/// Returns the row of a delivery that did not verify.
///
/// Only the label differs between nearly all errors. The sender gets the same status, gRPC
/// status and outcome, because a response that says which check failed would help an attacker.
const fn verify_row(error: VerifyError) -> ReasonRow {
    let (status, grpc, retry_after) = match error {
        // The receiver's own fault, and temporary.
        VerifyError::NoActiveKey | VerifyError::KeyUnavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            GrpcStatus::Unavailable,
            Some(30),
        ),
        // The provider may have begun to sign with a new key: within a minute the receiver asks
        // for it again.
        VerifyError::KeyUnknown => (
            StatusCode::SERVICE_UNAVAILABLE,
            GrpcStatus::Unavailable,
            Some(60),
        ),
        // Meta and other providers test whether a wrong handshake is forbidden.
        VerifyError::HandshakeRefused => {
            (StatusCode::FORBIDDEN, GrpcStatus::PermissionDenied, None)
        }
        _ => (StatusCode::UNAUTHORIZED, GrpcStatus::Unauthenticated, None),
    };
    ReasonRow {
        label: error.label(),
        status,
        grpc,
        outcome: "refused",
        retry_after,
    }
}

impl Reason {
    /// Returns every reason, for tables and metrics.
    pub fn all() -> impl Iterator<Item = Self> {
        let verify = VerifyError::ALL.iter().copied().map(Self::Verify);
        verify.chain(UNRELATED_TO_VERIFICATION.iter().copied())
    }

    /// Returns whether a verified delivery is not delivered for a reason that is no fault of its
    /// sender: the replay store cannot claim its event, the queue cannot store the delivery, or
    /// the upstream failed.
    ///
    /// Logs and metrics call such a delivery failed, not refused.
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::StoreFull
                | Self::StoreDown
                | Self::StoreForgot
                | Self::BootFence
                | Self::QueueFull
                | Self::QueueDown
                | Self::UpstreamUnreachable
                | Self::UpstreamBusy
                | Self::UpstreamTimeout
                | Self::UpstreamFailed
        )
    }

    /// Returns the stable label for logs and metrics.
    pub const fn label(self) -> &'static str {
        self.row().label
    }
}

/// Writes the label.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
