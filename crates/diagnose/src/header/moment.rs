//! Timestamps that were lost or replaced, searched for around the arrival of the delivery.

use std::ops::ControlFlow;

use hookgate_core::UnixTime;
use hookgate_core::internal::{Format, Place};
use http::HeaderName;

use super::timestamp::{self, Field};
use super::{Edits, only};
use crate::cause::{Cause, Code};

/// The seconds before the arrival that are searched: two usual windows.
const BEFORE: i64 = 600;
/// The seconds behind the arrival that are searched, for a clock that is ahead.
const BEHIND: i64 = 120;

/// Visits the headers with each second around `arrived` as the timestamp.
pub(super) fn each(arrived: UnixTime, edits: &mut Edits<'_>) -> ControlFlow<()> {
    for format in edits.formats {
        if let Some(slot) = Slot::of(edits, *format) {
            slot.fill(arrived, edits)?;
        }
    }
    ControlFlow::Continue(())
}

/// A place for a timestamp.
struct Slot<'s> {
    header: &'s HeaderName,
    /// The text of the header before and behind the timestamp.
    around: (String, String),
    cause: Cause,
}

impl<'s> Slot<'s> {
    /// Returns the place of the timestamp, unless it is in milliseconds or not in the head.
    fn of(edits: &Edits<'s>, format: Format<'s>) -> Option<Self> {
        let has_seconds = |at: i64| {
            let parsed = format.parse_timestamp(&at.to_string());
            parsed == Some(UnixTime::from_secs(at))
        };
        has_seconds(1).then_some(())?;
        if let [Field { header, around, .. }] = timestamp::fields(edits.headers, &[format])[..] {
            let summary = format!(
                "the timestamp in `{header}` was replaced: the signature matches with another \
                 time, close to the arrival"
            );
            return Some(Self {
                header,
                around: (around.0.to_owned(), around.1.to_owned()),
                cause: Cause::new(Code::HeaderAltered, summary),
            });
        }
        match format.timestamp()? {
            Place::Header(header) if !edits.headers.contains_key(header) => {
                let summary = format!(
                    "the header `{header}` is missing: the signature matches with a time close \
                     to the arrival"
                );
                Some(Self {
                    header,
                    around: (String::new(), String::new()),
                    cause: Cause::new(Code::HeaderMissing, summary),
                })
            }
            Place::Header(_) => None,
            Place::Item(name) => {
                let list = format.list()?;
                let mut headers = format.signature_headers().into_iter();
                let found = headers.find_map(|name| Some((name, only(edits.headers, name)?)));
                let (header, value) = found?;
                let summary = format!(
                    "the header `{header}` lost its timestamp: the signature matches with a time \
                     close to the arrival"
                );
                Some(Self {
                    header,
                    around: (
                        format!("{name}{}", list.pair?),
                        format!("{}{value}", list.separator),
                    ),
                    cause: Cause::new(Code::HeaderAltered, summary),
                })
            }
        }
    }

    fn fill(&self, arrived: UnixTime, edits: &mut Edits<'_>) -> ControlFlow<()> {
        let (before, behind) = &self.around;
        for distance in (0..=BEFORE).chain(-BEHIND..0) {
            let text = format!(
                "{before}{}{behind}",
                arrived.secs().saturating_sub(distance)
            );
            edits.replace(&[(self.header, text)], 6, self.cause.clone())?;
        }
        ControlFlow::Continue(())
    }
}
