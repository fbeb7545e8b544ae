//! A span for each delivery, in the protocol of OpenTelemetry, if the program was built
//! with the feature `otel` and its variables of the environment name a collector.
//! Otherwise `traceparent` goes on to the upstream as it came.

#[cfg(feature = "otel")]
mod otlp;
#[cfg(not(feature = "otel"))]
mod without;

#[cfg(feature = "otel")]
pub(crate) use self::otlp::{Span, Traces};
#[cfg(not(feature = "otel"))]
pub(crate) use self::without::{Span, Traces};
