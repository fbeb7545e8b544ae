//! The replacement for `otlp` in a build without the feature `otel`: no spans.

use hookgate_core::UnixTime;
use http::HeaderMap;

use crate::telemetry::access_log::Line;

/// Sends nothing.
#[derive(Debug)]
pub(crate) struct Traces;

/// A span, which never exists in this build.
#[derive(Debug)]
pub(crate) enum Span {}

impl Traces {
    pub(crate) fn from_environment() -> Result<Self, String> {
        Ok(Self)
    }

    #[expect(clippy::unused_self, reason = "the version with the feature uses it")]
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "the version with the feature uses it")]
    pub(crate) fn start_span(&self, _: &HeaderMap, _: &mut HeaderMap, _: UnixTime) -> Option<Span> {
        None
    }

    #[expect(clippy::unused_self, reason = "the version with the feature uses it")]
    pub(crate) fn end(&self, _: Option<Span>, _: &Line<'_>) {}

    #[expect(clippy::unused_self, reason = "the version with the feature uses it")]
    pub(crate) fn shut_down(&self) {}
}
