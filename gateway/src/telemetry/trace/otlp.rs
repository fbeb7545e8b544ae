//! Spans that are sent to an OpenTelemetry collector over HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookgate_core::UnixTime;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan};

use crate::telemetry::access_log::{Line, SenderText};

/// The variables of the OpenTelemetry specification that name the collector.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// Sends spans to a collector, if one is configured.
#[derive(Debug)]
pub(crate) struct Traces(Option<Collector>);

#[derive(Debug)]
struct Collector {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

pub(crate) type Span = SdkSpan;

impl Traces {
    /// Reads the environment variables of the OpenTelemetry specification: endpoint, sampler,
    /// service name and others.
    ///
    /// # Errors
    ///
    /// Returns a message if the exporter cannot be built from them.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let is_disabled = std::env::var("OTEL_SDK_DISABLED")
            .is_ok_and(|value| value.eq_ignore_ascii_case("true"));
        let is_unset = |name: &&str| std::env::var_os(name).is_none();
        if is_disabled || ENDPOINTS.iter().all(is_unset) {
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(|error| format!("traces: {error}"))?;
        // The batch exporter has a thread of its own, and drops spans that it cannot send in time.
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        let tracer = provider.tracer("hookgate");
        Ok(Self(Some(Collector { provider, tracer })))
    }

    /// Whether spans are sent.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts the span of a delivery that is forwarded, and adds its context to the headers for
    /// the upstream.
    ///
    /// The span joins the sender's trace. Only verified deliveries get here; an unverified sender
    /// could otherwise decide what is recorded.
    pub(crate) fn start_span(
        &self,
        inbound: &HeaderMap,
        outbound: &mut HeaderMap,
        start: UnixTime,
    ) -> Option<Span> {
        let collector = self.0.as_ref()?;
        let propagator = TraceContextPropagator::new();
        let parent = propagator.extract_with_context(&Context::new(), &Inbound(inbound));
        let span = collector.start(system_time(start), &parent);
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        propagator.inject_context(&context, &mut Outbound(outbound));
        Some(span)
    }

    /// Ends the span of a delivery. A delivery without a span gets one without a parent.
    pub(crate) fn end(&self, span: Option<Span>, line: &Line<'_>) {
        let Some(collector) = &self.0 else {
            return;
        };
        let end = system_time(line.time);
        let mut span = span.unwrap_or_else(|| {
            let start = end.checked_sub(line.total).unwrap_or(end);
            collector.start(start, &Context::new())
        });
        if span.is_recording() {
            span.set_attributes(attributes(line));
            if line.status.is_some_and(|status| status >= 500) {
                span.set_status(Status::error(line.reason.unwrap_or_default()));
            }
        }
        span.end_with_timestamp(end);
    }

    /// Sends the buffered spans, within 2 s, and ends the collector. Spans that end later are
    /// lost.
    pub(crate) fn shut_down(&self) {
        if let Some(collector) = &self.0
            && let Err(error) = collector
                .provider
                .shutdown_with_timeout(Duration::from_secs(2))
        {
            tracing::warn!(%error, "cannot send the last traces");
        }
    }
}

/// Returns the description of this process, from the variables of the OpenTelemetry specification.
pub(crate) fn resource() -> Resource {
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("hookgate");
    }
    resource.build()
}

impl Collector {
    fn start(&self, start: SystemTime, parent: &Context) -> Span {
        let builder = SpanBuilder::from_name("webhook delivery")
            .with_kind(SpanKind::Server)
            .with_start_time(start);
        self.tracer.build_with_context(builder, parent)
    }
}

fn attributes(line: &Line<'_>) -> Vec<KeyValue> {
    let text = |key: &'static str, value: Option<&str>| {
        value.map(|value| KeyValue::new(key, value.to_owned()))
    };
    let number = |key: &'static str, value: Option<u128>| {
        value.map(|value| KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX)))
    };
    let micros = |took: Option<Duration>| took.map(|took| took.as_micros());
    let request = line.request;
    let header = |key: &'static str, value: Option<SenderText<'_>>| {
        value.map(|value| KeyValue::new(key, value.to_text().into_owned()))
    };
    [
        text("hookgate.request_id", Some(line.request_id)),
        text("hookgate.outcome", Some(line.outcome.label())),
        text("hookgate.reason", line.reason),
        text("hookgate.source", line.source),
        text("hookgate.tenant", line.tenant),
        text("hookgate.key_id", line.key_id),
        text("hookgate.event_id", line.event_id),
        text("hookgate.event_type", line.event_type),
        text("hookgate.upstream", line.upstream),
        number("hookgate.attempt", line.attempt.map(u128::from)),
        number("hookgate.verify_us", micros(line.verify)),
        number("hookgate.claim_us", micros(line.claim)),
        number("hookgate.upstream_us", micros(line.upstream_wait)),
        number("http.response.status_code", line.status.map(u128::from)),
        number(
            "http.request.body.size",
            line.body_bytes.map(|bytes| bytes as u128),
        ),
        text("http.request.method", request.map(|request| request.method)),
        text("url.path", request.map(|request| request.path)),
        header(
            "user_agent.original",
            request.and_then(|request| request.user_agent),
        ),
        header(
            "hookgate.delivery_id",
            request.and_then(|request| request.delivery_id),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn system_time(time: UnixTime) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(time.millis()).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// Reads the trace context from the headers of a request.
struct Inbound<'h>(&'h HeaderMap);

impl Extractor for Inbound<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Writes the trace context to the headers for the upstream.
struct Outbound<'h>(&'h mut HeaderMap);

impl Injector for Outbound<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}
