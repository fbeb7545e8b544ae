//! Acts on one entry or several.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cli::Error;
use crate::cli::api::{Api, read};

/// The entries that an act has changed so far.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) changed: u64,
    pub(super) skipped: u64,
}

/// The response to a part of an act.
#[derive(Debug, Deserialize)]
struct Part {
    changed: u64,
    #[serde(default)]
    skipped: u64,
    /// The fields with which the next request continues.
    next: Option<Map<String, Value>>,
}

/// Applies the act of the API at `path` to the entries that `body` selects. The gateway responds after some
/// seconds with the part that it has done, so several requests may be needed.
pub(super) async fn act_on_selection(
    api: &Api,
    path: &str,
    mut body: Map<String, Value>,
) -> Result<Changed, Error> {
    let mut total = Changed::default();
    loop {
        let part = api.post(path, &Value::Object(body.clone())).await?;
        let part: Part = read(part)?;
        total.changed += part.changed;
        total.skipped += part.skipped;
        match part.next {
            Some(next) => body.extend(next),
            None => return Ok(total),
        }
    }
}

/// Prints the result. `what` follows the number of the entries.
pub(super) fn print(changed: Changed, is_json: bool, what: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    if is_json {
        writeln!(out, "{}", json!(changed))?;
        return Ok(());
    }
    let noun = match changed.changed {
        1 => "delivery",
        _ => "deliveries",
    };
    write!(out, "{} {noun} {what}", changed.changed)?;
    if changed.skipped > 0 {
        let skipped = changed.skipped;
        write!(
            out,
            "; {skipped} skipped: in flight, or of a source that is not configured"
        )?;
    }
    writeln!(out)?;
    Ok(())
}
