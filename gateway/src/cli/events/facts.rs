//! The facts about one delivery, and the duration of each step.

use std::fmt::Display;
use std::io::{self, Write};

use super::delivery::{Delivery, Detail};
use super::rows::colour;
use super::show::Page;
use crate::cli::captured_request::CapturedRequest;
use crate::cli::human::{Time, duration, seconds, size};
use crate::cli::terminal::{Colour, Text};

/// The width of the labels.
const LABEL: usize = 16;

/// The width of the widest page, so that a bar stays near its label.
const MAX_WIDTH: usize = 100;

/// Writes the facts as labelled lines.
pub(super) fn write(page: &Page<'_>, out: &mut impl Write) -> io::Result<()> {
    let delivery = &page.detail.delivery;
    line(out, "request", &delivery.request_id)?;
    let time = Time(delivery.time.raw());
    let ago = time.ago(page.now).map(|ago| format!(", {ago}"));
    line(
        out,
        "time",
        format!("{}{}", time.full(), ago.unwrap_or_default()),
    )?;
    line(out, "outcome", outcome(page))?;
    let source = join([
        delivery.source.as_ref().map(Text::to_string),
        named("tenant", &delivery.tenant),
        named("provider", &delivery.provider),
    ]);
    optional(out, "source", source)?;
    optional(out, "target", target(delivery))?;
    optional(out, "event", event(delivery))?;
    let id = delivery.delivery_id.as_ref();
    optional(
        out,
        "delivery id",
        id.map(|id| format!("{id}, which is not signed")),
    )?;
    optional(out, "key", delivery.key_id.as_ref())?;
    let attempt = delivery.attempt.filter(|attempt| *attempt > 1);
    optional(out, "attempt", attempt)?;
    let upstream =
        [&delivery.upstream, &delivery.server].map(|text| text.as_ref().map(Text::to_string));
    optional(out, "upstream", join(upstream))?;
    let sender =
        [&delivery.client, &delivery.user_agent].map(|text| text.as_ref().map(Text::to_string));
    optional(out, "sender", join(sender))?;
    optional(out, "body", body(delivery))?;
    optional(out, "signed headers", delivery.signed_headers.as_ref())?;
    optional(out, "signature age", delivery.age_s.map(age))?;
    optional(out, "resend", resend(delivery))?;
    optional(out, "capture", page.detail.capture.as_ref().map(capture))?;
    write_actions(page.detail, out)?;
    write_timeline(page, out)
}

fn line(out: &mut impl Write, label: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "{label:<LABEL$}{value}")
}

fn optional(out: &mut impl Write, label: &str, value: Option<impl Display>) -> io::Result<()> {
    value.map_or(Ok(()), |value| line(out, label, value))
}

/// Joins the parts that exist by commas.
fn join<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn named(name: &str, value: &Option<Text>) -> Option<String> {
    value.as_ref().map(|value| format!("{name} {value}"))
}

fn outcome(page: &Page<'_>) -> String {
    let delivery = &page.detail.delivery;
    let raw = delivery.outcome.raw();
    let (outcome, note) = match raw.strip_prefix("observed_") {
        Some(outcome) => (outcome, ", in observe mode: forwarded nevertheless"),
        None => (raw, ""),
    };
    let shown = Text::from(outcome.to_owned());
    let mut text = page.colours.paint(colour(outcome), shown).to_string();
    if let Some(reason) = &delivery.reason {
        text.push_str(&format!(": {reason}"));
    }
    if let Some(status) = delivery.status {
        text.push_str(&format!(", status {status}"));
    }
    text + note
}

fn target(delivery: &Delivery) -> Option<String> {
    let (method, path) = (delivery.method.as_ref()?, delivery.path.as_ref()?);
    Some(format!("{method} {path}"))
}

fn event(delivery: &Delivery) -> Option<String> {
    match (&delivery.event_id, &delivery.event_type) {
        (Some(id), Some(kind)) => Some(format!("{id}, of type {kind}")),
        (Some(id), None) => Some(id.to_string()),
        (None, kind) => named("of type", kind),
    }
}

fn body(delivery: &Delivery) -> Option<String> {
    let declared = delivery.content_length;
    let differs = declared.filter(|len| Some(*len) != delivery.body_bytes);
    join([
        delivery.body_bytes.map(size),
        differs.map(|len| format!("content-length {len}")),
        delivery.content_type.as_ref().map(Text::to_string),
    ])
}

fn age(age: i64) -> String {
    let text = seconds(age.unsigned_abs());
    match age < 0 {
        true => format!("{text} in the future"),
        false => text,
    }
}

fn resend(delivery: &Delivery) -> Option<String> {
    let by = named("by token", &delivery.resent_by);
    join([by, named("of request", &delivery.resent_from)])
}

fn capture(capture: &CapturedRequest) -> String {
    let state = match (capture.redacted, capture.complete) {
        (true, _) => "redacted, so it can neither verify nor be resent",
        (false, Some(false)) => {
            "partial: it lacks the end of the body, so it can neither verify nor be resent"
        }
        (false, _) => "complete",
    };
    let expires = capture.expires.as_ref();
    let expires = expires.map(|time| format!(", kept until {}", Time(time.raw()).full()));
    let mut text = format!("{state}{}", expires.unwrap_or_default());
    let redactions: Vec<String> = capture.redactions.iter().map(Text::to_string).collect();
    if !redactions.is_empty() {
        text.push_str(&format!("; removed: {}", redactions.join(", ")));
    }
    text
}

/// Writes the commands that act on the delivery.
fn write_actions(detail: &Detail, out: &mut impl Write) -> io::Result<()> {
    let id = &detail.delivery.request_id;
    for (label, can, because) in [
        ("resend", detail.can_resend, &detail.cannot_resend_because),
        ("forget", detail.can_forget, &detail.cannot_forget_because),
    ] {
        match (can, because) {
            (true, _) => line(out, label, format!("hookgate events {label} {id}"))?,
            (false, Some(reason)) => line(out, label, format!("not possible: {reason}"))?,
            (false, None) => {}
        }
    }
    Ok(())
}

/// Writes the duration of each step, with a bar that shows its share.
fn write_timeline(page: &Page<'_>, out: &mut impl Write) -> io::Result<()> {
    let delivery = &page.detail.delivery;
    let Some(total) = delivery.total_us else {
        return Ok(());
    };
    let steps = [
        ("verify", delivery.verify_us),
        ("claim", delivery.claim_us),
        ("upstream", delivery.upstream_us),
    ];
    let known: u64 = steps.iter().filter_map(|(_, took)| *took).sum();
    let rest = ("network, waits", total.checked_sub(known));
    let title = format!("timeline: {} in all", duration(total));
    page.style().title(&title, out)?;
    for (label, took) in steps.into_iter().chain([rest]) {
        let Some(took) = took else {
            continue;
        };
        let room = page.width.min(MAX_WIDTH).saturating_sub(2 + LABEL + 9);
        let bar = "█".repeat(share(took, total, room));
        let bar = page.colours.paint(Some(Colour::Cyan), bar);
        writeln!(
            out,
            "{}",
            format!("  {label:<LABEL$}{:>7}  {bar}", duration(took)).trim_end()
        )?;
    }
    Ok(())
}

/// Returns the part of `room` columns that `part` of `total` occupies.
fn share(part: u64, total: u64, room: usize) -> usize {
    let columns = u128::from(part) * room as u128 / u128::from(total.max(1));
    usize::try_from(columns).map_or(room, |columns| columns.min(room))
}
