//! Finds the source of a request by its path, and by its host and its query if the source sets
//! them.
//!
//! The path must match exactly: the gateway does not normalise paths, so a request with any
//! other path has no source.

use std::collections::HashMap;
use std::sync::Arc;

use hookgate_gate::Source;
use http::HeaderName;
use pingora_http::RequestHeader;

use crate::config::{self, CaptureScope, QueryMatch, RequestQuery};
use crate::inspector::capture::CapturedSource;
use crate::inspector::compact::{FactHeaders, RouteNames};
use crate::telemetry::metrics::{Metrics, SourceMetrics, UpstreamMetrics};
use crate::upstream::{REQUEST_ID, Upstream};

/// A source with its upstream and its metrics.
#[derive(Debug)]
pub(crate) struct Route {
    /// The path of its requests.
    pub(crate) path: String,
    pub(crate) source: Source,
    pub(crate) upstream: Arc<Upstream>,
    /// The path that the upstream gets. `None`: the path of the request.
    pub(crate) upstream_path: Option<String>,
    /// Whether responses name the reason of a refusal.
    pub(crate) expose_reason: bool,
    /// The names in the records of the inspector.
    pub(crate) names: Arc<RouteNames>,
    /// Which deliveries are captured.
    pub(crate) capture: CaptureScope,
    /// The source of these captures, if there are any.
    pub(crate) captured: Option<Arc<CapturedSource>>,
    /// Whether the signature covers `x-request-id`.
    pub(crate) request_id_is_signed: bool,
    pub(crate) metrics: SourceMetrics,
    pub(crate) upstream_metrics: UpstreamMetrics,
}

/// The routes of one configuration, by path.
#[derive(Debug)]
pub(crate) struct Routes {
    by_path: HashMap<String, ByHost>,
    by_source: HashMap<String, Arc<Route>>,
}

/// The routes of one path.
#[derive(Debug, Default)]
struct ByHost {
    /// The routes for the requests that match none of `hosts`.
    any: Vec<ByQuery>,
    hosts: Vec<(String, ByQuery)>,
}

/// A route with the parameters that select it.
#[derive(Debug)]
struct ByQuery {
    query: QueryMatch,
    route: Arc<Route>,
}

impl Routes {
    /// Creates the routes. `upstream_named` returns the upstream of a name.
    pub(crate) fn new(
        routes: Vec<config::RouteConfig>,
        metrics: &Metrics,
        upstream_named: impl Fn(&str) -> Option<Arc<Upstream>>,
    ) -> Self {
        let mut by_path: HashMap<String, ByHost> = HashMap::new();
        let mut by_source = HashMap::new();
        let request_id = HeaderName::from_static(REQUEST_ID);
        for config::RouteConfig {
            path,
            host,
            query,
            source,
            upstream,
            upstream_path,
            expose_reason,
            capture,
            setup,
        } in routes
        {
            // The configuration contains the upstream of every route.
            let Some(upstream) = upstream_named(&upstream) else {
                continue;
            };
            let names = RouteNames {
                source: source.name().to_owned(),
                provider: source.provider().map(str::to_owned),
                upstream: upstream.name().to_owned(),
                headers: FactHeaders::new(&source),
            };
            let route = Arc::new(Route {
                names: Arc::new(names),
                path: path.clone(),
                metrics: SourceMetrics::new(metrics, &source),
                upstream_metrics: UpstreamMetrics::new(metrics, upstream.name()),
                captured: (capture != CaptureScope::None)
                    .then(|| Arc::new(CapturedSource::new(&source, setup))),
                request_id_is_signed: source.verifier().scheme().reads(&request_id),
                source,
                upstream,
                upstream_path,
                expose_reason,
                capture,
            });
            by_source.insert(route.names.source.clone(), Arc::clone(&route));
            let by_host = by_path.entry(path).or_default();
            let route = ByQuery { query, route };
            match host {
                Some(host) => by_host.hosts.push((host, route)),
                None => by_host.any.push(route),
            }
        }
        Self { by_path, by_source }
    }

    /// Returns every route.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        let by_host = self.by_path.values();
        by_host.flat_map(|routes| {
            let of_hosts = routes.hosts.iter().map(|(_, route)| route);
            let all = routes.any.iter().chain(of_hosts);
            all.map(|by_query| &by_query.route)
        })
    }

    /// Returns the route of the source `name`.
    pub(crate) fn of_source(&self, name: &str) -> Option<&Arc<Route>> {
        self.by_source.get(name)
    }

    /// Returns the route of a request.
    pub(crate) fn find(&self, request: &RequestHeader) -> Option<&Arc<Route>> {
        let by_host = self.by_path.get(request.uri.path())?;
        let host = host(request).unwrap_or_default();
        let query = RequestQuery::new(request.uri.query());
        let named = by_host.hosts.iter();
        let named = named
            .filter(|(name, _)| name.eq_ignore_ascii_case(host))
            .map(|(_, route)| route);
        // At most one route of a host matches, because the queries of two never overlap.
        let mut routes = named.chain(&by_host.any);
        let found = routes.find(|by_query| by_query.query.matches(&query))?;
        Some(&found.route)
    }
}

/// Returns the host of the request, without its port. The parser has refused a request whose
/// target names another host.
fn host(request: &RequestHeader) -> Option<&str> {
    let header = request.headers.get(http::header::HOST)?.to_str().ok()?;
    // An IPv6 address contains colons, but only between its brackets.
    let host = match header.rfind(']') {
        Some(end) => &header[..=end],
        None => header.split(':').next()?,
    };
    Some(host.trim_end_matches('.'))
}
