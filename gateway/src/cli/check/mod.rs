//! `hookgate check`: reads a configuration, and describes the gateway that it would start.

mod facts;
mod json;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::Problem;

use super::terminal::{line_limit, printable_json};
use super::{ConfigFile, EXIT_CONFIG, Error};
use crate::config::{Config, Inputs};
use crate::counted::counted;
use crate::run::surroundings;
use crate::tenants::report_equal_keys;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,

    /// Treat warnings as mistakes: exit with 78
    #[arg(long)]
    strict: bool,

    /// Check the file alone: read no secret and no certificate, and resolve no name
    #[arg(long)]
    offline: bool,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let inputs = match options.offline {
        true => Inputs::Assumed,
        false => Inputs::Read,
    };
    let mut out = io::stdout().lock();
    let config = options.config.read(inputs)?;
    let config = config.and_then(|config| match inputs {
        Inputs::Read => report_equal_keys(&config).map(|()| config),
        Inputs::Assumed => Ok(config),
    });
    let config = match config {
        Ok(config) => config,
        Err(problems) if options.json => {
            let object = json::mistakes(&problems);
            writeln!(out, "{}", printable_json(&object))?;
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        Err(problems) => return Err(Error::config(&options.config.config, &problems, "")),
    };
    let warnings = warnings(&config, inputs);
    let passes = warnings.is_empty() || !options.strict;
    if options.json {
        let object = json::description(&config, &warnings, passes);
        writeln!(out, "{}", printable_json(&object))?;
    } else {
        text::Page::new(line_limit(), inputs).write(&config, &warnings, passes, &mut out)?;
    }
    match passes {
        true => Ok(ExitCode::SUCCESS),
        false if options.json => Ok(ExitCode::from(EXIT_CONFIG)),
        false => Err(strict_error(options, warnings.len())),
    }
}

/// Returns the warnings of the file, and those of this machine unless the check is offline.
fn warnings(config: &Config, inputs: Inputs) -> Vec<Problem> {
    let mut warnings = config.warnings.clone();
    if inputs.are_read() {
        warnings.extend(surroundings::warnings(config));
        let queue = config.queue.as_ref();
        let space = queue.and_then(|queue| queue.store.space_warning());
        warnings.extend(space.map(|warning| Problem {
            at: "queue.max_bytes".to_owned(),
            message: warning.to_string(),
        }));
    }
    warnings
}

fn strict_error(options: &Options, count: usize) -> Error {
    let warnings = counted(count, "warning");
    let path = options.config.config.display();
    Error {
        exit: ExitCode::from(EXIT_CONFIG),
        ..Error::new(format!("{path}: {warnings}, and --strict allows none"))
    }
}
