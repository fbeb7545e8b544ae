//! Timestamps in another unit or format than the scheme's.

use std::ops::ControlFlow;

use hookgate_core::internal::{Format, Place};
use http::HeaderName;

use super::date::{self, Instant};
use super::{Edits, only};
use crate::attempt::Effort;
use crate::cause::{Cause, Code};

/// A millisecond, in nanoseconds.
const MILLISECOND: i128 = 1_000_000;
/// A quarter of an hour, in nanoseconds.
const QUARTER: i128 = 900 * 1_000 * MILLISECOND;

/// Visits the headers with the timestamp in the format of the scheme.
pub(super) fn each(effort: Effort, edits: &mut Edits<'_>) -> ControlFlow<()> {
    for field in fields(edits.headers, edits.formats) {
        let Some(instant) = date::parse(field.text) else {
            continue;
        };
        let cause = cause(&field, instant);
        let mut visit = |texts: Vec<String>, cost: u8| {
            for text in texts {
                if text != field.text && field.format.parse_timestamp(&text).is_some() {
                    let value = field.with(&text);
                    edits.replace(&[(field.header, value)], cost, cause.clone())?;
                }
            }
            ControlFlow::Continue(())
        };
        visit(date::spellings(instant.nanos), 2)?;
        if effort == Effort::Common {
            continue;
        }
        if instant.is_local {
            // Offsets from UTC are whole quarters of an hour, from -12 to +14 hours.
            for quarters in -48..=56 {
                visit(date::spellings(instant.nanos - quarters * QUARTER), 4)?;
            }
        }
        if instant.is_whole {
            for millis in 1..1_000 {
                let nanos = instant.nanos + millis * MILLISECOND;
                visit(date::spellings_with_millis(nanos), 5)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// A timestamp in the head of a delivery.
pub(super) struct Field<'f> {
    pub(super) format: Format<'f>,
    pub(super) header: &'f HeaderName,
    pub(super) text: &'f str,
    /// The text of the header before and behind the timestamp.
    pub(super) around: (&'f str, &'f str),
}

impl Field<'_> {
    /// Returns the value of the header with another timestamp.
    fn with(&self, text: &str) -> String {
        format!("{}{text}{}", self.around.0, self.around.1)
    }
}

/// Returns the timestamps of `headers`, one for each format at most.
pub(super) fn fields<'f>(headers: &'f http::HeaderMap, formats: &[Format<'f>]) -> Vec<Field<'f>> {
    formats
        .iter()
        .filter_map(|format| field(headers, *format))
        .collect()
}

fn field<'f>(headers: &'f http::HeaderMap, format: Format<'f>) -> Option<Field<'f>> {
    match format.timestamp()? {
        Place::Header(header) => Some(Field {
            format,
            header,
            text: only(headers, header)?,
            around: ("", ""),
        }),
        Place::Item(name) => {
            let list = format.list()?;
            let start = format!("{name}{}", list.pair?);
            format.signature_headers().into_iter().find_map(|header| {
                let value = only(headers, header)?;
                let mut items = value.split(list.separator);
                let item = items.find(|item| item.trim_start().starts_with(&start))?;
                let text = item.trim_start().strip_prefix(&*start)?;
                let from = text.as_ptr() as usize - value.as_ptr() as usize;
                Some(Field {
                    format,
                    header,
                    text,
                    around: (&value[..from], &value[from + text.len()..]),
                })
            })
        }
    }
}

/// Returns the cause of a timestamp that denotes `instant` in another format.
pub(super) fn cause(field: &Field<'_>, instant: Instant) -> Cause {
    let summary = format!(
        "the timestamp in `{}` does not have the format that was signed: it is {}",
        field.header, instant.form
    );
    Cause::new(Code::TimestampFormat, summary)
}
