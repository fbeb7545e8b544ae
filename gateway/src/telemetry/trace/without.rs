use hookgate_core::UnixTime;
use http::HeaderMap;

use crate::telemetry::access_log::Line;

/// No traces.
#[derive(Debug)]
pub(crate) struct Traces;

#[derive(Debug)]
pub(crate) enum Span {}

impl Traces {
    pub(crate) fn from_environment() -> Result<Self, String> {
        Ok(Self)
    }

    #[expect(clippy::unused_self, reason = "there is one with the feature")]
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "there is one with the feature")]
    pub(crate) fn pass_on(&self, _: &HeaderMap, _: &mut HeaderMap, _: UnixTime) -> Option<Span> {
        None
    }

    #[expect(clippy::unused_self, reason = "there is one with the feature")]
    pub(crate) fn end(&self, _: Option<Span>, _: &Line<'_>) {}

    #[expect(clippy::unused_self, reason = "there is one with the feature")]
    pub(crate) fn flush(&self) {}
}
