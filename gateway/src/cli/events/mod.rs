//! `hookgate events`: the deliveries of a running gateway, through its inspector API.

mod api;
mod body;
mod delivery;
mod explanation;
mod facts;
mod find;
mod forget;
mod human;
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
use http::Uri;

use self::api::Api;
use super::Error;
use crate::config::SecretRef;

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

/// The options that name the gateway.
#[derive(Debug, Args)]
struct Connection {
    /// Admin address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: Uri,

    // clap does not parse the reference, because its message would repeat the text of the option,
    // which may be the token itself.
    /// The token of [inspector], as env:NAME or file:PATH
    #[arg(long, value_name = "TOKEN")]
    token: String,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Connection {
    /// Reads the token, and prepares the client.
    fn open(&self) -> Result<Api, Error> {
        let reference = SecretRef::parse(&self.token).ok_or_else(|| {
            let expected = SecretRef::EXPECTED;
            Error::new(format!("--token: expected {expected}"))
        })?;
        let token = reference.read_text();
        let token = token.map_err(|fault| Error::new(format!("--token: {fault}")))?;
        Api::new(&self.admin, &token)
    }
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
