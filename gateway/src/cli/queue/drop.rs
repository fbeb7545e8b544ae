//! `hookgate queue drop`: deletes deliveries.

use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::act::{Changed, act_on_selection, print};
use super::selection::Selection;
use crate::cli::Error;
use crate::cli::api::Connection;

/// Deletes deliveries and dead letters, which are then never delivered. A delivery in flight stays.
/// The event still counts as done; hookgate events forget lets the provider send it again. The
/// token needs may = "act"
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("which")
        .required(true)
        .multiple(true)
        .args(["ids", "source", "tenant", "state", "key_id", "event", "all"]),
    override_usage = "\
    hookgate queue drop [OPTIONS] --token TOKEN ENTRY…
       hookgate queue drop [OPTIONS] --token TOKEN --key-id ID --yes
       hookgate queue drop [OPTIONS] --token TOKEN --all --yes"
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

    /// Confirm that the selected deliveries are lost
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    if options.ids.is_empty() && !options.yes {
        return Err(Error::new(
            "--yes is missing: the selected deliveries would be lost. `hookgate queue list` with \
             the same options shows them",
        ));
    }
    let api = options.connection.open()?;
    let mut changed = Changed::default();
    for id in &options.ids {
        api.delete(&format!("/api/queue/{id}")).await?;
        changed.changed += 1;
    }
    if options.ids.is_empty() {
        changed = act_on_selection(&api, "/api/queue/drop", &options.selection).await?;
    }
    print(changed, options.connection.json, "dropped")?;
    Ok(ExitCode::SUCCESS)
}
