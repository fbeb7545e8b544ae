use std::time::Duration;

use hookgate_core::internal::{Report, Section};
use hookgate_gate::{BootFence, Dedupe, Source};
use hookgate_replay::redis::WaitReplicas;
use hookgate_replay::{DiskStore, Durability, MemoryStore, RedisConfig};
use toml::Value;

use super::positive;
use crate::config::secrets::SecretRef;
use crate::config::values::{Keyword, StoreKind};
use crate::config::{ReplayConfig, RouteConfig};
use crate::run::store::StoreConfig;

/// Where events are remembered, and how many of one source at most.
pub(super) fn read(root: &Section<'_>, warnings: &Report) -> (ReplayConfig, Option<u64>) {
    let memory = |max_entries: Option<u64>| StoreConfig::Memory {
        max_entries: max_entries.unwrap_or(MemoryStore::DEFAULT_MAX_ENTRIES),
    };
    let Some(section) = root.section("replay") else {
        let replay = ReplayConfig {
            store: memory(None),
            boot_fence: BootFence::On,
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
                durability: durability.map_or_else(Durability::default, |Keyword(w)| w),
                max_entries: max_entries.unwrap_or(DiskStore::DEFAULT_MAX_ENTRIES),
            }
        }
        // One that is wrong has been noted.
        StoreKind::Redis => read_redis(&section).map_or_else(|| memory(None), StoreConfig::Redis),
    };
    // What remembers across restarts needs no fence.
    let fenced = section.optional("boot_fence");
    let boot_fence = match fenced.unwrap_or(kind == StoreKind::Memory) {
        true => BootFence::On,
        false => BootFence::Off,
    };
    if kind == StoreKind::Memory && boot_fence == BootFence::Off {
        warnings.add(
            "replay.boot_fence",
            "replays pass after a restart: what was delivered before is forgotten, and nothing \
             keeps it out",
        );
    }
    section.deny_unknown();
    (ReplayConfig { store, boot_fence }, per_source)
}

/// Says whose replays pass after a restart although the boot fence is up: it goes by
/// timestamps, and by this machine's clock.
pub(super) fn warn_of_restarts(replay: &ReplayConfig, routes: &[RouteConfig], warnings: &Report) {
    if !matches!(replay.store, StoreConfig::Memory { .. }) || replay.boot_fence == BootFence::Off {
        return;
    }
    let names = |is_so: &dyn Fn(&Source) -> bool| {
        let sources = routes.iter().map(|route| &route.source);
        let protected = sources.filter(|source| source.dedupe() == Dedupe::On);
        let names = protected.filter(|source| is_so(source)).map(Source::name);
        names.collect::<Vec<_>>().join(", ")
    };
    let is_timed = |source: &Source| source.verifier().variants().all(|v| v.window().is_some());
    let untimed = names(&|source| !is_timed(source));
    let ahead = names(&|source| is_timed(source) && !source.verifier().window().future().is_zero());
    let cases = [
        (untimed, ", whose schemes sign no timestamp"),
        (ahead, ", if they were signed by a clock that is ahead"),
    ];
    let cases: Vec<String> = cases
        .into_iter()
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, why)| names + why)
        .collect();
    if !cases.is_empty() {
        warnings.add(
            "replay.store",
            format!(
                "a restart forgets what was delivered, and the boot fence does not keep out all \
                 replays of it: not those of {}; expected \"disk\" or \"redis\" in production",
                cases.join("; nor those of ")
            ),
        );
    }
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
        Some(WaitReplicas::new(
            u32::try_from(replicas?).unwrap_or(u32::MAX),
            timeout.unwrap_or(Duration::from_millis(100)),
        ))
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
