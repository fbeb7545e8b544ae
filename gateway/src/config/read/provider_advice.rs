//! Warns of settings that do not suit the provider of a source, by the facts of the catalogue.

use hookgate_core::internal::{Report, Section, duration_text, size_text};
use hookgate_core::{Fact, Provider, Retries, Window};
use hookgate_gate::{BodyLimit, QueueMode};

/// The settings of a source that the facts of its provider concern.
pub(super) struct Settings {
    pub(super) queue: QueueMode,
    pub(super) body_limit: BodyLimit,
    /// The window, if the scheme signs a timestamp.
    pub(super) window: Option<Window>,
    /// The window that the catalogue sets.
    pub(super) provider_window: Option<Window>,
}

/// Adds a warning for each setting that loses events of `provider`.
pub(super) fn warn(
    section: &Section<'_>,
    provider: &Provider,
    settings: &Settings,
    warnings: &Report,
) {
    let (title, facts) = (provider.title(), provider.facts());
    let warn = |key: &str, message: String| warnings.add(section.key_path(key), message);
    let limit = settings.body_limit;
    if let Some(largest) = facts.max_body().map(Fact::value)
        && u64::try_from(limit.get()).is_ok_and(|limit| limit < *largest)
    {
        let largest = size_text(*largest);
        warn(
            "body",
            format!(
                "{title} sends bodies of up to {largest}, but the limit is {limit}. A larger delivery \
                 gets 413. Expected at least {largest}"
            ),
        );
    }
    if facts.retries().map(Fact::value) == Some(&Retries::Never) && settings.queue == QueueMode::Off
    {
        warn(
            "queue",
            format!(
                "{title} sends each event once, so an event is lost if the upstream does not \
                 accept it. Expected \"on_failure\" or \"always\", which need a table [queue]"
            ),
        );
    }
    if let (Some(window), Some(default)) = (settings.window, settings.provider_window) {
        let (past, usual) = (window.past(), default.past());
        let text = duration_text(past);
        match facts.resigned().map(Fact::value) {
            Some(false) if past < usual => warn(
                "window",
                format!(
                    "{title} signs each event once, and its retries are refused when the event is \
                     older than {text}. Expected `past` of at least {}",
                    duration_text(usual)
                ),
            ),
            // A window of the operator's own is a decision.
            None if past == usual => warn(
                "window",
                format!(
                    "it is not known whether {title} signs a retry anew. If it does not, a retry \
                     is refused when its event is older than {text}. Watch refusals with the \
                     reason `timestamp_too_old`, and set `window.past` if they are retries"
                ),
            ),
            _ => {}
        }
    }
}
