//! The export of all metrics to an OpenTelemetry collector, beside the endpoint of Prometheus.
//!
//! The export reads the registry of Prometheus at each interval. A delivery therefore counts each
//! metric once. The export needs the feature `otel` and an environment variable that names a
//! collector.

#[cfg(feature = "otel")]
mod convert;
#[cfg(feature = "otel")]
mod exporter;
#[cfg(feature = "otel")]
mod settings;
#[cfg(not(feature = "otel"))]
mod without;

#[cfg(feature = "otel")]
pub(crate) use self::exporter::MetricsExporter;
#[cfg(not(feature = "otel"))]
pub(crate) use self::without::MetricsExporter;
