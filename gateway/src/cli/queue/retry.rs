//! `hookgate queue retry`: makes deliveries due now.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::act::{Changed, act_on_selection, print};
use super::selection::Which;
use crate::cli::Error;
use crate::cli::api::Connection;

/// Makes deliveries due now: entries that wait, dead letters, and copies of delivered ones. The age
/// of a dead letter starts again. The token needs may = "act"
#[derive(Debug, Args)]
#[command(override_usage = "\
    hookgate queue retry [OPTIONS] --token TOKEN ENTRY…
       hookgate queue retry [OPTIONS] --token TOKEN --source NAME --state dead
       hookgate queue retry [OPTIONS] --token TOKEN --all")]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let mut changed = Changed::default();
    for id in &options.which.ids {
        api.post(&format!("/api/queue/{id}/retry"), &json!({}))
            .await?;
        changed.changed += 1;
    }
    if options.which.ids.is_empty() {
        changed = act_on_selection(&api, "/api/queue/retry", options.which.body()).await?;
    }
    print(changed, options.connection.json, "due now")?;
    Ok(ExitCode::SUCCESS)
}
