//! The explanation of a refused delivery, as text.

use std::io::{self, Write};

use super::delivery::Explanation;
use crate::cli::verify::CauseText;

/// Writes why the delivery does not verify, and what to do.
pub(super) fn write(
    explanation: &Explanation,
    width: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    if let Some(reason) = &explanation.unavailable {
        return writeln!(out, "not available: {reason}");
    }
    if let Some(detail) = &explanation.detail {
        let reason = explanation.reason.as_ref();
        let reason = reason.map(|reason| format!(" ({reason})"));
        writeln!(out, "refused: {detail}{}", reason.unwrap_or_default())?;
    }
    for cause in &explanation.causes {
        let text = CauseText {
            proved: cause.proved,
            summary: &cause.summary.to_string(),
            code: &cause.code.to_string(),
            fix: &cause.fix.to_string(),
        };
        writeln!(out, "{}", text.wrapped(width))?;
    }
    if explanation.causes.is_empty() {
        writeln!(
            out,
            "no change of the delivery or of the secret makes it verify"
        )?;
    }
    Ok(())
}
