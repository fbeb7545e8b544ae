//! Traces: one OpenTelemetry span for each delivery.
//!
//! Spans need the feature `otel` and an environment variable that names a collector. Without
//! them, `traceparent` is forwarded to the upstream unchanged.

#[cfg(feature = "otel")]
mod otlp;
#[cfg(not(feature = "otel"))]
mod without;

#[cfg(feature = "otel")]
pub(crate) use self::otlp::{Span, Traces, resource};
#[cfg(not(feature = "otel"))]
pub(crate) use self::without::{Span, Traces};
