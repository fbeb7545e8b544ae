//! `hookgate queue retry`: makes deliveries due now.

use std::process::ExitCode;

use clap::{ArgGroup, Args};
use serde_json::json;

use super::act::{Changed, act_on_selection, print};
use super::selection::Selection;
use crate::cli::Error;
use crate::cli::api::Connection;

/// Makes deliveries due now: entries that wait, dead letters, and copies of delivered ones. The age
/// of a dead letter starts again. The token needs may = "act"
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("which")
        .required(true)
        .multiple(true)
        .args(["ids", "source", "tenant", "state", "key_id", "event", "all"]),
    override_usage = "\
    hookgate queue retry [OPTIONS] --token TOKEN ENTRY…
       hookgate queue retry [OPTIONS] --token TOKEN --source NAME --state dead
       hookgate queue retry [OPTIONS] --token TOKEN --all"
)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    /// The numbers of entries
    #[arg(
        value_name = "ENTRY",
        conflicts_with_all = ["source", "tenant", "state", "key_id", "event", "all"]
    )]
    ids: Vec<u64>,

    #[command(flatten)]
    selection: Selection,

    /// Every delivery that waits or is dead
    #[arg(long, conflicts_with_all = ["source", "tenant", "state", "key_id", "event"])]
    all: bool,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let mut changed = Changed::default();
    for id in &options.ids {
        api.post(&format!("/api/queue/{id}/retry"), &json!({}))
            .await?;
        changed.changed += 1;
    }
    if options.ids.is_empty() {
        changed = act_on_selection(&api, "/api/queue/retry", &options.selection).await?;
    }
    print(changed, options.connection.json, "due now")?;
    Ok(ExitCode::SUCCESS)
}
