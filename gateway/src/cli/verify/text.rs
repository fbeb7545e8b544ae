//! The result of a verification, as text.

use std::fmt::Write;

use hookgate_core::RequestOutcome;
use hookgate_diagnose::Cause;
use hookgate_gate::Reason;
use textwrap::Options;

use crate::cli::terminal::{fill_lines, line_limit, printable, printable_lines};
use crate::explain::{Explanation, Report, Verdict};

/// The width of a terminal, in columns.
const WIDTH: usize = 80;

/// Returns the verdict, and its explanation if the operator asked for one.
pub(super) fn report_as_text(report: &Report) -> String {
    let mut text = fill_lines(&verdict_as_text(&report.verdict), line_limit());
    let Some(Explanation { causes, tried }) = &report.explanation else {
        return text;
    };
    for cause in causes {
        text.push('\n');
        text.push_str(&cause_as_text(cause));
    }
    if !report.verdict.is_verified() && causes.iter().all(|cause| !cause.proved) {
        let line = format!(
            "none of the usual causes fits ({tried} changes were tried): either the secret is \
             wrong, or the body was changed"
        );
        text.push('\n');
        text.push_str(&fill_lines(&line, Some(WIDTH)));
    }
    text
}

fn verdict_as_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Judged(Ok(outcome)) => outcome_as_text(outcome),
        Verdict::Judged(Err(error)) => format!("refused: {error} ({})", error.label()),
        Verdict::MethodRefused(detail) => {
            format!("refused: {detail} ({})", Reason::MethodNotAllowed.label())
        }
        Verdict::SecretUnusable(fault) => format!("not verified: {fault}"),
    }
}

/// A cause in words.
pub(in crate::cli) struct CauseText<'c> {
    pub(in crate::cli) proved: bool,
    pub(in crate::cli) summary: &'c str,
    pub(in crate::cli) code: &'c str,
    pub(in crate::cli) fix: &'c str,
}

impl CauseText<'_> {
    /// Returns the cause and what to do, in lines of at most `width` columns.
    pub(in crate::cli) fn wrapped(&self, width: usize) -> String {
        let certainty = match self.proved {
            true => "cause (proved)",
            false => "likely cause",
        };
        let options = || {
            Options::new(width)
                .subsequent_indent("  ")
                .break_words(false)
        };
        let cause = format!("{certainty}: {} ({})", self.summary, self.code);
        let cause = textwrap::fill(&cause, options());
        let fix = textwrap::fill(
            &format!("what to do: {}", self.fix),
            options().initial_indent("  "),
        );
        format!("{cause}\n{fix}")
    }
}

fn cause_as_text(cause: &Cause) -> String {
    let text = CauseText {
        proved: cause.proved,
        summary: &printable(&cause.summary),
        code: cause.code.as_str(),
        fix: &printable(&cause.fix),
    };
    text.wrapped(WIDTH)
}

fn outcome_as_text(outcome: &RequestOutcome) -> String {
    let verified = match outcome {
        RequestOutcome::Delivery(verified) => verified,
        RequestOutcome::Handshake(answer) => {
            return format!(
                "verified handshake; the gateway responds with status {} and this body:\n{}",
                answer.status(),
                printable_lines(&String::from_utf8_lossy(answer.body()))
            );
        }
    };
    let mut text = format!("verified with key {}", printable(verified.key_id()));
    let signed_at = verified.timestamp().map(|time| time.secs().to_string());
    for (name, value) in [
        ("event id", verified.id()),
        ("event type", verified.event_type()),
        ("signed at", signed_at.as_deref()),
        ("dedupe by", Some(verified.identity().label())),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name:<12}{}", printable(value.unwrap_or("none")));
    }
    text
}
