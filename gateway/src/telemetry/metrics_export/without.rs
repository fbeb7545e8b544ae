//! The replacement for `exporter` in a build without the feature `otel`: no export.

use std::io;
use std::sync::Arc;

use crate::gateway::Gateway;

/// Sends nothing.
#[derive(Debug)]
pub(crate) struct MetricsExporter;

impl MetricsExporter {
    pub(crate) fn from_environment() -> Result<Self, String> {
        Ok(Self)
    }

    pub(crate) fn start(self, _: &Arc<Gateway>) -> io::Result<Self> {
        Ok(self)
    }

    #[expect(clippy::unused_self, reason = "the version with the feature uses it")]
    pub(crate) fn shut_down(self) {}
}
