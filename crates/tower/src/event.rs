use std::sync::Arc;

use hookgate_core::{UnixTime, Verified};
use hookgate_replay::ReplayStore;

/// What was verified about a delivery, in the extensions of the request.
///
/// Behind the feature `axum` it is an extractor too; a route that the layer
/// does not cover then fails with 500 instead of running unverified.
#[derive(Clone, Debug)]
pub struct VerifiedEvent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Box<str>,
    provider: Option<Box<str>>,
    verified: Verified,
    attempt: u32,
}

impl VerifiedEvent {
    pub(crate) fn new<S: ReplayStore>(
        source: &hookgate_gate::Source,
        delivery: &hookgate_gate::Delivery<S>,
    ) -> Self {
        Self(Arc::new(Inner {
            source: source.name().into(),
            provider: source.provider().map(Into::into),
            verified: delivery.verified().clone(),
            attempt: delivery.attempt(),
        }))
    }

    /// Name of the source.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Name of the provider in the catalogue.
    pub fn provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    /// The event's id, if the provider signs one.
    pub fn id(&self) -> Option<&str> {
        self.0.verified.id()
    }

    /// The event's type, if the provider signs one.
    pub fn event_type(&self) -> Option<&str> {
        self.0.verified.event_type()
    }

    /// When the delivery was signed.
    pub fn timestamp(&self) -> Option<UnixTime> {
        self.0.verified.timestamp()
    }

    /// Which key matched.
    pub fn key_id(&self) -> &str {
        self.0.verified.key_id()
    }

    /// 1, and one more for each earlier delivery of the event of which nobody
    /// knows what became. Those that failed for certain do not count, so the
    /// service inside may have seen part of a first attempt, too.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }
}

#[cfg(feature = "axum")]
pub use self::extract::LayerMissing;

#[cfg(feature = "axum")]
mod extract {
    use axum_core::extract::FromRequestParts;
    use axum_core::response::{IntoResponse, Response};
    use http::StatusCode;
    use http::request::Parts;

    use super::VerifiedEvent;

    impl<S: Sync> FromRequestParts<S> for VerifiedEvent {
        type Rejection = LayerMissing;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, LayerMissing> {
            parts.extensions.get::<Self>().cloned().ok_or(LayerMissing)
        }
    }

    /// The route asks for a verified event, but no layer verified one.
    #[derive(Clone, Copy, Debug)]
    pub struct LayerMissing;

    impl IntoResponse for LayerMissing {
        fn into_response(self) -> Response {
            tracing::error!(
                "a handler asks for VerifiedEvent on a route without HookgateLayer; \
                 Router::layer covers only the routes added before it"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
