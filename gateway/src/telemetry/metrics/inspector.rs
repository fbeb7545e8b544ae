//! The metrics of the inspector.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Result};

use super::registry::Registrar;
use super::{gauge_value, raise_to};
use crate::inspector::Inspector;

/// A change that an operator makes with the inspector.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Resend,
    Forget,
    /// Makes queued deliveries due now.
    Retry,
    /// Deletes queued deliveries.
    Drop,
}

impl Act {
    const ALL: [Self; 4] = [Self::Resend, Self::Forget, Self::Retry, Self::Drop];

    /// Returns the name in metrics and logs.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Resend => "resend",
            Self::Forget => "forget",
            Self::Retry => "retry",
            Self::Drop => "drop",
        }
    }
}

/// How an act ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ActResult {
    Done,
    /// The gateway refused it, and nothing has changed.
    Refused,
    /// The upstream, the replay store or the queue failed.
    Failed,
}

/// The metrics of the inspector. They stay zero without one.
#[derive(Debug)]
pub(super) struct InspectorMetrics {
    records_dropped: IntCounter,
    history_dropped: IntCounter,
    captures_dropped: IntCounter,
    capture_files_dropped: IntCounter,
    capture_bytes: IntGauge,
    streams: IntGauge,
    acts: IntCounterVec,
}

impl InspectorMetrics {
    pub(super) fn new(registrar: &Registrar<'_>) -> Result<Self> {
        let metrics = Self {
            records_dropped: registrar.counter(
                "hookgate_inspector_records_dropped_total",
                "Requests that the inspector did not record because its queue was full.",
            )?,
            history_dropped: registrar.counter(
                "hookgate_inspector_history_dropped_total",
                "Records that the history on disk lacks: too many, or the disk failed.",
            )?,
            captures_dropped: registrar.counter(
                "hookgate_inspector_captures_dropped_total",
                "Requests that were not captured because there was no memory.",
            )?,
            capture_files_dropped: registrar.counter(
                "hookgate_inspector_capture_files_dropped_total",
                "Captures that are not on disk: too many, or the disk failed.",
            )?,
            capture_bytes: registrar.gauge(
                "hookgate_inspector_capture_bytes",
                "Memory of the captured requests in bytes.",
            )?,
            streams: registrar.gauge(
                "hookgate_inspector_streams",
                "Open event streams of the inspector.",
            )?,
            acts: registrar.counters(
                "hookgate_inspector_acts_total",
                "Acts of operators by result: done, refused or failed.",
                &["act", "result"],
            )?,
        };
        for act in Act::ALL {
            for result in [ActResult::Done, ActResult::Refused, ActResult::Failed] {
                metrics.act(act, result);
            }
        }
        Ok(metrics)
    }

    /// Counts an act.
    pub(super) fn count_act(&self, act: Act, result: ActResult) {
        self.act(act, result).inc();
    }

    fn act(&self, act: Act, result: ActResult) -> IntCounter {
        let result = match result {
            ActResult::Done => "done",
            ActResult::Refused => "refused",
            ActResult::Failed => "failed",
        };
        self.acts.with_label_values(&[act.label(), result])
    }

    /// Sets the metrics that the inspector counts itself.
    pub(super) fn set(&self, inspector: &Inspector) {
        let stats = inspector.stats();
        raise_to(&self.records_dropped, stats.records_dropped);
        raise_to(&self.history_dropped, stats.history_dropped);
        raise_to(&self.captures_dropped, stats.captures.dropped);
        let files = stats.captures.files_dropped + stats.captures.file_errors;
        raise_to(&self.capture_files_dropped, files);
        self.capture_bytes.set(gauge_value(stats.captures.bytes));
        self.streams.set(gauge_value(inspector.open_streams()));
    }
}
