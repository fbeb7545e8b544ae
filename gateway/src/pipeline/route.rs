//! Which source a request belongs to: by its path to the letter, and by its
//! host where one is set. No path is normalised: what is not the path of a
//! source is not found.

use std::collections::HashMap;
use std::sync::Arc;

use hookgate_gate::Source;
use http::HeaderName;
use pingora_http::RequestHeader;

use crate::config;
use crate::telemetry::metrics::{Metrics, SourceMetrics, UpstreamMetrics};
use crate::upstream::{REQUEST_ID, Upstream};

/// A source, and where its deliveries go.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) source: Source,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) expose_reason: bool,
    /// Whether the scheme reads `x-request-id`.
    pub(crate) request_id_is_signed: bool,
    pub(crate) metrics: SourceMetrics,
    pub(crate) upstream_metrics: UpstreamMetrics,
}

#[derive(Debug)]
pub(crate) struct Routes(HashMap<String, ByHost>);

/// The routes of one path.
#[derive(Debug, Default)]
struct ByHost {
    any: Option<Arc<Route>>,
    hosts: Vec<(String, Arc<Route>)>,
}

impl Routes {
    pub(crate) fn new(
        routes: Vec<config::RouteConfig>,
        metrics: &Metrics,
        upstream_named: impl Fn(&str) -> Option<Arc<Upstream>>,
    ) -> Self {
        let mut paths: HashMap<String, ByHost> = HashMap::new();
        let request_id = HeaderName::from_static(REQUEST_ID);
        for config::RouteConfig {
            path,
            host,
            source,
            upstream,
            expose_reason,
        } in routes
        {
            // The configuration has checked that there is such an upstream.
            let Some(upstream) = upstream_named(&upstream) else {
                continue;
            };
            let route = Arc::new(Route {
                metrics: SourceMetrics::new(metrics, &source),
                upstream_metrics: UpstreamMetrics::new(metrics, upstream.name()),
                request_id_is_signed: source.verifier().scheme().reads(&request_id),
                source,
                upstream,
                expose_reason,
            });
            let by_host = paths.entry(path).or_default();
            match host {
                Some(host) => by_host.hosts.push((host, route)),
                None => by_host.any = Some(route),
            }
        }
        Self(paths)
    }

    pub(crate) fn find(&self, request: &RequestHeader) -> Option<&Arc<Route>> {
        let by_host = self.0.get(request.uri.path())?;
        let host = host(request).unwrap_or_default();
        let mut named = by_host.hosts.iter();
        named
            .find(|(name, _)| name.eq_ignore_ascii_case(host))
            .map(|(_, route)| route)
            .or(by_host.any.as_ref())
    }
}

/// The host that the request is for, without port. A target that names another
/// one has been refused by the parser.
fn host(request: &RequestHeader) -> Option<&str> {
    let header = request.headers.get(http::header::HOST)?.to_str().ok()?;
    // An IPv6 address has colons of its own, inside of brackets.
    let host = match header.rfind(']') {
        Some(end) => &header[..=end],
        None => header.split(':').next()?,
    };
    Some(host.trim_end_matches('.'))
}
