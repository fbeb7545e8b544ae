//! `hookgate queue`: the deliveries that wait for their upstream, and the dead letters, through the
//! inspector API of a running gateway.

mod act;
mod drain;
mod drop;
mod entry;
mod list;
mod retry;
mod rows;
mod selection;
mod show;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Error;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List deliveries and dead letters, and the numbers of each source
    List(list::Options),
    /// Show one entry, with its request
    Show(show::Options),
    /// Make deliveries due now: dead letters too
    Retry(retry::Options),
    /// Delete deliveries, which are then never delivered
    Drop(drop::Options),
    /// Make all deliveries due now, and wait until none is left
    Drain(drain::Options),
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match &options.command {
            Command::List(options) => list::run(options).await,
            Command::Show(options) => show::run(options).await,
            Command::Retry(options) => retry::run(options).await,
            Command::Drop(options) => drop::run(options).await,
            Command::Drain(options) => drain::run(options).await,
        }
    })
}
