//! Reads the settings of a source that do not depend on how its deliveries are signed: limits,
//! retention, lease, and the handling of duplicates.

use std::time::Duration;

use hookgate_core::Window;
use hookgate_core::internal::{FromValue, Report, Section, duration_text};
use hookgate_gate::{
    BodyLimit, Dedupe, DeliveryGuarantee, Mode, OnConflict, OnDuplicate, QueueMode, SourceBuilder,
};

use super::limits::Defaults;
use super::positive_duration;
use crate::config::LONGEST_STORING;
use crate::config::values::{Keyword, MismatchStatus, Size};

/// The lease is at least this much longer than the upstream's timeout. The margin covers the
/// commit of the claim and clocks that run at different speeds.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// The settings of one source. `None` leaves the default of [`SourceBuilder`].
pub(super) struct SourcePolicy {
    max_entries: Option<u64>,
    retention: Option<Duration>,
    lease: Duration,
    body_limit: Option<BodyLimit>,
    body_timeout: Duration,
    duplicate_wait: Duration,
    on_conflict: OnConflict,
    on_duplicate: OnDuplicate,
    delivery_guarantee: DeliveryGuarantee,
    mismatch_status: MismatchStatus,
    dedupe: Option<Dedupe>,
    mode: Mode,
}

impl SourcePolicy {
    /// Reads the settings from the table of a source.
    pub(super) fn read(
        section: &Section<'_>,
        window: Option<Window>,
        upstream_timeout: Duration,
        queue: QueueMode,
        defaults: Defaults,
        warnings: &Report,
    ) -> Self {
        Self {
            max_entries: defaults.max_entries,
            retention: read_retention(section, window),
            lease: read_lease(section, upstream_timeout, queue),
            body_limit: section
                .optional("body")
                .map(|Size(limit)| limit)
                .or(defaults.body_limit),
            body_timeout: positive_duration(section, "body_timeout")
                .unwrap_or(defaults.body_timeout),
            duplicate_wait: section
                .optional("duplicate_wait")
                .unwrap_or(SourceBuilder::DEFAULT_DUPLICATE_WAIT),
            on_conflict: keyword(section, "on_conflict"),
            on_duplicate: keyword(section, "on_duplicate"),
            delivery_guarantee: keyword(section, "delivery"),
            mismatch_status: section
                .optional("mismatch_status")
                .unwrap_or(MismatchStatus::Refuse),
            dedupe: section.optional("dedupe").map(|Keyword(dedupe)| dedupe),
            mode: read_mode(section, warnings),
        }
    }

    /// Sets the settings of `source`.
    pub(super) fn apply(self, mut source: SourceBuilder) -> SourceBuilder {
        if let Some(max_entries) = self.max_entries {
            source = source.max_entries(max_entries);
        }
        if let Some(retention) = self.retention {
            source = source.retention(retention);
        }
        if let Some(limit) = self.body_limit {
            source = source.body_limit(limit);
        }
        if let Some(dedupe) = self.dedupe {
            source = source.dedupe(dedupe);
        }
        if let MismatchStatus::Retry = self.mismatch_status {
            source = source.retry_on_mismatch();
        }
        if self.mode == Mode::Observe {
            source = source.with_insecure_observe_mode();
        }
        source
            .lease(self.lease)
            .body_timeout(self.body_timeout)
            .duplicate_wait(self.duplicate_wait)
            .on_duplicate(self.on_duplicate)
            .on_conflict(self.on_conflict)
            .delivery_guarantee(self.delivery_guarantee)
    }
}

/// Reads a key whose value is a keyword or a status code.
pub(super) fn keyword<T: Default>(section: &Section<'_>, key: &'static str) -> T
where
    Keyword<T>: FromValue,
{
    section
        .optional(key)
        .map_or_else(T::default, |Keyword(value)| value)
}

/// Reads `retention`, which must be long enough to recognise every replay inside the window.
fn read_retention(section: &Section<'_>, window: Option<Window>) -> Option<Duration> {
    let retention = section.optional::<Duration>("retention")?;
    let shortest = window.unwrap_or_default().security_retention();
    if retention < shortest {
        section.wrong(
            "retention",
            format!(
                "shorter than the time in which the window accepts a replay; expected at least {}",
                duration_text(shortest)
            ),
        );
    }
    Some(retention)
}

/// Reads `lease`, which must be longer than the upstream's timeout and the time of storing.
fn read_lease(section: &Section<'_>, upstream_timeout: Duration, queue: QueueMode) -> Duration {
    let margin = match queue {
        QueueMode::Off => LEASE_MARGIN,
        QueueMode::OnFailure | QueueMode::Always => LEASE_MARGIN + LONGEST_STORING,
    };
    let shortest = upstream_timeout + margin;
    let Some(lease) = positive_duration(section, "lease") else {
        return shortest;
    };
    if lease < shortest {
        section.wrong(
            "lease",
            format!(
                "a delivery could still be in flight when its lease ends; expected at least {}, \
                 the upstream's timeout plus {}",
                duration_text(shortest),
                duration_text(margin)
            ),
        );
    }
    lease
}

fn read_mode(section: &Section<'_>, warnings: &Report) -> Mode {
    let mode = keyword(section, "mode");
    if mode == Mode::Observe {
        warnings.add(
            section.key_path("mode"),
            "observe mode forwards forged and replayed deliveries too; use it for a trial only",
        );
    }
    mode
}
