//! The layer's logs and, with the feature `metrics`, its metrics. The gateway uses the same
//! metric names. The span names the source, so the log lines do not.

use hookgate_core::{Secret, Verified};
use hookgate_gate::internal::{LoggedDecision, is_withheld};
use hookgate_gate::{Mode, ObservedVerdict, Reason, Refusal, Source};
use http::StatusCode;
use tracing::Span;
use tracing::field::Empty;

/// Creates the span of one delivery. The events of the inner service belong to it.
pub(crate) fn span() -> Span {
    tracing::info_span!("delivery", source = Empty, tenant = Empty, event = Empty)
}

/// Creates the span of one attempt of a queued delivery.
#[cfg(feature = "queue")]
pub(crate) fn queued_span(entry: &hookgate_queue::EntryInfo) -> Span {
    tracing::info_span!(
        "delivery",
        source = &*entry.source,
        tenant = entry.tenant.as_deref(),
        event = entry.event_id.as_deref(),
        queue_id = entry.id.0,
        attempt = entry.attempts,
    )
}

/// Warns of each key of `source` that is short enough to be guessed.
pub(crate) fn weak_keys(source: &Source) {
    let verifier = source.verifier();
    let ids: Vec<&str> = verifier.key_ids().collect();
    for index in verifier.weak_keys() {
        tracing::warn!(
            source = source.name(),
            tenant = source.tenant(),
            key = ids[index],
            "a secret decodes to fewer than {} bytes and could be guessed; expected a longer secret",
            Secret::WEAK_LEN
        );
    }
}

/// Records the source that a check goes by.
pub(crate) fn resolved(source: &Source) {
    let span = Span::current();
    span.record("source", source.name());
    if let Some(tenant) = source.tenant() {
        span.record("tenant", tenant);
    }
}

/// Records the event and the key of a verified delivery.
pub(crate) fn verified(source: &Source, verified: &Verified) {
    if let Some(id) = verified.id() {
        Span::current().record("event", id);
    }
    counters::verified(source, verified);
}

/// Records the response of the inner service.
pub(crate) fn forwarded(source: &Source, status: StatusCode, attempt: u32) {
    tracing::debug!(status = status.as_u16(), attempt, "forwarded");
    // An observed delivery is counted by its verdict, see `observed`, and a delivery whose
    // response is withheld as failed, see `withheld`.
    if source.mode() == Mode::Enforce && !is_withheld(status) {
        counters::delivery(source.name(), "forwarded");
    }
}

/// Warns that a handler has not accepted an event.
pub(crate) fn not_accepted(status: StatusCode) {
    if status.is_client_error() {
        tracing::warn!(
            status = status.as_u16(),
            "the handler rejected the event, so it is not done; many senders do not retry after a \
             4xx, and a queue gives up after three: respond with 2xx to ignore an event, and with \
             5xx to get it again"
        );
    } else if !status.is_success() {
        tracing::warn!(
            status = status.as_u16(),
            "the handler failed, so the event is not done; the next attempt calls the handler again"
        );
    }
}

pub(crate) fn duplicate(source: &Source) {
    LoggedDecision::Duplicate.log(None);
    counters::delivery(source.name(), "duplicate");
}

#[cfg(feature = "queue")]
pub(crate) fn queued(source: &Source) {
    tracing::debug!("stored in the queue");
    counters::delivery(source.name(), "queued");
}

pub(crate) fn handshake(source: &Source) {
    LoggedDecision::Handshake.log(None);
    counters::delivery(source.name(), "handshake");
}

/// Records a refusal. The source is absent if its lookup failed.
pub(crate) fn refused(source: Option<&Source>, refusal: Refusal) {
    LoggedDecision::Refused(refusal).log(None);
    counters::count_refusal(source.map_or("", Source::name), refusal.reason());
}

/// Records that the sender gets 502 instead of the inner service's response.
pub(crate) fn withheld(source: &Source, status: StatusCode) {
    LoggedDecision::Withheld(status).log(None);
    counters::count_refusal(source.name(), Reason::UpstreamFailed);
}

/// Records the verdict about a request that its source only observes.
pub(crate) fn observed(source: &Source, verdict: ObservedVerdict) {
    LoggedDecision::Observed(verdict).log(None);
    let outcome = match verdict {
        ObservedVerdict::Duplicate => "duplicate",
        ObservedVerdict::Handshake => "handshake",
        ObservedVerdict::Refused(refusal) => {
            return counters::count_refusal(source.name(), refusal.reason());
        }
        _ => "forwarded",
    };
    counters::delivery(source.name(), outcome);
}

#[cfg(not(feature = "metrics"))]
mod counters {
    use hookgate_core::Verified;
    use hookgate_gate::{Reason, Source};

    pub(super) fn verified(_: &Source, _: &Verified) {}
    pub(super) fn delivery(_: &str, _: &'static str) {}
    pub(super) fn count_refusal(_: &str, _: Reason) {}
}

#[cfg(feature = "metrics")]
mod counters {
    use hookgate_core::Verified;
    use hookgate_gate::{Reason, Source};
    use metrics::{counter, histogram};

    /// Counts the key that matched, and records the size of the body.
    pub(super) fn verified(source: &Source, verified: &Verified) {
        let (source, key) = (source.name().to_owned(), verified.key_id().to_owned());
        counter!("hookgate_key_matches_total", "source" => source, "key" => key).increment(1);
        histogram!("hookgate_body_bytes").record(verified.body().len() as f64);
    }

    pub(super) fn delivery(source: &str, outcome: &'static str) {
        let source = source.to_owned();
        counter!("hookgate_deliveries_total", "source" => source, "outcome" => outcome)
            .increment(1);
    }

    /// Counts a refusal by its reason, and the delivery by its outcome, which for some reasons
    /// is not `refused`.
    pub(super) fn count_refusal(source: &str, reason: Reason) {
        let (outcome, reasons) = match reason {
            Reason::InFlight => ("busy", "hookgate_refused_total"),
            Reason::Duplicate => ("duplicate", "hookgate_refused_total"),
            reason if reason.is_failure() => ("failed", "hookgate_failed_total"),
            _ => ("refused", "hookgate_refused_total"),
        };
        delivery(source, outcome);
        let (source, reason) = (source.to_owned(), reason.label());
        counter!(reasons, "source" => source, "reason" => reason).increment(1);
    }
}
