//! Reads the table `[queue]`, and checks that the replay store suits it.

use std::time::Duration;

use hookgate_core::internal::{Report, Section, Value};
use hookgate_gate::QueueMode;
use hookgate_queue::{DiskQueue, Durability, NatsConfig};

use super::positive_duration;
use super::replay::{read_ca, read_reference, read_server_url};
use crate::config::values::{KeepDead, Keyword, QueueKind, Space, StreamName};
use crate::config::{
    DiskQueueConfig, Inputs, NatsQueueConfig, QueueConfig, QueueStoreConfig, RouteConfig,
};

/// A shorter time would fail calls that are only slow.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// The keys of `[queue]` that only one kind of queue has.
const KEYS_OF_ONE_KIND: [(&str, QueueKind); 10] = [
    ("path", QueueKind::Disk),
    ("durability", QueueKind::Disk),
    ("max_bytes_per_source", QueueKind::Disk),
    ("keep_delivered", QueueKind::Disk),
    ("url", QueueKind::Nats),
    ("credentials", QueueKind::Nats),
    ("ca", QueueKind::Nats),
    ("timeout", QueueKind::Nats),
    ("stream", QueueKind::Nats),
    ("replicas", QueueKind::Nats),
];

/// Reads the table, if it exists.
pub(super) fn read(root: &Section<'_>, inputs: Inputs) -> Option<QueueConfig> {
    let section = root.section("queue")?;
    let kind = section.required::<QueueKind>("store")?;
    for (key, owner) in KEYS_OF_ONE_KIND {
        // `has` marks the key as known, so it is not reported a second time as unknown.
        if kind != owner && section.has(key) {
            let owner = owner.name();
            section.wrong(
                key,
                format!(
                    "allowed only with store = \"{owner}\"; remove this key, or change `store`"
                ),
            );
        }
    }
    let max_bytes = section.optional("max_bytes").map(|Space(bytes)| bytes);
    let store = match kind {
        QueueKind::Disk => QueueStoreConfig::Disk(read_disk(&section, max_bytes)),
        QueueKind::Nats => QueueStoreConfig::Nats(read_nats(&section, inputs, max_bytes)),
    };
    let keep_dead = section.optional("keep_dead");
    let keep_dead = keep_dead.and_then(|KeepDead(duration)| duration);
    section.deny_unknown();
    check_replay_store(root, kind);
    Some(QueueConfig {
        store,
        keep_dead,
        largest_body: 0,
    })
}

fn read_disk(section: &Section<'_>, max_bytes: Option<u64>) -> DiskQueueConfig {
    let path = section.optional::<String>("path");
    if path.as_ref().is_none_or(String::is_empty) {
        section.wrong("path", "missing; expected a directory on a local disk");
    }
    let max_bytes = max_bytes.unwrap_or(DiskQueue::DEFAULT_MAX_BYTES);
    let per_source = section.optional("max_bytes_per_source");
    let per_source =
        per_source.map_or_else(|| DiskQueue::default_share(max_bytes), |Space(bytes)| bytes);
    if per_source > max_bytes {
        section.wrong(
            "max_bytes_per_source",
            "larger than `max_bytes`; expected at most that",
        );
    }
    DiskQueueConfig {
        path: path.unwrap_or_default().into(),
        durability: section
            .optional("durability")
            .map_or_else(Durability::default, |Keyword(durability)| durability),
        max_bytes,
        max_bytes_per_source: per_source,
        keep_delivered: section
            .optional::<Duration>("keep_delivered")
            .unwrap_or_default(),
    }
}

fn read_nats(section: &Section<'_>, inputs: Inputs, max_bytes: Option<u64>) -> NatsQueueConfig {
    let url = read_server_url(section, inputs, "nats://offline.invalid");
    let credentials = match section.has("credentials") {
        true => read_reference(section, "credentials", inputs, "").filter(|_| inputs.are_read()),
        false => None,
    };
    let replicas = section.optional::<u64>("replicas").unwrap_or(1);
    // JetStream needs a majority of the replicas for each delivery.
    if !matches!(replicas, 1 | 3 | 5) {
        section.wrong("replicas", "expected 1, 3 or 5");
    }
    let has_url = url.is_some();
    let timeout = positive_duration(section, "timeout");
    if timeout.is_some_and(|timeout| timeout < MIN_TIMEOUT) {
        section.wrong("timeout", "expected at least 100ms");
    }
    let nats = NatsQueueConfig {
        url: url.unwrap_or_default(),
        credentials,
        ca_pem: read_ca(section, inputs),
        timeout,
        stream: section.optional("stream").map_or_else(
            || NatsConfig::DEFAULT_STREAM.to_owned(),
            |StreamName(name)| name,
        ),
        replicas: usize::try_from(replicas).unwrap_or(1),
        max_bytes,
    };
    if let (true, Err(error)) = (has_url, nats.servers()) {
        section.wrong("url", error.to_string());
    }
    nats
}

/// Checks that the replay store outlives the process, and that every gateway of the queue has it.
fn check_replay_store(root: &Section<'_>, kind: QueueKind) {
    let replay = root.raw().get("replay");
    let store = replay.and_then(|replay| replay.get("store"));
    let store = store.and_then(Value::as_str).unwrap_or("memory");
    let message = match (kind, store) {
        (QueueKind::Disk, "memory") => {
            "a restart clears the memory store, and the events of waiting deliveries with it; \
             expected \"disk\" or \"redis\" with a table [queue]"
        }
        (QueueKind::Nats, "memory" | "disk") => {
            "several gateways can share a queue in NATS, and they must also share the replay \
             store; expected \"redis\" with queue.store = \"nats\""
        }
        _ => return,
    };
    root.report().add("replay.store", message);
}

/// Checks that the bodies of every source fit, and stores the size of the largest one.
pub(super) fn check_bodies(queue: &mut QueueConfig, routes: &[RouteConfig], report: &Report) {
    let queued = routes
        .iter()
        .filter(|route| route.source.queue().mode != QueueMode::Off);
    let Some(largest) = queued.max_by_key(|route| route.source.body_limit()) else {
        return;
    };
    let limit = largest.source.body_limit();
    queue.largest_body = limit.get() as u64;
    if let QueueStoreConfig::Disk(disk) = &queue.store
        && queue.largest_body > disk.max_bytes_per_source
    {
        let name = largest.source.name();
        report.add(
            "queue.max_bytes_per_source",
            format!(
                "smaller than the largest body of source {name}, which would never fit; expected \
                 more than {limit}, its `body` limit"
            ),
        );
    }
}
