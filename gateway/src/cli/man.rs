//! `hookgate man`: prints manual pages.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_mangen::{Man, generate_to};

use super::{Cli, Error};

/// Print the manual page of hookgate or of a command: `hookgate man | man -l -`
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The command, such as `check` or `events list`; without it, the page of hookgate
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Write the pages of all commands to this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let root = Cli::command();
    if let Some(folder) = &options.dir {
        generate_to(root, folder).map_err(|error| {
            Error::new(format!("--dir: cannot write {}: {error}", folder.display()))
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    let command = find(root, &options.command)?;
    Man::new(command).render(&mut page)?;
    io::stdout().lock().write_all(&page)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the command with these names below `command`.
fn find(mut command: Command, names: &[String]) -> Result<Command, Error> {
    command.build();
    for name in names {
        let found = command.find_subcommand(name);
        let known: Vec<&str> = command
            .get_subcommands()
            .map(Command::get_name)
            .filter(|name| *name != "help")
            .collect();
        let found = found.cloned().ok_or_else(|| {
            let known = known.join(", ");
            Error::new(format!(
                "there is no command {name}; expected one of {known}"
            ))
        })?;
        command = found;
    }
    Ok(command)
}
