//! Reads the table `[replay]`, and warns of replays that a restart lets through.

use std::time::Duration;

use hookgate_core::internal::{Report, Section, Value, duration_text};
use hookgate_gate::{BootFence, Source};
use hookgate_replay::redis::WaitReplicas;
use hookgate_replay::{DiskStore, Durability, MemoryStore, RedisConfig};

use super::positive_duration;
use crate::config::secrets::SecretRef;
use crate::config::store::StoreConfig;
use crate::config::values::{Keyword, StoreKind};
use crate::config::{Inputs, ReplayConfig, RouteConfig, listed};

/// The keys of `[replay]` that only one kind of store has.
const KEYS_OF_ONE_KIND: [(&str, StoreKind); 7] = [
    ("path", StoreKind::Disk),
    ("durability", StoreKind::Disk),
    ("url", StoreKind::Redis),
    ("ca", StoreKind::Redis),
    ("prefix", StoreKind::Redis),
    ("timeout", StoreKind::Redis),
    ("wait_replicas", StoreKind::Redis),
];
/// How long a claim waits for replicas, unless `wait_replicas.timeout` is set.
const DEFAULT_REPLICA_TIMEOUT: Duration = Duration::from_millis(100);

/// Reads the store and the boot fence. The second value is `max_entries_per_source`.
pub(super) fn read(
    root: &Section<'_>,
    inputs: Inputs,
    warnings: &Report,
) -> (ReplayConfig, Option<u64>) {
    let Some(section) = root.section("replay") else {
        let replay = ReplayConfig {
            store: memory(None),
            boot_fence: BootFence::On,
        };
        return (replay, None);
    };
    let kind = section.optional::<StoreKind>("store").unwrap_or_default();
    refuse_keys_of_other_kinds(&section, kind);
    let max_entries = read_entry_limit(&section, "max_entries", kind);
    let max_entries_per_source = read_entry_limit(&section, "max_entries_per_source", kind);
    let store = match kind {
        StoreKind::Memory => memory(max_entries),
        StoreKind::Disk => read_disk(&section, max_entries),
        // `read_redis` has reported the mistake if it returns `None`.
        StoreKind::Redis => {
            read_redis(&section, inputs).map_or_else(|| memory(None), StoreConfig::Redis)
        }
    };
    let boot_fence = read_boot_fence(&section, kind, warnings);
    section.deny_unknown();
    (ReplayConfig { store, boot_fence }, max_entries_per_source)
}

fn memory(max_entries: Option<u64>) -> StoreConfig {
    StoreConfig::Memory {
        max_entries: max_entries.unwrap_or(MemoryStore::DEFAULT_MAX_ENTRIES),
    }
}

fn refuse_keys_of_other_kinds(section: &Section<'_>, kind: StoreKind) {
    for (key, owner) in KEYS_OF_ONE_KIND {
        // `has` marks the key as known, so it is not reported a second time as unknown.
        if kind != owner && section.has(key) {
            section.wrong(
                key,
                format!(
                    "allowed only with store = \"{}\"; remove this key, or change `store`",
                    owner.name()
                ),
            );
        }
    }
}

/// Reads a maximum number of entries, which a Redis store does not have.
fn read_entry_limit(section: &Section<'_>, key: &'static str, kind: StoreKind) -> Option<u64> {
    let limit = section.optional::<u64>(key)?;
    if limit == 0 {
        section.wrong(key, "expected at least 1");
    }
    if kind == StoreKind::Redis {
        section.wrong(
            key,
            "not allowed with store = \"redis\"; set `maxmemory` in the Redis server instead",
        );
    }
    Some(limit)
}

fn read_disk(section: &Section<'_>, max_entries: Option<u64>) -> StoreConfig {
    let path = section.optional::<String>("path");
    if path.as_ref().is_none_or(String::is_empty) {
        section.wrong("path", "missing; expected a directory on a local disk");
    }
    StoreConfig::Disk {
        path: path.unwrap_or_default().into(),
        durability: section
            .optional("durability")
            .map_or_else(Durability::default, |Keyword(durability)| durability),
        max_entries: max_entries.unwrap_or(DiskStore::DEFAULT_MAX_ENTRIES),
    }
}

/// Reads `boot_fence`. The default is true for the memory store only, because the other stores
/// remember events across a restart.
fn read_boot_fence(section: &Section<'_>, kind: StoreKind, warnings: &Report) -> BootFence {
    let is_up = section
        .optional("boot_fence")
        .unwrap_or(kind == StoreKind::Memory);
    if !is_up && kind == StoreKind::Memory {
        warnings.add(
            "replay.boot_fence",
            "a restart clears the memory store, and without the boot fence replays of earlier \
             deliveries are accepted; expected true, or another `store`",
        );
    }
    if is_up { BootFence::On } else { BootFence::Off }
}

/// Warns of the sources whose replays pass the boot fence after a restart.
///
/// The fence compares the signed timestamp with this machine's clock at the start. It cannot
/// recognise a delivery without a timestamp, or one from a sender whose clock is ahead.
pub(super) fn warn_of_restarts(replay: &ReplayConfig, routes: &[RouteConfig], warnings: &Report) {
    if !matches!(replay.store, StoreConfig::Memory { .. }) || replay.boot_fence == BootFence::Off {
        return;
    }
    let names_of = |is_affected: &dyn Fn(&Source) -> bool| {
        let sources = routes.iter().map(|route| &route.source);
        let deduplicated = sources.filter(|source| source.refuses_replays());
        let affected = deduplicated.filter(|source| is_affected(source));
        listed(&affected.map(Source::name).collect::<Vec<_>>())
    };
    let signs_time = |source: &Source| source.verifier().variants().all(|v| v.window().is_some());
    let without_time = names_of(&|source| !signs_time(source));
    let clock_ahead =
        names_of(&|source| signs_time(source) && !source.verifier().window().future().is_zero());
    warn_of_long_windows(routes, warnings);
    let cases = [
        (without_time, "whose schemes sign no timestamp"),
        (clock_ahead, "if the sender's clock was ahead"),
    ];
    let cases: Vec<String> = cases
        .into_iter()
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, condition)| format!("{names} ({condition})"))
        .collect();
    if !cases.is_empty() {
        warnings.add(
            "replay.store",
            format!(
                "a restart clears the memory store, and the boot fence does not stop every replay \
                 of earlier deliveries. Affected: {}. Expected \"disk\" or \"redis\" in production",
                cases.join("; ")
            ),
        );
    }
}

/// Warns of the sources whose retries the boot fence refuses for a long time after a restart.
///
/// A provider that signs an event once needs a long window. Its retries carry the time of the
/// event, which is before the restart.
fn warn_of_long_windows(routes: &[RouteConfig], warnings: &Report) {
    let long: Vec<String> = routes
        .iter()
        .filter_map(|route| {
            let verifier = route.source.verifier();
            let signs_time = verifier.variants().any(|v| v.window().is_some());
            let past = verifier.window().past();
            let text = duration_text(past);
            (signs_time && past > LONG_WINDOW).then(|| format!("{} ({text})", route.source.name()))
        })
        .collect();
    if !long.is_empty() {
        warnings.add(
            "replay.store",
            format!(
                "after a restart, the boot fence answers 503 to retries of earlier events for as \
                 long as the window of their source. Affected: {}. Expected \"disk\" or \"redis\"",
                listed(&long.iter().map(String::as_str).collect::<Vec<_>>())
            ),
        );
    }
}

/// The longest window of a provider that signs each retry anew.
const LONG_WINDOW: Duration = Duration::from_secs(15 * 60);

/// Reads the connection to a Redis or Valkey server. Returns `None` after reporting a mistake.
fn read_redis(section: &Section<'_>, inputs: Inputs) -> Option<RedisConfig> {
    let url = read_server_url(section, inputs, "redis://offline.invalid");
    let ca = read_ca(section, inputs);
    let prefix = section.optional::<String>("prefix");
    let timeout = positive_duration(section, "timeout");
    let wait_replicas = read_wait_replicas(section);
    let url = url?;
    let mut config = RedisConfig::new(&url)
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
    if let Some(wait_replicas) = wait_replicas {
        config = config.with_wait_replicas(wait_replicas);
    }
    Some(config)
}

/// Reads the file with the authorities to trust. Returns `None` after reporting a mistake, too.
pub(super) fn read_ca(section: &Section<'_>, inputs: Inputs) -> Option<Vec<u8>> {
    let path = section
        .optional::<String>("ca")
        .filter(|_| inputs.are_read())?;
    let read = std::fs::read(&path);
    read.map_err(|error| section.wrong("ca", format!("cannot read {path}: {error}")))
        .ok()
}

/// Reads the key `url`: a reference, or the URL of a server without a user, a password or a token.
/// Returns `assumed` for a reference if `inputs` are assumed, and `None` after reporting a mistake.
pub(super) fn read_server_url(
    section: &Section<'_>,
    inputs: Inputs,
    assumed: &str,
) -> Option<String> {
    let text = section.value("url").and_then(Value::as_str);
    match text.filter(|text| text.contains("://")) {
        Some(url) if url.contains('@') => {
            section.wrong(
                "url",
                "has a user or a password; expected env:NAME or file:PATH for such a URL, because \
                 the configuration must not contain a secret",
            );
            None
        }
        Some(url) => Some(url.to_owned()),
        None => read_reference(section, "url", inputs, assumed),
    }
}

/// Reads the text that the reference at `key` leads to. Returns `assumed` if `inputs` are assumed,
/// and `None` after reporting a mistake.
pub(super) fn read_reference(
    section: &Section<'_>,
    key: &'static str,
    inputs: Inputs,
    assumed: &str,
) -> Option<String> {
    let secret = match section.value(key).and_then(Value::as_str) {
        None => Err(format!("missing; expected {}", SecretRef::EXPECTED)),
        Some(text) => match SecretRef::parse(text) {
            None => Err(format!("expected {}", SecretRef::EXPECTED)),
            Some(_) if !inputs.are_read() => return Some(assumed.to_owned()),
            Some(reference) => reference.read(),
        },
    };
    let secret = secret.map_err(|message| section.wrong(key, message)).ok()?;
    Some(secret.text().unwrap_or_default().to_owned())
}

fn read_wait_replicas(section: &Section<'_>) -> Option<WaitReplicas> {
    let table = section.section("wait_replicas")?;
    let replicas = table.required::<u64>("replicas");
    let timeout = positive_duration(&table, "timeout");
    table.deny_unknown();
    Some(WaitReplicas::new(
        u32::try_from(replicas?).unwrap_or(u32::MAX),
        timeout.unwrap_or(DEFAULT_REPLICA_TIMEOUT),
    ))
}
