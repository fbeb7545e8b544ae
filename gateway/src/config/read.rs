use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hookgate_core::document::{Problems, Report, Section};
use hookgate_core::{BuildError, Provider, Scheme, Unpublished, Verifier, Window};
use hookgate_gate::{
    BodyLimit, BootFence, Dedupe, OnConflict, OnDuplicate, Promise, Source, SourceBuilder,
};
use hookgate_replay::redis::WaitReplicas;
use hookgate_replay::{DiskStore, Durability, MemoryStore, RedisConfig};
use toml::{Table, Value};

use super::secrets::{SecretRef, read_keys};
use super::values::{
    Address, Host, MismatchStatus, Name, RoutePath, Servers, Size, StoreKind, Word,
};
use super::{Config, Limits, Replay, Route, Upstream};
use crate::store::StoreConfig;

const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_CONNECTIONS: usize = 10_000;
/// The tightest deadline that a first provider publishes is 10 s (BeeL).
const DEFAULT_UPSTREAM_TIMEOUT: Duration = Duration::from_secs(8);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What a lease lasts longer than the upstream's total time: settling, and
/// clocks that run apart.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

pub(super) fn read(table: &Table) -> Result<Config, Problems> {
    let report = Report::default();
    let warnings = Report::default();
    let root = Section::root(table, &report);

    let (listen, admin) = read_server(&root);
    let (limits, mut defaults) = read_limits(&root);
    let (replay, max_entries_per_source) = read_replay(&root);
    // One source may fill the store; of several, none may keep the others out.
    let fair = || Some(replay.store.max_entries()? / 2);
    let several = root.sections("sources").len() > 1;
    defaults.max_entries = max_entries_per_source.or_else(|| fair().filter(|_| several));
    let upstreams = read_upstreams(&root);
    let routes = read_routes(&root, &upstreams, defaults, &warnings);
    root.deny_unknown();

    for name in upstreams.keys() {
        if report.is_empty() && !routes.iter().any(|route| route.upstream == *name) {
            warnings.add(format!("upstreams.{name}"), "no source forwards to it");
        }
    }
    let warnings = warnings.into_problems();
    report.finish(Some(Config {
        listen,
        admin,
        limits,
        replay,
        upstreams,
        routes,
        warnings,
    }))
}

fn read_server(root: &Section<'_>) -> (Vec<SocketAddr>, SocketAddr) {
    let Some(server) = root.required_section("server") else {
        return (Vec::new(), DEFAULT_ADMIN);
    };
    let listen: Vec<SocketAddr> = server
        .required_list::<Address>("listen")
        .into_iter()
        .map(|address| address.0)
        .collect();
    let admin = server
        .optional::<Address>("admin")
        .map_or(DEFAULT_ADMIN, |address| address.0);
    server.deny_unknown();
    let mut taken = vec![admin];
    for address in &listen {
        // Port 0 is a free one each time.
        if address.port() != 0 && taken.contains(address) {
            server.wrong(
                "listen",
                format!("{address} is there twice (or is `admin`)"),
            );
        }
        taken.push(*address);
    }
    (listen, admin)
}

/// What sources have that say nothing of their own.
#[derive(Clone, Copy)]
struct Defaults {
    body_limit: BodyLimit,
    body_timeout: Duration,
    /// Most events of one source.
    max_entries: Option<u64>,
}

fn read_limits(root: &Section<'_>) -> (Limits, Defaults) {
    let mut limits = Limits {
        head_timeout: DEFAULT_HEAD_TIMEOUT,
        connections: DEFAULT_CONNECTIONS,
    };
    let mut defaults = Defaults {
        body_limit: BodyLimit::DEFAULT,
        body_timeout: SourceBuilder::DEFAULT_BODY_TIMEOUT,
        max_entries: None,
    };
    if let Some(section) = root.section("limits") {
        defaults.body_limit = section
            .optional("body")
            .map_or(defaults.body_limit, |Size(limit)| limit);
        defaults.body_timeout = positive(&section, "body_timeout").unwrap_or(defaults.body_timeout);
        limits.head_timeout = positive(&section, "head_timeout").unwrap_or(limits.head_timeout);
        if let Some(connections) = section.optional::<u64>("connections") {
            limits.connections = usize::try_from(connections).unwrap_or(usize::MAX);
            if connections == 0 {
                section.wrong("connections", "expected at least 1");
            }
        }
        section.deny_unknown();
    }
    (limits, defaults)
}

/// Where events are remembered, and how many of one source at most.
fn read_replay(root: &Section<'_>) -> (Replay, Option<u64>) {
    let memory = |max_entries: Option<u64>| StoreConfig::Memory {
        max_entries: max_entries.unwrap_or(MemoryStore::DEFAULT_MAX_ENTRIES),
    };
    let Some(section) = root.section("replay") else {
        let replay = Replay {
            store: memory(None),
            boot_fence: BootFence::Up,
        };
        return (replay, None);
    };
    let entries = |key: &'static str| {
        let entries = section.optional::<u64>(key);
        if entries == Some(0) {
            section.wrong(key, "expected at least 1");
        }
        entries
    };
    let max_entries = entries("max_entries");
    let per_source = entries("max_entries_per_source");
    let kind = section.optional::<StoreKind>("store").unwrap_or_default();
    let path = section.optional::<String>("path");
    let durability = section.optional("durability");
    for (key, of) in [
        ("path", StoreKind::Disk),
        ("durability", StoreKind::Disk),
        ("url", StoreKind::Redis),
        ("ca", StoreKind::Redis),
        ("prefix", StoreKind::Redis),
        ("timeout", StoreKind::Redis),
        ("wait_replicas", StoreKind::Redis),
    ] {
        if section.has(key) && kind != of {
            section.value(key);
            section.wrong(key, format!("expected only with store = \"{}\"", of.name()));
        }
    }
    if kind == StoreKind::Redis {
        for (key, there) in [
            ("max_entries", max_entries.is_some()),
            ("max_entries_per_source", per_source.is_some()),
        ] {
            if there {
                section.wrong(
                    key,
                    "expected not with store = \"redis\", which holds what `maxmemory` of the \
                     server allows",
                );
            }
        }
    }
    let store = match kind {
        StoreKind::Memory => memory(max_entries),
        StoreKind::Disk => {
            if path.as_ref().is_none_or(String::is_empty) {
                section.wrong("path", "missing; expected a folder on a local disk");
            }
            StoreConfig::Disk {
                path: path.unwrap_or_default().into(),
                durability: durability.map_or_else(Durability::default, |Word(w)| w),
                max_entries: max_entries.unwrap_or(DiskStore::DEFAULT_MAX_ENTRIES),
            }
        }
        // One that is wrong has been noted.
        StoreKind::Redis => read_redis(&section).map_or_else(|| memory(None), StoreConfig::Redis),
    };
    // What remembers across restarts needs no fence.
    let fenced = section.optional("boot_fence");
    let boot_fence = match fenced.unwrap_or(kind == StoreKind::Memory) {
        true => BootFence::Up,
        false => BootFence::Down,
    };
    section.deny_unknown();
    (Replay { store, boot_fence }, per_source)
}

/// The server that several gateways share.
fn read_redis(section: &Section<'_>) -> Option<RedisConfig> {
    let url = match section.value("url").and_then(Value::as_str) {
        None => Err(format!("missing; expected {}", SecretRef::EXPECTED)),
        Some(text) => match SecretRef::parse(text) {
            None => Err(format!("expected {}", SecretRef::EXPECTED)),
            Some(reference) => reference.read(),
        },
    };
    let url = url.map_err(|message| section.wrong("url", message)).ok();
    let ca = section.optional::<String>("ca").and_then(|path| {
        let read = std::fs::read(&path);
        read.map_err(|error| section.wrong("ca", format!("cannot read {path}: {error}")))
            .ok()
    });
    let prefix = section.optional::<String>("prefix");
    let timeout = positive(section, "timeout");
    let wait = section.section("wait_replicas").and_then(|wait| {
        let replicas = wait.required::<u64>("replicas");
        let timeout = positive(&wait, "timeout");
        wait.deny_unknown();
        Some(WaitReplicas {
            replicas: u32::try_from(replicas?).unwrap_or(u32::MAX),
            timeout: timeout.unwrap_or(Duration::from_millis(100)),
        })
    });
    let url = url?;
    let mut config = RedisConfig::new(url.text().unwrap_or_default())
        .map_err(|error| section.wrong("url", error.to_string()))
        .ok()?;
    if let Some(ca) = ca {
        config = config.with_ca_pem(ca);
    }
    if let Some(prefix) = prefix {
        config = config.with_prefix(prefix);
    }
    if let Some(timeout) = timeout {
        config = config.with_timeout(timeout);
    }
    if let Some(wait) = wait {
        config = config.with_wait_replicas(wait);
    }
    Some(config)
}

fn read_upstreams(root: &Section<'_>) -> BTreeMap<String, Upstream> {
    let mut upstreams = BTreeMap::new();
    if !root.has("upstreams") {
        root.wrong(
            "upstreams",
            "missing; expected at least one table [upstreams.NAME]",
        );
    }
    for (name, section) in root.named_sections("upstreams") {
        let servers = section.required_list::<Servers>("servers");
        let servers: Vec<SocketAddr> = servers.into_iter().flat_map(|servers| servers.0).collect();
        let timeout = positive(&section, "timeout").unwrap_or(DEFAULT_UPSTREAM_TIMEOUT);
        let connect_timeout =
            positive(&section, "connect_timeout").unwrap_or(DEFAULT_CONNECT_TIMEOUT.min(timeout));
        if connect_timeout > timeout {
            section.wrong(
                "connect_timeout",
                "expected at most `timeout`, which includes it",
            );
        }
        section.deny_unknown();
        upstreams.insert(
            name.to_owned(),
            Upstream {
                servers,
                timeout,
                connect_timeout,
            },
        );
    }
    upstreams
}

fn read_routes(
    root: &Section<'_>,
    upstreams: &BTreeMap<String, Upstream>,
    defaults: Defaults,
    warnings: &Report,
) -> Vec<Route> {
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
            .map_or(DEFAULT_UPSTREAM_TIMEOUT, |upstream| upstream.timeout);
        let source = read_source(&section, name, timeout, defaults, warnings);
        section.deny_unknown();
        if let (Some(path), Some(source), Some(upstream)) = (path, source, upstream) {
            routes.push(Route {
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
    upstreams: &BTreeMap<String, Upstream>,
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
        format!("no such table [upstreams.…]; expected one of {known}"),
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
        .and_then(|scheme| Scheme::read(&scheme));
    let unpublished = provider.as_ref().and_then(|provider| match provider {
        Named::Published(_) => None,
        Named::Unpublished(unpublished) => Some(unpublished),
    });
    let provider = provider.as_ref().and_then(|provider| match provider {
        Named::Published(provider) => Some(&**provider),
        Named::Unpublished(_) => None,
    });
    let scheme = match (section.has("provider"), section.has("scheme")) {
        (true, true) if unpublished.is_some() => own_scheme,
        (true, false) if unpublished.is_some() => {
            let title = unpublished.map_or("", Unpublished::title);
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
    let window = read_window(section, scheme.as_ref());
    let verifier = read_verifier(section, scheme.as_ref(), window, warnings);

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
    let wait = section
        .optional("wait")
        .unwrap_or(SourceBuilder::DEFAULT_WAIT);
    let on_conflict = section
        .optional("on_conflict")
        .map_or_else(OnConflict::default, |Word(w)| w);
    let on_duplicate = section
        .optional("on_duplicate")
        .map_or_else(OnDuplicate::default, |Word(w)| w);
    let promise = section
        .optional("delivery")
        .map_or_else(Promise::default, |Word(w)| w);
    let mismatch = section.optional::<MismatchStatus>("mismatch_status");
    let dedupe = section.optional::<bool>("dedupe");

    let mut source = Source::builder(name?, verifier?);
    if let Some(max_entries) = defaults.max_entries {
        source = source.max_entries(max_entries);
    }
    if let Some(provider) = provider {
        source = source.provider(provider);
    }
    if let Some(unpublished) = unpublished {
        source = source.unpublished(unpublished);
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
    let source = source
        .lease(lease.unwrap_or(least_lease))
        .body_limit(body_limit)
        .body_timeout(body_timeout)
        .wait(wait)
        .on_duplicate(on_duplicate)
        .on_conflict(on_conflict)
        .promise(promise);
    Some(source.build())
}

/// A provider that the catalogue knows by name.
enum Named {
    Published(Box<Provider>),
    Unpublished(Unpublished),
}

fn read_provider(section: &Section<'_>) -> Option<Named> {
    let name = section.optional::<String>("provider")?;
    let published = Provider::named(&name).map(Box::new).map(Named::Published);
    let provider = published.or_else(|| Unpublished::named(&name).map(Named::Unpublished));
    if provider.is_none() {
        section.wrong(
            "provider",
            "not in the catalogue, which `hookgate providers` lists; expected one of it, or a \
             table [sources.scheme]",
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

fn read_verifier(
    section: &Section<'_>,
    scheme: Option<&Scheme>,
    window: Option<Window>,
    warnings: &Report,
) -> Option<Verifier> {
    const ALLOW_PUBLISHED: &str = "insecure_allow_published_secrets";
    let keys = read_keys(section);
    let url = section.optional::<String>("url");
    let variant = section.optional::<String>("variant");
    let params = read_params(section);
    let allow_published = section.optional(ALLOW_PUBLISHED).unwrap_or(false);
    if allow_published {
        warnings.add(
            section.key_path(ALLOW_PUBLISHED),
            "secrets that are printed in public documentation pass; anybody can sign with them",
        );
    }
    let mut builder = Verifier::builder(scheme?);
    if allow_published {
        builder = builder.with_insecure_published_secrets();
    }
    if let Some(window) = window {
        builder = builder.window(window);
    }
    if let Some(url) = url {
        builder = builder.url(url);
    }
    if let Some(variant) = variant {
        builder = builder.variant(variant);
    }
    for (name, value) in params {
        builder = builder.param(name, value);
    }
    let mut paths = Vec::with_capacity(keys.len());
    for (path, key) in keys {
        paths.push(path);
        builder = builder.key(key);
    }
    if paths.is_empty() {
        // Why there is none has been said where it was read.
        let nothing_given = section.raw().get("secrets").and_then(Value::as_array);
        if nothing_given.is_some_and(Vec::is_empty) {
            section.wrong(
                "secrets",
                "expected at least one; without a key nothing can verify",
            );
        }
        return None;
    }
    match builder.build() {
        Ok(verifier) => {
            for index in verifier.weak_keys() {
                let message = "decodes to fewer than 16 bytes; a key that short can be guessed";
                warnings.add(&paths[index], message);
            }
            Some(verifier)
        }
        Err(error) => {
            match error {
                BuildError::Secret { index, error } => {
                    section.report().add(&paths[index], error.to_string());
                }
                BuildError::KeyId { index } => section.report().add(
                    format!("{}.id", paths[index]),
                    "expected an id of its own, of 1 to 256 visible ASCII characters",
                ),
                BuildError::UrlMissing | BuildError::UrlMalformed | BuildError::UrlWithoutPath => {
                    section.wrong("url", error.to_string());
                }
                BuildError::ParamMissing { .. } | BuildError::ParamUnknown { .. } => {
                    section.wrong("params", error.to_string());
                }
                BuildError::VariantUnknown { .. } => section.wrong("variant", error.to_string()),
                error => section.wrong("secrets", error.to_string()),
            }
            None
        }
    }
}

/// `params`: what the scheme needs besides secrets, as text, or from where secrets
/// come from.
fn read_params(section: &Section<'_>) -> Vec<(String, String)> {
    let Some(table) = section.section("params") else {
        return Vec::new();
    };
    let mut params = Vec::new();
    for (name, value) in table.raw() {
        let Some(text) = value.as_str() else {
            table.wrong(name, "expected a text, env:NAME or file:PATH");
            continue;
        };
        match SecretRef::parse(text).map(|reference| reference.read()) {
            None => params.push((name.clone(), text.to_owned())),
            Some(Ok(secret)) => match secret.text() {
                Some(text) => params.push((name.clone(), text.to_owned())),
                None => table.wrong(name, "not UTF-8"),
            },
            Some(Err(message)) => table.wrong(name, message),
        }
    }
    params
}

fn positive(section: &Section<'_>, key: &'static str) -> Option<Duration> {
    let duration = section.optional::<Duration>(key)?;
    if duration.is_zero() {
        section.wrong(key, "expected more than nothing");
    }
    Some(duration)
}
