//! Finds the source of a request by its path, and by its host and its query if the source sets
//! them.
//!
//! The path must match exactly: the gateway does not normalise paths, so a request with any
//! other path has no source. One segment may name a tenant, whose own route has its keys.

use std::collections::HashMap;
use std::sync::Arc;

use hookgate_core::Problems;
use hookgate_core::internal::ErrorChain;
use hookgate_gate::Source;
use http::HeaderName;
use pingora_http::RequestHeader;

use crate::config::{self, CaptureScope, PathPattern, QueryMatch, RequestQuery, TenantsConfig};
use crate::inspector::capture::CapturedSource;
use crate::inspector::compact::{FactHeaders, RouteNames};
use crate::telemetry::metrics::{Metrics, Series, SourceMetrics, TenantMetrics, UpstreamMetrics};
use crate::telemetry::outcome::RequestOutcome;
use crate::tenants::{Tenant, Tenants};
use crate::upstream::{REQUEST_ID, Upstream};

/// A source or one of its tenants, with its upstream and its metrics.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) source: Source,
    /// The tenant whose keys the source has. `None` if the source has no tenants, and if it has but
    /// this route has the keys of none.
    tenant: Option<Arc<Tenant>>,
    pub(crate) shared: Arc<SharedRoute>,
}

/// The part of a route that all tenants of its source share.
#[derive(Debug)]
pub(crate) struct SharedRoute {
    /// The path of its requests, in which `{tenant}` stands for each tenant.
    pub(crate) path: Arc<str>,
    pub(crate) upstream: Arc<Upstream>,
    /// The path that the upstream gets. `None`: the path of the request.
    pub(crate) upstream_path: Option<Box<str>>,
    /// Whether responses name the reason of a refusal.
    pub(crate) expose_reason: bool,
    /// The names in the records of the inspector.
    pub(crate) names: Arc<RouteNames>,
    /// Which deliveries are captured.
    pub(crate) capture: CaptureScope,
    /// The source of these captures, if there are any. It has no keys of tenants.
    captured: Option<CapturedSource>,
    /// Whether the signature covers `x-request-id`.
    pub(crate) request_id_is_signed: bool,
    pub(crate) metrics: SourceMetrics,
    tenant_metrics: Option<TenantMetrics>,
    pub(crate) upstream_metrics: UpstreamMetrics,
    /// The tenants, if the source has some.
    pub(crate) tenants: Option<Arc<Tenants>>,
}

/// The routes of one configuration, by path.
#[derive(Debug)]
pub(crate) struct Routes {
    by_path: HashMap<Arc<str>, ByHost>,
    /// The routes with tenants. Their paths overlap neither each other nor those of `by_path`.
    by_pattern: Vec<(PathPattern, ByHost)>,
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
    /// Creates the routes. `upstream_named` returns the upstream of a name. The tenants of a source
    /// whose configuration is the same as in `previous` are kept.
    ///
    /// # Errors
    ///
    /// Returns the problem of a source whose tenants cannot be looked up.
    pub(crate) fn new(
        routes: Vec<config::RouteConfig>,
        metrics: &Metrics,
        previous: Option<&Self>,
        upstream_named: impl Fn(&str) -> Option<Arc<Upstream>>,
    ) -> Result<Self, Problems> {
        let mut by_path: HashMap<Arc<str>, ByHost> = HashMap::new();
        let mut by_pattern: Vec<(PathPattern, ByHost)> = Vec::new();
        let mut by_source = HashMap::new();
        for config in routes {
            // The configuration contains the upstream of every route.
            let Some(upstream) = upstream_named(&config.upstream) else {
                continue;
            };
            let (path, host) = (config.path.clone(), config.host.clone());
            let query = config.query.clone();
            let previous = previous.and_then(|routes| routes.of_source(config.source.name()));
            let route = Arc::new(Route::new(config, upstream, metrics, previous)?);
            by_source.insert(route.shared.names.source.clone(), Arc::clone(&route));
            let by_host = match path.has_tenant() {
                false => by_path.entry(Arc::clone(path.text())).or_default(),
                true => {
                    let known = by_pattern.iter().position(|(known, _)| *known == path);
                    let index = known.unwrap_or_else(|| {
                        by_pattern.push((path, ByHost::default()));
                        by_pattern.len() - 1
                    });
                    &mut by_pattern[index].1
                }
            };
            let route = ByQuery { query, route };
            match host {
                Some(host) => by_host.hosts.push((host, route)),
                None => by_host.any.push(route),
            }
        }
        Ok(Self {
            by_path,
            by_pattern,
            by_source,
        })
    }

    /// Returns every route.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        let patterns = self.by_pattern.iter().map(|(_, routes)| routes);
        let by_host = self.by_path.values().chain(patterns);
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

    /// Returns the route of a request. A source with tenants has a second value: the name of the
    /// tenant, which may be unknown.
    pub(crate) fn find<'r>(
        &self,
        request: &'r RequestHeader,
    ) -> Option<(&Arc<Route>, Option<&'r str>)> {
        let path = request.uri.path();
        let exact = self
            .by_path
            .get(path)
            .and_then(|by_host| by_host.find(request));
        if let Some(route) = exact {
            return Some((route, None));
        }
        self.by_pattern.iter().find_map(|(pattern, by_host)| {
            let tenant = pattern.tenant_of(path)?;
            Some((by_host.find(request)?, Some(tenant)))
        })
    }
}

impl ByHost {
    fn find(&self, request: &RequestHeader) -> Option<&Arc<Route>> {
        let host = host(request).unwrap_or_default();
        let query = RequestQuery::new(request.uri.query());
        let named = self.hosts.iter();
        let named = named
            .filter(|(name, _)| name.eq_ignore_ascii_case(host))
            .map(|(_, route)| route);
        // At most one route of a host matches, because the queries of two never overlap.
        let mut routes = named.chain(&self.any);
        let found = routes.find(|by_query| by_query.query.matches(&query))?;
        Some(&found.route)
    }
}

impl Route {
    /// Creates the route of a source, with its tenants if it has some.
    fn new(
        config: config::RouteConfig,
        upstream: Arc<Upstream>,
        metrics: &Metrics,
        previous: Option<&Arc<Self>>,
    ) -> Result<Self, Problems> {
        let config::RouteConfig {
            path,
            source,
            tenants,
            upstream_path,
            expose_reason,
            capture,
            setup,
            tenant_metrics,
            ..
        } = config;
        let names = RouteNames {
            source: source.name().to_owned(),
            provider: source.provider().map(str::to_owned),
            upstream: upstream.name().to_owned(),
            headers: FactHeaders::new(&source),
        };
        let previous = previous.and_then(|route| route.shared.tenants.as_ref());
        let tenants = tenants.map(|config| start_tenants(source.name(), config, previous));
        let tenants = tenants.transpose()?;
        let key_ids = match &tenants {
            Some(tenants) => tenants.key_ids(),
            None => source.verifier().key_ids().map(str::to_owned).collect(),
        };
        let request_id = HeaderName::from_static(REQUEST_ID);
        let shared = SharedRoute {
            names: Arc::new(names),
            path: Arc::clone(path.text()),
            metrics: SourceMetrics::new(metrics, &source, key_ids),
            tenant_metrics: TenantMetrics::new(source.name(), tenant_metrics),
            upstream_metrics: UpstreamMetrics::new(metrics, upstream.name()),
            captured: (capture != CaptureScope::None).then(|| CapturedSource::new(&source, setup)),
            request_id_is_signed: source.verifier().scheme().reads(&request_id),
            upstream,
            upstream_path: upstream_path.map(Box::from),
            expose_reason,
            capture,
            tenants,
        };
        Ok(Self {
            source,
            tenant: None,
            shared: Arc::new(shared),
        })
    }

    /// Returns this route for the deliveries of `tenant`.
    pub(crate) fn for_tenant(&self, tenant: Arc<Tenant>) -> Self {
        Self {
            source: tenant.source_with(&self.source),
            tenant: Some(tenant),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns this route with the name of a tenant and without keys. No delivery verifies by it.
    pub(crate) fn for_tenant_without_keys(&self, tenant: &str) -> Self {
        let verifier = self.source.verifier().clone();
        Self {
            source: self.source.for_tenant(tenant, verifier),
            tenant: None,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Counts a request by its outcome. `has_verified` says whether its signature is valid, so that no
    /// stranger takes the series of a tenant.
    pub(crate) fn count(&self, metrics: &Metrics, outcome: RequestOutcome, has_verified: bool) {
        self.shared.metrics.count(outcome);
        if let Some(tenants) = &self.shared.tenant_metrics {
            let series = match has_verified {
                true => Series::Allot,
                false => Series::Existing,
            };
            tenants.count(metrics, self.source.tenant(), series, outcome);
        }
    }

    /// Returns the source of captures, if there are any.
    pub(crate) fn captured(&self) -> Option<CapturedSource> {
        let captured = self.shared.captured.as_ref()?;
        Some(match (&self.tenant, self.source.tenant()) {
            (Some(tenant), Some(name)) => captured.for_tenant(name, tenant.keys()),
            _ => captured.clone(),
        })
    }

    /// Returns whether the keys of the route are still those of its tenant.
    pub(crate) fn has_current_keys(&self) -> bool {
        let tenant = self.tenant.as_ref();
        tenant.is_none_or(|tenant| tenant.is_current())
    }
}

/// Returns the tenants of `config`, which are those of `previous` if they have this configuration.
fn start_tenants(
    source: &str,
    config: TenantsConfig,
    previous: Option<&Arc<Tenants>>,
) -> Result<Arc<Tenants>, Problems> {
    if let Some(previous) = previous
        && previous.have_config(&config)
    {
        return Ok(Arc::clone(previous));
    }
    Tenants::start(source, config).map_err(|error| {
        let cause = ErrorChain(&*error);
        Problems::one(
            "sources",
            format!("source {source}: the tenants cannot be looked up: {cause}"),
        )
    })
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
