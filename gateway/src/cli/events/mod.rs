//! `hookgate events`: the deliveries of a running gateway, through its inspector API.

mod delivery;
mod explanation;
mod facts;
mod find;
mod forget;
mod list;
mod query;
mod resend;
mod rows;
mod show;
mod sse;
mod tail;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hookgate_gate::Clock;

use super::Error;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List deliveries, the newest first
    List(list::Options),
    /// Show one delivery, and the reason for its outcome
    Show(show::Options),
    /// Send a captured delivery to the upstream again
    Resend(resend::Options),
    /// Forget an event, so that its next delivery is forwarded
    Forget(forget::Options),
    /// Print deliveries as they arrive, until Ctrl-C
    Tail(tail::Options),
}

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match &options.command {
            Command::List(options) => list::run(options).await,
            Command::Show(options) => show::run(options, clock).await,
            Command::Resend(options) => resend::run(options).await,
            Command::Forget(options) => forget::run(options).await,
            Command::Tail(options) => tail::run(options).await,
        }
    })
}
