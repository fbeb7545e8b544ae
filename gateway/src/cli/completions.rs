//! `hookgate completions`: prints the completions of a shell.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Cli, Error};

/// Print the completions of a shell. For bash:
/// `hookgate completions bash > /etc/bash_completion.d/hookgate`
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    generate(options.shell, &mut Cli::command(), "hookgate", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
