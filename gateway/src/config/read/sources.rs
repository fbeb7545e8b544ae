//! Reads the tables `[[sources]]`: which requests belong to a source, its provider or scheme,
//! and its upstream. The other settings of a source are read in `source_policy.rs`.

use std::collections::{BTreeMap, BTreeSet};

use hookgate_core::internal::{Report, Section, Value, nearest, read_scheme};
use hookgate_core::{Provider, Scheme, UndocumentedProvider, Window};
use hookgate_gate::{QueuePolicy, Source};

use super::limits::Defaults;
use super::route::{self, RequestMatch};
use super::source_policy::SourcePolicy;
use super::{keys, provider_advice, source_queue, source_setup, upstreams, verifier};
use crate::config::values::{Keyword, Name};
use crate::config::{
    CaptureScope, Inputs, QueueConfig, RouteConfig, TenantsConfig, UpstreamConfig, listed,
};

/// The parts of the configuration that every source refers to.
pub(super) struct Shared<'c> {
    pub(super) inputs: Inputs,
    pub(super) upstreams: &'c BTreeMap<String, UpstreamConfig>,
    pub(super) defaults: Defaults,
    /// The default of the key `capture`. `None` without an inspector.
    pub(super) capture: Option<CaptureScope>,
    /// `None` without a table `[queue]`.
    pub(super) queue: Option<&'c QueueConfig>,
}

/// The largest number of tenants with metrics of their own. Each has up to seven series.
const MAX_TENANT_METRICS: usize = 1000;

/// Reads every source. A source with a mistake is reported and left out.
pub(super) fn read(root: &Section<'_>, shared: &Shared<'_>, warnings: &Report) -> Vec<RouteConfig> {
    if !root.has("sources") {
        root.wrong(
            "sources",
            "missing; expected at least one table [[sources]]",
        );
    }
    let mut names = BTreeSet::new();
    let mut requests = Vec::new();
    let mut routes = Vec::new();
    for section in root.sections("sources") {
        let name = section.required::<Name>("name").map(|name| name.0);
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            section.wrong("name", "used by another source; expected a unique name");
        }
        let request = route::read(&section, &mut requests);
        let upstream_path = route::read_upstream_path(&section);
        let upstream = read_upstream_name(&section, shared.upstreams);
        let expose_reason = read_expose_reason(&section, warnings);
        let capture = read_capture(&section, shared.capture);
        let tenant_metrics = read_tenant_metrics(&section);
        let upstream_config = upstream
            .as_ref()
            .and_then(|name| shared.upstreams.get(name));
        let queue = source_queue::read(&section, shared.queue);
        let source = read_source(&section, name, upstream_config, queue, shared, warnings);
        section.deny_unknown();
        if let (Some(request), Some(source), Some(upstream)) = (request, source, upstream) {
            let RequestMatch { path, host, query } = request;
            let (source, tenants) = source;
            let setup = match capture {
                CaptureScope::None => None,
                // The mistakes of the source have been reported.
                _ => source_setup::read(root.raw(), source.name()).ok(),
            };
            routes.push(RouteConfig {
                path,
                host,
                query,
                setup,
                source,
                tenants,
                upstream,
                upstream_path,
                expose_reason,
                tenant_metrics,
                capture,
            });
        }
    }
    routes
}

fn read_upstream_name(
    section: &Section<'_>,
    upstreams: &BTreeMap<String, UpstreamConfig>,
) -> Option<String> {
    let name = section.required::<String>("upstream")?;
    if upstreams.contains_key(&name) {
        return Some(name);
    }
    let names: Vec<&str> = upstreams.keys().map(String::as_str).collect();
    let expected = if names.is_empty() {
        "such a table".to_owned()
    } else {
        format!("one of {}", listed(&names))
    };
    let suggestion = nearest(&name, names.iter().copied())
        .map(|nearest| format!(" (did you mean {nearest:?}?)"))
        .unwrap_or_default();
    section.wrong(
        "upstream",
        format!("there is no table [upstreams.{name}]{suggestion}; expected {expected}"),
    );
    None
}

fn read_expose_reason(section: &Section<'_>, warnings: &Report) -> bool {
    let expose_reason = section.optional("expose_reason").unwrap_or(false);
    if expose_reason {
        warnings.add(
            section.key_path("expose_reason"),
            "responses tell every sender which check failed; use this for development only",
        );
    }
    expose_reason
}

/// Reads the number of tenants with a metric of their own.
fn read_tenant_metrics(section: &Section<'_>) -> usize {
    let Some(max) = section.optional::<u64>("tenant_metrics") else {
        return 0;
    };
    if !route::has_tenant(section) {
        section.wrong(
            "tenant_metrics",
            "has no effect without {tenant} in `path`; remove it",
        );
    }
    match usize::try_from(max) {
        Ok(max @ 0..=MAX_TENANT_METRICS) => max,
        _ => {
            section.wrong(
                "tenant_metrics",
                format!("expected at most {MAX_TENANT_METRICS}"),
            );
            0
        }
    }
}

/// Reads the deliveries to capture. `default` is `None` without an inspector.
fn read_capture(section: &Section<'_>, default: Option<CaptureScope>) -> CaptureScope {
    let own = section.optional("capture").map(|Keyword(scope)| scope);
    if own.is_some() && default.is_none() {
        section.wrong(
            "capture",
            "has no effect without a table [inspector]; add the table",
        );
    }
    own.or(default).unwrap_or_default()
}

fn read_source(
    section: &Section<'_>,
    name: Option<String>,
    upstream: Option<&UpstreamConfig>,
    queue: QueuePolicy,
    shared: &Shared<'_>,
    warnings: &Report,
) -> Option<(Source, Option<TenantsConfig>)> {
    let upstream_timeout = upstream.map_or(upstreams::DEFAULT_TIMEOUT, |upstream| upstream.timeout);
    let provider = read_provider(section);
    let scheme = read_source_scheme(section, provider.as_ref());
    let window = read_window(section, scheme.as_ref());
    let has_tenants = route::has_tenant(section);
    // The reader of the tenants refuses `keys`.
    let keys = match has_tenants {
        true => None,
        false => keys::read(
            section,
            name.as_deref(),
            scheme.as_ref(),
            shared.inputs,
            warnings,
        ),
    };
    let (scheme, inputs) = (scheme.as_ref(), shared.inputs);
    let verifier = match has_tenants {
        true => verifier::read_for_tenants(section, scheme, window, inputs, warnings)
            .map(|(verifier, tenants)| (verifier, Some(tenants))),
        false => verifier::read(section, scheme, window, inputs, warnings)
            .map(|verifier| (verifier, None)),
    };
    let policy = SourcePolicy::read(
        section,
        window,
        upstream_timeout,
        queue.mode,
        shared.defaults,
        warnings,
    );
    let (verifier, tenants) = verifier?;
    let source = Source::builder(name?, verifier);
    let source = match &provider {
        Some(CatalogueEntry::Published(provider)) => source.provider(provider),
        Some(CatalogueEntry::Undocumented(provider)) => source.undocumented_provider(provider),
        None => source,
    };
    let source = match keys {
        Some(keys) => source.keys(keys),
        None => source,
    };
    let source = policy.apply(source).queue(queue).build();
    if let Some(CatalogueEntry::Published(provider)) = &provider {
        let settings = provider_advice::Settings {
            queue: queue.mode,
            body_limit: source.body_limit(),
            window,
            provider_window: provider.scheme().window(),
        };
        provider_advice::warn(section, provider, &settings, warnings);
    }
    check_dedupe(section, &source);
    source_queue::check(section, &source, upstream, shared.queue);
    Some((source, tenants))
}

/// Checks that the delivery id is known if the operator chooses it.
fn check_dedupe(section: &Section<'_>, source: &Source) {
    let chosen = section.raw().get("dedupe").and_then(Value::as_str);
    if chosen == Some("delivery_id") && source.delivery_id_header().is_none() {
        section.wrong(
            "dedupe",
            "the catalogue has no delivery id for this source; expected \"content\" or \"off\"",
        );
    }
}

/// A provider of the catalogue.
pub(super) enum CatalogueEntry {
    /// The catalogue has its scheme.
    Published(Box<Provider>),
    /// The provider does not publish its scheme, so the configuration must contain it.
    Undocumented(UndocumentedProvider),
}

impl CatalogueEntry {
    fn named(name: &str) -> Option<Self> {
        let published = Provider::named(name)
            .ok()
            .map(Box::new)
            .map(Self::Published);
        published.or_else(|| UndocumentedProvider::named(name).map(Self::Undocumented))
    }
}

pub(super) fn read_provider(section: &Section<'_>) -> Option<CatalogueEntry> {
    let name = section.optional::<String>("provider")?;
    let provider = CatalogueEntry::named(&name);
    if provider.is_none() {
        let suggestion = nearest(&name, Provider::names())
            .map(|nearest| format!(" (did you mean {nearest:?}?)"))
            .unwrap_or_default();
        section.wrong(
            "provider",
            format!(
                "{name:?} is not in the catalogue{suggestion}; expected a name that `hookgate \
                 providers` lists, or a table [sources.scheme]"
            ),
        );
    }
    provider
}

/// Returns the scheme of the source: the provider's, or the table `[sources.scheme]`.
pub(super) fn read_source_scheme(
    section: &Section<'_>,
    provider: Option<&CatalogueEntry>,
) -> Option<Scheme> {
    let own_scheme = section
        .section("scheme")
        .and_then(|scheme| read_scheme(&scheme));
    match (provider, section.has("provider"), section.has("scheme")) {
        (Some(CatalogueEntry::Undocumented(provider)), _, false) => {
            let title = provider.title();
            section.wrong(
                "scheme",
                format!(
                    "missing; {title} does not publish how it signs, so the catalogue has no \
                     scheme for it; expected a table [sources.scheme]"
                ),
            );
            None
        }
        (Some(CatalogueEntry::Undocumented(_)), _, true) => own_scheme,
        (_, false, false) => {
            section.wrong(
                "provider",
                "missing; expected the name of a provider, or a table [sources.scheme]",
            );
            None
        }
        (_, true, true) => {
            section.wrong(
                "scheme",
                "`provider` and `scheme` are both set; expected one of them",
            );
            None
        }
        (Some(CatalogueEntry::Published(provider)), true, false) => Some(provider.scheme().clone()),
        _ => own_scheme,
    }
}

/// Returns the window of the source, or `None` if its scheme signs no timestamp.
pub(super) fn read_window(section: &Section<'_>, scheme: Option<&Scheme>) -> Option<Window> {
    let default = scheme.and_then(Scheme::window);
    let Some(window) = section.section("window") else {
        return default;
    };
    let base = default.unwrap_or_default();
    let past = window.optional("past").unwrap_or(base.past());
    let future = window.optional("future").unwrap_or(base.future());
    window.deny_unknown();
    if scheme.is_some() && default.is_none() {
        section.wrong(
            "window",
            "has no effect, because the scheme signs no timestamp; remove this key",
        );
    }
    Some(Window::new(past, future))
}
