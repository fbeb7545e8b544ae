//! Reads how a source uses the queue: its keys `queue`, `retry` and `order`.

use std::time::Duration;

use hookgate_core::internal::{Section, duration_text};
use hookgate_gate::{DeliveryGuarantee, Mode, QueueMode, QueuePolicy, Source};
use hookgate_queue::{Order, RetrySchedule};

use super::positive_duration;
use super::source_policy::keyword;
use crate::config::values::Factor;
use crate::config::{HealthProbe, QueueConfig, QueueStoreConfig, UpstreamConfig};

/// Reads the keys. `queue` is the table `[queue]`.
pub(super) fn read(section: &Section<'_>, queue: Option<&QueueConfig>) -> QueuePolicy {
    let policy = QueuePolicy {
        mode: keyword(section, "queue"),
        schedule: read_schedule(section),
        order: keyword(section, "order"),
    };
    if queue.is_none() {
        let has_mode = policy.mode != QueueMode::Off;
        for (key, is_set) in [
            ("queue", has_mode),
            ("retry", section.has("retry")),
            ("order", section.has("order")),
        ] {
            if is_set {
                section.wrong(
                    key,
                    "has no effect without a table [queue]; add the table, or remove this key",
                );
            }
        }
    }
    policy
}

fn read_schedule(section: &Section<'_>) -> RetrySchedule {
    let mut schedule = RetrySchedule::DEFAULT;
    let Some(retry) = section.section("retry") else {
        return schedule;
    };
    let read =
        |key: &'static str, default: Duration| positive_duration(&retry, key).unwrap_or(default);
    schedule.first = read("first", schedule.first);
    schedule.max = read("max", schedule.max.max(schedule.first));
    schedule.give_up = read("give_up", schedule.give_up.max(schedule.max));
    if let Some(Factor(factor)) = retry.optional("factor") {
        schedule.factor = factor;
    }
    retry.deny_unknown();
    for (key, value, least, name) in [
        ("max", schedule.max, schedule.first, "first"),
        ("give_up", schedule.give_up, schedule.first, "first"),
    ] {
        if value < least {
            let least = duration_text(least);
            retry.wrong(
                key,
                format!("shorter than `{name}`; expected at least {least}"),
            );
        }
    }
    schedule
}

/// Checks that the queue suits the other settings of the source.
pub(super) fn check(
    section: &Section<'_>,
    source: &Source,
    upstream: Option<&UpstreamConfig>,
    queue: Option<&QueueConfig>,
) {
    let policy = source.queue();
    if policy.mode == QueueMode::Off {
        return;
    }
    if source.mode() == Mode::Observe {
        section.wrong(
            "queue",
            "not allowed with mode = \"observe\", which forwards requests that did not verify; \
             expected \"off\", or mode = \"enforce\"",
        );
    }
    if source.delivery_guarantee() == DeliveryGuarantee::AtMostOnce {
        section.wrong(
            "queue",
            "not allowed with delivery = \"at_most_once\", because a queue delivers at least \
             once; expected \"off\", or delivery = \"at_least_once\"",
        );
    }
    let health = upstream.and_then(|upstream| upstream.health.as_ref());
    if let Some(HealthProbe::Grpc { .. }) = health.map(|health| &health.probe) {
        section.wrong(
            "queue",
            "the upstream has a health check by gRPC, and gRPC calls cannot be stored; expected \
             \"off\", or a health check with `path`",
        );
    }
    if policy.mode == QueueMode::Always && source.answer_matters() {
        section.wrong(
            "queue",
            "the provider acts on the content of the response, so the upstream must respond to \
             it; expected \"on_failure\" or \"off\"",
        );
    }
    let is_nats = queue.is_some_and(|queue| matches!(queue.store, QueueStoreConfig::Nats(_)));
    if policy.order == Order::Source && policy.mode == QueueMode::OnFailure && is_nats {
        section.wrong(
            "order",
            "with queue.store = \"nats\", a direct attempt could overtake a delivery that waits; \
             expected queue = \"always\", or order = \"any\"",
        );
    }
}
