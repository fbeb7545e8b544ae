use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hookgate_core::internal::{Report, Section, read_scheme};
use hookgate_core::{Provider, Scheme, UndocumentedProvider, Window};
use hookgate_gate::{
    Dedupe, DeliveryGuarantee, Mode, OnConflict, OnDuplicate, Source, SourceBuilder,
};

use super::limits::Defaults;
use super::{positive, upstreams, verifier};
use crate::config::values::{Host, Keyword, MismatchStatus, Name, RoutePath, Size};
use crate::config::{RouteConfig, UpstreamConfig};

/// What a lease lasts longer than the upstream's total time: settling, and
/// clocks that run apart.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

pub(super) fn read(
    root: &Section<'_>,
    upstreams: &BTreeMap<String, UpstreamConfig>,
    defaults: Defaults,
    warnings: &Report,
) -> Vec<RouteConfig> {
    if !root.has("sources") {
        root.wrong(
            "sources",
            "missing; expected at least one table [[sources]]",
        );
    }
    let mut names = BTreeSet::new();
    let mut targets = BTreeSet::new();
    let mut routes = Vec::new();
    for section in root.sections("sources") {
        let name = section.required::<Name>("name").map(|name| name.0);
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            section.wrong("name", "taken by another source");
        }
        let path = section.required::<RoutePath>("path").map(|path| path.0);
        let host = section.optional::<Host>("host").map(|host| host.0);
        if let Some(path) = &path
            && !targets.insert((host.clone(), path.clone()))
        {
            section.wrong("path", "taken by another source of the same host");
        }
        let upstream = read_upstream_name(&section, upstreams);
        let expose_reason = section.optional("expose_reason").unwrap_or(false);
        if expose_reason {
            warnings.add(
                section.key_path("expose_reason"),
                "senders are told which check failed; meant for development",
            );
        }
        let timeout = upstream
            .as_ref()
            .and_then(|name| upstreams.get(name))
            .map_or(upstreams::DEFAULT_TIMEOUT, |upstream| upstream.timeout);
        let source = read_source(&section, name, timeout, defaults, warnings);
        section.deny_unknown();
        if let (Some(path), Some(source), Some(upstream)) = (path, source, upstream) {
            routes.push(RouteConfig {
                path,
                host,
                source,
                upstream,
                expose_reason,
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
    let known: Vec<&str> = upstreams.keys().map(String::as_str).collect();
    let known = if known.is_empty() {
        "which there is none of".to_owned()
    } else {
        known.join(", ")
    };
    section.wrong(
        "upstream",
        format!("no table [upstreams.{name}]; expected one of {known}"),
    );
    None
}

fn read_source(
    section: &Section<'_>,
    name: Option<String>,
    upstream_timeout: Duration,
    defaults: Defaults,
    warnings: &Report,
) -> Option<Source> {
    let provider = read_provider(section);
    let own_scheme = section
        .section("scheme")
        .and_then(|scheme| read_scheme(&scheme));
    let unpublished = provider.as_ref().and_then(|provider| match provider {
        Named::Published(_) => None,
        Named::Undocumented(unpublished) => Some(unpublished),
    });
    let provider = provider.as_ref().and_then(|provider| match provider {
        Named::Published(provider) => Some(&**provider),
        Named::Undocumented(_) => None,
    });
    let scheme = match (section.has("provider"), section.has("scheme")) {
        (true, true) if unpublished.is_some() => own_scheme,
        (true, false) if unpublished.is_some() => {
            let title = unpublished.map_or("", UndocumentedProvider::title);
            section.wrong(
                "scheme",
                format!(
                    "missing; {title} does not say how it signs, so that nothing would verify; \
                     expected a table [sources.scheme] that spells it out"
                ),
            );
            None
        }
        (false, false) => {
            section.wrong(
                "provider",
                "missing; expected a provider, or a table [sources.scheme]",
            );
            None
        }
        (true, true) => {
            section.wrong("scheme", "expected either `provider` or `scheme`, not both");
            None
        }
        _ => own_scheme.or_else(|| provider.map(|provider| provider.scheme().clone())),
    };
    if let Some(patience) = provider.and_then(Provider::timeout)
        && upstream_timeout >= patience
    {
        warnings.add(
            section.key_path("upstream"),
            format!(
                "its timeout is {}, but the provider gives up after {}, and sends what was \
                 delivered then once more",
                humantime::format_duration(upstream_timeout),
                humantime::format_duration(patience)
            ),
        );
    }
    let window = read_window(section, scheme.as_ref());
    let verifier = verifier::read(section, scheme.as_ref(), window, warnings);

    let retention = section.optional::<Duration>("retention");
    let security_retention = window.unwrap_or_default().security_retention();
    if retention.is_some_and(|retention| retention < security_retention) {
        section.wrong(
            "retention",
            format!(
                "shorter than the window lets replays in; expected at least {}",
                humantime::format_duration(security_retention)
            ),
        );
    }
    let lease = positive(section, "lease");
    let least_lease = upstream_timeout + LEASE_MARGIN;
    if lease.is_some_and(|lease| lease < least_lease) {
        section.wrong(
            "lease",
            format!(
                "a delivery could still be under way when its lease ends; expected at least {}, \
                 the upstream's timeout and 5s",
                humantime::format_duration(least_lease)
            ),
        );
    }
    let body_limit = section
        .optional("body")
        .map_or(defaults.body_limit, |Size(limit)| limit);
    let body_timeout = positive(section, "body_timeout").unwrap_or(defaults.body_timeout);
    let duplicate_wait = section
        .optional("duplicate_wait")
        .unwrap_or(SourceBuilder::DEFAULT_DUPLICATE_WAIT);
    let on_conflict = section
        .optional("on_conflict")
        .map_or_else(OnConflict::default, |Keyword(w)| w);
    let on_duplicate = section
        .optional("on_duplicate")
        .map_or_else(OnDuplicate::default, |Keyword(w)| w);
    let promise = section
        .optional("delivery")
        .map_or_else(DeliveryGuarantee::default, |Keyword(w)| w);
    let mismatch = section.optional::<MismatchStatus>("mismatch_status");
    let dedupe = section.optional::<bool>("dedupe");
    let mode = section
        .optional("mode")
        .map_or_else(Mode::default, |Keyword(w)| w);
    if mode == Mode::Observe {
        warnings.add(
            section.key_path("mode"),
            "whatever comes is forwarded, forged and replayed deliveries too",
        );
    }

    let mut source = Source::builder(name?, verifier?);
    if let Some(max_entries) = defaults.max_entries {
        source = source.max_entries(max_entries);
    }
    if let Some(provider) = provider {
        source = source.provider(provider);
    }
    if let Some(unpublished) = unpublished {
        source = source.undocumented_provider(unpublished);
    }
    if let Some(retention) = retention {
        source = source.retention(retention);
    }
    if let Some(dedupe) = dedupe {
        source = source.dedupe(if dedupe { Dedupe::On } else { Dedupe::Off });
    }
    if matches!(mismatch, Some(MismatchStatus::Retry)) {
        source = source.retry_on_mismatch();
    }
    if mode == Mode::Observe {
        source = source.with_insecure_observe_mode();
    }
    let source = source
        .lease(lease.unwrap_or(least_lease))
        .body_limit(body_limit)
        .body_timeout(body_timeout)
        .duplicate_wait(duplicate_wait)
        .on_duplicate(on_duplicate)
        .on_conflict(on_conflict)
        .delivery_guarantee(promise);
    Some(source.build())
}

/// A provider that the catalogue knows by name.
enum Named {
    Published(Box<Provider>),
    Undocumented(UndocumentedProvider),
}

fn read_provider(section: &Section<'_>) -> Option<Named> {
    let name = section.optional::<String>("provider")?;
    let published = Provider::named(&name).map(Box::new).map(Named::Published);
    let provider =
        published.or_else(|| UndocumentedProvider::named(&name).map(Named::Undocumented));
    if provider.is_none() {
        // A letter is wrong, or two.
        let far = |known: &&str| strsim::osa_distance(&name, known);
        let near = Provider::names()
            .min_by_key(far)
            .filter(|near| far(near) <= 2);
        let near = near
            .map(|near| format!(" (is it {near:?}?)"))
            .unwrap_or_default();
        section.wrong(
            "provider",
            format!(
                "{name:?} is not in the catalogue, which `hookgate providers` lists{near}; expected \
                 one of it, or a table [sources.scheme]"
            ),
        );
    }
    provider
}

/// The window of the source, `None` if its scheme has no timestamp.
fn read_window(section: &Section<'_>, scheme: Option<&Scheme>) -> Option<Window> {
    let own = scheme.and_then(Scheme::window);
    let Some(window) = section.section("window") else {
        return own;
    };
    let base = own.unwrap_or_default();
    let past = window.optional("past").unwrap_or(base.past());
    let future = window.optional("future").unwrap_or(base.future());
    window.deny_unknown();
    if scheme.is_some() && own.is_none() {
        section.wrong(
            "window",
            "the scheme signs no timestamp, so there is no window to set",
        );
    }
    Some(Window::new(past, future))
}
