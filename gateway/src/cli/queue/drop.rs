//! `hookgate queue drop`: deletes deliveries.

use std::process::ExitCode;

use clap::Args;

use super::act::{Changed, act_on_selection, print};
use super::selection::Which;
use crate::cli::Error;
use crate::cli::api::Connection;

/// Deletes deliveries and dead letters, which are then never delivered. A delivery in flight stays.
/// The event still counts as done; hookgate events forget lets the provider send it again. The
/// token needs may = "act"
#[derive(Debug, Args)]
#[command(override_usage = "\
    hookgate queue drop [OPTIONS] --token TOKEN ENTRY…
       hookgate queue drop [OPTIONS] --token TOKEN --key-id ID --yes
       hookgate queue drop [OPTIONS] --token TOKEN --all --yes")]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    which: Which,

    /// Confirm that the selected deliveries are lost
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    if options.which.ids.is_empty() && !options.yes {
        return Err(Error::new(
            "--yes is missing: the selected deliveries would be lost. `hookgate queue list` with \
             the same options shows them",
        ));
    }
    let api = options.connection.open()?;
    let mut changed = Changed::default();
    for id in &options.which.ids {
        api.delete(&format!("/api/queue/{id}")).await?;
        changed.changed += 1;
    }
    if options.which.ids.is_empty() {
        changed = act_on_selection(&api, "/api/queue/drop", options.which.body()).await?;
    }
    print(changed, options.connection.json, "dropped")?;
    Ok(ExitCode::SUCCESS)
}
