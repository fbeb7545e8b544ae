//! `hookgate events resend`: sends a captured delivery to the upstream again.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::delivery::Resent;
use super::find;
use crate::cli::Error;
use crate::cli::api::{Connection, read};
use crate::cli::terminal::printable_json;

/// Sends a captured delivery to the upstream again, with the header hookgate-resent: true. A
/// delivery in the queue becomes due at once. The token needs may = "act"
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    /// The request id of the delivery, or its end
    #[arg(value_name = "REQUEST_ID")]
    id: String,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let id = find::request_id(&api, &options.id).await?;
    let path = format!("{}/resend", find::path(&id));
    let value = api.post(&path, &json!({})).await?;
    let resent: Resent = read(value.clone())?;
    let mut out = io::stdout().lock();
    match options.connection.json {
        true => writeln!(out, "{}", printable_json(&value))?,
        false if resent.entry.is_some() => {
            let entry = resent.entry.unwrap_or_default();
            writeln!(
                out,
                "the delivery is entry {entry} of the queue, and is due now"
            )?;
        }
        false => {
            let (outcome, new) = (&resent.outcome, &resent.request_id);
            let status = resent.status.map(|status| format!(", status {status}"));
            let status = status.unwrap_or_default();
            writeln!(out, "resent as request {new}: {outcome}{status}")?;
        }
    }
    let succeeded = resent
        .status
        .is_none_or(|status| (200..300).contains(&status));
    Ok(match succeeded {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
